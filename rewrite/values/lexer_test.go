package values

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// standard is the session of nearly everybody.
var standard = Options{StandardStrings: true, UTF8: true}

// describe prints a cell: kind, text, cast.
func describe(c Cell) string {
	out := [...]string{"null", "string", "integer", "decimal", "true", "false", "param", "default"}[c.Kind]
	if c.Text != nil {
		out += fmt.Sprintf(" %q", c.Text)
	}
	if c.Kind == Param {
		out += fmt.Sprint(" ", c.Number)
	}
	if c.Cast != nil {
		out += fmt.Sprintf(" as %s", c.Cast)
	}
	return out
}

// lexOne reads "(" + cell + ")" and returns the cell as describe prints it.
func lexOne(cell string, opts Options) (string, error) {
	l := New([]byte("("+cell+")"), 0, opts)
	cells, err := l.Row(nil)
	if err != nil {
		return "", err
	}
	if len(cells) != 1 || l.Offset() != len(cell)+2 {
		return fmt.Sprintf("%d cells, ends at %d", len(cells), l.Offset()), nil
	}
	return describe(cells[0]), nil
}

var accepted = []struct{ cell, want string }{
	{`'x'`, `string "x"`},
	{`''`, `string ""`},
	{`''''`, `string "'"`},
	{`'it''s'`, `string "it's"`},
	{`'''a''b'''`, `string "'a'b'"`},
	{`'a\nb\'`, `string "a\\nb\\"`},
	{`'größe'`, `string "größe"`},
	{"'a\nb'", `string "a\nb"`},
	{"'a'\n'b'", `string "ab"`},
	{"''\n''", `string ""`},
	{"'a''' \t\r\n \n'''b'", `string "a''b"`},
	{"E'a\\n'\n'\\tb'", `string "a\n\tb"`},
	{`'a' `, `string "a"`},
	{` /* c */ 'a' -- d` + "\n", `string "a"`},
	{`/* a /* b */ c */1/*/**/*/`, `integer "1"`},
	{`E'a'`, `string "a"`},
	{`e'a''b'`, `string "a'b"`},
	{`E'\b\f\n\r\t\\'`, `string "\b\f\n\r\t\\"`},
	{`E'\q\"\8\x\xg'`, `string "q\"8xxg"`},
	{`E'\1\12\1234\x4\x41\x414'`, `string "\x01\nS4\x04AA4"`},
	{`E'\303\274\xc3\xbc'`, `string "üü"`},
	{"E'\\ü\\\n'", `string "ü\n"`},
	{`E'\u00fc\U000000fc\U0001F600\uD83D\uDE00\ud83d\U0000de00'`, `string "üü😀😀😀"`},
	{`$$x$$`, `string "x"`},
	{`$$$$`, `string ""`},
	{`$a$it's $$ $b$ $A$ \n$a$`, `string "it's $$ $b$ $A$ \\n"`},
	{`$_é1$x$_é1$`, `string "x"`},
	{`$$a$b$$`, `string "a$b"`},
	{`0`, `integer "0"`},
	{`12345678901234567890123`, `integer "12345678901234567890123"`},
	{`007`, `integer "7"`},
	{`-1`, `integer "-1"`},
	{`+1`, `integer "1"`},
	{`-0`, `integer "0"`},
	{`-00`, `integer "0"`},
	{`-007`, `integer "-7"`},
	{`-2147483648`, `integer "-2147483648"`},
	{`1.5`, `decimal "1.5"`},
	{`1.`, `decimal "1."`},
	{`.5`, `decimal ".5"`},
	{`-.5`, `decimal "-.5"`},
	{`-0.0`, `decimal "-0.0"`},
	{`1e3`, `decimal "1e3"`},
	{`1.E-3`, `decimal "1.E-3"`},
	{`+.5e+10`, `decimal ".5e+10"`},
	{`TRUE`, `true`},
	{`fAlSe`, `false`},
	{`Null`, `null`},
	{`default`, `default`},
	{`$1`, `param 1`},
	{`$065535`, `param 65535`},
	{`'x'::text`, `string "x" as text`},
	{`'x' :: "My Type"`, `string "x" as "My Type"`},
	{`'x'::public.mood`, `string "x" as public.mood`},
	{`'x'::s . "T" [ ]`, `string "x" as s . "T" [ ]`},
	{`'{}'::int[]`, `string "{}" as int[]`},
	{`'{}'::int[][3]`, `string "{}" as int[][3]`},
	{`'1'::numeric(10, 2)`, `string "1" as numeric(10, 2)`},
	{`'1'::double precision`, `string "1" as double precision`},
	{`'1'::double`, `string "1" as double`},
	{`'1'::character varying(10)[]`, `string "1" as character varying(10)[]`},
	{`'x'::timestamp(3) with time zone`, `string "x" as timestamp(3) with time zone`},
	{`'x'::TIME WITHOUT TIME ZONE`, `string "x" as TIME WITHOUT TIME ZONE`},
	{`'x'::json`, `string "x" as json`},
	{`1::bigint`, `integer "1" as bigint`},
	{`1.5::float`, `decimal "1.5" as float`},
	{`NULL::text`, `null as text`},
	{`true::int /* */`, `true as int`},
	{`$3::varchar`, `param 3 as varchar`},
	{`$$x$$::text`, `string "x" as text`},
	{`CAST('x' AS jsonb)`, `string "x" as jsonb`},
	{`cast ( $1 as int4 )`, `param 1 as int4`},
	{`CAST(-1 AS int)`, `integer "-1" as int`},
	{`CAST(NULL AS text[])`, `null as text[]`},
	{`CAST(E'\n' AS/**/text)`, `string "\n" as text`},
	{`date '2024-01-01'`, `string "2024-01-01" as date`},
	{`timestamp with time zone '2024-01-01'`, `string "2024-01-01" as timestamp with time zone`},
	{`timestamp(3)'x'`, `string "x" as timestamp(3)`},
	{`interval '1 day'`, `string "1 day" as interval`},
	{`double precision E'1'`, `string "1" as double precision`},
	{`pg_catalog.int4 $$1$$`, `string "1" as pg_catalog.int4`},
	{`char(3) 'x'`, `string "x" as char(3)`},
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, test := range accepted {
		if got, err := lexOne(test.cell, standard); err != nil || got != test.want {
			t.Errorf("%s: got %s, %v, want %s", test.cell, got, err, test.want)
		}
		l := New([]byte("("+test.cell+"),("+test.cell+");"), 0, standard)
		if err := errors.Join(l.Skip(), l.Skip()); err != nil || l.Skip() != io.EOF || l.byteAt(l.Offset()) != ';' {
			t.Errorf("skip %s: %v", test.cell, err)
		}
		if len(l.decoded) > 0 {
			t.Errorf("skip %s: decoded %q", test.cell, l.decoded)
		}
	}
}

