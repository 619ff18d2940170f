package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// readPair are the same rows twice: in schema plain one table has them all, in
// schema pair it is routed.
const readPair = `
CREATE SCHEMA IF NOT EXISTS relyt_sys; CREATE SCHEMA pair; CREATE SCHEMA plain;
CREATE TABLE plain.t (id int PRIMARY KEY, group_id int, v text CHECK (v <> 'bad'), n numeric(6,2));
CREATE TABLE plain.other (id int, group_id int, x text);
CREATE TABLE pair.t (LIKE plain.t INCLUDING ALL);
CREATE TABLE pair.t_relyt_massive_group (LIKE plain.t INCLUDING ALL);
CREATE TABLE pair.other (LIKE plain.other);
CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
INSERT INTO relyt_sys.t_relyt_routing VALUES ('3', 't_relyt_massive_group'), ('7', 'pair.t_relyt_massive_group'), ('8', 't');
INSERT INTO plain.t SELECT i, nullif(i % 10, 9), 'v' || i, i * 1.5 FROM generate_series(1, 60) i;
INSERT INTO pair.t SELECT * FROM plain.t WHERE group_id IS NULL OR group_id NOT IN (3, 7);
INSERT INTO pair.t_relyt_massive_group SELECT * FROM plain.t WHERE group_id IN (3, 7);
INSERT INTO plain.other SELECT i, i % 10, 'x' || i FROM generate_series(1, 20) i;
INSERT INTO pair.other SELECT * FROM plain.other;`

// readBed is a proxy with routing.reads in front of a routed pair.
func readBed(t *testing.T) *bed {
	t.Helper()
	b := newBed(t, Options{}, func(c *config.Config) { c.Routing.Reads = true })
	must(t, b.direct(), readPair)
	return b
}

// readPaths are a session through the proxy that sees the pair, and one without
// that sees the plain table.
func (b *bed) readPaths() (proxied, direct *pgconn.PgConn) {
	b.t.Helper()
	proxied, direct = b.proxied(), b.direct()
	must(b.t, proxied, "SET search_path = pair")
	must(b.t, direct, "SET search_path = plain")
	return proxied, direct
}

// readStatement is a statement with arguments as text; "NULL" is null.
type readStatement struct {
	sql  string
	args []string
}

