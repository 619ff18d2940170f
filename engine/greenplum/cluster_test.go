package greenplum

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// cluster is one test's schema, in a database of its own, and a server of
// configurations.
type cluster struct {
	t      *testing.T
	conn   *pgconn.PgConn
	s3     *testenv.S3Server
	bucket *store.Bucket
	prefix string
	config string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	pg := testenv.Greenplum(t)
	c := &cluster{t: t, s3: testenv.S3(t)}
	c.bucket, c.prefix = c.s3.Store(t), c.s3.Prefix(t)
	conn, err := pgconn.Connect(t.Context(), pg.DSN(pg.NewDatabase(t), "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	c.conn = conn
	schema := "s_" + strings.ToLower(rand.Text()[:12])
	c.must("CREATE SCHEMA " + schema + "; SET search_path = " + schema)
	t.Cleanup(func() {
		_, _ = conn.Exec(context.Background(), "ROLLBACK; DROP SCHEMA "+schema+" CASCADE").ReadAll()
		_ = conn.Close(context.Background())
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "[default]\naccessid = %s\nsecret = %s\nencryption = false\nversion = 2\nthreadnum = 2\nchunksize = 8388608\n", c.s3.AccessKey, c.s3.SecretKey)
	}))
	t.Cleanup(srv.Close)
	c.config = srv.URL + "/s3conf/x"
	return c
}

func (c *cluster) exec(sql string) ([]*pgconn.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c.conn.Exec(ctx, sql).ReadAll()
}

// must returns the values of the last result, rows joined by newlines.
func (c *cluster) must(sql string) string {
	c.t.Helper()
	results, err := c.exec(sql)
	if err != nil {
		c.t.Fatalf("%.300s: %v", sql, err)
	}
	var rows []string
	for _, row := range results[len(results)-1].Rows {
		rows = append(rows, string(bytes.Join(row, []byte("|"))))
	}
	return strings.Join(rows, "\n")
}

// load is what a plan is made for.
type load struct {
	table   string
	columns []string
	stmt    rewrite.CopyStatement
	files   []string
	eol     string
	// prefix is where the plan looks, "" for where the files are.
	prefix string
}

func (c *cluster) target(l *load) (engine.Target, error) {
	c.t.Helper()
	var t engine.Target
	row := c.must("SELECT c.oid, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = '" + l.table + "'::regclass")
	oid, schema, _ := strings.Cut(row, "|")
	_, _ = fmt.Sscan(oid, &t.OID)
	t.Schema, t.Table, t.Columns = schema, l.table, l.columns
	if t.Columns == nil {
		t.Columns = strings.Split(c.must("SELECT string_agg(attname, chr(1) ORDER BY attnum) FROM pg_attribute WHERE attrelid = '"+
			l.table+"'::regclass AND attnum > 0 AND NOT attisdropped"), "\x01")
	}
	p := New().(engine.Preparer)
	results, err := c.exec(p.PrepareSQL(t, l.stmt.Encoding))
	if err != nil {
		c.t.Fatal(err)
	}
	return p.Prepare(t, results[0].Rows[0])
}

func (c *cluster) plan(l *load) engine.Plan {
	c.t.Helper()
	target, err := c.target(l)
	if err != nil {
		c.t.Fatal(err)
	}
	id := uuid.NewString()
	dir := c.prefix + id + "/0001/"
	g := engine.Group{
		Prefix: "s3://" + c.s3.Bucket + "/" + dir, Endpoint: strings.TrimPrefix(c.s3.Endpoint, "http://"), Region: c.s3.Region,
		Config: c.config, EOL: l.eol,
	}
	for i, data := range l.files {
		if err := c.bucket.Put(c.t.Context(), fmt.Sprintf("%s%05d.txt", dir, i+1), strings.NewReader(data)); err != nil {
			c.t.Fatal(err)
		}
		g.Files = append(g.Files, engine.File{ProcessID: id, Number: i + 1, First: i == 0})
	}
	if l.prefix != "" {
		g.Prefix = "s3://" + c.s3.Bucket + "/" + l.prefix
	}
	plan, err := New().Plan(target, &l.stmt, engine.Session{}, g, nil, time.Time{})
	if err != nil {
		c.t.Fatal(err)
	}
	return plan
}

// run runs a plan and returns the tag's rows.
func (c *cluster) run(plan engine.Plan) (int64, error) {
	results, err := c.exec(plan.SQL())
	if err != nil {
		return 0, err
	}
	if len(results) != 3 || !results[1].CommandTag.Insert() {
		return 0, fmt.Errorf("%d results", len(results))
	}
	return results[1].CommandTag.RowsAffected(), nil
}

