package pgquery_test

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

const valuesHead = "INSERT INTO t VALUES "

// valueSeeds are lists that are taken and lists that nearly are.
var valueSeeds = []string{
	`(1)`, `(1,'a'),(2,'b') ON CONFLICT DO NOTHING`, ` /* a /* b */ */ ( -1 , +2.5e3 ) -- c` + "\n , (.5,1.) ; ", `(NULL,TRUE,false,DEFAULT,$1)`,
	`('it''s','','''')`, `(E'\n\\\'''',e'\101\x41\u0041\U00000041\uD83D\uDE00')`, `(E'\xc3\xbc\303\274')`, `(E'\v\0')`, "('a'\n 'b' \n'c',E'a\\n'\r'\\tb')",
	"('a' -- c\n 'b')", `($$a$b$$,$x$'$$'$x$,$$$$)`, `(U&'\0041',N'a',b'1',x'1f')`, `(0x1F,1_000,0o7,0b1,123abc,1..2)`, `(007,-007,-0,00000000002147483648,-2147483648)`,
	`('x'::text,1::int8, NULL :: "T" ,$1::varchar(3),'{}'::s.t[][3])`, `(CAST('x' AS double precision),cast(-1 as numeric(3,2)))`,
	`(date '2024-01-01',timestamp(3) with time zone 'x',time without time zone $$a$$,interval E'1 day',public.mood 'ok')`, `(char 'x',char(3) 'x',bit '1',varchar 'x',character varying 'x')`,
	`('x'::character varying(3),'x'::bit varying,'x'::double,'x'::interval(3),'x'::nchar(2))`, `(-1::int2,- 1,+-1,--1` + "\n1)", `(1)(2)`, `(1),`, `()`, `((1))`, `(1+1)`, `(now())`,
	`('x'::select,'x'::precision,'x'::national,'x'::json,json 'x','x'::xml,'x'::"select")`, `(row 'x',values 'x',left 'x',system_user 'x',none 'x')`, `('a' collate "C")`, "(1\v)",
	`(1) UNION SELECT 2`, `(1) ORDER BY 1`, `($0,$65536,$1a)`, `('\')`, `('x'::"ü",'x'::ü)`, `("a")`, `('x'::timestamp with /**/ time zone)`, `('x'::int4 ( 3 ) [ ] )`, `(1e,1e+,1e5)`,
}

// cellSeeds are single cells: where one is refused, it hides no other.
var cellSeeds = []string{
	`-007`, `-0`, `1a`, `0x1F`, `1_000`, `1.5e`, `.e5`, `1.`, `-1::int2`, `+1`, `- 1`, `'a' 'b'`, "'a'\n'b'", "'a' -- c\n'b'", "1 --c\r", "/*/**/*/1", `/*/*/1`,
	`E'\400'`, `E'\101'`, `E'\u00fc'`, `E'\uD83D\uDE00'`, `E'\uD83D\u0041'`, `E'\u0000'`, `E'\xff'`, `E'\''`, `E'\v'`, `E'\é'`, `'\'`, `$a$$$a$`, `$1$x$1$`, `$1a`,
	`char 'x'`, `char(3) 'x'`, `character varying 'x'`, `bit '1'`, `'x'::char`, `int[] '{}'`, `'x'::int[ 3 ]`, `'x'::int(3)`, `'x'::float(3)`, `'x'::double precision(3)`, `double 'x'`, `interval(3) 'x'`,
	`'x'::national character(3)`, `'x'::system_user`, `'x'::row`, `'x'::left`, `'x'::json`, `json 'x'`, `'x'::int.a`, `'x'::a.int`, `values.a 'x'`, `a.values 'x'`, `"a" 'x'`, `a.b(1,2) 'x'`, `'x'::timestamp with time zone`,
	`DEFAULT::int`, `CAST(DEFAULT AS int)`, `CAST(1 AS int)::int`, `cast('x' as "")`, `'x'::numeric()`, `'x'::a(1,2,3)`, `'x'::int4(9999999999)`, `null 'x'`, `true 'x'`, `current_date`, `e 'x'`, `n 'x'`, `u 'x'`,
}

// FuzzValues: the rows that the lexer takes are those of PostgreSQL's grammar,
// cell by cell; and where the grammar sees rows that the lexer took too, both
// see as many. What the lexer refuses may be anything.
func FuzzValues(f *testing.F) {
	for i, s := range valueSeeds {
		f.Add(s, i%4 != 3, i%8 != 7)
		f.Add(s, true, true)
	}
	for _, s := range cellSeeds {
		f.Add("("+s+")", true, true)
	}
	f.Fuzz(func(t *testing.T, list string, standardStrings, utf8Session bool) {
		if len(list) > 400 || !utf8.ValidString(list) || strings.IndexByte(list, 0) >= 0 {
			return
		}
		sql := valuesHead + list
		opts := values.Options{StandardStrings: standardStrings, UTF8: utf8Session}
		rows, end, err := lexRows(t, sql, opts)
		if err != io.EOF {
			return
		}
		checkRows(t, sql[:end], rows)
		tree, err := pg_query.Parse(sql)
		if err != nil {
			return
		}
		sel := tree.Stmts[0].GetStmt().GetInsertStmt().GetSelectStmt().GetSelectStmt()
		for sel.GetLarg() != nil { // VALUES … UNION …
			sel = sel.Larg
		}
		if got := len(sel.GetValuesLists()); got != len(rows) {
			t.Errorf("%q: %d rows, the grammar sees %d", sql, len(rows), got)
		}
	})
}

