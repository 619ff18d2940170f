// Package enginetest is the conformance suite of engines that read staged files
// themselves: whatever such an engine loads, fails to load or leaves behind must
// be what COPY FROM STDIN would have loaded, failed with or left behind.
//
// The oracle stands beside each load: a twin of the table is filled by a real
// COPY of the same bytes, and rows or SQLSTATE are compared.
package enginetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Config is what the suite runs against.
type Config struct {
	Engine engine.Engine
	// DSN returns the connection string of a role for a database in which the
	// engine and the ledger are installed. The suite makes schemas in it.
	DSN func(role string) string
	// Superuser is the role that prepares and looks behind the scenes.
	Superuser string
	// NewRole makes a role that may log in and nothing else.
	NewRole func(testing.TB) string
	// Store is where the files are put, and from where the server gets them.
	Store store.Store
	// Key is the database's secret.
	Key []byte
	// Except says of parts of the suite why they are not for this engine.
	Except map[string]string
}

// excuse leaves a part out where the engine is excused from it.
func (c Config) excuse(t *testing.T, part string) {
	t.Helper()
	if why := c.Except[part]; why != "" {
		t.Skip(why)
	}
}

// Run runs the suite. Its parts run in parallel.
func Run(t *testing.T, c Config) {
	part := func(name string, run func(*testing.T, Config)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.excuse(t, name)
			run(t, c)
		})
	}
	part("values", runValues)
	part("targets", runTargets)
	if c.Engine.Caps().Transactional {
		part("transactions", runTransactions)
	}
	part("failures", runFailures)
	part("many", runMany)
}

// bench is one test's place: a schema, a client role that may only INSERT, its
// session, and the superuser's.
type bench struct {
	t            testing.TB
	c            Config
	schema, role string
	admin, sess  *pgconn.PgConn
	// url, where set, changes the URL that the engine is given.
	url func(string) string
}

func newBench(t testing.TB, c Config) *bench {
	t.Helper()
	b := &bench{t: t, c: c, role: c.NewRole(t), schema: "s_" + strings.ToLower(rand.Text()[:12])}
	b.admin = b.connect(c.Superuser)
	b.must(b.admin, "CREATE SCHEMA "+b.schema+"; GRANT USAGE ON SCHEMA "+b.schema+" TO "+b.role+
		"; ALTER DEFAULT PRIVILEGES IN SCHEMA "+b.schema+" GRANT INSERT ON TABLES TO "+b.role+
		"; SET search_path = "+b.schema)
	t.Cleanup(func() { b.must(b.connect(c.Superuser), "DROP SCHEMA "+b.schema+" CASCADE") })
	b.sess = b.connect(b.role)
	b.must(b.sess, "SET search_path = "+b.schema)
	return b
}

