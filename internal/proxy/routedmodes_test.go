package proxy

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

const misplaced = `SELECT (SELECT count(*) FROM t WHERE EXISTS (SELECT FROM relyt_sys.t_relyt_routing r WHERE r.routing_id = t.group_id AND r.store_table_name <> 't'))
	+ (SELECT count(*) FROM t_relyt_massive_group t WHERE NOT EXISTS (SELECT FROM relyt_sys.t_relyt_routing r WHERE r.routing_id = t.group_id AND r.store_table_name <> 't'))`

// pair makes a fresh pair, and a session through the proxy.
func (b *bed) pair(t *testing.T, setup string) *pgconn.PgConn {
	t.Helper()
	admin := b.direct()
	defer hangUp(admin)
	must(t, admin, dropAll+"DROP TABLE IF EXISTS relyt_sys.t_relyt_routing; "+setup+"; "+likeT+"; "+routedGroups)
	return b.proxied()
}

const upsertRouted = "CREATE TABLE t (group_id text, id int, note text, n int DEFAULT 5, PRIMARY KEY (group_id, id))"

// routedUpserts are COPYs with ON_CONFLICT and MODE into a pair.
func routedUpserts() []routedCase {
	rows := func(from, n int, note string) string {
		return string(generate(n, func(i int) string {
			return fmt.Sprintf("%s\t%d\t%s %d\n", []string{"a", "b", "m"}[i%3], from+i, note, i)
		}))
	}
	base := loads("COPY t (group_id, id, note) FROM STDIN", rows(0, 3000, "first"))
	with := func(name, option, data string) routedCase {
		sql := "COPY t (group_id, id, note) FROM STDIN (" + option + ")"
		return routedCase{name: name, setup: upsertRouted, column: "group_id", steps: []routedStep{base, loads(sql, data), runs("BEGIN"), loads(sql, data), runs("COMMIT")}}
	}
	merge := with("merge", "MODE merge, OPERATION_COLUMN op", "")
	merge.steps[1] = loads("COPY t (op, group_id, id, note) FROM STDIN (MODE merge, OPERATION_COLUMN op)", "D\tb\t1\t\nD\ta\t0\t\nU\tb\t4\tnew\nI\tb\t9999\tx\nI\ta\t9999\tx\nD\ta\t9999\t\n")
	merge.steps = merge.steps[:2]
	return []routedCase{
		with("update", "ON_CONFLICT update", rows(1500, 3000, "second")),
		with("nothing", "ON_CONFLICT nothing", rows(1500, 3000, "second")),
		with("last wins", "ON_CONFLICT update, LAST_WINS", rows(1500, 3000, "second")+rows(1500, 3000, "third")),
		with("twice", "ON_CONFLICT update", "b\t1\tx\nb\t1\ty\n"),
		with("upsert", "MODE upsert", "b\t1\tx\na\t1\ty\n"),
		with("overwrite", "MODE overwrite", rows(7000, 900, "over")),
		with("overwrite with nothing", "MODE overwrite", ""),
		with("bad", "MODE upsert", "b\tx\tx\n"),
		merge,
	}
}

// TestRoutedModes: with ON_CONFLICT and MODE a pair does what one table does by
// the same proxy, where the key has the routing column.
func TestRoutedModes(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"postgres", "plain"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			b := newRoutedBed(t, engine, nil)
			b.viaProxy = true
			for _, c := range routedUpserts() {
				b.compare(t, &c)
			}
			refused := b.pair(t, upsertRouted)
			for _, set := range []string{"SET pgbulk.max_error_records = 3", "RESET pgbulk.max_error_records; SET pgbulk.on_conflict = 'wrong'"} {
				must(t, refused, set)
				if o := copyIn(refused, "COPY t FROM STDIN", strings.NewReader("b\t1\tx\t1\n")); o.err == nil || o.err.Code != "0A000" && o.err.Code != "22023" {
					t.Errorf("%s: %s", set, o)
				}
			}
		})
	}
}

