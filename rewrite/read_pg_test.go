package rewrite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// readTables are the same rows twice: in schema pair two of the tables are
// routed, in schema plain none is.
const readTables = `
CREATE SCHEMA relyt_sys; CREATE SCHEMA pair; CREATE SCHEMA plain;
CREATE TABLE plain.t (id int PRIMARY KEY, group_id int, v text, n numeric(6,2), "Q c" text DEFAULT 'q', g int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE plain.u (routing_id text, k int, w text);
CREATE TABLE plain.other (id int, group_id int, x text);
CREATE TABLE plain."T" (id int);
CREATE TABLE pair.t (LIKE plain.t INCLUDING ALL);
CREATE TABLE pair.t_relyt_massive_group (LIKE plain.t INCLUDING ALL);
CREATE TABLE pair.u (LIKE plain.u INCLUDING ALL);
CREATE TABLE pair.u_relyt_massive_group (group_id text, k int, w text);
CREATE TABLE pair.other (LIKE plain.other); CREATE TABLE pair."T" (LIKE plain."T");
CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
CREATE TABLE relyt_sys.u_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
INSERT INTO relyt_sys.t_relyt_routing VALUES ('3', 't_relyt_massive_group'), ('7', 'pair.t_relyt_massive_group'), ('8', 't');
INSERT INTO relyt_sys.u_relyt_routing VALUES ('b', 'u_relyt_massive_group');
INSERT INTO plain.t SELECT i, nullif(i % 10, 9), 'v' || i, i * 1.5 FROM generate_series(1, 60) i;
INSERT INTO pair.t (id, group_id, v, n, "Q c") SELECT id, group_id, v, n, "Q c" FROM plain.t WHERE group_id IS NULL OR group_id NOT IN (3, 7);
INSERT INTO pair.t_relyt_massive_group (id, group_id, v, n, "Q c") SELECT id, group_id, v, n, "Q c" FROM plain.t WHERE group_id IN (3, 7);
INSERT INTO plain.u SELECT substr('abc', i % 3 + 1, 1), i, 'w' || i FROM generate_series(1, 12) i;
INSERT INTO pair.u SELECT * FROM plain.u WHERE routing_id <> 'b';
INSERT INTO pair.u_relyt_massive_group SELECT * FROM plain.u WHERE routing_id = 'b';
INSERT INTO plain.other SELECT i, i % 10, 'x' || i FROM generate_series(1, 20) i;
INSERT INTO pair.other SELECT * FROM plain.other;`

// readCase is a statement with what is to become of it.
type readCase struct {
	reason Reason
	sql    string
}