var refused = []struct {
	cell string
	want error
}{
	{``, ErrSyntax},
	{` `, ErrSyntax},
	{`,`, ErrSyntax},
	{`1,`, ErrSyntax},
	{`'x`, ErrSyntax},
	{`'x''`, ErrSyntax},
	{`E'x\'`, ErrEscape},
	{`E'a\'b'`, ErrEscape},
	{`E'\v'`, ErrEscape},
	{`E'\0'`, ErrEscape},
	{`E'\x00'`, ErrEscape},
	{`E'\400'`, ErrEscape},
	{`E'\u12'`, ErrEscape},
	{`E'\u0000'`, ErrEscape},
	{`E'\U00110000'`, ErrEscape},
	{`E'\UFFFFFFFF'`, ErrEscape},
	{`E'\uD83D'`, ErrEscape},
	{`E'\uD83Dx'`, ErrEscape},
	{`E'\uD83D\u0041'`, ErrEscape},
	{`E'\uDE00\uD83D'`, ErrEscape},
	{`E'\xff'`, ErrEscape},
	{`E'\303'`, ErrEscape},
	{`U&'x'`, ErrStringForm},
	{`u&'x' UESCAPE '!'`, ErrStringForm},
	{`N'x'`, ErrStringForm},
	{`b'1'`, ErrStringForm},
	{`X'1F'`, ErrStringForm},
	{`$a$x$b$`, ErrSyntax},
	{`$a`, ErrSyntax},
	{`$a-$x$a-$`, ErrSyntax},
	{`'a' 'b'`, ErrExpression},
	{"'a' -- c\n'b'", ErrExpression},
	{"$$a$$\n$$b$$", ErrExpression},
	{`123abc`, ErrNumberForm},
	{`0x1F`, ErrNumberForm},
	{`0o17`, ErrNumberForm},
	{`0b1`, ErrNumberForm},
	{`1_000`, ErrNumberForm},
	{`1.5e`, ErrNumberForm},
	{`1e+`, ErrNumberForm},
	{`1e5e`, ErrNumberForm},
	{`.`, ErrSyntax},
	{`.e5`, ErrSyntax},
	{`-.`, ErrSyntax},
	{`1..2`, ErrExpression},
	{`1.2.3`, ErrExpression},
	{`- 1`, ErrExpression},
	{`--1`, ErrSyntax},
	{`+-1`, ErrExpression},
	{`-'1'`, ErrExpression},
	{`-1::int2`, ErrExpression},
	{`1+1`, ErrExpression},
	{`(1)`, ErrExpression},
	{`$0`, ErrParameter},
	{`$65536`, ErrParameter},
	{`$1a`, ErrParameter},
	{`now()`, ErrExpression},
	{`now`, ErrExpression},
	{`current_timestamp`, ErrExpression},
	{`ARRAY[1]`, ErrExpression},
	{`ROW(1)`, ErrExpression},
	{`(SELECT 1)`, ErrExpression},
	{`excluded.a`, ErrExpression},
	{`'a'||'b'`, ErrExpression},
	{`'a' COLLATE "C"`, ErrExpression},
	{`'x'::text::int`, ErrExpression},
	{`date 'x'::text`, ErrExpression},
	{`default::int`, ErrExpression},
	{`'x'::`, ErrExpression},
	{`'x':text`, ErrExpression},
	{`'x'::select`, ErrExpression},
	{`'x'::text(`, ErrExpression},
	{`'x'::int(4)`, ErrExpression},
	{`'x'::numeric(3,-2)`, ErrExpression},
	{`'x'::timestamp(9999999999)`, ErrExpression},
	{`'x'::a.b.c`, ErrExpression},
	{`'x'::int.b`, ErrExpression},
	{`'x'::double/**/precision`, ErrExpression},
	{`'x'::""`, ErrExpression},
	{`'x'::"a""b"`, ErrExpression},
	{`'x'::U&"a"`, ErrExpression},
	{`'x'::setof int`, ErrExpression},
	{`'x'::int array`, ErrExpression},
	{`'x'::interval day`, ErrExpression},
	{`'x'::` + strings.Repeat("a", 64), ErrExpression},
	{`interval '1' day`, ErrExpression},
	{`int[] '{}'`, ErrExpression},
	{`char 'x'`, ErrExpression},
	{`bit '1'`, ErrExpression},
	{`CAST('x')`, ErrExpression},
	{`CAST('x' AS text`, ErrSyntax},
	{`CAST(CAST('x' AS text) AS int)`, ErrExpression},
	{`CAST('x'::text AS int)`, ErrExpression},
	{`cast 'x'`, ErrSyntax},
	{`/* open`, ErrSyntax},
	{`/* /* */`, ErrSyntax},
	{"\v1", ErrExpression},
	{"\x001", ErrSyntax},
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, test := range refused {
		if got, err := lexOne(test.cell, standard); !errors.Is(err, test.want) {
			t.Errorf("%s: got %s, %v, want %v", test.cell, got, err, test.want)
		}
		l := New([]byte("("+test.cell+")"), 0, standard)
		undecoded := test.cell == `E'\xff'` || test.cell == `E'\303'`
		if err := l.Skip(); !errors.Is(err, test.want) && !undecoded {
			t.Errorf("skip %s: got %v, want %v", test.cell, err, test.want)
		}
	}
}

