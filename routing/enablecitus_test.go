package routing

import (
	"context"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestEnableCitus: the auxiliary table of a table of Citus is one of the same kind, and
// groups move to and fro.
func TestEnableCitus(t *testing.T) {
	t.Parallel()
	b := &pairBed{t: t, pg: testenv.Citus(t)}
	b.db = b.pg.NewDatabase(t)
	b.conn = b.pg.Connect(t, b.db, "postgres")
	b.exec("SET citus.enable_ddl_propagation = off; BEGIN; " + InstallSQL("") + "COMMIT; RESET ALL")
	const alike = `SELECT coalesce((SELECT m.colocationid = a.colocationid AND m.partmethod = a.partmethod AND m.repmodel = a.repmodel
		FROM pg_dist_partition m, pg_dist_partition a WHERE m.logicalrelid = 't'::regclass AND a.logicalrelid = 't_relyt_massive_group'::regclass), false)`
	for _, kind := range []string{"create_distributed_table('t', 'group_id')", "create_reference_table('t')"} {
		b.exec("CREATE TABLE t (id int, group_id text, PRIMARY KEY (group_id, id)); SELECT " + kind +
			"; INSERT INTO t SELECT i, i % 4 FROM generate_series(1, 100) i; INSERT INTO t SELECT i, 'small' FROM generate_series(1, 5) i")
		b.enable("t")
		var same bool
		if err := b.conn.QueryRow(t.Context(), alike).Scan(&same); err != nil || !same {
			t.Errorf("%s: the auxiliary table is another kind of table: %v", kind, err)
		}
		for _, step := range []struct {
			o    MigrateOptions
			rows string
		}{{MigrateOptions{Threshold: 10}, "5 100"}, {MigrateOptions{Back: true}, "105 0"}} {
			if _, err := Migrate(context.Background(), b.conn, MigrateTarget{Table: "t"}, step.o); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			var rows string
			if err := b.conn.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM t_relyt_massive_group)").Scan(&rows); err != nil || rows != step.rows {
				t.Errorf("%s: %s rows, want %s: %v", kind, rows, step.rows, err)
			}
		}
		b.exec("DROP VIEW t_relyt_all; DROP TABLE t, t_relyt_massive_group, relyt_sys.t_relyt_routing; DELETE FROM pgbulk.routed")
	}
}
