package proxy

import (
	"bytes"
	"fmt"
	"regexp"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// shardName is what Citus adds to the names of a shard's constraints.
var shardName = regexp.MustCompile(`_1[0-9]{5}"`)

// TestToleranceCitus: in a table on workers the same rows are skipped, with the same
// errors, as in one on the coordinator, whose COPY does not hide them.
func TestToleranceCitus(t *testing.T) {
	t.Parallel()
	pg := testenv.Citus(t)
	b := newPlainBed(t, pg, Options{}, func(c *config.Config) { c.Engine, c.Stage.FileBytes = "citus", 2000 })
	installCitus(t, pg, b.db)
	admin := b.direct()
	const ddl = "DROP TABLE IF EXISTS t; CREATE TABLE t (id int UNIQUE, k int CHECK (k % 2 = 0), note text CHECK (note <> 'no') NOT NULL)"
	for i, distribute := range []string{"create_distributed_table('t', 'id')", "create_reference_table('t')", "create_distributed_table('t', 'id')"} {
		tc := randomTolerant(uint64(i+5), ddl)
		must(t, admin, ddl)
		want := tc.alone(t, admin)
		rows := must(t, admin, fingerprint)
		must(t, admin, ddl+"; SELECT "+distribute+"; DELETE FROM pgbulk.reject")
		c := b.proxied()
		must(t, c, "SET pgbulk.max_error_records = 1000")
		if i > 0 { // in a block, behind a savepoint of the client's
			must(t, c, "BEGIN; SAVEPOINT s")
		}
		o := copyIn(c, tc.sql(true), bytes.NewReader(tc.data()))
		if tag := fmt.Sprintf("COPY %d", len(tc.records)-len(want)); o.tag != tag {
			t.Errorf("%s: got %s, want %s", distribute, o, tag)
		}
		if i > 0 {
			if _, err := c.Exec(t.Context(), "INSERT INTO t VALUES (2000, 1, 'x')").ReadAll(); err == nil {
				t.Error("a row that must not be there")
			}
			must(t, c, "ROLLBACK TO s; SAVEPOINT x")
			if o := copyIn(c, tc.sql(true), bytes.NewReader(tc.data())); o.err != nil {
				t.Error(o)
			}
			must(t, c, "COMMIT")
		}
		if got := must(t, admin, fingerprint); got != rows {
			t.Errorf("%s: table has %s, want %s", distribute, got, rows)
		}
		got := rejects(t, admin)
		for i := range got {
			got[i].message = shardName.ReplaceAllString(got[i].message, `"`)
		}
		if len(want) == 0 || len(got) != len(want) {
			t.Fatalf("%s: %d rejects, want %d", distribute, len(got), len(want))
		}
		for i := range want {
			if want[i].code == "23502" {
				got[i].column, want[i].column = "", "" // a worker's error does not tell it
			}
			if got[i] != want[i] {
				t.Fatalf("%s: got  %+v\nwant %+v", distribute, got[i], want[i])
			}
		}
	}
}
