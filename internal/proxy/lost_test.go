package proxy

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgserver"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// createSlow is a table that takes its time over one row.
const createSlow = `CREATE FUNCTION slow(int) RETURNS bool LANGUAGE plpgsql AS
	$$BEGIN IF $1 = 7777 THEN PERFORM pg_catalog.pg_sleep(1.5); END IF; RETURN true; END$$;
	CREATE TABLE t (id int PRIMARY KEY CHECK (slow(id)), note text)`

// phase is a moment in the life of a COPY.
type phase struct {
	name     string
	held     bool // stage.min_bytes is not reached
	reach    func(b *bed, r *rawConn)
	staged   bool // the ledger has it
	complete bool // the client has sent all
}

func phases() []phase {
	began := func(_ *bed, r *rawConn) { r.startCopy(copyText) }
	sent := func(n int) func(*bed, *rawConn) {
		return func(b *bed, r *rawConn) {
			r.startCopy(copyText)
			r.data(textRows(n))
		}
	}
	return []phase{
		{"before data", false, began, false, false},
		{"held without data", true, began, false, false},
		{"held", true, sent(1000), false, false},
		{"staging", false, func(b *bed, r *rawConn) {
			sent(6000)(b, r)
			eventually(b.t, patience, func() string {
				if b.metric(b.t, "pgbulk_bytes_total", "leg", "store") == 0 {
					return "nothing is in the store"
				}
				return ""
			})
		}, true, false},
		{"loading", false, func(b *bed, r *rawConn) {
			sent(8000)(b, r)
			r.send([]byte{'c', 0, 0, 0, 4})
			c := b.direct()
			defer hangUp(c)
			eventually(b.t, patience, func() string {
				return must(b.t, c, `SELECT CASE WHEN count(*) = 0 THEN 'no load sleeps' ELSE '' END
					FROM pg_catalog.pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()`)
			})
		}, true, true},
	}
}

// nobodysRoute makes a pair of table t, of which none of the rows is the auxiliary
// table's, so that they are still to be found in t.
const nobodysRoute = `; CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL); CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
	INSERT INTO relyt_sys.t_relyt_routing VALUES ('nobody', 't_relyt_massive_group')`

// eachPhase runs a test in every phase, through external tables, through a COPY on
// the session, and through that of a routed table.
func eachPhase(t *testing.T, test func(b *bed, p phase, r *rawConn)) {
	pg := testenv.Postgres(t)
	for _, engine := range []string{"postgres", "plain", "routed"} {
		for _, p := range phases() {
			t.Run(engine+" "+p.name, func(t *testing.T) {
				t.Parallel()
				create := createSlow
				b := newPlainBed(t, pg, Options{}, func(c *config.Config) {
					if c.Engine = engine; engine == "routed" {
						c.Engine, c.Routing.Column = "postgres", "note"
						create += nobodysRoute
					}
					if p.held {
						c.Stage.MinBytes = mib
					}
				})
				install(t, pg, b.db)
				must(t, b.direct(), create)
				r := raw(t, b.proxied())
				p.reach(b, r)
				test(b, p, r)
				b.wantSwept()
			})
		}
	}
}

// wantUnlocked waits until nothing of the load holds the table, and demands
// that it has so many rows.
func (b *bed) wantUnlocked(rows string, within time.Duration) {
	b.t.Helper()
	c := b.direct()
	defer hangUp(c)
	eventually(b.t, within, func() string {
		return must(b.t, c, `SELECT coalesce(string_agg(format('%s holds %s', pid, mode), ', '), '')
			FROM pg_catalog.pg_locks WHERE relation = 't'::regclass`)
	})
	if got := must(b.t, c, "SELECT count(*) FROM t"); got != rows {
		b.t.Errorf("%s rows are there, want %s", got, rows)
	}
}

