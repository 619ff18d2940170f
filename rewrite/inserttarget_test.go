package rewrite

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// routedIn is the inspection of table s.t (a, "G g", b), routed by "G g", which the
// auxiliary table calls "r".
func routedIn(columns ...string) *Inspection {
	aux := make([]string, len(columns))
	for i, name := range columns {
		if aux[i] = name; name == "G g" {
			aux[i] = "r"
		}
	}
	return &Inspection{Found: true, Schema: "s", Table: "t", Columns: columns, Routing: &Routing{
		Column: "G g", AuxColumn: "r", Aux: Relation{Schema: "s", Table: "x"}, Table: &Inspection{Schema: "s", Table: "x", Columns: aux},
	}}
}

// TestAuxText: the text for the auxiliary table, with some of the rows.
func TestAuxText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ sql, want string }{
		{`INSERT INTO t (a, "G g") VALUES (1, 'x'), (2, ')'), (3, $$y$$)`,
			`INSERT INTO "s"."x" AS "t" ("a", "r")  VALUES  (1, 'x'), (3, $$y$$)`},
		{"/* c */ insert into\ts.T as \"O o\"(a,\"G g\")OVERRIDING SYSTEM VALUE values(1,2)/*,*/,--\n(3,4) , ( 5 , 6 );  -- end",
			"/* c */ insert into \"s\".\"x\" AS \"O o\" (\"a\", \"r\") OVERRIDING SYSTEM VALUE values (1,2), ( 5 , 6 ) ;  -- end"},
		{`INSERT INTO t (a, "G g") VALUES (1, 2), (3, 4), (5, 6) ON CONFLICT ("G g") WHERE "G g" > 'G g' DO UPDATE SET "G g" = excluded."G g" RETURNING t."G g", a AS "G g";`,
			`INSERT INTO "s"."x" AS "t" ("a", "r")  VALUES  (1, 2), (5, 6) |ON CONFLICT ("r") WHERE "r" > 'G g' DO UPDATE SET "r" = excluded."r"|RETURNING t."r", a AS "G g"|`},
		{`INSERT INTO t (a, "G g") VALUES (1, 2), (3, 4), (5, 6) ON CONFLICT ON CONSTRAINT "k" DO NOTHING`,
			`INSERT INTO "s"."x" AS "t" ("a", "r")  VALUES  (1, 2), (5, 6) |ON CONFLICT ON CONSTRAINT "other k" DO NOTHING|`},
	} {
		s, reason := ParseInsert([]byte(test.sql), standardInsert)
		if reason != ReasonNone {
			t.Fatalf("%s: %s", test.sql, reason)
		}
		target, err := s.Aux(routedIn("a", "G g"), "other k")
		if err != nil {
			t.Fatalf("%s: %v", test.sql, err)
		}
		rows, err := s.RowTexts(standardInsert.Values)
		if err != nil {
			t.Fatalf("%s: %v", test.sql, err)
		}
		got := strings.TrimSpace(string(target.AppendText(nil, s.SQL, append(rows[:1:1], rows[len(rows)-1]))))
		if flat := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, "|", "\n")), " ") }; strings.ReplaceAll(flat(got), ",(", ", (") != strings.ReplaceAll(flat(test.want), ",(", ", (") {
			t.Errorf("%s\ngot  %s\nwant %s", test.sql, got, test.want)
		}
	}
}

// TestAuxRefuses: clauses that would mean something else.
func TestAuxRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		sql      string
		shuffled bool
		fails    bool
	}{
		{"INSERT INTO t (a) VALUES (1) ON CONFLICT ON CONSTRAINT k DO NOTHING", false, true},
		{"INSERT INTO t (a) VALUES (1) RETURNING *", true, true},
		{"INSERT INTO t (a) VALUES (1) RETURNING *", false, false},
		{"INSERT INTO t (a) VALUES (1) RETURNING a, t", true, true},
		{"INSERT INTO t (a) VALUES (1) RETURNING a, t.b AS x", true, false},
		{"INSERT INTO t (a) VALUES (1)", true, false},
	} {
		s, reason := ParseInsert([]byte(test.sql), standardInsert)
		if reason != ReasonNone {
			t.Fatalf("%s: %s", test.sql, reason)
		}
		in := routedIn("a")
		in.Routing.Shuffled = test.shuffled
		if _, err := s.Aux(in, ""); (err != nil) != test.fails {
			t.Errorf("%s: %v", test.sql, err)
		}
	}
}