// readCases are statements on the tables above.
var readCases = []readCase{
	{ReasonUnion, `SELECT * FROM t`},
	{ReasonUnion, `select count(*), sum(n), min(v) from T`},
	{ReasonUnion, `SELECT id, g, "Q c" FROM "t" ORDER BY id DESC LIMIT 7`},
	{ReasonUnion, `TABLE t`},
	{ReasonUnion, `(TABLE ONLY t) ORDER BY id LIMIT 3`},
	{ReasonUnion, `SELECT * FROM ONLY t WHERE id < 20`},
	{ReasonUnion, `SELECT * FROM ONLY (t) AS x`},
	{ReasonUnion, `SELECT * FROM t* WHERE v LIKE 'v1%'`},
	{ReasonUnion, `SELECT a.id, b.v FROM t a JOIN t AS b ON a.id = b.id + 1 WHERE a.id < 9`},
	{ReasonUnion, `SELECT q, w FROM t AS x(q, w) WHERE q < 9`},
	{ReasonUnion, `SELECT t.id, t.group_id FROM t WHERE t.id IN (SELECT k FROM u)`},
	{ReasonUnion, `SELECT t.*, other.x FROM t LEFT JOIN other USING (id) ORDER BY t.id`},
	{ReasonUnion, `SELECT * FROM t NATURAL JOIN other`},
	{ReasonUnion, `SELECT * FROM other FULL JOIN t USING (id, group_id)`},
	{ReasonUnion, `SELECT o.id, l.c FROM other o, LATERAL (SELECT count(*) AS c FROM t WHERE t.group_id = o.group_id) l`},
	{ReasonUnion, `SELECT id FROM t UNION SELECT k FROM u EXCEPT SELECT id FROM other ORDER BY 1`},
	{ReasonUnion, `SELECT group_id, count(*) FROM t GROUP BY group_id HAVING count(*) > 2`},
	{ReasonUnion, `SELECT DISTINCT ON (group_id) group_id, id FROM t ORDER BY group_id, id`},
	{ReasonUnion, `SELECT id, row_number() OVER w FROM t WINDOW w AS (PARTITION BY group_id ORDER BY id)`},
	{ReasonUnion, `SELECT (SELECT max(id) FROM t), EXISTS (SELECT FROM t WHERE group_id = other.group_id) FROM other`},
	{ReasonUnion, `WITH c AS (SELECT * FROM t) SELECT count(*) FROM c`},
	{ReasonUnion, `WITH t AS (SELECT * FROM t WHERE id < 30) SELECT count(*) FROM t`},
	{ReasonUnion, `WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT r.n, t.v FROM r JOIN t ON t.id = r.n`},
	{ReasonUnion, `WITH x AS (SELECT 1 AS id) SELECT * FROM pair.t, x WHERE t.id = x.id`},
	{ReasonUnion, "SELECT -- t\n /* FROM t */ count(*) /* ü */ FROM/**/t/**/WHERE v <> 'FROM t'"},
	{ReasonUnion, `SELECT 'ünï', v FROM t WHERE id = 13;`},
	{ReasonUnion, `SELECT sum(id) FROM t WHERE group_id IN (3, 4) OR id = 1`},
	{ReasonUnion, `VALUES ((SELECT count(*) FROM t)), (2)`},
	{ReasonUnion, `SELECT w, routing_id FROM u`},
	{ReasonUnion, `SELECT u.routing_id, count(*) FROM u GROUP BY 1 ORDER BY 1`},
	{ReasonUnion, `SELECT group_id FROM u`},
	{ReasonUnion, `SELECT nope FROM t`},
	{ReasonUnion, `SELECT 'ü', t.nope + 1 AS x FROM t AS y`},
	{ReasonUnion, `SELECT id / 0 FROM t`},
	{ReasonUnion, `SELECT * FROM t WHERE id = 'x'`},
	{ReasonUnion, `SELECT * FROM t, nowhere`},
	{ReasonUnion, `EXPLAIN (COSTS OFF) SELECT 1 FROM nowhere, t`},

	{ReasonPinned, `SELECT * FROM t WHERE group_id = 3`},
	{ReasonPinned, `SELECT * FROM t WHERE t.group_id = 3 AND id > 10`},
	{ReasonPinned, `SELECT * FROM t WHERE 4 = group_id`},
	{ReasonPinned, `SELECT * FROM t WHERE group_id = '7' ORDER BY id`},
	{ReasonPinned, `SELECT count(*) FROM t WHERE group_id IN (3, 4, 8)`},
	{ReasonPinned, `SELECT count(*) FROM t WHERE group_id IN (4, 5)`},
	{ReasonPinned, `SELECT count(*) FROM t WHERE group_id IN ('3', '7')`},
	{ReasonPinned, `SELECT count(*) FROM t WHERE group_id = 99999999999`},
	{ReasonPinned, `SELECT count(*) FROM t WHERE group_id = 'x'`},
	{ReasonPinned, `SELECT count(*) FROM t WHERE group_id = 3::bigint`},
	{ReasonPinned, `SELECT count(*) FROM t WHERE group_id = CAST('3' AS int)`},
	{ReasonPinned, `SELECT a.id, o.x FROM other o LEFT JOIN t a ON a.id = o.id WHERE a.group_id = 3`},
	{ReasonPinned, `SELECT a.id, o.x FROM t a FULL JOIN other o USING (group_id) WHERE group_id = 3`},
	{ReasonPinned, `SELECT * FROM u WHERE routing_id = 'b'`},
	{ReasonPinned, `SELECT * FROM u WHERE routing_id IN ('a', 'b')`},
	{ReasonPinned, `SELECT * FROM u WHERE routing_id = E'\x62'`},
	{ReasonUnion, `SELECT * FROM t WHERE group_id = 3.0`},
	{ReasonUnion, `SELECT * FROM t WHERE group_id = 3::numeric`},
	{ReasonUnion, `SELECT * FROM t WHERE group_id IN (3, '4')`},
	{ReasonUnion, `SELECT * FROM t WHERE group_id = 2 + 1`},
	{ReasonUnion, `SELECT * FROM t WHERE NOT group_id = 3`},
	{ReasonUnion, `SELECT * FROM t WHERE group_id IS NULL`},
	{ReasonUnion, `SELECT * FROM t WHERE group_id = -3`},

	{ReasonRowLocks, `SELECT * FROM t WHERE id = 3 FOR UPDATE`},
	{ReasonRowLocks, `SELECT * FROM t a, other FOR SHARE OF a`},
	{ReasonUnion, `SELECT a.id FROM t a, other o WHERE a.id = o.id FOR UPDATE OF o`},
	{ReasonSample, `SELECT count(*) FROM t TABLESAMPLE SYSTEM (50)`},
	{ReasonSystemColumn, `SELECT ctid FROM t`},
	{ReasonSystemColumn, `SELECT a.tableoid FROM t a`},
	{ReasonUnion, `SELECT other.ctid IS NULL FROM t, other`},
	{ReasonWholeRow, `SELECT t FROM t`},
	{ReasonWholeRow, `SELECT row_to_json(x) FROM t x`},
	{ReasonQualified, `SELECT pair.t.id FROM t`},
	{ReasonQualified, `SELECT pair.t.* FROM pair.t`},
	{ReasonNoSuchColumn, `SELECT t.nope FROM t`},
	{ReasonChangeInWith, `WITH d AS (DELETE FROM t RETURNING *) SELECT count(*) FROM d`},
	{ReasonExplainChange, `EXPLAIN DELETE FROM t`},
	{ReasonNotRead, `MERGE INTO t USING other ON false WHEN NOT MATCHED THEN DO NOTHING`},
	{ReasonNotRead, `SET search_path = t`},
	{ReasonNotRead, `COPY t FROM STDIN`},
	{ReasonNotRouted, `SELECT * FROM other`},
	{ReasonNotRouted, `SELECT * FROM relyt_sys.t`},
	{ReasonNotRouted, `WITH t AS (SELECT 1 AS id) SELECT * FROM t`},
	{ReasonNotRouted, `SELECT * FROM "T"`},
	{ReasonMultiStatement, `SELECT 1 FROM t; SET search_path = x`},
	{ReasonMultiStatement, `SELECT 1 FROM t; DELETE FROM t`},
	{ReasonParseError, `SELECT FROM FROM t`},

	{ReasonBothTables, `UPDATE t SET v = v || '!'`},
	{ReasonBothTables, `UPDATE t SET v = 'ü' WHERE id BETWEEN 10 AND 20 RETURNING id, v, t.n AS m`},
	{ReasonBothTables, `UPDATE t AS x SET v = o.x, n = 0 FROM other o WHERE o.id = x.id RETURNING x.*, o.x`},
	{ReasonBothTables, `UPDATE t SET (v, n) = (SELECT w, k FROM u WHERE k = t.id) WHERE id < 12`},
	{ReasonBothTables, `DELETE FROM t`},
	{ReasonBothTables, `DELETE FROM t WHERE id % 2 = 0 OR v IS NULL RETURNING *`},
	{ReasonBothTables, `DELETE FROM ONLY t USING other o WHERE o.id = t.id RETURNING o.x`},
	{ReasonBothTables, `WITH c AS (SELECT id FROM other) DELETE FROM t x WHERE x.id IN (SELECT id FROM c)`},
	{ReasonBothTables, `UPDATE t SET nope = 1`},
	{ReasonBothTables, `UPDATE t SET v = 1 / (id - 13)`},
	{ReasonBothTables, `UPDATE t SET id = 5 WHERE id IN (4, 6)`},
	{ReasonBothTables, `DELETE FROM u`},
	{ReasonBothTables, `UPDATE t SET v = 'p' WHERE group_id = 4 AND id < 40 OR id = 3`},
	{ReasonUnion, `UPDATE other SET x = t.v FROM t WHERE t.id = other.id`},
	{ReasonUnion, `DELETE FROM other WHERE id IN (SELECT id FROM t)`},
	{ReasonUnion, `WITH d AS (DELETE FROM other RETURNING id) SELECT t.v FROM t JOIN d USING (id)`},
	{ReasonPinned, `UPDATE t SET v = 'p' WHERE group_id = 3`},
	{ReasonPinned, `UPDATE t SET v = 'p' WHERE group_id = 4 AND (id < 40 OR false) -- ü`},
	{ReasonPinned, `DELETE FROM t WHERE t.group_id IN (3, 4) RETURNING id;`},
	{ReasonReadsItself, `DELETE FROM t WHERE n < (SELECT avg(n) FROM pair.t)`},
	{ReasonReadsItself, `UPDATE t SET n = 0 FROM t x WHERE x.id = t.id + 1`},
	{ReasonSetsRouting, `UPDATE t SET group_id = 4 WHERE id = 3`},
	{ReasonCurrentOf, `DELETE FROM t WHERE CURRENT OF c`},
	{ReasonAuxColumn, `DELETE FROM u WHERE routing_id = 'b'`},
	{ReasonAuxColumn, `UPDATE u SET w = '' RETURNING *`},
	{ReasonWholeRow, `DELETE FROM t RETURNING t`},
	{ReasonSystemColumn, `DELETE FROM t WHERE ctid = '(0,1)'`},
	{ReasonChangeInWith, `WITH x AS (INSERT INTO other VALUES (1) RETURNING id) DELETE FROM t USING x WHERE x.id = t.id`},
}

