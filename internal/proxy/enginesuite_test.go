package proxy

import (
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/engine/enginetest"
	"github.com/pgbulkproxy/pgbulkproxy/engine/registry"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestEngines runs the suite of whole proxies for the engines of PostgreSQL.
func TestEngines(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"postgres", "plain"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, staging(name))
			runEngine(t, b, name, nil, nil)
		})
	}
}

// TestEngineGreenplum runs it on a cluster, by each way in which its rows come there.
func TestEngineGreenplum(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"copy":    func(c *config.Config) { staging("greenplum")(c); keeping(c) },
		"s3":      func(c *config.Config) { byS3(c); c.Stage.FileBytes = 256 << 10 },
		"gpfdist": func(c *config.Config) { byGpfdist(c); c.Stage.FileBytes = 256 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newPlainBed(t, testenv.Greenplum(t), Options{}, change)
			runEngine(t, b, "greenplum", func(string) string { return " DISTRIBUTED BY (a)" }, nil)
			t.Cleanup(func() { // behind the parts, which run in parallel
				if left := must(t, b.direct(), "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgbulk%'"); left != "0" {
					t.Errorf("%s relations left behind", left)
				}
				if read := b.metric(t, "pgbulk_loads_total", "engine", "greenplum", "result", "ok"); (read > 0) != (name != "copy") {
					t.Errorf("segments have read %v loads", read) // else another way was tried
				}
			})
		})
	}
}

// TestEngineCitus runs it on a cluster, with distributed and with reference tables.
func TestEngineCitus(t *testing.T) {
	t.Parallel()
	b := newPlainBed(t, testenv.Citus(t), Options{}, staging("citus"))
	installCitus(t, b.pg, b.db)
	t.Run("distributed", func(t *testing.T) {
		runEngine(t, b, "citus", func(table string) string { return "; SELECT create_distributed_table('" + table + "', 'a')" }, nil)
	})
	t.Run("reference", func(t *testing.T) {
		runEngine(t, b, "citus", func(table string) string { return "; SELECT create_reference_table('" + table + "')" }, map[string]string{
			"duplicate key": "a COPY into a reference table answers XX000 outside a block and 23505 inside one; the proxy's is inside",
			"merge":         "it is refused: Citus can't delete there by a temporary table",
		})
	})
}

// staging stages the smallest load, in small files.
func staging(name string) func(*config.Config) {
	return func(c *config.Config) { c.Engine, c.Stage.MinBytes, c.Stage.FileBytes = name, 0, 256<<10 }
}

func runEngine(t *testing.T, b *bed, name string, distribute func(string) string, except map[string]string) {
	t.Helper()
	e, err := registry.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	enginetest.RunProxy(t, enginetest.ProxyConfig{
		Proxy: b.via(), Direct: b.pg.TCPDSN(b.db, "postgres"), Caps: e.Caps(), Distribute: distribute, Except: except,
	})
}
