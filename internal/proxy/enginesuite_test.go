package proxy

import (
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/engine/enginetest"
	"github.com/pgbulkproxy/pgbulkproxy/engine/registry"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestEngines runs the suite of whole proxies with each engine that reads
// PostgreSQL.
func TestEngines(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"postgres", "plain"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) {
				c.Engine, c.Stage.MinBytes, c.Stage.FileBytes = name, 0, 256<<10
			})
			runEngine(t, b, name, "")
		})
	}
}

// TestEngineGiven runs it where a server is given.
func TestEngineGiven(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ engine, variable, distribute string }{
		{"greenplum", "PGBULK_TEST_GREENPLUM_DSN", " DISTRIBUTED BY (a)"},
		{"citus", "PGBULK_TEST_CITUS_DSN", ""},
	} {
		t.Run(x.engine, func(t *testing.T) {
			t.Parallel()
			if _, err := registry.ByName(x.engine); err != nil {
				t.Skip("no such engine yet")
			}
			b := newPlainBed(t, testenv.Given(t, x.variable), Options{}, func(c *config.Config) {
				c.Engine, c.Stage.MinBytes, c.Stage.FileBytes = x.engine, 0, 256<<10
			})
			runEngine(t, b, x.engine, x.distribute)
		})
	}
}

func runEngine(t *testing.T, b *bed, name, distribute string) {
	t.Helper()
	e, err := registry.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	enginetest.RunProxy(t, enginetest.ProxyConfig{
		Proxy: b.via(), Direct: b.pg.TCPDSN(b.db, "postgres"), Caps: e.Caps(), Distribute: distribute,
	})
}