// planRead takes the steps that a session takes.
func planRead(t *testing.T, conn *pgconn.PgConn, sql string, o PlanOptions) (*ReadPlan, Reason) {
	t.Helper()
	may := func(table string) bool { return table == "t" || table == "u" }
	s, reason := ParseRead(sql, ReadOptions{MaxBytes: 1 << 16, May: may, StandardStrings: true, UTF8: true})
	if s == nil {
		return nil, reason
	}
	rows := conn.ExecParams(context.Background(), s.InspectSQL(), nil, nil, nil, nil).Read()
	if rows.Err != nil || len(rows.Rows) != 1 {
		t.Fatalf("%s: %v", sql, rows.Err)
	}
	r, err := s.ParseReadInspection(string(rows.Rows[0][0]), "")
	if err != nil {
		t.Fatal(err)
	}
	return s.Plan(r, o)
}

// outcome is what a client sees of a statement: rows in any order, since without
// ORDER BY they have none.
type outcome struct {
	fields, rows []string
	tag          int64
	code, text   string
	position     int32
}

func (o *outcome) add(res *pgconn.Result) {
	if e := new(pgconn.PgError); errors.As(res.Err, &e) {
		o.code, o.text, o.position = e.Code, e.Message, e.Position
	}
	if o.fields == nil {
		for _, f := range res.FieldDescriptions {
			o.fields = append(o.fields, fmt.Sprint(f.Name, " ", f.DataTypeOID, " ", f.TypeModifier))
		}
	}
	for _, row := range res.Rows {
		o.rows = append(o.rows, fmt.Sprintf("%q", row))
	}
	slices.Sort(o.rows)
	o.tag += res.CommandTag.RowsAffected()
}

