package doctor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
	"github.com/pgbulkproxy/pgbulkproxy/engine/greenplum"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	installer "github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestGreenplum: what Greenplum needs besides, with each failure made on purpose.
func TestGreenplum(t *testing.T) {
	t.Parallel()
	w := newWard(t, testenv.Greenplum(t))
	w.admin("ALTER ROLE " + w.service + " SET gp_autostats_mode = 'none'") // whatever the cluster has
	cfg := w.config()
	r := w.examine(cfg, Options{})
	w.want(r, check.NameEngine, check.OK, "greenplum")
	w.want(r, "segments", check.OK, "segments answer")
	w.want(r, "gp_autostats", check.OK)
	for _, skipped := range []string{"protocol_s3", "gpfdist", "segments_reach_proxy", "segments_reach_store"} {
		w.want(r, skipped, check.Skip)
	}
	w.want(r, check.NameRejects, check.Skip, "only counted")
	w.admin(installer.SQL(greenplum.New(), ""))
	w.want(w.examine(cfg, Options{}), check.NameRejects, check.Fail, "pgbulk.secret", "--service-role")
	w.admin(installer.SQL(greenplum.New(), w.service))
	w.want(w.examine(cfg, Options{}), check.NameRejects, check.OK)

	w.admin("ALTER ROLE " + w.service + " SET gp_autostats_mode = 'on_change'")
	cfg.Greenplum.Reader = config.ReaderGpfdist
	r = w.examine(cfg, Options{})
	w.want(r, "gp_autostats", check.Warn, "on_change", "gp_autostats_mode = none")
	w.want(r, "gpfdist", check.Fail, "CREATEEXTTABLE")
	w.want(r, "segments_reach_proxy", check.Skip, "gpfdist")

	w.admin("ALTER ROLE " + w.service + " CREATEEXTTABLE (type='readable', protocol='gpfdist')")
	here := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(here.Close)
	cfg.Greenplum.GpfdistListen = strings.TrimPrefix(here.URL, "http://")
	r = w.examine(cfg, Options{})
	w.want(r, "gpfdist", check.OK)
	w.want(r, "segments_reach_proxy", check.OK, cfg.Greenplum.GpfdistListen)
	cfg.Greenplum.GpfdistAdvertise = "127.0.0.1:1"
	w.want(w.examine(cfg, Options{}), "segments_reach_proxy", check.Fail, "127.0.0.1:1", "Open the way")

	cfg.Greenplum.Reader, cfg.Greenplum.Listen = config.ReaderS3, cfg.Greenplum.GpfdistListen
	r = w.examine(cfg, Options{})
	w.want(r, "protocol_s3", check.Fail, w.service, "GRANT SELECT ON PROTOCOL s3")
	w.want(r, "segments_reach_proxy", check.OK)
	w.want(r, "segments_reach_store", check.OK)
	w.admin("GRANT SELECT ON PROTOCOL s3 TO " + w.service)
	w.want(w.examine(cfg, Options{}), "protocol_s3", check.OK)
	w.admin("REVOKE SELECT ON PROTOCOL s3 FROM " + w.service)
}
