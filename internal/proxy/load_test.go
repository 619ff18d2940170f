package proxy

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestManySessions: many COPYs at once, into one table and into several, half
// of them rolled back. Nothing is lost, doubled or left behind.
func TestManySessions(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"postgres", "plain"} {
		t.Run(engine, func(t *testing.T) {
			size := 5 * mib
			if testing.Short() || engine == "plain" {
				size = mib / 2
			}
			b := newBed(t, Options{}, func(c *config.Config) { c.Engine, c.Stage.FileBytes = engine, mib })
			const sessions = 30
			admin := b.direct()
			must(t, admin, "CREATE UNLOGGED TABLE t (worker int, id int, note text)")
			for i := range sessions / 3 {
				must(t, admin, fmt.Sprintf("CREATE UNLOGGED TABLE t%d (LIKE t)", i))
			}
			conns := make([]*pgconn.PgConn, sessions)
			for i := range conns {
				conns[i] = b.proxied()
			}
			const note = "a row of a worker, as long as rows are in many tables of many databases, a hundred bytes or so\n"
			rows := size / len(note)
			var wg sync.WaitGroup
			for i, c := range conns {
				wg.Go(func() {
					table := "t"
					if i%3 == 0 {
						table = fmt.Sprintf("t%d", i/3)
					}
					data := generate(rows, func(n int) string { return fmt.Sprintf("%d\t%d\t%s", i, n, note) })
					must(t, c, "BEGIN")
					if o := copyIn(c, "COPY "+table+" FROM STDIN", bytes.NewReader(data)); o.tag != fmt.Sprintf("COPY %d", rows) {
						t.Errorf("session %d: %s", i, o)
					}
					must(t, c, []string{"COMMIT", "ROLLBACK"}[i%2])
				})
			}
			wg.Wait()
			want := fmt.Sprintf("10 %d %d", 10*rows, 10*rows) // of 20 that go into it
			if got := must(t, admin, "SELECT concat_ws(' ', count(DISTINCT worker), count(*), count(DISTINCT (worker, id))) FROM t"); got != want {
				t.Errorf("the shared table has %s, want %s", got, want)
			}
			for i := range sessions / 3 {
				want := rows
				if 3*i%2 == 1 {
					want = 0
				}
				if got := must(t, admin, fmt.Sprintf("SELECT count(*) FROM t%d", i)); got != fmt.Sprint(want) {
					t.Errorf("table %d has %s rows, want %d", i, got, want)
				}
			}
			b.wantMetric(sessions, "pgbulk_loads_total", "result", "ok")
			b.wantMetric(float64(sessions*rows), "pgbulk_rows_total")
			b.wantMetric(0, "pgbulk_ledger_errors_total")
			b.wantLedger(map[string]int{"COMPLETED": sessions / 2, "CANCELLED": sessions / 2})
			b.wantSwept()
		})
	}
}

// TestTransactions: staged rows share the fate of the client's transaction.
func TestTransactions(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"postgres", "plain"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) { c.Engine = engine })
			must(t, b.direct(), createT)
			data := textRows(5000)
			for _, c := range []struct{ before, after string }{
				{"BEGIN", "COMMIT"},
				{"BEGIN", "ROLLBACK"},
				{"BEGIN; SAVEPOINT pgbulkproxy; INSERT INTO t VALUES (-1)", "RELEASE pgbulkproxy; COMMIT"},
				{"BEGIN; INSERT INTO t VALUES (-1); SAVEPOINT a; INSERT INTO t VALUES (-2); SAVEPOINT b", "ROLLBACK TO b; COMMIT"},
				{"BEGIN; INSERT INTO t VALUES (-1); SAVEPOINT a; INSERT INTO t VALUES (-2); SAVEPOINT b", "ROLLBACK TO a; COMMIT"},
				{"BEGIN ISOLATION LEVEL SERIALIZABLE", "COMMIT"},
				{"SET default_transaction_isolation = 'repeatable read'", ""},
				{"BEGIN; SAVEPOINT a", "ROLLBACK TO a; RELEASE a; COMMIT AND CHAIN; COMMIT"},
			} {
				b.sameIn(copyText, data, c.before, c.after)
			}
			b.testPrepared(engine)
			// A failed transaction stays failed.
			b.sameIn(copyText, append(bytes.Clone(data), "bad\n"...), "BEGIN", "ROLLBACK")
			b.sameIn(copyText, append(bytes.Clone(data), "bad\n"...), "BEGIN; SAVEPOINT a", "ROLLBACK TO a; INSERT INTO t VALUES (1); COMMIT")
			b.wantSwept()
		})
	}
}

// testPrepared loads in transactions that are prepared.
func (b *bed) testPrepared(name string) {
	b.t.Helper()
	c := b.proxied()
	for end, want := range map[string]string{"COMMIT": "5000", "ROLLBACK": "0"} {
		must(b.t, c, "TRUNCATE t")
		must(b.t, c, "BEGIN")
		if o := copyIn(c, copyText, bytes.NewReader(textRows(5000))); o.tag != "COPY 5000" {
			b.t.Error(o)
		}
		must(b.t, c, "PREPARE TRANSACTION '"+name+end+"'")
		must(b.t, c, end+" PREPARED '"+name+end+"'")
		if got := must(b.t, c, "SELECT count(*) FROM t"); got != want {
			b.t.Errorf("%s PREPARED leaves %s rows, want %s", end, got, want)
		}
	}
}

// TestModeOff: a client can do without.
func TestModeOff(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	must(t, b.direct(), createT)
	c := b.connect(b.via() + " options='-c pgbulk.mode=off'")
	if o := copyIn(c, copyText, bytes.NewReader(textRows(5000))); o.tag != "COPY 5000" {
		t.Error(o)
	}
	b.wantMetric(1, "pgbulk_statements_total", "kind", "copy", "decision", "pass", "reason", "mode_off")
	must(t, c, "TRUNCATE t; SET pgbulk.mode = auto")
	if o := copyIn(c, copyText, bytes.NewReader(textRows(5000))); o.tag != "COPY 5000" {
		t.Error(o)
	}
	b.wantMetric(1, "pgbulk_loads_total", "engine", "postgres", "result", "ok")
	b.wantSwept()
}

// TestNotInstalled: a database without pgbulkproxy is loaded by COPY, with the rows in
// S3 beside it where that is asked for.
func TestNotInstalled(t *testing.T) {
	t.Parallel()
	b := newPlainBed(t, testenv.Postgres(t), Options{}, keeping)
	must(t, b.direct(), createT)
	b.same(copyText, textRows(5000))
	b.same(copyText, append(textRows(5000), "bad\n"...))
	b.wantMetric(2, "pgbulk_statements_total", "decision", "stage", "reason", "not_installed")
	b.wantMetric(1, "pgbulk_loads_total", "engine", "plain", "result", "ok")
	b.wantMetric(1, "pgbulk_loads_total", "engine", "plain", "result", "error")
	b.wantSwept()
}

// TestAutoInstall: the first load installs, later ones use it.
func TestAutoInstall(t *testing.T) {
	t.Parallel()
	b := newPlainBed(t, testenv.Postgres(t), Options{}, func(c *config.Config) { c.AutoInstall = true })
	must(t, b.direct(), createT)
	b.same(copyText, textRows(5000))
	b.wantMetric(1, "pgbulk_statements_total", "decision", "pass", "reason", "not_installed")
	b.same(copyText, textRows(5000))
	b.wantMetric(1, "pgbulk_loads_total", "engine", "postgres", "result", "ok")
	b.wantLedger(map[string]int{"COMPLETED": 1})
	b.wantSwept()
}
