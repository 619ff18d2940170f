package proxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// createInserts are the tables of the tests below, each with what makes a
// difference to INSERTs.
const createInserts = createT + `;
	CREATE TABLE plain (a int, b text, c numeric(8,2), d timestamptz);
	CREATE TABLE numbered (id serial PRIMARY KEY, b text); CREATE TABLE always (i int GENERATED ALWAYS AS IDENTITY, b text);
	CREATE TABLE arrays (a int[], b text); CREATE TABLE coded (a int CHECK (a < own())); CREATE TABLE speaking (a int); CREATE TABLE ruled (a int);
	CREATE TABLE parted (a int, b text) PARTITION BY RANGE (a); CREATE TABLE parted1 PARTITION OF parted DEFAULT;
	CREATE VIEW seen AS SELECT * FROM plain; CREATE RULE r AS ON INSERT TO ruled DO ALSO NOTHING;
	CREATE TRIGGER g BEFORE INSERT ON speaking FOR EACH ROW EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger();
	ALTER TABLE speaking DISABLE TRIGGER g; ALTER TABLE speaking ENABLE ALWAYS TRIGGER g`

const createOwn = `CREATE FUNCTION own() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1000'`

// exec runs a simple query, and demands that it ends well or with a SQLSTATE.
func exec(t testing.TB, c *pgconn.PgConn, sql, code string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), copyLimit)
	defer cancel()
	_, err := c.Exec(ctx, sql).ReadAll()
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == code || err == nil && code == "" {
		return
	}
	t.Errorf("%.200s: %v, want %q", sql, err, code)
}

// decision is where a statement has to go.
type decision struct {
	before, sql, code string // before is run first, in the same session
	way, reason       string
}

// inserts are typical statements. What the server refuses has its SQLSTATE.
// Whether there are many rows is asked first, so the rows that can't be read
// stand behind two that can.
func inserts() []decision {
	return []decision{
		{"", "INSERT INTO plain VALUES (1, 'a', 1.5, '2020-01-01'), (2, NULL, 2, NULL)", "", "stream", "rows"},
		{"", "INSERT INTO public.plain AS p (b, a) VALUES ('a', 1), (E'b\\n', -2), ($$c$$, '3'), ('d'::text, NULL);", "", "stream", "rows"},
		{"", "/* c */ insert into numbered (b) values ('a'), ('b') -- c", "", "stream", "rows"},
		{"", "INSERT INTO parted VALUES (1, 'a'), (2, 'b')", "", "stream", "rows"},
		{"", "INSERT INTO arrays VALUES ('{1,2}', 'a'), ('{}', 'b')", "", "stream", "rows"},
		{"", "INSERT INTO always OVERRIDING SYSTEM VALUE VALUES (1, 'a'), (2, 'b')", "", "stream", "rows"},
		{"CREATE TEMP TABLE tmp (a int)", "INSERT INTO tmp VALUES (1), (2)", "", "stream", "rows"},
		{"BEGIN", "INSERT INTO plain (a) VALUES (1), (2)", "", "stream", "rows"},
		{"", "INSERT INTO numbered (b) VALUES ('a'), ('b') RETURNING id", "", "stream", "arrays"},
		{"", "INSERT INTO t (id, note) VALUES (1, 'a'), (2, 'b') ON CONFLICT DO NOTHING", "", "stream", "arrays"},
		{"", "INSERT INTO t AS x VALUES (1, 'a'), (2, 'b') ON CONFLICT (id) DO UPDATE SET note = x.note || excluded.note RETURNING *", "", "stream", "arrays"},
		{"", "INSERT INTO coded VALUES (1), (2)", "", "stream", "arrays"},
		{"BEGIN", "INSERT INTO parted VALUES (1, 'a'), (2, 'b') RETURNING tableoid", "", "stream", "arrays"},

		{"", "INSERT INTO plain (a) VALUES (1)", "", "pass", "small"},
		{"", "INSERT INTO plain (a) VALUES (1), (2), (1 + 1)", "", "pass", "expression"},
		{"", "INSERT INTO plain (a) VALUES (1), (DEFAULT)", "", "pass", "default_cell"},
		{"", "INSERT INTO plain (b) VALUES ('a'), ('b'), (X'1F')", "", "pass", "string_form"},
		{"", "INSERT INTO plain (b) VALUES ('a'), ('b'), (U&'a')", "", "pass", "string_form"},
		{"", "INSERT INTO plain (b) VALUES ('1'::int), ('2')", "", "pass", "insert_cast"},
		{"", "INSERT INTO plain (d) VALUES ('epoch'), (true)", "42804", "pass", "insert_constant"},
		{"", "INSERT INTO plain (a) VALUES (1), (2), (2, 3)", "42601", "pass", "row_length"},
		{"", "INSERT INTO plain (a, a) VALUES (1, 2), (3, 4)", "42701", "pass", "bad_column"},
		{"", "INSERT INTO plain (nope) VALUES (1), (2)", "42703", "pass", "bad_column"},
		{"", "INSERT INTO nope VALUES (1), (2)", "42P01", "pass", "inspect_failed"},
		{"", "INSERT INTO seen (a) VALUES (1), (2)", "", "pass", "not_a_table"},
		{"", "INSERT INTO ruled VALUES (1), (2)", "", "pass", "rules"},
		{"", "INSERT INTO speaking VALUES (1), (2)", "39P01", "pass", "triggers"},
		{"", "INSERT INTO always VALUES (1, 'a'), (2, 'b')", "428C9", "pass", "identity_always"},
		{"", "INSERT INTO always OVERRIDING USER VALUE VALUES (1, 'a'), (2, 'b')", "", "pass", "overriding_user"},
		{"", "INSERT INTO arrays VALUES ('{1,2}', 'a'), ('{}', 'b') RETURNING b", "", "pass", "no_arrays"},
		{"", "INSERT INTO arrays (a[1]) VALUES (1), (2)", "", "pass", "indirection"},
		{"SET array_nulls = off", "INSERT INTO numbered (b) VALUES ('a'), ('b') RETURNING id", "", "pass", "no_arrays"},
		{"SET pgbulk.mode = off", "INSERT INTO plain (a) VALUES (1), (2)", "", "pass", "mode_off"},
		{"SET default_transaction_read_only = on", "INSERT INTO plain (a) VALUES (1), (2)", "25006", "pass", "read_only"},
		{"BEGIN ISOLATION LEVEL REPEATABLE READ", "INSERT INTO plain (a) VALUES (1), (2)", "", "pass", "old_snapshot"},
		{"SET standard_conforming_strings = off; SET escape_string_warning = off", `INSERT INTO plain (b) VALUES ('c'), ('d'), ('a\\b')`, "", "pass", "string_syntax"},
		{"SET client_encoding = SJIS", "INSERT INTO plain (b) VALUES ('a'), ('b')", "", "pass", "small"},
		{"", "INSERT INTO plain (a) VALUES (1), (2); SELECT 1", "", "pass", "multi_statement"},
		{"", "INSERT INTO t VALUES (7, 'a'), (7, 'b')", "23505", "pass", "native_replay"},
	}
}

