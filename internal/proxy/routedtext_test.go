package proxy

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// TestRoutedWrapped: an INSERT inside of PREPARE, EXPLAIN ANALYZE or MERGE is not
// put into the wrong table, by either protocol; PREPARE is refused without routes,
// too, since they may come before its EXECUTE.
func TestRoutedWrapped(t *testing.T) {
	t.Parallel()
	for _, reads := range []bool{false, true} {
		b := knownBed(t, time.Second, func(c *config.Config) { c.Routing.Reads = reads })
		direct := b.direct()
		must(t, direct, knownPair+"; CREATE TABLE u (LIKE t)")
		if err := awaitSeen(t.Context(), b.pg.Connect(t, b.db, "postgres"), "t"); err != nil {
			t.Fatal(err)
		}
		const prepare = "PREPARE p AS INSERT INTO t VALUES ($1, $2)"
		explain, merge := "EXPLAIN (ANALYZE, COSTS off) INSERT INTO t VALUES (1, 'b')", "MERGE INTO t USING u ON t.id = u.id WHEN NOT MATCHED THEN INSERT VALUES (1, 'b')"
		for _, routes := range []bool{true, false} {
			if !routes {
				must(t, direct, "DELETE FROM relyt_sys.t_relyt_routing")
			}
			for _, test := range []struct {
				sql     string
				refused bool
			}{
				{prepare, true},
				{"/* x */ " + prepare + "; EXECUTE p(1, 'b')", true},
				{"SELECT 1; " + prepare, true},
				{explain, routes},
				{merge, routes},
				{"WITH x AS (SELECT 1) INSERT INTO t SELECT 1, 'a' FROM x", false},
				{"EXPLAIN INSERT INTO t VALUES (1, 'b')", false},
				{"PREPARE s AS SELECT 'insert' FROM t", false},
				{"PREPARE u AS INSERT INTO u VALUES (1, 't')", false},
			} {
				for _, extended := range []bool{false, true} {
					refused := test.refused
					if test.sql == merge && b.pg.Version() < 150000 {
						continue // it has no MERGE
					}
					if extended && test.refused && test.sql != prepare && test.sql != explain && test.sql != merge {
						continue
					}
					c := b.proxied()
					_, err := rowsOf(c, test.sql)
					if extended {
						_, err = b.proxied().ExecParams(t.Context(), test.sql, nil, nil, nil, nil).Close()
					}
					var e *pgconn.PgError
					if errors.As(err, &e); refused != (e != nil && e.Code == "0A000" && e.Hint != "") || err != nil && e == nil || !refused && err != nil {
						t.Errorf("%s (reads %t, routes %t, extended %t): %v", test.sql, reads, routes, extended, err)
					}
				}
			}
			if got := must(t, direct, "SELECT count(*) FROM t WHERE group_id = 'b'"); routes && got != "0" {
				t.Errorf("reads %t: %s rows of the auxiliary table's lie in the main one", reads, got)
			}
		}
	}
}

// TestRoutedExecuted: EXECUTE of an INSERT that was prepared before its table was
// routed, by SQL or by a Parse, is refused while groups have a route, and runs in the
// transaction that holds the lock while none has; other EXECUTEs go on.
func TestRoutedExecuted(t *testing.T) {
	t.Parallel()
	for _, reads := range []bool{false, true} {
		b := knownBed(t, time.Second, func(c *config.Config) { c.Routing.Reads = reads })
		direct, c := b.direct(), b.proxied()
		must(t, direct, "CREATE TABLE u (LIKE t)")
		must(t, c, `PREPARE "P p" (int, text) AS INSERT INTO t VALUES ($1, $2)`)
		must(t, c, "PREPARE u (int) AS INSERT INTO u VALUES ($1, 't'); PREPARE s AS SELECT count(*) FROM u; PREPARE w AS WITH x AS (INSERT INTO t VALUES (3, 'b') RETURNING 1) SELECT * FROM x")
		if _, err := c.Prepare(t.Context(), "parsed", "INSERT INTO t VALUES (1, 'b')", nil); err != nil {
			t.Fatal(err)
		}
		must(t, c, "EXECUTE parsed; TRUNCATE t")
		must(t, direct, knownPair)
		if err := awaitSeen(t.Context(), b.pg.Connect(t, b.db, "postgres"), "t"); err != nil {
			t.Fatal(err)
		}
		for _, routes := range []bool{true, false} {
			if !routes {
				must(t, direct, "DELETE FROM relyt_sys.t_relyt_routing")
			}
			for _, test := range []struct {
				sql     string
				refused bool
			}{
				{`EXECUTE "P p" (1, 'b')`, routes}, {"/* x */ execute parsed", routes}, {"EXECUTE w", routes},
				{"EXPLAIN (ANALYZE, COSTS off) EXECUTE parsed", routes}, {`EXECUTE u (1); EXECUTE "P p" (1, 'b')`, routes},
				{"EXECUTE u (1)", false}, {"EXECUTE s", false}, {"SELECT 1; EXECUTE u (2)", false},
			} {
				for _, block := range []string{"SELECT", "BEGIN"} {
					must(t, c, block)
					_, err := rowsOf(c, test.sql)
					var e *pgconn.PgError
					if errors.As(err, &e); test.refused != (e != nil && e.Code == "0A000" && e.Hint != "") || err != nil && !test.refused {
						t.Errorf("%s (reads %t, routes %t, %s): %v", test.sql, reads, routes, block, err)
					}
					must(t, c, "ROLLBACK")
				}
			}
			exec(t, c, "EXECUTE nix", "26000")
			if got := must(t, direct, "SELECT count(*) FROM t WHERE group_id = 'b'"); routes && got != "0" || !routes && got != "5" {
				t.Errorf("reads %t, routes %t: %s rows are in the main table", reads, routes, got)
			}
		}
	}
}