// TestSessions: what the session's settings refuse.
func TestSessions(t *testing.T) {
	t.Parallel()
	old := Options{UTF8: true}
	latin := Options{StandardStrings: true}
	for _, test := range []struct {
		cell string
		opts Options
		want error
	}{
		{`'x'`, old, nil},
		{`'it''s'`, old, nil},
		{`E'\n'`, old, nil},
		{`$$\n$$`, old, nil},
		{`'a\n'`, old, ErrStringSyntax},
		{`'\'`, old, ErrStringSyntax},
		{`date 'a\n'`, old, ErrStringSyntax},
		{`CAST('a\n' AS text)`, old, ErrStringSyntax},
		{"'a'\n'\\n'", old, ErrStringSyntax},
		{`'é'`, latin, nil},
		{`E'é\n\x41\u0041'`, latin, nil},
		{`E'\xe9'`, latin, ErrEscape},
		{`E'\351'`, latin, ErrEscape},
		{`E'\u00e9'`, latin, ErrEscape},
		{`E'\é'`, latin, ErrEscape},
	} {
		if got, err := lexOne(test.cell, test.opts); !errors.Is(err, test.want) {
			t.Errorf("%s: got %s, %v, want %v", test.cell, got, err, test.want)
		}
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		list, tail string
		rows       int
		want       error
	}{
		{"(1)", "", 1, io.EOF},
		{"(1),(2)", "", 2, io.EOF},
		{" /* a */ ( 1 , 'x' ) -- b\n , \n( 2 , E'\\n' ) ; SELECT 1", " ; SELECT 1", 2, io.EOF},
		{"(1)ON CONFLICT DO NOTHING", "ON CONFLICT DO NOTHING", 1, io.EOF},
		{"(1 --c\r,2),--c\r--\n(3,4)", "", 2, io.EOF},
		{"(1) (2)", " (2)", 1, io.EOF},
		{"(1) /* open", " /* open", 1, io.EOF},
		{"(1),", "", 1, ErrSyntax},
		{"(1),2", "2", 1, ErrSyntax},
		{"(1),(2,3)", "", 1, ErrRagged},
		{"(1,2),(3)", "", 1, ErrRagged},
		{"(1),()", ")", 1, ErrSyntax},
		{"", "", 0, ErrSyntax},
		{"1", "1", 0, ErrSyntax},
		{"DEFAULT", "DEFAULT", 0, ErrSyntax},
	} {
		l := New([]byte("VALUES "+test.list), 7, standard)
		n := 0
		var cells []Cell
		var err error
		for {
			if cells, err = l.Row(cells); err != nil {
				break
			}
			n++
		}
		if tail := string(l.sql[l.Offset():]); !errors.Is(err, test.want) || n != test.rows || tail != test.tail {
			t.Errorf("%q: %d rows, tail %q, %v", test.list, n, tail, err)
		}
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	l := New([]byte("(1,$7),($3,2)"), 0, standard)
	if err := errors.Join(l.Skip(), l.Skip()); err != nil || l.MaxParam() != 7 || l.HasDefault() {
		t.Errorf("%v, parameter %d, default %v", err, l.MaxParam(), l.HasDefault())
	}
	l.Reset([]byte("(DEFAULT)"), 0)
	if err := l.Skip(); err != nil || l.MaxParam() != 0 || !l.HasDefault() {
		t.Errorf("%v, parameter %d, default %v", err, l.MaxParam(), l.HasDefault())
	}
}

// TestAllocations: a row costs none once the buffers are there, a skipped one
// none at all.
func TestAllocations(t *testing.T) {
	sql := []byte(`(1,'plain','it''s',E'a\nb',-007,'x'::character varying(3),date '2024-01-01',$1,CAST('x' AS int[]))`)
	var l Lexer
	l.opts = standard
	skip := testing.AllocsPerRun(100, func() {
		l.Reset(sql, 0)
		if err := l.Skip(); err != nil {
			t.Fatal(err)
		}
	})
	cells := make([]Cell, 0, 16)
	row := testing.AllocsPerRun(100, func() {
		l.Reset(sql, 0)
		var err error
		if cells, err = l.Row(cells); err != nil {
			t.Fatal(err)
		}
	})
	if skip != 0 || row != 0 {
		t.Errorf("skip allocates %v times, row %v times", skip, row)
	}
}