// copyInto is the oracle.
func (c *cluster) copyInto(table string, columns []string, options, data string) error {
	list := ""
	if columns != nil {
		list = " (" + pgident.List(columns) + ")"
	}
	_, err := c.conn.CopyFrom(c.t.Context(), strings.NewReader(data), "COPY "+table+list+" FROM STDIN "+options)
	return err
}

func state(err error) string {
	e := &pgconn.PgError{}
	errors.As(err, &e)
	return e.Code
}

// TestReadsAsCopy compares what an external table gives with what COPY does with
// the same bytes: the rows, or the SQLSTATE.
func TestReadsAsCopy(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.must(`CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN pos AS int CHECK (VALUE > 0); CREATE TYPE pair AS (x int, y text)`)
	for _, tc := range copyCases() {
		t.Run(tc.name, func(t *testing.T) {
			c.must(`DROP TABLE IF EXISTS t, twin; CREATE TABLE t (` + tc.types + ") " + tc.with + "; CREATE TABLE twin (" + tc.types + ") " + tc.with)
			wantErr := c.copyInto("twin", tc.columns, tc.options, strings.Join(tc.data, ""))
			n, err := c.run(c.plan(&load{table: "t", columns: tc.columns, stmt: tc.stmt, files: tc.data, eol: tc.eol}))
			if state(err) != state(wantErr) {
				t.Errorf("got %v, COPY %v", err, wantErr)
			}
			if got, want := c.must("SELECT t::text FROM t ORDER BY 1"), c.must("SELECT t::text FROM twin t ORDER BY 1"); got != want {
				t.Errorf("got %.300q, COPY %.300q", got, want)
			}
			if want := c.must("SELECT count(*) FROM twin"); fmt.Sprint(n) != want {
				t.Errorf("the tag says %d rows, COPY %s", n, want)
			}
			if left := c.must("SELECT count(*) FROM pg_class WHERE relname LIKE 'pgbulk!_%' ESCAPE '!' AND relnamespace = pg_my_temp_schema()"); left != "0" {
				t.Errorf("%s external tables are left", left)
			}
		})
	}
}

// TestSilentLoss shows the ways in which the reader loses rows without an error,
// and that the tag tells: it must never be the number of rows staged.
func TestSilentLoss(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.must("CREATE TABLE t (a int, b text)")
	rows := func(from, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%d\trow\n", from+i)
		}
		return b.String()
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte(rows(0, 500)))
	if err := w.Flush(); err != nil { // a row boundary that the decoder can reach
		t.Fatal(err)
	}
	cut := zipped.Len()
	_, _ = w.Write([]byte(rows(500, 500)))
	_ = w.Close()
	for name, tc := range map[string]struct {
		l    load
		want int64
	}{
		"missing prefix":         {load{files: []string{rows(0, 10)}, prefix: c.prefix + "nothing/"}, 10},
		"gzip cut at a row":      {load{files: []string{zipped.String()[:cut]}}, 1000},
		"end marker":             {load{files: []string{rows(0, 5) + "\\.\n" + rows(5, 5)}}, 10},
		"end marker, later file": {load{files: []string{rows(0, 5) + "\\.\n", rows(5, 5), rows(10, 5)}}, 15},
	} {
		tc.l.table, tc.l.stmt = "t", text()
		n, err := c.run(c.plan(&tc.l))
		if err != nil {
			t.Errorf("%s: %v: this way is not silent any more", name, err)
		} else if n == tc.want {
			t.Errorf("%s: nothing is lost", name)
		}
		c.must("TRUNCATE t")
	}
}

