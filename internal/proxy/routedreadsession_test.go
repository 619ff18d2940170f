package proxy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestRoutedReadsCopy: COPY … TO gives the rows of both tables.
func TestRoutedReadsCopy(t *testing.T) {
	t.Parallel()
	b := readBed(t)
	proxied, direct := b.readPaths()
	for _, sql := range []string{
		`COPY t TO STDOUT`, `COPY t (v, group_id) TO STDOUT (FORMAT csv, HEADER)`, `COPY (SELECT id FROM t WHERE group_id = 3) TO STDOUT`,
		`COPY t (nope) TO STDOUT`, `COPY other TO STDOUT`,
	} {
		out := func(c *pgconn.PgConn) string {
			var buf bytes.Buffer
			tag, err := c.CopyTo(t.Context(), &buf, sql)
			lines := strings.Split(buf.String(), "\n")
			slices.Sort(lines)
			return fmt.Sprint(tag, err, lines)
		}
		if got, want := out(proxied), out(direct); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", sql, got, want)
		}
	}
}

// TestRoutedReadsGrouping: what the server takes of one table and not of a union
// passes, and ends no transaction.
func TestRoutedReadsGrouping(t *testing.T) {
	t.Parallel()
	b := readBed(t)
	proxied, _ := b.readPaths()
	main := must(t, b.direct(), "SELECT count(*) FROM pair.t")
	const sql = "SELECT count(*) OVER (), id, v FROM t GROUP BY id"
	for range 2 {
		if got := must(t, proxied, sql); got != main {
			t.Errorf("%s rows, want those of the main table, %s", got, main)
		}
		res := proxied.ExecParams(t.Context(), sql, nil, nil, nil, nil).Read()
		if res.Err != nil || string(res.Rows[0][0]) != main {
			t.Errorf("%q %v", res.Rows, res.Err)
		}
		must(t, proxied, "BEGIN")
		must(t, proxied, "UPDATE t SET n = 0 WHERE false")
	}
	must(t, proxied, "COMMIT")
	if n := b.metric(t, "pgbulk_statements_total", "kind", "read", "reason", "grouping"); n != 4 {
		t.Errorf("%v statements passed", n)
	}
}

// TestRoutedReadsOtherSchema: a statement that was prepared before search_path
// changed sees the table that its name means now, and nothing of the pair's.
func TestRoutedReadsOtherSchema(t *testing.T) {
	t.Parallel()
	b := readBed(t)
	proxied, direct := b.readPaths()
	ctx := t.Context()
	for name, sql := range map[string]string{"r": "SELECT count(*) FROM t", "d": "DELETE FROM t RETURNING id"} {
		if _, err := proxied.Prepare(ctx, name, sql, nil); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string) *pgconn.Result { return proxied.ExecPrepared(ctx, name, nil, nil, nil).Read() }
	must(t, proxied, "CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.t (LIKE plain.t); INSERT INTO elsewhere.t VALUES (1), (2); SET search_path = elsewhere")
	if res := run("r"); res.Err != nil || string(res.Rows[0][0]) != "2" {
		t.Errorf("%q %v", res.Rows, res.Err)
	}
	if res := run("d"); res.Err != nil || res.CommandTag.String() != "DELETE 2" || len(res.Rows) != 2 {
		t.Errorf("%q %v %v", res.Rows, res.CommandTag, res.Err)
	}
	must(t, proxied, "SET search_path = pair")
	if res := run("r"); res.Err != nil || string(res.Rows[0][0]) != "60" {
		t.Errorf("%q %v", res.Rows, res.Err)
	}
	if res := run("d"); res.Err != nil || res.CommandTag.String() != "DELETE 60" || len(res.Rows) != 60 {
		t.Errorf("%d rows, %v %v", len(res.Rows), res.CommandTag, res.Err)
	}
	if n := must(t, direct, "SELECT (SELECT count(*) FROM pair.t) + (SELECT count(*) FROM pair.t_relyt_massive_group)"); n != "0" {
		t.Errorf("%s rows are left", n)
	}
}

// readPrograms are what real clients do; they print what they see.
var readPrograms = map[string]func(t *testing.T, dsn string) string{
	"psql":     runPsql,
	"psycopg2": runPsycopg2,
	"pgx":      runPgx,
}