// effects are the rows of all tables after a statement.
const effects = `SELECT 't', t::text FROM %[1]s.t UNION ALL SELECT 'u', u::text FROM %[1]s.u UNION ALL SELECT 'other', o::text FROM %[1]s.other o`

// TestReadOracle holds every statement on a routed pair, as it is rewritten,
// against the client's own on one plain table.
func TestReadOracle(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	conn := connect(t, pg, pg.NewDatabase(t), "postgres")
	run(t, conn, readTables)
	for _, c := range readCases {
		t.Run(c.sql, func(t *testing.T) {
			run(t, conn, "SET search_path = pair")
			plan, reason := planRead(t, conn, c.sql, PlanOptions{})
			if plan != nil {
				reason = plan.Reason
			}
			if reason != c.reason {
				t.Fatalf("reason %s, want %s", reason, c.reason)
			}
			if plan == nil {
				return
			}
			got := runPlan(t, conn, plan)
			run(t, conn, "SET search_path = plain; BEGIN")
			var want outcome
			want.add(exec(conn, strings.ReplaceAll(c.sql, "pair.", "plain.")))
			if want.code == "" {
				want.add(exec(conn, fmt.Sprintf(effects, "plain")))
			}
			run(t, conn, "ROLLBACK")
			if got.code == "42P01" {
				got.text, want.text = "", "" // of a table with an alias the server knows to say more
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s\n got %v\nwant %v", plan.Main.SQL, got, want)
			}
		})
	}
}

// exec runs a simple query and returns its last result.
func exec(conn *pgconn.PgConn, sql string) *pgconn.Result {
	results, err := conn.Exec(context.Background(), sql).ReadAll()
	if len(results) == 0 {
		return &pgconn.Result{Err: err}
	}
	last := results[len(results)-1]
	if err != nil {
		last.Err = err
	}
	return last
}

// runPlan runs a plan, and undoes what it has done.
func runPlan(t *testing.T, conn *pgconn.PgConn, plan *ReadPlan) outcome {
	t.Helper()
	var got outcome
	run(t, conn, "BEGIN")
	for _, l := range plan.Locks {
		if res := exec(conn, l); res.Err != nil || len(res.Rows) > 0 {
			t.Fatalf("%s: %v %v", l, res.Rows, res.Err)
		}
	}
	got.add(exec(conn, plan.Main.SQL))
	got.position = int32(plan.Main.Position(int(got.position)))
	if plan.Aux.SQL != "" && got.code == "" {
		if got.add(exec(conn, plan.Aux.SQL)); got.code != "" {
			got.position = int32(plan.Aux.Position(int(got.position)))
		}
	}
	if got.code == "" {
		got.add(exec(conn, fmt.Sprintf(effects, "pair")+` UNION ALL SELECT 't', t::text FROM pair.t_relyt_massive_group t
			UNION ALL SELECT 'u', u::text FROM pair.u_relyt_massive_group u`))
	} else {
		got.tag = 0 // what the first table has seen is undone
	}
	run(t, conn, "ROLLBACK")
	return got
}