func (b *bench) connect(role string) *pgconn.PgConn {
	b.t.Helper()
	conn, err := pgconn.Connect(b.t.Context(), b.c.DSN(role))
	if err != nil {
		// A cleanup runs after the test's context has ended.
		conn, err = pgconn.Connect(context.Background(), b.c.DSN(role))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// must runs SQL by the simple protocol and returns the values of the last
// result, rows joined by newlines and columns by "|".
func (b *bench) must(conn *pgconn.PgConn, sql string) string {
	b.t.Helper()
	out, err := run(conn, sql)
	if err != nil {
		b.t.Fatalf("%.300s: %v", sql, err)
	}
	return out
}

func run(conn *pgconn.PgConn, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return "", err
	}
	var rows []string
	for _, row := range results[len(results)-1].Rows {
		rows = append(rows, string(bytes.Join(row, []byte("|"))))
	}
	return strings.Join(rows, "\n"), nil
}

// load is one load of one table.
type load struct {
	table   string
	columns []string
	stmt    rewrite.CopyStatement
	// overriding: an identity column is GENERATED ALWAYS.
	overriding bool
	id         string
	files      int
}

func newLoad(table string, stmt rewrite.CopyStatement, columns ...string) *load {
	return &load{table: table, stmt: stmt, columns: columns, id: uuid.NewString()}
}

// target looks the table up as the inspection would, on the session itself.
func (b *bench) target(l *load) engine.Target {
	b.t.Helper()
	name := pgident.Literal(pgident.Quote(l.table))
	row := b.must(b.sess, "SELECT c.oid, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass("+name+")")
	oid, schema, _ := strings.Cut(row, "|")
	t := engine.Target{Schema: schema, Table: l.table, Columns: l.columns, OverridingSystem: l.overriding}
	if _, err := fmt.Sscan(oid, &t.OID); err != nil {
		b.t.Fatalf("no table %s", l.table)
	}
	if t.Columns == nil {
		t.Columns = strings.Split(b.must(b.sess, "SELECT string_agg(attname, chr(1) ORDER BY attnum) FROM pg_attribute WHERE attrelid = to_regclass("+
			name+") AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"), "\x01")
	}
	if p, ok := b.c.Engine.(engine.Preparer); ok {
		return b.prepare(p, t)
	}
	return t
}

// prepare completes a target, as bulk does when a load begins.
func (b *bench) prepare(p engine.Preparer, t engine.Target) engine.Target {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	results, err := b.sess.Exec(ctx, p.PrepareSQL(t, "")).ReadAll()
	if err != nil || len(results) != 1 || len(results[0].Rows) != 1 {
		b.t.Fatalf("prepare: %d results, %v", len(results), err)
	}
	done, err := p.Prepare(t, results[0].Rows[0])
	if err != nil {
		b.t.Fatal(err)
	}
	return done
}

// plan stages data as the next file of the load and returns its plan.
func (b *bench) plan(l *load, data string) engine.Plan {
	b.t.Helper()
	l.files++
	key := fmt.Sprintf("%s/%s/%d", b.schema, l.id, l.files)
	if err := b.c.Store.Put(b.t.Context(), key, strings.NewReader(data)); err != nil {
		b.t.Fatal(err)
	}
	url, err := b.c.Store.PresignGet(b.t.Context(), key, 5*time.Minute)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.url != nil {
		url = b.url(url)
	}
	f := engine.File{
		ProcessID: l.id, Number: l.files, URL: url, First: l.files == 1, Records: int64(strings.Count(data, "\n")),
		Bytes: int64(len(data)), CRC32C: crc32.Checksum([]byte(data), crc32.MakeTable(crc32.Castagnoli)),
	}
	plan, err := b.c.Engine.Plan(b.target(l), &l.stmt, b.session(), engine.Group{Files: []engine.File{f}}, b.c.Key, time.Now().Add(5*time.Minute))
	if err != nil {
		b.t.Fatal(err)
	}
	return plan
}

// session reads what binds messages, as the inspection would.
func (b *bench) session() engine.Session {
	b.t.Helper()
	row := b.must(b.sess, "SELECT current_database(), CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role') END")
	db, role, _ := strings.Cut(row, "|")
	return engine.Session{Database: db, Role: role, BackendPID: b.sess.PID()}
}

// external loads the files one after the other and returns the rows inserted.
func (b *bench) external(l *load, files ...string) (int64, error) {
	b.t.Helper()
	var n int64
	for _, data := range files {
		rows, err := runPlan(b.sess, b.plan(l, data))
		n += rows
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// runPlan runs the three statements and returns the tag of the second.
func runPlan(conn *pgconn.PgConn, plan engine.Plan) (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	results, err := conn.Exec(ctx, plan.SQL()).ReadAll()
	if err != nil {
		return 0, err
	}
	if len(results) != 3 || !results[1].CommandTag.Insert() {
		return 0, fmt.Errorf("%d results, the second %q", len(results), results[1].CommandTag)
	}
	return results[1].CommandTag.RowsAffected(), nil
}

// native copies data by COPY FROM STDIN with these options.
func (b *bench) native(table string, columns []string, options, data string) (int64, error) {
	list := ""
	if columns != nil {
		list = " (" + pgident.List(columns) + ")"
	}
	tag, err := b.sess.CopyFrom(b.t.Context(), strings.NewReader(data), "COPY "+pgident.Quote(table)+list+" FROM STDIN "+options)
	return tag.RowsAffected(), err
}

// leftovers returns the external tables and import rows of a load.
func (b *bench) leftovers(l *load) (tables, imports string) {
	b.t.Helper()
	conn := b.connect(b.c.Superuser)
	tables = b.must(conn, "SELECT count(*) FROM pg_class WHERE relkind = 'f' AND relname LIKE 'f_"+l.id+"%'")
	imports = b.must(conn, "SELECT coalesce(string_agg(file || ':' || records || ':' || role, ' ' ORDER BY file), '') FROM pgbulk.import WHERE process_id = '"+l.id+"'")
	return tables, strings.ReplaceAll(imports, b.role, "role")
}

func (b *bench) wantLeftovers(l *load, imports string) {
	b.t.Helper()
	if tables, got := b.leftovers(l); tables != "0" || got != imports {
		b.t.Errorf("left behind: %s external tables, imports %q, want none and %q", tables, got, imports)
	}
}

func (b *bench) want(conn *pgconn.PgConn, sql, want string) {
	b.t.Helper()
	if got := b.must(conn, sql); got != want {
		b.t.Errorf("%s: got %q, want %q", sql, got, want)
	}
}

// pgError returns the server's error in err, or an empty one.
func pgError(err error) *pgconn.PgError {
	e := &pgconn.PgError{}
	errors.As(err, &e)
	return e
}

// text, csv and binary are COPY statements with all options at their defaults.
func text() rewrite.CopyStatement {
	return rewrite.CopyStatement{Format: rewrite.FormatText, Delimiter: '\t', Null: `\N`}
}

func csv() rewrite.CopyStatement {
	return rewrite.CopyStatement{Format: rewrite.FormatCSV, Delimiter: ',', Quote: '"', Escape: '"'}
}

func binary() rewrite.CopyStatement { return rewrite.CopyStatement{Format: rewrite.FormatBinary} }
