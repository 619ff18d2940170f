package proxy

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

// reading puts an HTTP proxy in front of the store that calls bad for GETs of files.
func reading(t *testing.T, bad func(w http.ResponseWriter, r *http.Request)) Options {
	return at(storetest.Interpose(t, testenv.S3(t).Endpoint, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/0000") {
			bad(w, r)
			return
		}
		forward(w)
	}))
}

// TestRoutedStoreFails: whatever the store does, a load of a pair ends as it would
// into one table, its rows where they belong; only the line of an error may be
// missing, where the bytes for it can't be had.
func TestRoutedStoreFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		engine  string
		options func(t *testing.T) Options
	}{
		{"refuses", "postgres", func(*testing.T) Options { return at("http://127.0.0.1:1") }},
		{"503", "plain", func(t *testing.T) Options { return interposed(t, 0, status(503)) }},
		{"file 2 hangs", "postgres", func(t *testing.T) Options {
			return interposed(t, 2, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, 1000))
				storetest.Hang(r)
			})
		}},
		{"file 3 is cut", "plain", func(t *testing.T) Options {
			return interposed(t, 3, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, 1000))
				storetest.Cut()
			})
		}},
		{"reading fails", "postgres", func(t *testing.T) Options { return reading(t, status(500)) }},
		{"reading hangs", "plain", func(t *testing.T) Options {
			return reading(t, func(_ http.ResponseWriter, r *http.Request) { storetest.Hang(r) })
		}},
		{"slow", "postgres", func(t *testing.T) Options {
			return Options{Store: func(c *store.Config) { c.Endpoint = slowly(t, "latency", `{"latency": 40}`) }}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			loadsAnyway(t, test.engine, test.options(t))
		})
	}
}

// loadsAnyway has a store that is put up by o, which may fail, and rest then, take
// loads and a bad row, in a block and outside.
func loadsAnyway(t *testing.T, engine string, o Options) {
	b := newBed(t, o, func(c *config.Config) { c.Engine, c.Insert.StageBytes, c.Breaker.Failures = engine, 0, 1 })
	c := b.pair(t, routedT)
	for i, block := range []string{"", "BEGIN"} {
		must(t, c, block)
		if o := copyIn(c, fromStdin, strings.NewReader(routedRows(20000*i, 8000))); o.tag != "COPY 8000" {
			t.Errorf("COPY: %s", o)
		}
		if tag := insertRouted(t, c, 20000*i+10000, 3000); tag != "INSERT 0 3000" {
			t.Error(tag)
		}
		must(t, c, strings.Replace(block, "BEGIN", "COMMIT", 1))
		must(t, c, block)
		if o := copyIn(c, fromStdin, strings.NewReader(routedRows(20000*i+14000, 4000)+"-1\tb\tforbidden\n")); o.err == nil || o.err.Code != "23514" || o.err.TableName != "t_relyt_massive_group" {
			t.Errorf("COPY of a bad row: %s", o)
		}
		if status := map[string]byte{"": 'I', "BEGIN": 'E'}[block]; c.TxStatus() != status {
			t.Errorf("status %c", c.TxStatus())
		}
		must(t, c, strings.Replace(block, "BEGIN", "ROLLBACK", 1))
	}
	admin := b.direct()
	if got := must(t, admin, misplaced); got != "0" {
		t.Errorf("%s rows are misplaced", got)
	}
	if got := must(t, admin, "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM t_relyt_massive_group)"); got != "14667 7333" {
		t.Errorf("rows: %s", got)
	}
	hangUp(c)
	b.wantNothingLeft()
}

// insertRouted inserts n rows from number from on, as routedRows has them, and
// returns the tag or the error.
func insertRouted(t *testing.T, c *pgconn.PgConn, from, n int) string {
	t.Helper()
	sql := generate(n, func(i int) string {
		return ", (" + strconv.Itoa(from+i) + ", " + []string{"'a'", "'b'", "'m'", "NULL", `'it''s "\'`, "'b '"}[(from+i)%6] + ", 'a note')"
	})
	results, err := c.Exec(t.Context(), "INSERT INTO t (id, group_id, note) VALUES "+string(sql[2:])).ReadAll()
	if err != nil {
		return err.Error()
	}
	return results[0].CommandTag.String()
}

// TestRoutedImportStoreFails: a load that was acknowledged when staged is imported
// once the store gives its files back, each row where its route says by then.
func TestRoutedImportStoreFails(t *testing.T) {
	t.Parallel()
	var gets atomic.Int32
	o := at(storetest.Interpose(t, testenv.S3(t).Endpoint, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/00002.") && gets.Add(1) < 5 {
			status(http.StatusForbidden)(w, r)
			return
		}
		forward(w)
	}))
	b := newStagedBed(t, o, nil)
	c, admin := b.pair(t, routedT), b.direct()
	must(t, c, setStaged+"; BEGIN")
	if o := copyIn(c, fromStdin, strings.NewReader(routedRows(0, 8000))); o.tag != "COPY 8000" {
		t.Fatal(o)
	}
	must(t, admin, "UPDATE relyt_sys.t_relyt_routing SET store_table_name = 't' WHERE routing_id = 'b'")
	must(t, c, "COMMIT")
	must(t, c, flush)
	if got := must(t, admin, misplaced); got != "0" || gets.Load() < 5 {
		t.Errorf("%s rows are misplaced, %d tries", got, gets.Load())
	}
	if got := must(t, admin, "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM t_relyt_massive_group)"); got != "6667 1333" {
		t.Errorf("rows: %s", got)
	}
	b.wantLedger(map[string]int{"COMPLETED": 1})
	hangUp(c)
	b.wantNothingLeft()
}
