package proxy

import (
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// TestCitusWithout: in a database without the extension engine citus is engine
// postgres, in a block as well.
func TestCitusWithout(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Engine, c.Stage.MinBytes = "citus", 0 })
	c := b.proxied()
	must(t, c, createT)
	for i, sql := range []string{"COPY t FROM STDIN", "COPY t FROM STDIN (ON_CONFLICT nothing)", "COPY t FROM STDIN (MODE overwrite)"} {
		for _, block := range []bool{false, true} {
			if block {
				must(t, c, "BEGIN; DELETE FROM t")
			}
			if o := copyIn(c, sql, strings.NewReader("1\ta\n")); o.tag != "COPY 1" {
				t.Errorf("%d: %s in a block %v: %s", i, sql, block, o)
			}
			if block {
				must(t, c, "COMMIT")
			}
			must(t, c, "DELETE FROM t")
		}
	}
	insert := "INSERT INTO t VALUES (0, 'x')" + strings.Repeat(", (1, 'y')", 600)
	if got := must(t, c, "INSERT INTO t VALUES (1, 'x') ON CONFLICT DO NOTHING; DELETE FROM t"); got != "" {
		t.Error(got)
	}
	if _, err := c.Exec(t.Context(), insert).ReadAll(); err == nil {
		t.Error("duplicates were taken")
	}
	b.wantMetric(0, "pgbulk_statements_total", "reason", "inspect_failed")
}
