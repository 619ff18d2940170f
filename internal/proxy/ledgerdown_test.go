package proxy

import (
	"net"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestServiceDown: without the service connection loads work, and say how.
func TestServiceDown(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(closed.Addr().String())
	_ = closed.Close()
	pg := testenv.Postgres(t)
	for name, dsn := range map[string]string{
		"refused":   "host=127.0.0.1 user=postgres sslmode=disable port=" + port,
		"no role":   pg.TCPDSN("postgres", "nobody_of_that_name"),
		"no rights": pg.TCPDSN("postgres", pg.NewRole(t, "NOSUPERUSER")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) { c.ServiceDSN = dsn })
			must(t, b.direct(), createT)
			b.same(copyText, textRows(5000))
			b.sameIn(copyText, append(textRows(5000), "bad\n"...), "BEGIN", "ROLLBACK")
			b.wantMetric(2, "pgbulk_statements_total", "decision", "pass", "reason", "service_failed")
			b.wantLedger(map[string]int{})
			b.wantSwept()
		})
	}
}

// TestLedgerLost: a ledger that fails later on stops no load.
func TestLedgerLost(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]string{
		"renamed":  "ALTER TABLE pgbulk.load RENAME TO load_gone",
		"files":    "ALTER TABLE pgbulk.load_file RENAME TO file_gone",
		"function": "DROP FUNCTION pgbulk.record_import(text, text, text)",
		"import":   "ALTER TABLE pgbulk.import RENAME TO import_gone",
		"secret":   "UPDATE pgbulk.secret SET key = pg_catalog.sha256(key)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, nil)
			must(t, b.direct(), createT)
			b.same(copyText, textRows(3000)) // the service connection is known
			must(t, b.direct(), harm)
			b.same(copyText, textRows(3000))
			b.sameIn(copyText, textRows(3000), "BEGIN; INSERT INTO t VALUES (-1)", "COMMIT")
			o := b.same(copyText, append(textRows(3000), "bad\n"...))
			if o.err == nil || strings.Contains(o.String(), "pgbulk") {
				t.Error(o)
			}
			b.wantMetric(4, "pgbulk_loads_total", "engine", "postgres")
			b.wantMetric(9000, "pgbulk_rows_total")
			b.wantSwept()
		})
	}
}
