package rewrite

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

const goldenInsertDir = "../testdata/sql/insert"

var standardInsert = InsertOptions{MaxBytes: 1 << 16, Values: values.Options{StandardStrings: true, UTF8: true}}

// TestGoldenInsert runs the command parse, with the argument nonstandard for
// standard_conforming_strings=off: statement → its fields, or why not.
func TestGoldenInsert(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, goldenInsertDir, func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			opts := standardInsert
			opts.Values.StandardStrings = !d.HasArg("nonstandard")
			s, reason := ParseInsert([]byte(d.Input), opts)
			if (s == nil) == (reason == ReasonNone) {
				t.Errorf("%s: %v and %q", d.Input, s, reason)
			}
			return describeInsert(s, reason) + "\n"
		})
	})
}

// describeInsert prints a result of ParseInsert.
func describeInsert(s *InsertStatement, reason Reason) string {
	if reason != ReasonNone {
		return fmt.Sprintf("pass %s", reason)
	}
	out := []string{fmt.Sprintf("table=%q rows=%d", strings.TrimPrefix(s.Schema+"."+s.Table, "."), s.Rows)}
	add := func(on bool, format string, args ...any) {
		if on {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(s.Alias != "", "alias=%q", s.Alias)
	add(s.Columns != nil, "columns=%q", s.Columns)
	add(s.Overriding != "", "overriding=%s", s.Overriding)
	add(s.MaxParam > 0, "params=%d", s.MaxParam)
	add(s.HasDefault, "default")
	out = append(out, "first="+describeCells(s.FirstRow))
	if s.Source != nil {
		for _, c := range s.Source.Columns {
			out = append(out, fmt.Sprintf("\nfrom cell %d %s", c.Cell, c.Cast))
		}
	}
	add(s.Conflict != ConflictError, "\n%s: %q", s.Conflict, s.OnConflict)
	add(s.Returning != "", "\nreturning: %q", s.Returning)
	for _, item := range s.Items {
		switch {
		case item.Star:
			out = append(out, fmt.Sprintf("\n  star of %q", item.Table))
		case item.Column != "":
			out = append(out, fmt.Sprintf("\n  column %q of %q as %q", item.Column, item.Table, item.Label))
		default:
			out = append(out, fmt.Sprintf("\n  expression as %q", item.Label))
		}
	}
	return strings.Join(out, " ")
}

func describeCells(cells []values.Cell) string {
	var out []string
	for _, c := range cells {
		s := [...]string{"null", "string", "integer", "decimal", "true", "false", "param", "default"}[c.Kind]
		if c.Text != nil {
			s += ":" + string(c.Text)
		}
		if c.Cast != nil {
			s += "::" + string(c.Cast)
		}
		out = append(out, s)
	}
	return "[" + strings.Join(out, " ") + "]"
}

// TestInsertOffsets: head, list and tail together are the text, and the first
// row stays what it was while others are read.
func TestInsertOffsets(t *testing.T) {
	t.Parallel()
	const head, list, tail = "INSERT INTO t (a) VALUES", " ( 'it''s' ), ('x''y'),\n(E'\\n')", " RETURNING a;"
	s, reason := ParseInsert([]byte(head+list+tail), standardInsert)
	if reason != ReasonNone {
		t.Fatal(reason)
	}
	if got := string(s.SQL[:s.ListStart]); got != head {
		t.Errorf("head %q", got)
	}
	if got := string(s.SQL[s.ListStart:s.ListEnd]); got != list {
		t.Errorf("list %q", got)
	}
	if s.Width != 1 || string(s.FirstRow[0].Text) != "it's" || s.Returning != "RETURNING a" {
		t.Errorf("%+v", s)
	}
	row, err := s.Lexer(standardInsert.Values).Row(nil)
	if err != nil || string(row[0].Text) != "it's" {
		t.Errorf("%s, %v", describeCells(row), err)
	}
}

// TestInsertBounds: what is long in one place is bounded there only.
func TestInsertBounds(t *testing.T) {
	t.Parallel()
	rows := strings.Repeat("('"+strings.Repeat("x", 1000)+"'),", 100) + "('x')"
	sum := strings.Repeat("+a", 3000)
	for _, test := range []struct {
		name, sql string
		want      Reason
	}{
		{"long rows", "INSERT INTO t VALUES " + rows, ReasonNone},
		{"long first cell", "INSERT INTO t VALUES ('" + strings.Repeat("x", 1<<20) + "')", ReasonNone},
		{"long head", "INSERT INTO t /*" + strings.Repeat("x", 1<<16) + "*/ VALUES (1)", ReasonTooLong},
		{"long tail", "INSERT INTO t VALUES (1) /*" + strings.Repeat("x", 1<<16) + "*/", ReasonTooLong},
		{"deep tail", "INSERT INTO t VALUES (1) RETURNING a" + sum, ReasonTailTooLong},
		{"many statements", strings.Repeat("INSERT INTO t VALUES (1);", 1<<13), ReasonMultiStatement},
		{"deep cell", "INSERT INTO t VALUES (1" + sum + ")", ReasonExpression},
		{"deep brackets", "INSERT INTO t VALUES (" + strings.Repeat("(", 1<<20), ReasonExpression},
		{"deep head", "INSERT INTO t SELECT " + strings.Repeat("(", 1<<20), ReasonInsertSelect},
		{"widest", "INSERT INTO t VALUES (1" + strings.Repeat(",1", maxColumns-1) + ")", ReasonNone},
		{"too wide", "INSERT INTO t VALUES (1" + strings.Repeat(",1", maxColumns) + ")", ReasonTooLong},
		{"zero byte", "INSERT INTO t VALUES ('\x00')", ReasonParseError},
		{"not UTF-8", "INSERT INTO \xff VALUES (1)", ReasonParseError},
		{"not UTF-8 in a cell", "INSERT INTO t VALUES ('\xff')", ReasonNone},
		{"300 columns", "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a=1" + strings.Repeat(`,"col"=EXCLUDED."col"`, 300), ReasonNone},
	} {
		if _, reason := ParseInsert([]byte(test.sql), standardInsert); reason != test.want {
			t.Errorf("%s: %q, want %q", test.name, reason, test.want)
		}
	}
}

// TestDeepTails: what nests as deep as the bound on tokens allows does not
// overflow the parser's stack.
func TestDeepTails(t *testing.T) {
	t.Parallel()
	const n = pgquery.MaxTailTokens - 20
	nest := func(open, end string, tokens int) string {
		return strings.Repeat(open, n/tokens) + "a" + strings.Repeat(end, n/tokens)
	}
	for _, deep := range []string{
		nest("NOT ", "", 1), nest("- ", "", 1), nest("a+", "", 2), nest("(", ")", 2), nest("f(", ")", 3), nest("a[", "]", 3), nest("(SELECT ", ")", 3),
		nest("ARRAY[", "]", 3), nest("CASE WHEN ", " THEN a END", 5), nest("a AND NOT ", "", 3), nest("a || ", "", 2), nest("a = ANY(", ")", 5), nest("ROW(", ")", 3), nest("", "::text", 2),
	} {
		for _, tail := range []string{" RETURNING ", " ON CONFLICT (a) DO UPDATE SET b = ", " ON CONFLICT (a) WHERE "} {
			sql := "INSERT INTO t VALUES (1)" + tail + deep
			if strings.HasSuffix(tail, "WHERE ") {
				sql += " DO NOTHING"
			}
			// Some are more than the tree's encoding nests, and pass for that.
			if _, reason := ParseInsert([]byte(sql), standardInsert); reason != ReasonNone && reason != ReasonParseError {
				t.Errorf("%.90s…: %q", sql, reason)
			}
		}
	}
}

var manyRowsCases = []struct {
	sql           string
	n             int
	many, decided bool // of a head that is not complete
}{
	{"INSERT INTO t VALUES (1),(2)", 2, true, true},
	{"INSERT INTO t VALUES (1),(2)", 3, false, false},
	{"INSERT INTO t VALUES (1),(2);", 3, false, true},
	{"INSERT INTO t VALUES (1),(now()),(3)", 2, false, true},
	{"INSERT INTO t VALUES (1),(2),(now())", 2, true, true},
	{"INSERT INTO t VALUES (1),(E'\\u00", 2, false, false},
	{"INSERT INTO t VALUES (1),('it''", 2, false, false},
	{"INSERT INTO t VALUES (1),('x'::numeric(1", 2, false, false},
	{"INSERT INTO t VALUES (1),('x'::\"", 2, false, false},
	{"INSERT INTO t VALUES (1),(cast('x' a", 2, false, false},
	{"INSERT INTO t VALUES (1),($a", 2, false, false},
	{"INSERT INTO t VALUES (1),(-", 2, false, false},
	{"INSERT INTO t VALUES (1),(.", 2, false, false},
	{"INSERT INTO t VALUES", 1, false, false},
	{"INSERT INTO t VAL", 1, false, false},
	{"INSERT INTO t (a, b", 1, false, false},
	{"INS", 1, false, false},
	{"", 1, false, false},
	{"INSERT INTO t SELECT 1 ", 1, false, false},
	{"INSERT INTO t SELECT 1; ", 1, false, true},
	{"INSERT INTO t SELECT p0::text FROM (VALUES ('x',0),('y',1)) AS imp", 2, true, true},
	{"INSERT INTO t DEFAULT VALUES", 1, false, true},
	{"SELECT 1", 1, false, true},
	{"WITH x AS", 1, false, true},
}

func TestManyRows(t *testing.T) {
	t.Parallel()
	for _, test := range manyRowsCases {
		many, decided := ManyRows([]byte(test.sql), false, test.n, standardInsert.Values)
		if many != test.many || decided != test.decided {
			t.Errorf("%q, %d: %v, %v", test.sql, test.n, many, decided)
		}
		if many, decided = ManyRows([]byte(test.sql), true, test.n, standardInsert.Values); many != test.many || !decided {
			t.Errorf("%q, %d, complete: %v, %v", test.sql, test.n, many, decided)
		}
	}
}

func TestManyRowsAllocations(t *testing.T) {
	sql := []byte(`insert into "s"."t" ("a", b) values ('it''s', E'\n'), (CAST($1 AS text), 'x'::numeric(3, 2)), (1`)
	if n := testing.AllocsPerRun(100, func() {
		if many, decided := ManyRows(sql, false, 2, standardInsert.Values); !many || !decided {
			t.Fatal(many, decided)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParseInsert(b *testing.B) {
	row := []byte(`(1000001,17,'customer 1',17.5,'2024-03-01 10:00:00+00',true,'a note of some length about 1')`)
	sql := append([]byte(`INSERT INTO t (id, n, name, score, at, ok, note) VALUES `), bytes.Join(slicesOf(row, 1000), []byte(","))...)
	sql = append(sql, ` ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n RETURNING id`...)
	b.SetBytes(int64(len(sql)))
	b.ReportAllocs()
	for b.Loop() {
		if s, reason := ParseInsert(sql, standardInsert); reason != ReasonNone || s.Rows != 1000 {
			b.Fatal(reason)
		}
	}
}

func slicesOf(row []byte, n int) (out [][]byte) {
	for range n {
		out = append(out, row)
	}
	return out
}

// TestPassReasons: each word of the typing is a reason of the table.
func TestPassReasons(t *testing.T) {
	t.Parallel()
	for reason, pass := range map[Reason]values.Pass{
		ReasonCast: values.PassCast, ReasonConstant: values.PassConstant, ReasonColumnType: values.PassColumnType,
		ReasonNumber: values.PassNumber, ReasonNUL: values.PassNUL,
		ReasonParamType: values.PassParamType, ReasonParameter: values.PassParameter,
	} {
		if string(reason) != string(pass) {
			t.Errorf("%q, %q", reason, pass)
		}
	}
}
