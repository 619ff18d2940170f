package proxy

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/loaderconfig"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// TestStoreFromTheDatabase: the store's settings come from LOADER_CONFIG(), and
// are read again when its keys were changed.
func TestStoreFromTheDatabase(t *testing.T) {
	t.Parallel()
	pg, s3 := testenv.Postgres(t), testenv.S3(t)
	settings := pg.NewDatabase(t) // another one than the client's
	prefix := s3.Prefix(t)
	b := &bed{t: t, pg: pg, db: pg.NewDatabase(t), prefix: prefix}
	admin := b.connect(pg.DSN(settings, "postgres"))
	must(t, admin, "BEGIN;"+loaderconfig.InstallSQL("")+";COMMIT")
	lit := pgident.Literal
	must(t, admin, fmt.Sprintf(`INSERT INTO relyt_sys.loader_settings (endpoint, region, bucket_name, prefix, access_key, secret_key)
		VALUES (%s, %s, %s, %s, %s, 'changed since')`, lit(s3.Endpoint), lit(s3.Region), lit(s3.Bucket), lit(prefix+"first"), lit(s3.AccessKey)))
	o := Options{Store: func(c *store.Config) { quick(c); c.SecretKey = "changed since" }}
	b.running = start(t, pg, o, func(c *config.Config) {
		c.Store, c.ServiceDSN = config.StoreLoaderConfig, pg.TCPDSN(settings, "postgres")
		c.Breaker.Failures = 1000
	})
	install(t, pg, b.db)
	must(t, b.direct(), createT)
	c := b.proxied()

	// The keys are wrong, and stay so: the load goes on natively.
	if o := copyIn(c, copyText, strings.NewReader(string(textRows(40_000)))); o.tag != "COPY 40000" {
		t.Fatalf("with wrong keys: %s", o)
	}
	b.wantMetric(1, "pgbulk_loads_total", "result", "fallback")
	must(t, admin, "UPDATE relyt_sys.loader_settings SET prefix = "+lit(prefix+"second")+", secret_key = "+lit(s3.SecretKey))
	must(t, b.direct(), "TRUNCATE t")
	eventually(t, copyLimit, func() string { // the last question was a moment ago
		must(t, b.direct(), "TRUNCATE t")
		if o := copyIn(c, copyText, strings.NewReader(string(textRows(40_000)))); o.tag != "COPY 40000" {
			t.Fatalf("with new keys: %s", o)
		}
		if b.metric(t, "pgbulk_loads_total", "result", "ok") == 0 {
			return "no load went through the store"
		}
		return ""
	})
	keys := must(t, b.direct(), "SELECT string_agg(key, ' ') FROM pgbulk.load_file")
	if !strings.Contains(keys, prefix+"second/") {
		t.Errorf("keys of files: %s", keys)
	}
	b.wantSwept()
}

// TestStoreFromTheDatabaseMissing: the proxy says at its start what is wrong.
func TestStoreFromTheDatabaseMissing(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	cfg := config.Default()
	cfg.Upstream, cfg.Store, cfg.ServiceDSN = "127.0.0.1:1", config.StoreLoaderConfig, pg.DSN(pg.NewDatabase(t), "postgres")
	_, err := New(t.Context(), cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "store: relyt_sys.LOADER_CONFIG(): ") {
		t.Errorf("error %v", err)
	}
}