// TestInsertDecisions: what is taken, and for what reason the rest is not.
func TestInsertDecisions(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	must(t, b.direct(), createOwn)
	must(t, b.direct(), createInserts)
	for _, d := range inserts() {
		t.Run(d.sql, func(t *testing.T) {
			c := b.proxied()
			defer hangUp(c)
			if d.before != "" {
				exec(t, c, d.before, "")
			}
			was := b.decisions(t)
			labels := []string{"kind", "insert", "decision", d.way, "reason", d.reason}
			n, all := b.metric(t, "pgbulk_statements_total", labels...), b.metric(t, "pgbulk_statements_total")
			exec(t, c, d.sql, d.code)
			n, all = b.metric(t, "pgbulk_statements_total", labels...)-n, b.metric(t, "pgbulk_statements_total")-all
			if n != 1 || all != 1 {
				t.Errorf("not %s %s, before:\n%s\nafter:\n%s", d.way, d.reason, was, b.decisions(t))
			}
		})
	}
}

// literals is an INSERT into t of n rows from a number on, of some size each.
func literals(from, n, size int) string {
	var s strings.Builder
	s.Grow(n * (size + 20))
	s.WriteString("INSERT INTO t (id, note) VALUES ")
	for i := range n {
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "(%d, '%0*d')", from+i, size, i)
	}
	return s.String()
}

