package killmatrix

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/engine/citus"
	installer "github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// onCitus is a cluster that is given. Others use it too: it is not crashed.
func onCitus(method string) *kind {
	return &kind{
		server: testenv.Citus,
		prepare: func(b *bed) {
			admin := b.pg.Connect(b.t, b.db, "postgres")
			defer admin.Close(context.Background())
			if err := installer.Run(b.t.Context(), admin.PgConn(), installer.SQL(citus.New(), "")); err != nil {
				b.t.Fatal(err)
			}
			b.must(createTables)
			// Into u go external tables where they are asked for: t is copied into.
			b.must("DROP TRIGGER nothing ON u; SELECT create_distributed_table('t', 'n')")
		},
		tx: "tx",
		env: func(b *bed, upstream string) []string {
			return append(withLedger(b, upstream), "PGBULK_ENGINE=citus", "PGBULK_LOAD_METHOD="+method)
		},
		ledger:  true,
		left:    "SELECT (" + foreignTables + ") + (" + workersLeft + ")",
		endPart: endWorker,
		// Else the maintenance daemon does so, once a minute: where a worker's session ends
		// behind the commit of the coordinator, its part of the rows is not seen until then.
		finish: "SELECT pg_catalog.recover_prepared_transactions()",
		// What a COPY says when a worker has left it.
		ends: []string{"57P01", "XX000"},
	}
}

// workersLeft counts prepared transactions, our relations, and sessions whose
// coordinator's session is gone, on the workers. The coordinator is node 1.
const workersLeft = `SELECT coalesce(sum(result::int), 1000) FROM pg_catalog.run_command_on_workers(pg_catalog.format(
	$$SELECT (SELECT count(*) FROM pg_catalog.pg_prepared_xacts WHERE database = current_database())
	       + (SELECT count(*) FROM pg_catalog.pg_class WHERE relname ~ '^(pgbulk|f_)')
	       + (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = current_database() AND application_name ~ '^citus_internal gpid=1[0-9]{10}$'
	           AND pg_catalog.right(application_name, 10)::int <> ALL (%L::int[]))$$,
	(SELECT pg_catalog.array_agg(pid) FROM pg_catalog.pg_stat_activity)))`

// endWorker ends the backends of one client on a worker.
func endWorker(b *bed) {
	node, err := b.sql("SELECT nodeport FROM pg_catalog.pg_dist_node WHERE groupid <> 0 ORDER BY random() LIMIT 1")
	if err == nil {
		_, err = b.sql(fmt.Sprintf(`SELECT pg_catalog.run_command_on_workers($$SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
			WHERE application_name ~ '^citus_internal gpid=1%010d$' AND pg_catalog.current_setting('port') = '%s'$$)`, b.backend(where{}), node[0][0]))
	}
	if err != nil {
		b.t.Errorf("end the backends of a worker: %v", err)
	}
}

// TestCitus: whatever ends at whatever point, no row is lost or doubled, and no node
// has anything left, with each of the ways in which rows go.
func TestCitus(t *testing.T) {
	for i, c := range []struct{ ack, method string }{{loaded, "external"}, {loaded, "copy"}, {staged, "external"}} {
		t.Run(c.ack+" "+c.method, func(t *testing.T) {
			o := options{ack: c.ack, kind: onCitus(c.method)}
			if c.ack == staged { // an import takes far longer than to stage: they must not pile up
				o.clients, o.most = 3, 10
			}
			b := newBed(t, o)
			some := slices.DeleteFunc(slices.Clone(points), func(p point) bool {
				return c.method == "copy" && (p == beforeExternal || p == atExternal || p == inInsert)
			})
			for _, r := range plan(i, some, []action{killProxy, endBackend, stopStore, endPart}) {
				b.round(r.point, r.action, r.round)
				if t.Failed() {
					return
				}
			}
		})
	}
}