// readScript is one after the other on one session: what changes is seen by what
// comes later.
var readScript = []readStatement{
	{sql: `SELECT * FROM t`},
	{sql: `SELECT id, v FROM t WHERE group_id = $1 ORDER BY id`, args: []string{"3"}},
	{sql: `SELECT id, v FROM t WHERE group_id = $1 ORDER BY id`, args: []string{"4"}},
	{sql: `SELECT id, v FROM t WHERE group_id = $1 AND v LIKE $2`, args: []string{"7", "v1%"}},
	{sql: `SELECT id FROM t WHERE group_id = ANY ($1)`, args: []string{"{1,3,8}"}},
	{sql: `SELECT id FROM t WHERE group_id IN ($1, $2)`, args: []string{"8", "NULL"}},
	{sql: `SELECT $1::text, count(*) FROM t`, args: []string{"ü"}},
	{sql: `SELECT t.id, o.x FROM t LEFT JOIN other o USING (group_id) WHERE t.id < $1 ORDER BY 1, 2`, args: []string{"9"}},
	{sql: `WITH c AS (SELECT group_id, count(*) AS n FROM t GROUP BY group_id) SELECT * FROM c ORDER BY 1 LIMIT $1`, args: []string{"4"}},
	{sql: `SELECT count(*) FROM t; SELECT max(id) FROM t`},
	{sql: `SELECT 'ü', nope FROM t`},
	{sql: `SELECT 1/(id-13) FROM t ORDER BY id`},
	{sql: `SELECT id FROM t WHERE group_id = $1`, args: []string{"x"}},
	{sql: `SELECT id FROM t WHERE group_id = 'x'`},
	{sql: `EXPLAIN (COSTS OFF) SELECT * FROM nowhere JOIN t USING (id)`},
	{sql: `UPDATE t SET v = v || $1`, args: []string{"!"}},
	{sql: `UPDATE t SET v = 'p' WHERE group_id = $1 RETURNING id, v`, args: []string{"3"}},
	{sql: `UPDATE t SET n = n + 1 WHERE group_id = 4`},
	{sql: `UPDATE t SET n = $2 WHERE id = $1 RETURNING *`, args: []string{"13", "4.5"}},
	{sql: `UPDATE t SET n = 1000000 WHERE id = 13`},
	{sql: `UPDATE t SET v = 'bad' WHERE id = $1`, args: []string{"17"}},
	{sql: `UPDATE t SET nope = 'ü' WHERE id = 13`},
	{sql: `UPDATE t SET v = 'ü', n = 'x' WHERE id = 13`},
	{sql: `UPDATE t SET id = 5 WHERE id = 4`},
	{sql: `UPDATE t SET id = 23 WHERE id = 13`},
	{sql: `UPDATE t SET v = o.x FROM other o WHERE o.id = t.id RETURNING t.id, o.x`},
	{sql: `DELETE FROM t WHERE group_id = $1 AND id > $2`, args: []string{"7", "40"}},
	{sql: `DELETE FROM t WHERE id IN (13, 14, 15) RETURNING id`},
	{sql: `DELETE FROM t WHERE false`},
	{sql: `DELETE FROM other WHERE id IN (SELECT id FROM t WHERE group_id = 3)`},
	{sql: `INSERT INTO other SELECT id, group_id, v FROM t WHERE group_id = $1 RETURNING *`, args: []string{"7"}},
	{sql: `WITH x AS (SELECT id FROM t) INSERT INTO other (id) SELECT id FROM x`},
	{sql: `SELECT * FROM other`},
	{sql: `BEGIN`},
	{sql: `UPDATE t SET v = 'in block' WHERE id < $1`, args: []string{"20"}},
	{sql: `SAVEPOINT s`},
	{sql: `DELETE FROM t`},
	{sql: `SELECT count(*) FROM t`},
	{sql: `ROLLBACK TO s`},
	{sql: `SELECT id, v FROM t GROUP BY group_id, id, v`},
	{sql: `UPDATE t SET v = 'bad' WHERE id = 24`},
	{sql: `SELECT count(*) FROM t`},
	{sql: `UPDATE t SET v = 'x'`},
	{sql: `ROLLBACK`},
	{sql: `SELECT * FROM t`},
	{sql: `BEGIN ISOLATION LEVEL SERIALIZABLE`},
	{sql: `UPDATE t SET v = 'serial' WHERE group_id IN (3, 4)`},
	{sql: `DELETE FROM t WHERE id = $1`, args: []string{"16"}},
	{sql: `COMMIT`},
	{sql: `SELECT * FROM t`},
	{sql: `SELECT id, group_id, v, n FROM t ORDER BY id`},
}

// readWays are the ways to send a statement.
var readWays = map[string]func(context.Context, *pgconn.PgConn, int, readStatement) []*pgconn.Result{
	"simple": func(ctx context.Context, c *pgconn.PgConn, _ int, s readStatement) []*pgconn.Result {
		sql := s.sql
		for i, a := range s.args {
			literal := "'" + a + "'"
			if a == "NULL" {
				literal = a
			}
			sql = strings.ReplaceAll(sql, fmt.Sprintf("$%d", i+1), literal)
		}
		results, err := c.Exec(ctx, sql).ReadAll()
		return append(results, &pgconn.Result{Err: err})
	},
	"unnamed": func(ctx context.Context, c *pgconn.PgConn, _ int, s readStatement) []*pgconn.Result {
		return []*pgconn.Result{c.ExecParams(ctx, s.sql, s.values(), nil, nil, nil).Read()}
	},
	"binary": func(ctx context.Context, c *pgconn.PgConn, _ int, s readStatement) []*pgconn.Result {
		return []*pgconn.Result{c.ExecParams(ctx, s.sql, s.values(), nil, nil, []int16{1}).Read()}
	},
	"prepared": func(ctx context.Context, c *pgconn.PgConn, i int, s readStatement) []*pgconn.Result {
		name := fmt.Sprint("s", i)
		d, err := c.Prepare(ctx, name, s.sql, nil)
		if err != nil {
			return []*pgconn.Result{{Err: err}}
		}
		out := []*pgconn.Result{{FieldDescriptions: d.Fields, CommandTag: pgconn.NewCommandTag(fmt.Sprint(d.ParamOIDs))}}
		out = append(out, c.ExecPrepared(ctx, name, s.values(), nil, nil).Read())
		out = append(out, c.ExecPrepared(ctx, name, s.values(), nil, nil).Read())
		return append(out, &pgconn.Result{Err: c.Deallocate(ctx, name)})
	},
	"pipeline": func(ctx context.Context, c *pgconn.PgConn, _ int, s readStatement) []*pgconn.Result {
		p := c.StartPipeline(ctx)
		p.SendQueryParams(`SELECT 'before'`, nil, nil, nil, nil)
		p.SendQueryParams(s.sql, s.values(), nil, nil, nil)
		p.SendQueryParams(`SELECT count(*) FROM t`, nil, nil, nil, nil)
		err := p.Sync()
		var out []*pgconn.Result
		for {
			res, rerr := p.GetResults()
			if reader, ok := res.(*pgconn.ResultReader); ok {
				out = append(out, reader.Read())
			}
			if _, end := res.(*pgconn.PipelineSync); end || res == nil && rerr == nil {
				break
			}
			if rerr != nil {
				out = append(out, &pgconn.Result{Err: rerr})
				if e := new(pgconn.PgError); !errors.As(rerr, &e) {
					break
				}
			}
		}
		return append(out, &pgconn.Result{Err: errors.Join(err, p.Close())})
	},
}

