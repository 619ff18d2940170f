package proxy

import (
	"context"
	"log/slog"
	"net"
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy/proxytest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(moverDSN); dsn != "" {
		os.Exit(runMover(dsn))
	}
	os.Exit(testenv.Main(m))
}

// running is a proxy in this process.
type running struct {
	*Proxy
	at   *proxytest.Running
	addr net.Addr
	reg  *prometheus.Registry
	stop context.CancelFunc // begins the drain
}

// start runs a proxy in front of a server as proxytest.Start does.
func start(t testing.TB, pg *testenv.PG, o Options, change func(*config.Config)) *running {
	t.Helper()
	return startLogging(t, pg, o, proxytest.Log(t), change)
}

// startLogging is start with a log of the test's own.
func startLogging(t testing.TB, pg *testenv.PG, o Options, log *slog.Logger, change func(*config.Config)) *running {
	t.Helper()
	r, wanted := new(running), o.Store
	r.at = proxytest.Start(t, pg, func(ctx context.Context, cfg config.Config, log *slog.Logger, reg *prometheus.Registry, credentials func(*store.Config)) (proxytest.Server, error) {
		o.Store = func(c *store.Config) {
			credentials(c)
			if wanted != nil {
				wanted(c)
			}
		}
		var err error
		r.Proxy, err = NewWith(ctx, cfg, log, reg, o)
		return r.Proxy, err
	}, log, change)
	r.addr, r.reg, r.stop = r.at.Addr, r.at.Reg, r.at.Stop
	return r
}

// dsn is a connection string through the proxy.
func (r *running) dsn(pg *testenv.PG, db, user string) string { return r.at.DSN(pg, db, user) }

// metric sums a counter's series that have these labels, given in pairs.
func (r *running) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	return r.at.Metric(t, name, labels...)
}

// decisions lists how many statements went which way.
func (r *running) decisions(t testing.TB) string { t.Helper(); return r.at.Decisions(t) }

// install prepares a database.
func install(t testing.TB, pg *testenv.PG, db string) { t.Helper(); proxytest.Install(t, pg, db) }

// scripts are those that difftest compares; with pairs of tables, and on clusters, they
// are compared here.
const scripts = "../../testdata/wire"

// transcoded sends files as COPY binary.
func transcoded(c *config.Config) {
	c.Load.Method, c.Load.Transcode = config.MethodAuto, config.TranscodeOn
}