// TestPrefixIsNoString: a group's prefix does not take the files of the next.
func TestPrefixIsNoString(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.must("CREATE TABLE t (a int, b text)")
	for _, key := range []string{"part-1/00001.txt", "part-10/00001.txt"} {
		if err := c.bucket.Put(t.Context(), c.prefix+key, strings.NewReader("1\tx\n")); err != nil {
			t.Fatal(err)
		}
	}
	n, err := c.run(c.plan(&load{table: "t", stmt: text(), files: []string{"unread\n"}, prefix: c.prefix + "part-1/"}))
	if err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// TestBackslashBeforeEnd: what is one row with a line end in it for PostgreSQL is
// two for Greenplum's COPY. The count tells, and the native COPY is right.
func TestBackslashBeforeEnd(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.must("CREATE TABLE t (b text); CREATE TABLE twin (b text)")
	const data = "a\nb\\\nc\n"
	err := c.copyInto("twin", nil, "", data)
	n, lerr := c.run(c.plan(&load{table: "t", stmt: text(), files: []string{data}}))
	if state(err) != state(lerr) {
		t.Errorf("got %v, COPY %v", lerr, err)
	}
	if got := c.must("SELECT count(*) FROM twin"); got != fmt.Sprint(n) {
		t.Errorf("%d rows, COPY has %s", n, got)
	}
	if n != 3 {
		t.Error("Greenplum reads it as PostgreSQL does, or worse")
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.must("CREATE TABLE t (a int, b text)")
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte("1\tx\n2\ty\n"))
	_ = w.Close()
	if n, err := c.run(c.plan(&load{table: "t", stmt: text(), files: []string{z.String(), "3\tz\n"}})); err != nil || n != 3 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// TestTransactions: a load is a part of the client's transaction, behind any
// savepoint, and what the store does wrong is undone there.
func TestTransactions(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.must("CREATE TABLE t (a int, b text)")
	good := load{table: "t", stmt: text(), files: []string{"1\tx\n", "2\ty\n"}}
	c.must("BEGIN; SAVEPOINT s")
	if n, err := c.run(c.plan(&good)); err != nil || n != 2 {
		t.Fatalf("%d rows, %v", n, err)
	}
	c.must("RELEASE SAVEPOINT s; SAVEPOINT s")
	config := c.config
	c.config = "http://127.0.0.1:1/nobody/listens"
	plan := c.plan(&good)
	c.config = config
	if n, err := c.run(plan); state(err) != "XX000" {
		t.Fatalf("%d rows, %v", n, err)
	}
	c.must("ROLLBACK TO SAVEPOINT s; RELEASE SAVEPOINT s")
	if got := c.must("SELECT count(*) FROM t"); got != "2" {
		t.Errorf("%s rows", got)
	}
	c.must("ROLLBACK")
	if got := c.must("SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows after ROLLBACK", got)
	}
	c.must("BEGIN ISOLATION LEVEL SERIALIZABLE")
	if n, err := c.run(c.plan(&good)); err != nil || n != 2 {
		t.Errorf("%d rows, %v", n, err)
	}
	c.must("COMMIT")
}

// TestPrepareFinds asks the real catalogs.
func TestPrepareFinds(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.must(`CREATE TABLE t (a int, dropped text, "B'" varchar(3), s serial, n timestamptz DEFAULT now(), c int DEFAULT 7, r float DEFAULT random());
		ALTER TABLE t DROP COLUMN dropped`)
	got, err := c.target(&load{table: "t", columns: []string{"B'", "a", "s", "r"}, stmt: text()})
	if err != nil || strings.Join(got.Types, ",") != "character varying(3),integer,integer,double precision" || got.Encoding != "UTF8" || got.Readers < 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if want := c.must("SELECT count(*) FROM gp_segment_configuration WHERE content >= 0 AND role = 'p'"); fmt.Sprint(got.Readers) != want {
		t.Errorf("%d readers, not %s", got.Readers, want)
	}
	for _, columns := range [][]string{{"a", "r"}, {"a", "s"}} {
		if _, err := c.target(&load{table: "t", columns: columns, stmt: text()}); !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "order") {
			t.Errorf("%v: %v", columns, err)
		}
	}
	role := "r_" + strings.ToLower(rand.Text()[:12])
	c.must("CREATE ROLE " + role + "; GRANT USAGE ON SCHEMA " + c.must("SELECT current_schema()") + " TO " + role + "; GRANT INSERT ON t TO " + role)
	t.Cleanup(func() {
		c.must("RESET ROLE; REVOKE SELECT ON PROTOCOL s3 FROM " + role + "; DROP OWNED BY " + role + "; DROP ROLE " + role)
	})
	all := load{table: "t", columns: []string{"a", "s", "r"}, stmt: text()}
	c.must("SET ROLE " + role)
	if _, err := c.target(&all); !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "protocol") {
		t.Errorf("a role without the protocol: %v", err)
	}
	c.must("RESET ROLE; GRANT SELECT ON PROTOCOL s3 TO " + role + "; SET ROLE " + role)
	all.files = []string{"1\t2\t3\n"}
	if n, err := c.run(c.plan(&all)); err != nil || n != 1 {
		t.Errorf("a role with the protocol: %d rows, %v", n, err)
	}
}