// TestInsertLong: statements of many rows, and of long values.
func TestInsertLong(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	direct, proxied := start(t, pg, Options{}, nil).at.Targets(pg)
	o := pgtest.Options{Prepare: func(t testing.TB, db string) { install(t, pg, db) }}
	var script strings.Builder
	script.WriteString("setup\n\t" + createT + "\ncase long\n")
	for _, sql := range []string{
		literals(0, 5000, 10), literals(5000, 3, 1<<20), literals(6000, 5000, 5) + " ON CONFLICT DO NOTHING", literals(6000, 5000, 5),
		literals(12000, 2000, 5) + " RETURNING id", literals(0, 3, 1<<20) + " ON CONFLICT (id) DO UPDATE SET note = excluded.note RETURNING length(t.note)",
		"BEGIN", literals(20000, 5000, 100), literals(30000, 5000, 100), "COMMIT",
		"SELECT count(*), sum(length(note)), md5(string_agg(note, ',' ORDER BY id)) FROM t",
	} {
		script.WriteString("query " + sql + "\n")
	}
	path := filepath.Join(t.TempDir(), "long.txt")
	if err := os.WriteFile(path, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("script", func(t *testing.T) { pgtest.Diff(t, path, direct, proxied, o) })
}

// TestInsertVeryLong: 20 MB in one statement, in a block and outside, through
// the session and through the store.
func TestInsertVeryLong(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"session": func(c *config.Config) { c.Stage.MinBytes = 1 << 30 },
		"store":   func(c *config.Config) { c.Stage.FileBytes = 4 * mib },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, Options{}, change)
			must(t, b.direct(), createT)
			sql := literals(0, 20000, 1000)
			c := b.proxied()
			must(t, c, sql)
			want := must(t, c, fingerprint)
			if got := must(t, c, "SELECT count(*) || ' ' || sum(note::int) FROM t"); got != "20000 199990000" {
				t.Errorf("rows and sum are %s", got)
			}
			exec(t, c, sql, "23505")
			must(t, c, "TRUNCATE t")
			must(t, c, "BEGIN")
			must(t, c, sql)
			if got := must(t, c, fingerprint); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			must(t, c, "ROLLBACK")
			if got := must(t, c, "SELECT count(*) FROM t"); got != "0" {
				t.Errorf("%s rows behind a rollback", got)
			}
			if n := b.metric(t, "pgbulk_statements_total", "kind", "insert", "decision", "pass"); n != 1 {
				t.Errorf("%v passed, want only the duplicate: %s", n, b.decisions(t))
			}
		})
	}
}

// TestInsertMemory: what finds no memory is relayed.
func TestInsertMemory(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, smallMemory(false))
	must(t, b.direct(), createT)
	c := b.proxied()
	must(t, c, literals(0, 100, 50))
	must(t, c, literals(1000, 60000, 90)) // twice its size is more than there is
	b.wantMetric(1, "pgbulk_statements_total", "kind", "insert", "decision", "pass", "reason", "memory")
	b.wantMetric(1, "pgbulk_statements_total", "kind", "insert", "decision", "stream", "reason", "rows")
	must(t, c, literals(100, 100, 50))
	b.wantMetric(2, "pgbulk_statements_total", "kind", "insert", "decision", "stream", "reason", "rows")
	if got := must(t, c, "SELECT count(*) FROM t"); got != "60200" {
		t.Errorf("%s rows", got)
	}
}

// TestInsertSessions: many sessions at once, each of which rolls back every
// other time, and fails in between.
func TestInsertSessions(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.DrainTimeout = 10 * time.Second })
	must(t, b.direct(), createT)
	const sessions, rounds, rows = 30, 6, 60
	var all sync.WaitGroup
	for i := range sessions {
		c := b.proxied()
		all.Go(func() {
			for round := range rounds {
				from := (i*rounds + round) * rows
				exec(t, c, "BEGIN", "")
				exec(t, c, literals(from, rows/2, 20), "")
				exec(t, c, "SAVEPOINT s", "")
				exec(t, c, literals(from+rows/2-1, rows/2, 20), "23505")
				exec(t, c, "ROLLBACK TO s", "")
				exec(t, c, literals(from+rows/2, rows/2, 20)+" RETURNING id", "")
				exec(t, c, []string{"COMMIT", "ROLLBACK"}[round%2], "")
			}
		})
	}
	all.Wait()
	want := fmt.Sprint(sessions * rounds / 2 * rows)
	if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != want {
		t.Errorf("%s rows, want %s", got, want)
	}
	wrong := must(t, b.direct(), fmt.Sprintf("SELECT count(*) FROM t WHERE id / %d %% 2 = 1 OR note::int <> id %% %d", rows, rows/2))
	if wrong != "0" {
		t.Errorf("%s wrong rows", wrong)
	}
	b.wantMetric(sessions*rounds, "pgbulk_statements_total", "kind", "insert", "decision", "stream", "reason", "rows")
	b.wantMetric(sessions*rounds, "pgbulk_statements_total", "kind", "insert", "decision", "stream", "reason", "arrays")
	b.wantMetric(sessions*rounds, "pgbulk_statements_total", "kind", "insert", "decision", "pass", "reason", "native_replay")
}
