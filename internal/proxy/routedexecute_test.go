package proxy

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// extendedQuery sends a statement by the extended protocol, by the name of one that
// was parsed or as a new one, in front of it what stands in the pipeline.
func extendedQuery(t *testing.T, r *rawConn, name, sql string, pipelined ...string) *pgconn.PgError {
	t.Helper()
	for _, before := range pipelined {
		r.fe.Send(&pgproto3.Parse{Query: before})
		r.fe.Send(&pgproto3.Bind{})
		r.fe.Send(&pgproto3.Execute{})
	}
	if sql != "" {
		r.fe.Send(&pgproto3.Parse{Name: name, Query: sql})
	}
	r.fe.Send(&pgproto3.Bind{PreparedStatement: name})
	r.fe.Send(&pgproto3.Execute{})
	r.fe.Send(&pgproto3.Sync{})
	if err := r.fe.Flush(); err != nil {
		t.Fatal(err)
	}
	_, e, err := r.until(isReady)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// behindPipeline sends a Query behind a pipeline without a Sync, which is refused.
func behindPipeline(t *testing.T, r *rawConn, sql string) {
	t.Helper()
	r.fe.Send(&pgproto3.Parse{Query: "SELECT 1"})
	r.fe.Send(&pgproto3.Bind{})
	r.fe.Send(&pgproto3.Execute{})
	r.fe.Send(&pgproto3.Query{String: sql})
	if err := r.fe.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, e, err := r.until(isReady); err != nil || e == nil || e.Code != "0A000" {
		t.Errorf("%s behind a pipeline: %v, %v", sql, e, err)
	}
}

// TestRoutedExecutedExtended: EXECUTE by the extended protocol of an INSERT that was
// prepared before its table was routed puts no row into the wrong table, whenever it
// was parsed itself, and is refused only while groups have a route.
func TestRoutedExecutedExtended(t *testing.T) {
	t.Parallel()
	for _, reads := range []bool{false, true} {
		b := knownBed(t, time.Second, func(c *config.Config) { c.Routing.Reads = reads })
		direct, c := b.direct(), b.proxied()
		must(t, direct, "CREATE TABLE u (LIKE t)")
		must(t, c, `SELECT 1; PREPARE p AS INSERT INTO t VALUES (1, 'b'); PREPARE v (int) AS INSERT INTO t VALUES ($1, 'b')`)
		must(t, c, "PREPARE u AS INSERT INTO u VALUES (1, 't'); INSERT INTO t VALUES (0, 'a'); PREPARE s AS SELECT count(*) FROM u")
		for name, sql := range map[string]string{"early": "EXECUTE p", "explained": "EXPLAIN (ANALYZE, COSTS off) EXECUTE p", "other": "EXECUTE u", "nested": "EXECUTE early", "gone": "EXECUTE nix"} {
			if _, err := c.Prepare(t.Context(), name, sql, nil); err != nil {
				t.Fatal(err)
			}
		}
		must(t, c, "EXECUTE early; EXECUTE u; TRUNCATE t, u")
		must(t, direct, knownPair)
		if err := awaitSeen(t.Context(), b.pg.Connect(t, b.db, "postgres"), "t"); err != nil {
			t.Fatal(err)
		}
		r := raw(t, c)
		for _, routes := range []bool{true, false} {
			if !routes {
				must(t, direct, "DELETE FROM relyt_sys.t_relyt_routing")
			}
			for _, test := range []struct {
				name, sql string
				refused   bool
			}{
				{"", "EXECUTE p", true}, {"", "/* x */ execute v(3)", true}, {"early", "", true}, {"explained", "", true}, {"nested", "", true},
				{"", "EXPLAIN ANALYZE EXECUTE v(3)", true}, {"late", "EXECUTE early", true}, {"p", "", true},
				{"", "EXECUTE u", false}, {"other", "", false}, {"", "EXECUTE s", false},
			} {
				for _, pipelined := range [][]string{nil, {"SELECT 1"}, {"BEGIN"}} {
					refused := test.refused && routes
					e := extendedQuery(t, r, test.name, test.sql, pipelined...)
					if refused != (e != nil && e.Code == "0A000" && e.Hint != "") || e != nil && !refused {
						t.Errorf("%+v behind %v (reads %t, routes %t): %+v", test, pipelined, reads, routes, e)
					}
					if pipelined != nil {
						extendedQuery(t, r, "", "ROLLBACK")
					}
					extendedQuery(t, r, "", "DEALLOCATE late")
				}
			}
			behindPipeline(t, r, "EXECUTE early")
			if e := extendedQuery(t, r, "gone", ""); e == nil || e.Code != "26000" {
				t.Errorf("EXECUTE of what is not there: %+v", e)
			}
			// Of those that are done two of three are not rolled back.
			if got := must(t, direct, "SELECT count(*) FROM t"); routes && got != "0" || !routes && got != "16" {
				t.Errorf("reads %t, routes %t: %s rows are in the main table", reads, routes, got)
			}
		}
	}
}

// TestRoutedExecutedPortal: whoever waits for the proxies waits for a portal, too,
// whose EXECUTE finds its table only when it runs; and what SQL prepares anew under a
// name is looked at again.
func TestRoutedExecutedPortal(t *testing.T) {
	t.Parallel()
	b := knownBed(t, time.Second, nil)
	direct, c := b.direct(), b.proxied()
	must(t, direct, "CREATE TABLE u (LIKE t)")
	must(t, c, "PREPARE p AS INSERT INTO u VALUES (1, 'b')")
	if _, err := c.Prepare(t.Context(), "s", "EXECUTE p", nil); err != nil {
		t.Fatal(err)
	}
	must(t, c, "DISCARD ALL")
	must(t, c, "PREPARE p AS INSERT INTO t VALUES (1, 'b')")
	r := raw(t, c)
	extendedQuery(t, r, "", "BEGIN")
	r.fe.Send(&pgproto3.Parse{Name: "s", Query: "EXECUTE p"})
	r.fe.Send(&pgproto3.Bind{DestinationPortal: "x", PreparedStatement: "s"})
	sync := func() {
		t.Helper()
		r.fe.Send(&pgproto3.Sync{})
		if err := r.fe.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, e, err := r.until(isReady); e != nil || err != nil {
			t.Fatal(e, err)
		}
	}
	sync()
	must(t, direct, "CREATE SCHEMA IF NOT EXISTS relyt_sys; CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL)")
	if err := awaitSeenFor(t.Context(), b.pg.Connect(t, b.db, "postgres"), "t", 2*time.Second); err == nil {
		t.Error("the proxy says to know the table while a portal may insert into it")
	}
	r.fe.Send(&pgproto3.Execute{Portal: "x"})
	sync()
	extendedQuery(t, r, "", "COMMIT")
	must(t, direct, "CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL); INSERT INTO relyt_sys.t_relyt_routing VALUES ('b', 't_relyt_massive_group')")
	if err := awaitSeen(t.Context(), b.pg.Connect(t, b.db, "postgres"), "t"); err != nil {
		t.Fatal(err)
	}
	if e := extendedQuery(t, r, "s", ""); e == nil || e.Code != "0A000" {
		t.Errorf("EXECUTE: %v", e)
	}
	if e := extendedQuery(t, r, "", "DEALLOCATE p"); e != nil {
		t.Error(e)
	}
	extendedQuery(t, r, "", "PREPARE p AS INSERT INTO u VALUES (1, 'b')")
	if e := extendedQuery(t, r, "s", ""); e != nil {
		t.Error(e)
	}
	if got := must(t, direct, "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM u)"); got != "1 1" {
		t.Errorf("rows in both tables: %s", got)
	}
}