func (s readStatement) values() [][]byte {
	var out [][]byte
	for _, a := range s.args {
		if a == "NULL" {
			out = append(out, nil)
		} else {
			out = append(out, []byte(a))
		}
	}
	return out
}

// seen is what a client sees of results; the order of rows counts where the
// statement asks for one.
func seen(results []*pgconn.Result, ordered bool) string {
	var b strings.Builder
	for _, r := range results {
		for _, f := range r.FieldDescriptions {
			fmt.Fprintf(&b, "%s %d %d %d, ", f.Name, f.DataTypeOID, f.TypeModifier, f.Format)
		}
		var rows []string
		for _, row := range r.Rows {
			rows = append(rows, fmt.Sprintf("%q", row))
		}
		if !ordered {
			slices.Sort(rows)
		}
		fmt.Fprintf(&b, "\n%s\n[%s]", strings.Join(rows, "\n"), r.CommandTag)
		if e := new(pgconn.PgError); errors.As(r.Err, &e) {
			fmt.Fprintf(&b, " %s %s %s %d %s %q %s", e.Severity, e.Code, sameName(e.Message), e.Position, e.Detail,
				sameName(e.ConstraintName), sameName(e.TableName))
		} else if r.Err != nil {
			fmt.Fprintf(&b, " %v", r.Err)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// sameName takes what tells the two tables apart from a message.
func sameName(s string) string {
	return strings.ReplaceAll(s, "_relyt_massive_group", "")
}

// TestRoutedReads: statements on a routed pair through the proxy are answered as
// those on one plain table are directly, however they are sent; also where nothing
// of pgbulkproxy is in the database.
func TestRoutedReads(t *testing.T) {
	t.Parallel()
	for way, send := range readWays {
		for _, engine := range []string{"postgres", "plain"} {
			t.Run(engine+" "+way, func(t *testing.T) {
				t.Parallel()
				if engine == "plain" {
					b := newPlainBed(t, testenv.Postgres(t), Options{}, func(c *config.Config) { c.Engine, c.Routing.Reads = engine, true })
					must(t, b.direct(), readPair)
					b.readAlike(t, send)
					return
				}
				readBed(t).readAlike(t, send)
			})
		}
	}
}

// readAlike runs the script on both paths.
func (b *bed) readAlike(t *testing.T, send func(context.Context, *pgconn.PgConn, int, readStatement) []*pgconn.Result) {
	t.Helper()
	proxied, direct := b.readPaths()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	for i, s := range readScript {
		ordered := strings.Contains(s.sql, "ORDER BY")
		got, want := seen(send(ctx, proxied, i, s), ordered), seen(send(ctx, direct, i, s), ordered)
		if got != want {
			t.Errorf("%s %v\n got %s\nwant %s", s.sql, s.args, got, want)
		}
		if p, d := proxied.TxStatus(), direct.TxStatus(); p != d {
			t.Fatalf("%s: status %c, want %c", s.sql, p, d)
		}
		if proxied.IsClosed() || direct.IsClosed() {
			t.Fatalf("%s: closed", s.sql)
		}
	}
	if n := b.metric(t, "pgbulk_statements_total", "kind", "read", "decision", "stream"); n < 20 {
		t.Errorf("only %v statements were rewritten", n)
	}
}