func runPsql(t *testing.T, dsn string) string {
	t.Helper()
	return output(t, osexec.CommandContext(t.Context(), "psql", "-XA", "-d", dsn, "-c", `\set FETCH_COUNT 7`, "-c", "SELECT * FROM t ORDER BY id",
		"-c", "UPDATE t SET v = 'psql' WHERE group_id = 3 RETURNING *", "-c", "DELETE FROM t WHERE id < 15", "-c", "SELECT nope FROM t",
		"-c", "BEGIN", "-c", "DECLARE c SCROLL CURSOR FOR SELECT id FROM t ORDER BY id", "-c", "FETCH 3 FROM c", "-c", "FETCH LAST FROM c", "-c", "FETCH BACKWARD 2 FROM c",
		"-c", "CLOSE c", "-c", "COMMIT", "-c", `\copy (SELECT id FROM t ORDER BY 1) TO STDOUT`, "-c", `\d t`))
}

// debianPython is the one that has Debian's packages, whatever PATH says.
const debianPython = "/usr/bin/python3"

func runPsycopg2(t *testing.T, dsn string) string {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), debianPython, "-c", `
import sys, psycopg2
con = psycopg2.connect(sys.argv[1])
cur = con.cursor()
cur.execute("SELECT id, v FROM t WHERE group_id = %s ORDER BY id", (3,)); print(cur.fetchall(), cur.rowcount)
cur.execute("SELECT id FROM t WHERE group_id = ANY(%s) ORDER BY id", ([3, 4],)); print(cur.fetchall())
cur.execute("UPDATE t SET v = %s WHERE id < %s", ("x'y", 20)); print(cur.rowcount, cur.statusmessage)
cur.execute("DELETE FROM t WHERE group_id IN %s RETURNING id", ((3, 5),)); print(sorted(cur.fetchall()), cur.rowcount)
named = con.cursor("c"); named.itersize = 5
named.execute("SELECT id FROM t ORDER BY id"); print([r[0] for r in named]); named.close()
try: cur.execute("SELECT 1 / (id - id) FROM t")
except psycopg2.Error as e: print(e.pgcode, e)
con.rollback()
cur.execute("SELECT count(*), max(v) FROM t"); print(cur.fetchall())
con.commit()
`, dsn)
	out := output(t, cmd)
	if !cmd.ProcessState.Success() { // two that fail alike show nothing
		t.Error(out)
	}
	return out
}

// output is what a program prints, but for the names of the tables.
func output(t *testing.T, cmd *osexec.Cmd) string {
	t.Helper()
	cmd.Env = append(os.Environ(), "PGCONNECT_TIMEOUT=20")
	out, err := cmd.CombinedOutput()
	if err != nil {
		out = fmt.Appendf(out, "%v", err)
	}
	return string(out)
}

func runPgx(t *testing.T, dsn string) string {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var b strings.Builder
	ints := func(sql string, args ...any) {
		rows, _ := conn.Query(ctx, sql, args...)
		ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
		slices.Sort(ids)
		fmt.Fprintln(&b, ids, err, rows.CommandTag())
	}
	for range 3 { // the second time it is prepared
		ints("SELECT id FROM t WHERE group_id = $1 AND id > $2", 3, 10)
		ints("SELECT id FROM t WHERE group_id = ANY ($1)", []int{3, 4})
		ints("UPDATE t SET n = n + $1 WHERE group_id = $2 RETURNING id", 1, 7)
		tag, err := conn.Exec(ctx, "UPDATE t SET v = $1 WHERE id < $2", "ü", 30)
		fmt.Fprintln(&b, tag, err)
	}
	batch := new(pgx.Batch)
	for i := range 5 {
		batch.Queue("UPDATE t SET v = v || $1 WHERE group_id = $2", "b", i)
		batch.Queue("SELECT id, v FROM t WHERE id = $1", i+3)
		batch.Queue("DELETE FROM t WHERE id = $1 RETURNING id", 10*i+3)
	}
	res := conn.SendBatch(ctx, batch)
	for range batch.Len() {
		rows, _ := res.Query()
		all, err := pgx.CollectRows(rows, pgx.RowToMap)
		fmt.Fprintln(&b, all, err, rows.CommandTag())
	}
	fmt.Fprintln(&b, res.Close())
	ints("SELECT id FROM t")
	return b.String()
}

// TestRoutedReadsClients: programs see a routed pair through the proxy as one
// plain table directly.
func TestRoutedReadsClients(t *testing.T) {
	t.Parallel()
	for name, run := range readPrograms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "psycopg2" && osexec.Command(debianPython, "-c", "import psycopg2").Run() != nil {
				t.Skip("psycopg2 is not installed")
			}
			b := readBed(t)
			with := func(dsn, schema string) string { return dsn + " options='-c search_path=" + schema + "'" }
			got := run(t, with(b.via(), "pair"))
			want := run(t, with(b.pg.DSN(b.db, "postgres"), "plain"))
			if got = strings.ReplaceAll(got, "pair.", "plain."); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
