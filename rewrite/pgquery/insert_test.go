package pgquery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

var insertSeeds = []string{
	"INSERT INTO t VALUES (1),(2)", "insert into s.\"T\" as x (a, \"b\") overriding user value values ('a', $1) , (NULL, $2);",
	"INSERT INTO values (values) VALUES (1)", "INSERT INTO t AS values VALUES (1)", "INSERT INTO t (VALUES (1))", "INSERT INTO t (a.b, c[1]) VALUES (1,2)",
	"INSERT INTO t VALUES (1) ON CONFLICT (a) WHERE b > 0 DO UPDATE SET b = excluded.returning, c = (SELECT 1) WHERE t.on = 1 RETURNING *, t.a AS returning",
	"INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT x DO NOTHING -- c", "INSERT INTO t VALUES (1) ORDER BY 1", "INSERT INTO t VALUES (1) UNION ALL VALUES (2)",
	"INSERT INTO t (a, b) SELECT p0::VARCHAR, p1 FROM (VALUES ('x', 1.5, 0), ('y', 2, 1)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING t.id, t.id AS id__1",
	"INSERT INTO t SELECT p1::s.t[3], p0::numeric(1, 2) FROM (VALUES ('x', 1.5, 0)) x(p0, p1, c) ORDER BY c ON CONFLICT DO NOTHING", "INSERT INTO t SELECT DISTINCT a FROM (VALUES (1,0)) x(a,b) ORDER BY b",
	"INSERT INTO t DEFAULT VALUES", "WITH x AS (SELECT 1) INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1); SELECT 1", "/* a */INSERT--b\nINTO t/**/VALUES(1)/*c*/ ;; ", "INSERT INTO t VALUES (1) RETURNING (1), a.b.c, CASE WHEN a THEN b END on",
}

// FuzzInsert: what ParseInsert takes is what PostgreSQL's grammar sees in the
// whole text; and no prefix of a text makes ManyRows decide otherwise.
func FuzzInsert(f *testing.F) {
	for _, s := range insertSeeds {
		f.Add(s)
	}
	opts := rewrite.InsertOptions{MaxBytes: 1 << 16, Values: values.Options{StandardStrings: true, UTF8: true}}
	f.Fuzz(func(t *testing.T, sql string) {
		if len(sql) > 600 {
			return
		}
		for n := 1; n < 3; n++ {
			whole, _ := rewrite.ManyRows([]byte(sql), true, n, opts.Values)
			for end := range len(sql) {
				if many, decided := rewrite.ManyRows([]byte(sql[:end]), false, n, opts.Values); decided && many != whole {
					t.Errorf("%q: %v at %d, %v in the end", sql, many, end, whole)
				}
			}
		}
		s, reason := rewrite.ParseInsert([]byte(sql), opts)
		if reason != rewrite.ReasonNone || !utf8.ValidString(sql) {
			return
		}
		if many, _ := rewrite.ManyRows([]byte(sql), true, s.Rows, opts.Values); !many {
			t.Errorf("%q: ManyRows does not see %d rows", sql, s.Rows)
		}
		tree, err := pg_query.Parse(sql)
		if err != nil || len(tree.Stmts) != 1 {
			t.Errorf("%q: taken, the grammar says %v", sql, err)
			return
		}
		stmt := tree.Stmts[0].GetStmt().GetInsertStmt()
		if stmt == nil || stmt.WithClause != nil {
			t.Errorf("%q: taken, the grammar sees another statement", sql)
			return
		}
		compareInsert(t, s, stmt)
	})
}

func compareInsert(t *testing.T, s *rewrite.InsertStatement, stmt *pg_query.InsertStmt) {
	t.Helper()
	rel := stmt.Relation
	if rel.Catalogname != "" || rel.Schemaname != s.Schema || rel.Relname != s.Table || rel.Alias.GetAliasname() != s.Alias {
		t.Errorf("%q: table %q.%q %q, the grammar sees %v", s.SQL, s.Schema, s.Table, s.Alias, rel)
	}
	var columns []string
	for _, c := range stmt.Cols {
		columns = append(columns, c.GetResTarget().GetName())
	}
	if !slices.Equal(columns, s.Columns) || stmt.Override.String() != overrides[s.Overriding] {
		t.Errorf("%q: columns %q, %q, the grammar sees %q, %s", s.SQL, s.Columns, s.Overriding, columns, stmt.Override)
	}
	sel := stmt.SelectStmt.GetSelectStmt()
	// The statement with nothing but what was understood has the same tree.
	again := "INSERT INTO t VALUES (1) " + s.OnConflict + " " + s.Returning
	if s.Source != nil {
		var items []string
		cells := sel.FromClause[0].GetRangeSubselect().Alias.Colnames
		for _, c := range s.Source.Columns {
			item := fmt.Sprintf(`"%s"`, strings.ReplaceAll(cells[c.Cell].GetString_().Sval, `"`, `""`))
			if c.Cast != "" {
				item += "::" + c.Cast
			}
			items = append(items, item)
		}
		again = "INSERT INTO t SELECT " + strings.Join(items, ",") + " FROM x " + s.OnConflict + " " + s.Returning
	}
	tree, err := pg_query.Parse(again)
	if err != nil {
		t.Errorf("%q: %q: %v", s.SQL, again, err)
		return
	}
	copied := tree.Stmts[0].GetStmt().GetInsertStmt()
	same(t, s.SQL, copied.OnConflictClause, stmt.OnConflictClause)
	same(t, s.SQL, copied.ReturningList, stmt.ReturningList)
	same(t, s.SQL, copied.SelectStmt.GetSelectStmt().TargetList, sel.TargetList)
	if s.Source != nil {
		sel = sel.FromClause[0].GetRangeSubselect().Subquery.GetSelectStmt()
	}
	if len(sel.ValuesLists) != s.Rows || len(sel.ValuesLists[0].GetList().Items) != s.Width {
		t.Errorf("%q: %d rows of %d, the grammar sees %d", s.SQL, s.Rows, s.Width, len(sel.ValuesLists))
	}
}

var overrides = map[string]string{
	"": "OVERRIDING_NOT_SET", "USER": "OVERRIDING_USER_VALUE", "SYSTEM": "OVERRIDING_SYSTEM_VALUE",
}

// same compares two parts of trees but for where they stand.
func same(t *testing.T, sql []byte, got, want any) {
	t.Helper()
	g := location.ReplaceAllString(fmt.Sprint(got), "")
	if w := location.ReplaceAllString(fmt.Sprint(want), ""); g != w {
		t.Errorf("%q:\n got %s\nwant %s", sql, g, w)
	}
}