// lexRows returns the rows' cells as text.
func lexRows(t *testing.T, sql string, opts values.Options) (rows [][]string, end int, err error) {
	t.Helper()
	l := values.New([]byte(sql), len(valuesHead), opts)
	skip := values.New([]byte(sql), len(valuesHead), opts)
	var cells []values.Cell
	for {
		cells, err = l.Row(cells)
		skipErr := skip.Skip()
		if err != nil {
			return rows, l.Offset(), err
		}
		if skipErr != nil || skip.Offset() != l.Offset() {
			t.Errorf("%q: Skip stops at %d, Row at %d: %v", sql, skip.Offset(), l.Offset(), skipErr)
		}
		var row []string
		for _, c := range cells {
			row = append(row, fmt.Sprintf("%d %q %d %s", c.Kind, c.Text, c.Number, typeOf(string(c.Cast))))
		}
		rows = append(rows, row)
	}
}

var location = regexp.MustCompile(`location:\s*-?\d+`)

// typeOf returns what the grammar makes of a type.
func typeOf(cast string) string {
	if cast == "" {
		return ""
	}
	tree, err := pg_query.Parse("SELECT CAST(NULL AS " + cast + ")")
	if err != nil {
		return "no type " + cast
	}
	target := tree.Stmts[0].GetStmt().GetSelectStmt().TargetList[0].GetResTarget()
	return printType(target.Val.GetTypeCast().GetTypeName())
}

func printType(name *pg_query.TypeName) string {
	return location.ReplaceAllString(name.String(), "")
}

func checkRows(t *testing.T, sql string, rows [][]string) {
	t.Helper()
	tree, err := pg_query.Parse(sql)
	if err != nil {
		t.Errorf("%q: taken, the grammar says %v", sql, err)
		return
	}
	lists := tree.Stmts[0].GetStmt().GetInsertStmt().GetSelectStmt().GetSelectStmt().GetValuesLists()
	if len(tree.Stmts) != 1 || len(lists) != len(rows) {
		t.Errorf("%q: %d rows, the grammar sees %d", sql, len(rows), len(lists))
		return
	}
	for i, list := range lists {
		items := list.GetList().GetItems()
		if len(items) != len(rows[i]) {
			t.Errorf("%q: row %d has %d cells, the grammar sees %d", sql, i, len(rows[i]), len(items))
			return
		}
		for j, item := range items {
			if want, err := printCell(item, ""); err != nil || rows[i][j] != want {
				t.Errorf("%q: cell %d of row %d is %s, the grammar sees %s, %v", sql, j, i, rows[i][j], want, err)
			}
		}
	}
}

// printCell prints a node of the tree as lexRows prints a cell.
func printCell(n *pg_query.Node, cast string) (string, error) {
	kind, text, number := values.Null, "", int32(0)
	switch n := n.Node.(type) {
	case *pg_query.Node_TypeCast:
		if cast != "" {
			return "", errors.New("cast of a cast")
		}
		return printCell(n.TypeCast.Arg, printType(n.TypeCast.TypeName))
	case *pg_query.Node_ParamRef:
		kind, number = values.Param, n.ParamRef.Number
	case *pg_query.Node_SetToDefault:
		kind = values.Default
	case *pg_query.Node_AExpr:
		// A plus sign stays an operator in the tree.
		name := n.AExpr.Name[0].GetString_().GetSval()
		c := n.AExpr.Rexpr.GetAConst()
		if name != "+" || n.AExpr.Lexpr != nil || c == nil || c.GetSval() != nil || c.Isnull {
			return "", errors.New("an operator")
		}
		return printCell(n.AExpr.Rexpr, cast)
	case *pg_query.Node_AConst:
		switch v := n.AConst.Val.(type) {
		case *pg_query.A_Const_Sval:
			kind, text = values.String, v.Sval.Sval
		case *pg_query.A_Const_Boolval:
			if kind = values.False; v.Boolval.Boolval {
				kind = values.True
			}
		case *pg_query.A_Const_Ival:
			kind, text = values.Integer, fmt.Sprint(v.Ival.Ival)
		case *pg_query.A_Const_Fval:
			kind, text = values.Decimal, v.Fval.Fval
			if !strings.ContainsAny(text, ".eE") {
				kind, text = values.Integer, trimZeros(text)
			}
		case nil:
			if !n.AConst.Isnull {
				return "", errors.New("an empty constant")
			}
		default:
			return "", fmt.Errorf("a %T", v)
		}
	default:
		return "", fmt.Errorf("a %T", n)
	}
	return fmt.Sprintf("%d %q %d %s", kind, text, number, cast), nil
}

func trimZeros(s string) string {
	digits, negative := strings.CutPrefix(s, "-")
	if digits = strings.TrimLeft(digits, "0"); negative {
		return "-" + digits
	}
	return digits
}