// TestParseAny: what a text puts rows into, and how it goes into another table.
func TestParseAny(t *testing.T) {
	t.Parallel()
	const long = "INSERT INTO t (a) VALUES ((1)) ON CONFLICT (a) DO UPDATE SET a = 1 RETURNING a AS returning"
	for _, test := range []struct{ sql, targets, into string }{
		{"INSERT INTO t SELECT 1", "[{ t}] plain", "INSERT INTO X SELECT 1"},
		{"; INSERT INTO s.\"T t\" AS x (a) SELECT 1 FROM y JOIN z ON y.a = z.a;", `[{s T t}] plain`, "; INSERT INTO X (a) SELECT 1 FROM y JOIN z ON y.a = z.a"},
		{long, "[{ t}] plain", "INSERT INTO X (a) VALUES ((1)) "},
		{"WITH w AS (SELECT 1) INSERT INTO t TABLE w RETURNING (SELECT 1)", "[{ t}] plain", "WITH w AS (SELECT 1) INSERT INTO X TABLE w "},
		{"INSERT INTO t DEFAULT VALUES", "[{ t}] plain", "INSERT INTO X DEFAULT VALUES"},
		{"WITH w AS (INSERT INTO u VALUES (1) RETURNING a) INSERT INTO t TABLE w", "[{ u} { t}] plain", ""},
		{"WITH w AS (INSERT INTO u VALUES (1) RETURNING a) SELECT * FROM w", "[{ u}] plain", ""},
		{"INSERT INTO t VALUES (1); DELETE FROM u; INSERT INTO v VALUES (1)", "[{ t} { v}] plain", ""},
		{"INSERT INTO t VALUES (1); COMMIT", "[{ t}]", ""},
		{"EXPLAIN ANALYZE INSERT INTO t VALUES (1)", "[{ t}] plain", ""},
		{"PREPARE p AS INSERT INTO t VALUES ($1)", "[{ t}]", ""},
		{"INSERT INTO s . /* c */ \"A\"\"b\" VALUES (1) WHAT IS THIS", `[{s A"b}] unknown`, ""},
		{"INSERT INTO d.s.t VALUES (1, ", "[{s t}] unknown", ""},
	} {
		a := ParseAny([]byte(test.sql))
		got := fmt.Sprint(a.Targets)
		if a.Plain {
			got += " plain"
		}
		if a.Unknown {
			got += " unknown"
		}
		into := ""
		if a.Insert != nil {
			into = strings.TrimSuffix(a.Insert.Into("X"), "\n")
		}
		if got != test.targets || into != test.into {
			t.Errorf("%s: %s, %q, want %s, %q", test.sql, got, into, test.targets, test.into)
		}
	}
}

// TestRename: identifiers alone are renamed.
func TestRename(t *testing.T) {
	t.Parallel()
	const sql, want = `RETURNING a, t.A, "a", 'a', "A", ab, a AS a, a::text -- a`, `RETURNING "z", t."z", "z", 'a', "A", ab, "z" AS a, "z"::text -- a`
	if got, err := pgquery.Rename(sql, "a", `"z"`); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
}

// TestRoutedPieces: by table and by runs, every row is in one piece.
func TestRoutedPieces(t *testing.T) {
	t.Parallel()
	aux := []bool{false, true, true, false, true}
	if got := fmt.Sprint(RoutedByTable(aux), RoutedByTable(aux[1:3]), RoutedByTable(nil)); got != "[{false 0 5} {true 0 5}] [{true 0 2}] [{false 0 0}]" {
		t.Error(got)
	}
	if got := fmt.Sprint(RoutedByRuns(aux), RoutedByRuns(nil)); got != "[{false 0 1} {true 1 3} {false 3 4} {true 4 5}] [{false 0 0}]" {
		t.Error(got)
	}
}

// TestExplainText: EXPLAIN comes before the statement's first word.
func TestExplainText(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"INSERT": "EXPLAIN INSERT", " ; -- c\n;/* d */insert": " ; -- c\n;/* d */EXPLAIN insert",
	} {
		if got := ExplainText([]byte(sql)); got != want {
			t.Errorf("%q: %q", sql, got)
		}
	}
}

// TestRequalify: the table's name is replaced where it qualifies, and nowhere else.
func TestRequalify(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`RETURNING t.a, t.*, T . b, "t".c, s.t.d, t, 't.a', a AS t, x.t`: `RETURNING "z".a, "z".*, "z" . b, "z".c, s.t.d, t, 't.a', a AS t, x.t`,
		`RETURNING (SELECT max(x) FROM u)`:                               `RETURNING (SELECT max(x) FROM u)`,
		`RETURNING (SELECT max(t.a) FROM t)`:                             "",
		"":                                                               "",
	} {
		got, err := pgquery.Requalify(in, "t", `"z"`)
		if got != want || (err != nil) != (want == "" && in != "") {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}