// TestRoutedCopyExtended: by the extended protocol, in text and binary.
func TestRoutedCopyExtended(t *testing.T) {
	t.Parallel()
	for name, minBytes := range map[string]int64{"staged": 0, "held": 4 * mib} {
		b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = minBytes })
		hangUp(b.pair(t, routedT))
		conn, err := pgx.Connect(t.Context(), b.via())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		var rows [][]any
		for i := range 5000 {
			rows = append(rows, []any{i, []any{"a", "b", nil, `it's "\`}[i%4], "x"})
		}
		// CopyFrom sends binary, and describes the table by a statement before.
		if n, err := conn.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"id", "group_id", "note"}, pgx.CopyFromRows(rows)); n != 5000 || err != nil {
			t.Errorf("%s: %d rows, %v", name, n, err)
		}
		rows[0][0] = 3
		if _, err := conn.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"id", "group_id", "note"}, pgx.CopyFromRows(rows[:2])); err == nil || !strings.Contains(err.Error(), "t_relyt_massive_group_pkey") && !strings.Contains(err.Error(), "t_pkey") {
			t.Errorf("%s: %v", name, err)
		}
		admin := b.direct()
		if got := must(t, admin, misplaced); got != "0" {
			t.Errorf("%s: %s rows are misplaced", name, got)
		}
		if got := must(t, admin, "SELECT format('%s %s', (SELECT count(*) FROM t), (SELECT count(*) FROM t_relyt_massive_group))"); got != "2500 2500" {
			t.Errorf("%s: %s rows", name, got)
		}
	}
}

// TestRoutedStaged: a load that is acknowledged when staged goes where the routes
// say when it is imported, also where there were none before.
func TestRoutedStaged(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, nil)
	c := b.pair(t, "CREATE TABLE t (id serial, group_id text, note text)")
	admin := b.direct()
	for i, change := range []string{
		"SELECT 1",
		"UPDATE relyt_sys.t_relyt_routing SET store_table_name = 't' WHERE routing_id = 'b'",
		"DELETE FROM relyt_sys.t_relyt_routing",
		"INSERT INTO relyt_sys.t_relyt_routing VALUES ('a', 't_relyt_massive_group')", // at its staging there was none
	} {
		must(t, admin, "TRUNCATE t, t_relyt_massive_group RESTART IDENTITY")
		must(t, c, setStaged+"; BEGIN")
		data := generate(4000, func(j int) string { return fmt.Sprintf("%s\tnote %d\n", []string{"a", "b", "c"}[j%3], j) })
		if o := copyIn(c, "COPY t (group_id, note) FROM STDIN", bytes.NewReader(data)); o.tag != "COPY 4000" {
			t.Fatal(o)
		}
		must(t, admin, change)
		must(t, c, "COMMIT")
		must(t, c, flush)
		if got := must(t, admin, misplaced); got != "0" {
			t.Errorf("change %d: %s rows are misplaced", i, got)
		}
		if got := must(t, admin, "SELECT count(*)::text || ' ' || count(DISTINCT note) || ' ' || bool_and(note = 'note ' || id - 1) FROM (TABLE t UNION ALL TABLE t_relyt_massive_group) x"); got != "4000 4000 true" {
			t.Errorf("change %d: %s rows", i, got)
		}
	}
	b.wantLedger(map[string]int{"COMPLETED": 4})
	b.wantMetric(4, "pgbulk_imports_total", "result", "ok")
}

// TestRoutedStagedNatively: what can't be staged to its end goes by the temporary
// table.
func TestRoutedStagedNatively(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, nil)
	c := b.pair(t, routedT)
	must(t, c, setStaged)
	o := copyIn(c, fromStdin+" (FORMAT csv)", strings.NewReader(strings.ReplaceAll(routedRows(1, 5000), "\t", "\",\"")+"x"))
	if o.err == nil || !strings.Contains(o.err.Where, "COPY t, line") {
		t.Error(o)
	}
	admin := b.direct()
	if got := must(t, admin, "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM t_relyt_massive_group)"); got != "0" {
		t.Errorf("%s rows of a load that failed", got)
	}
}

// TestRoutedMoving: a load waits for the groups that move if it has rows of them,
// and reads their routes afterwards; others do not wait.
func TestRoutedMoving(t *testing.T) {
	t.Parallel()
	for name, minBytes := range map[string]int64{"staged": 0, "held": 4 * mib} {
		b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = minBytes })
		c := b.pair(t, routedT)
		admin, mover := b.direct(), b.direct()
		oid := must(t, admin, "SELECT 't'::regclass::oid")
		must(t, admin, "INSERT INTO pgbulk.routing_moving (main, group_id, to_aux) VALUES ("+oid+", 'a', true), ("+oid+", 'z', true)")
		var n uint32
		_, _ = fmt.Sscan(oid, &n)
		must(t, mover, "BEGIN; SELECT pg_advisory_xact_lock("+rewrite.GroupLock(n, "'a'::text")+")")
		if o := copyIn(c, fromStdin, strings.NewReader("1\tb\tx\n2\tc\tx\n")); o.tag != "COPY 2" {
			t.Errorf("%s: %s", name, o)
		}
		done := make(chan outcome, 1)
		go func() { done <- copyIn(c, fromStdin, strings.NewReader("3\tb\tx\n4\ta\tx\n")) }()
		b.awaitLock(t, admin)
		must(t, mover, "INSERT INTO relyt_sys.t_relyt_routing VALUES ('a', 't_relyt_massive_group'); COMMIT")
		if o := <-done; o.tag != "COPY 2" {
			t.Errorf("%s: %s", name, o)
		}
		if got := must(t, admin, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t_relyt_massive_group"); got != "1 3 4" {
			t.Errorf("%s: the auxiliary table has %s", name, got)
		}
	}
}

// awaitLock waits until somebody waits for an advisory lock.
func (b *bed) awaitLock(t *testing.T, admin *pgconn.PgConn) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for must(t, admin, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == "0" {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits for a lock")
		}
	}
}

// TestRoutedSnapshot: in REPEATABLE READ a load fails where the routes have
// changed behind its snapshot; and routes that name another table fail every one.
func TestRoutedSnapshot(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	c := b.pair(t, routedT)
	admin := b.direct()
	must(t, admin, "INSERT INTO pgbulk.routing_generation VALUES ('t'::regclass, 1)")
	must(t, c, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
	must(t, admin, "UPDATE pgbulk.routing_generation SET generation = 2 WHERE main = 't'::regclass; INSERT INTO relyt_sys.t_relyt_routing VALUES ('a', 't_relyt_massive_group')")
	if o := copyIn(c, fromStdin, strings.NewReader("1\ta\tx\n")); o.err == nil || o.err.Code != "40001" || c.TxStatus() != 'E' {
		t.Errorf("%s, status %c", o, c.TxStatus())
	}
	must(t, c, "ROLLBACK")
	if o := copyIn(c, fromStdin, strings.NewReader("1\ta\tx\n")); o.tag != "COPY 1" {
		t.Error(o)
	}
	must(t, admin, "INSERT INTO relyt_sys.t_relyt_routing VALUES ('zz', 'elsewhere')")
	for _, block := range []string{"SELECT 1", "BEGIN"} {
		must(t, c, block)
		if o := copyIn(c, fromStdin, strings.NewReader("2\ta\tx\n")); o.err == nil || o.err.Code != "55000" || !strings.Contains(o.err.Message, `"zz"`) {
			t.Error(o)
		}
		if got := c.TxStatus(); (got == 'E') != (block == "BEGIN") {
			t.Errorf("status %c behind %s", got, block)
		}
	}
	must(t, c, "ROLLBACK")
	if got := must(t, admin, misplaced); got != "0" {
		t.Errorf("%s rows are misplaced", got)
	}
}

// TestRoutedIdle: a table whose groups are all in the main table is loaded as any
// other, in a transaction that holds the lock.
func TestRoutedIdle(t *testing.T) {
	t.Parallel()
	for name, minBytes := range map[string]int64{"staged": 0, "held": 4 * mib} {
		b := newRoutedBed(t, "postgres", func(c *config.Config) { c.Stage.MinBytes = minBytes })
		b.after = "; DELETE FROM relyt_sys.t_relyt_routing WHERE store_table_name <> 't'"
		for _, c := range []routedCase{
			plainRouted("small", loads(fromStdin, "1\tb\tx\n"), loads(fromStdin, "1\tb\tx\n")),
			plainRouted("many", loads(fromStdin, routedRows(1, 5000)), runs("BEGIN"), loads(fromStdin, "1\tb\tx\n"), runs("ROLLBACK")),
			plainRouted("where", loads("COPY t (id, group_id) FROM STDIN WHERE id > 1", "1\tb\n2\tb\n"), loads("COPY t (id, group_id) FROM STDIN WHERE nix > 1", "1\tb\n2\tb\n")),
			plainRouted("mode off", runs("SET pgbulk.mode = 'off'"), loads(fromStdin, routedRows(1, 500)), loads(fromStdin, "x\n"), loads("COPY nix FROM STDIN", "1\n")),
			plainRouted("where in a block", runs("BEGIN"), loads("COPY t (id, group_id) FROM STDIN WHERE id > 1", "1\tb\n2\tb\n"), runs("COMMIT")),
		} {
			c.name = name + ", " + c.name
			b.compare(t, &c)
		}
		b.wantSwept()
	}
}

// TestRoutedCopyBlind: a COPY that passes by its text alone is refused where it
// names a routed table, and no other.
func TestRoutedCopyBlind(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, nil)
	c := b.pair(t, routedT+"; CREATE TABLE other (LIKE t)")
	admin, err := pgx.Connect(t.Context(), b.pg.DSN(b.db, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	// A proxy looks at a database once it has loaded something there.
	if o := copyIn(c, "COPY other (id, note, n) FROM STDIN", strings.NewReader("0\tt\t1\n")); o.err != nil {
		t.Fatal(o)
	}
	direct := b.direct()
	for must(t, direct, "SELECT count(*) FROM pgbulk.proxy") == "0" {
	}
	if err := awaitSeen(t.Context(), admin, "t"); err != nil {
		t.Fatal(err)
	}
	refused := func(sql string, err error) {
		t.Helper()
		if e, ok := err.(*pgconn.PgError); !ok || e == nil || e.Code != "0A000" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for _, sql := range []string{
		"SELECT 1; COPY t (id, group_id) FROM STDIN", `COPY public."t" (id) FROM STDIN; SELECT 1`, "COPY T (id) FROM STDIN (NIX true); SELECT 1",
	} {
		o := copyIn(c, sql, strings.NewReader("1\tb\n"))
		if o.lost != nil {
			t.Fatal(o.lost)
		}
		refused(sql, o.err)
	}
	refused("in a pipeline", pipelined(t, c, "SELECT 1", "COPY t (id, group_id) FROM STDIN"))
	if o := copyIn(c, "SELECT 1; COPY other (id, note, n) FROM STDIN", strings.NewReader("1\tt\t1\n")); o.err != nil || o.lost != nil {
		t.Errorf("another table: %s", o)
	}
	if got := must(t, c, "SELECT count(*)::text || (SELECT count(*) FROM other) FROM t"); got != "02" {
		t.Errorf("%s rows", got)
	}
}

// pipelined sends statements in one pipeline, and returns the error.
func pipelined(t *testing.T, c *pgconn.PgConn, statements ...string) error {
	t.Helper()
	p := c.StartPipeline(t.Context())
	defer p.Close()
	for _, sql := range statements {
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	if err := p.Sync(); err != nil {
		return err
	}
	for {
		r, err := p.GetResults()
		if reader, ok := r.(*pgconn.ResultReader); ok && err == nil {
			_, err = reader.Close()
		}
		if _, synced := r.(*pgconn.PipelineSync); err != nil || synced || r == nil {
			return err
		}
	}
}

// TestRoutedCopyByColumns: a role with rights to some columns only can't take the
// table's lock, but could load; all its rows would be the main table's.
func TestRoutedCopyByColumns(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, nil)
	c := b.pair(t, routedT+"; CREATE TABLE other (LIKE t)")
	role := b.pg.NewRole(t, "")
	must(t, c, "GRANT INSERT (id, group_id, n), SELECT ON t, t_relyt_massive_group, other TO "+role)
	must(t, c, "SET SESSION AUTHORIZATION "+role)
	o := copyIn(c, "COPY t (id, group_id) FROM STDIN", strings.NewReader("1\tb\n"))
	if o.err == nil || o.err.Code != "0A000" {
		t.Errorf("routed: %s", o)
	}
	if o := copyIn(c, "COPY other (id, group_id, n) FROM STDIN", strings.NewReader("1\tb\t1\n")); o.err != nil || o.lost != nil {
		t.Errorf("another table: %s", o)
	}
	if o := copyIn(c, "COPY t (id, group_id, note) FROM STDIN", strings.NewReader("1\tb\tx\n")); o.err == nil {
		t.Error("a column without rights was loaded")
	}
	if got := must(t, c, "SELECT count(*)::text || (SELECT count(*) FROM other) FROM t"); got != "01" {
		t.Errorf("%s rows", got)
	}
}