// TestClientLost: a client that goes away takes its COPY with it, at once.
func TestClientLost(t *testing.T) {
	t.Parallel()
	for way, leave := range map[string]func(r *rawConn){
		"reset": (*rawConn).reset,
		"close": func(r *rawConn) { _ = r.Close() },
		"half": func(r *rawConn) {
			if w, ok := r.Conn.(interface{ CloseWrite() error }); ok {
				_ = w.CloseWrite()
			}
		},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			eachPhase(t, func(b *bed, p phase, r *rawConn) {
				leave(r)
				if p.complete {
					// The server does not notice either before it answers.
					b.wantLedger(map[string]int{"COMPLETED": 1})
					b.wantUnlocked("8000", patience)
					return
				}
				// Natively it takes no time; the limit is below the timeouts of
				// the proxy, for a busy machine.
				b.wantUnlocked("0", 1500*time.Millisecond)
				if p.staged {
					b.wantLedger(map[string]int{"FAILED": 1})
				}
			})
		})
	}
}

// TestBackendTerminated: the client hears it in the server's words.
func TestBackendTerminated(t *testing.T) {
	t.Parallel()
	eachPhase(t, func(b *bed, p phase, r *rawConn) {
		must(b.t, b.direct(), fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d)", r.pid))
		_, e, err := r.until(isReady)
		if err == nil || e == nil || e.Code != "57P01" || e.Severity != "FATAL" || strings.Contains(e.Where, "pgbulk") {
			b.t.Errorf("%+v, %v", e, err)
		}
		b.wantUnlocked("0", patience)
		if p.staged {
			b.wantLedger(map[string]int{"FAILED": 1})
		}
	})
}

// TestServerCrashes: all sessions end, the proxy lives on.
func TestServerCrashes(t *testing.T) {
	t.Parallel()
	pg := testenv.PrivatePostgres(t, func(c *pgserver.Config) { c.Settings["synchronous_commit"] = "on" })
	b := newPlainBed(t, pg, Options{}, nil)
	install(t, pg, b.db)
	must(t, b.direct(), createT)
	r, other := raw(t, b.proxied()), raw(t, b.direct())
	r.startCopy(copyText)
	r.data(textRows(6000))
	if err := syscall.Kill(int(other.pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, e, err := r.until(isReady); err == nil || (e != nil && e.Code != "57P02") {
		t.Errorf("%+v, %v", e, err)
	}
	eventually(t, patience, func() string {
		c, err := tryConnect(b.pg.DSN(b.db, "postgres"))
		if err != nil {
			return err.Error()
		}
		hangUp(c)
		return ""
	})
	c := b.proxied()
	if got := must(t, c, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows are there", got)
	}
	if o := b.same(copyText, textRows(5000)); o.err != nil {
		t.Error(o)
	}
	b.wantSwept()
	eventually(t, patience, func() string {
		return must(t, b.direct(), "SELECT CASE WHEN count(*) FILTER (WHERE status = 'COMPLETED') = 1 THEN '' ELSE 'not completed' END FROM relyt_sys.relyt_loader_checkpoint")
	})
}

// TestDrain: a load under way may end while the proxy drains; what lasts longer
// is ended, and told so.
func TestDrain(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]bool{"ends": true, "lasts": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b *bed
			t.Cleanup(func() { b.wantSwept() }) // behind the proxy's own end
			b = newBed(t, Options{}, func(c *config.Config) {
				c.DrainTimeout, c.Sweep.Grace = time.Second, time.Hour
				if ends {
					c.DrainTimeout = patience // it ends with the session
				}
			})
			must(t, b.direct(), createT)
			r := raw(t, b.proxied())
			r.startCopy(copyText)
			rows := textRows(6000)
			r.data(rows[:len(rows)/2])
			b.stop()
			eventually(t, patience, func() string {
				if c, err := tryConnect(b.via()); err == nil {
					hangUp(c)
					return "new sessions are accepted"
				}
				return ""
			})
			want := "0"
			if ends {
				r.data(rows[len(rows)/2:])
				r.send([]byte{'c', 0, 0, 0, 4})
				if _, e, err := r.until(isReady); e != nil || err != nil {
					t.Errorf("%v %v", e, err)
				}
				want = strconv.Itoa(6000)
			} else if _, e, err := r.until(isReady); err == nil || e == nil || e.Code != "57P01" {
				t.Errorf("%+v %v", e, err)
			}
			_ = r.Close()
			if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != want {
				t.Errorf("%s rows, want %s", got, want)
			}
		})
	}
}
