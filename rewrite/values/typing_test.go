package values

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"
)

func mustColumn(t testing.TB, text string) Column {
	t.Helper()
	var c Column
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

var unitColumns = map[string]string{
	"int4":        `[23, -1, "N", "integer", true, ",", null]`,
	"numeric":     `[1700, -1, "N", "numeric", true, ",", null]`,
	"float4":      `[700, -1, "N", "real", true, ",", null]`,
	"float8":      `[701, -1, "N", "double precision", true, ",", null]`,
	"oid":         `[26, -1, "N", "oid", true, ",", null]`,
	"bool":        `[16, -1, "B", "boolean", true, ",", null]`,
	"text":        `[25, -1, "S", "text", true, ",", null]`,
	"name":        `[19, -1, "S", "name", true, ",", null]`,
	"varchar3":    `[1043, 7, "S", "character varying(3)", true, ",", null]`,
	"citext":      `[20000, -1, "S", "citext", true, ",", null]`,
	"cast":        `[20000, -1, "S", "mystr", true, ",", true]`,
	"typmod":      `[20001, 7, "U", "vector(3)", true, ",", null]`,
	"typmods":     `[20001, 7, "S", "str(3)", true, ",", null]`,
	"hour":        `[1186, 67174399, "T", "interval hour", true, ",", null]`,
	"hours":       `[1187, 67174399, "A", "interval hour[]", true, ",", null]`,
	"date":        `[1082, -1, "D", "date", true, ",", null]`,
	"char":        `[18, -1, "S", "\"char\"", true, ",", null]`,
	"mood":        `[20002, -1, "E", "mood", true, ",", null]`,
	"user":        `[20003, -1, "E", "\"user\"", true, ",", null]`,
	"s.mood":      `[20004, -1, "E", "s.mood", false, ",", null]`,
	"json":        `[114, -1, "U", "json", true, ",", null]`,
	"hidden":      `[23, -1, "N", "integer", false, ",", null]`,
	"nested":      `[null, -1, "S", "dd", true, ",", false]`,
	"hidden json": `[114, -1, "U", "json", false, ",", null]`,
	"fake json":   `[20005, -1, "S", "json", true, ",", null]`,
}

var appendCells = []struct {
	column string
	kind   Kind
	text   string
	cast   string
	want   string // COPY text, or the reason with a ! before it
}{
	{"int4", Null, "", "", `\N`},
	{"int4", String, `\N`, "", `\\N`},
	{"text", String, `\.`, "", `\\.`},
	{"text", String, "", "", ``},
	{"text", String, "a\tb\nc\rd\\e\bf\fg\vh\x01i\x1bj", "", `a\tb\nc\rd\\e\bf\fg\vh` + "\x01i\x1bj"},
	{"text", String, "a\x00b", "", "!insert_nul"},
	{"text", String, "12345678\x00", "", "!insert_nul"},
	{"hours", String, "{1}", "", "!insert_column_type"},
	{"hours", Null, "", "", `\N`},
	{"hour", String, "1", "", "1"},
	{"typmod", String, "1", "", "!insert_column_type"},
	{"int4", Integer, "12", "", "12"},
	{"int4", Integer, "-007", "", "-7"},
	{"int4", Integer, "-0", "", "0"},
	{"int4", Decimal, "2.5", "", "3"},
	{"int4", Decimal, "-99.5", "", "-100"},
	{"int4", Decimal, "-0.4", "", "-0"},
	{"int4", Decimal, ".5", "", "1"},
	{"int4", Decimal, "1e9999", "", "!insert_number"},
	{"int4", True, "", "", "!insert_constant"},
	{"numeric", Decimal, "1.50e1", "", "1.50e1"},
	{"numeric", Integer, "00", "", "0"},
	{"float8", Decimal, "-0.0", "", "0"},
	{"float8", Decimal, "-1.50", "", "-1.50"},
	{"float4", Integer, "123456789012345", "", "123456789012345"},
	{"float4", Integer, "1234567890123456", "", "!insert_constant"},
	{"oid", Integer, "010", "", "10"},
	{"oid", Integer, "-1", "", "!insert_constant"},
	{"oid", Decimal, "1.0", "", "!insert_constant"},
	{"bool", Integer, "1", "", "!insert_constant"},
	{"bool", True, "", "", "true"},
	{"text", False, "", "", "false"},
	{"name", False, "", "", "!insert_constant"},
	{"text", Integer, "-007", "", "-7"},
	{"text", Decimal, "-1.50e1", "", "-15.0"},
	{"text", Decimal, "1e3", "", "1000"},
	{"text", Decimal, "12e-4", "", "0.0012"},
	{"text", Decimal, "-.0", "", "0.0"},
	{"text", Decimal, "5.", "", "5"},
	{"citext", Integer, "07", "", "7"},
	{"cast", Integer, "7", "", "!insert_constant"},
	{"typmods", Integer, "7", "", "!insert_constant"},
	{"char", Integer, "7", "", "!insert_constant"},
	{"date", Integer, "20200102", "", "!insert_constant"},
	{"int4", Param, "", "", "!insert_parameter"},
	{"int4", Default, "", "", "!insert_default"},
	{"int4", String, "1", "INTEGER", "1"},
	{"int4", String, "1", "int4", "1"},
	{"hidden", String, "1", "int4", "!insert_cast"},
	{"hidden", String, "1", "int", "1"},
	{"hidden", String, "1", "pg_catalog.int4", "1"},
	{"int4", String, "1", "bigint", "!insert_cast"},
	{"int4", String, "1", "int[]", "!insert_cast"},
	{"int4", String, "1", "int4(3)", "!insert_cast"},
	{"int4", Integer, "1", "int", "!insert_cast"},
	{"int4", Null, "", "int", `\N`},
	{"bool", Null, "", "int", "!insert_cast"},
	{"varchar3", String, "a", "varchar", "a"},
	{"varchar3", String, "a", "Character  Varying ( 3 )", "a"},
	{"varchar3", String, "a", "varchar(4)", "!insert_cast"},
	{"varchar3", String, "a", "char(3) varying", "!insert_cast"},
	{"varchar3", String, "a", "text", "!insert_cast"},
	{"text", String, "a", "varchar", "a"},
	{"text", String, "a", "varchar(3)", "!insert_cast"},
	{"text", String, "a", "bpchar", "!insert_cast"},
	{"hour", String, "1", "interval", "!insert_cast"},
	{"hour", String, "1", "interval hour", "1"},
	{"char", String, "a", `"char"`, "a"},
	{"char", String, "a", "char", "!insert_cast"},
	{"mood", String, "a", "MOOD", "a"},
	{"mood", String, "a", `"mood"`, "a"},
	{"mood", String, "a", `"Mood"`, "!insert_cast"},
	{"mood", String, "a", "public.mood", "!insert_cast"},
	{"mood", String, "a", "mood /* x */", "!insert_cast"},
	{"mood", String, "a", "", "a"},
	{"user", String, "a", "user", "!insert_cast"},
	{"user", String, "a", `"user"`, "a"},
	{"s.mood", String, "a", "s.mood", "a"},
	{"s.mood", String, "a", "mood", "!insert_cast"},
	{"json", String, "1", "json", "1"},
	{"json", String, "1", `"json"`, "1"},
	{"nested", String, "1", "", "!insert_column_type"},
	{"nested", String, "1", "dd", "!insert_column_type"},
	{"nested", Integer, "1", "", "!insert_constant"},
	{"nested", Null, "", "", `\N`},
	{"hidden json", String, "1", "JSON", "1"},
	{"hidden json", String, "1", `"json"`, "!insert_cast"},
	{"fake json", String, "1", "json", "!insert_cast"},
}

func TestAppendRowCells(t *testing.T) {
	t.Parallel()
	for _, c := range appendCells {
		e := NewEncoder([]Column{mustColumn(t, unitColumns[c.column])})
		cell := Cell{Kind: c.kind, Text: []byte(c.text)}
		if c.cast != "" {
			cell.Cast = []byte(c.cast)
		}
		got, err := e.AppendRow([]byte("before"), []Cell{cell})
		text, ok := strings.CutSuffix(strings.TrimPrefix(string(got), "before"), "\n")
		if err != nil {
			text, ok = "!"+err.Error(), string(got) == "before"
		}
		if text != c.want || !ok {
			t.Errorf("%v %q::%s into %s: %q %v, want %q", c.kind, c.text, c.cast, c.column, got, err, c.want)
		}
	}
}

func TestAppendRow(t *testing.T) {
	t.Parallel()
	e := NewEncoder([]Column{mustColumn(t, unitColumns["int4"]), mustColumn(t, unitColumns["mood"]), mustColumn(t, unitColumns["bool"])})
	one, mood := Cell{Kind: Integer, Text: []byte("1")}, Cell{Kind: String, Text: []byte("sad")}
	cast, wrong := mood, mood
	cast.Cast, wrong.Cast = []byte("mood"), []byte("text")
	for _, c := range []struct {
		cells []Cell
		want  string
		err   error
	}{
		{[]Cell{one, mood, {Kind: True}}, "1\tsad\ttrue\n", nil},
		{[]Cell{one, cast, {}}, "1\tsad\t\\N\n", nil},
		{[]Cell{one, cast, {}}, "1\tsad\t\\N\n", nil},
		{[]Cell{one, wrong, {}}, "", PassCast},
		{[]Cell{one, wrong, {}}, "", PassCast},
		{[]Cell{one, mood, {}}, "1\tsad\t\\N\n", nil},
		{[]Cell{one, mood, one}, "", PassConstant},
		{[]Cell{one, mood}, "", PassRowLength},
		{[]Cell{one, mood, {}, {}}, "", PassRowLength},
	} {
		got, err := e.AppendRow(nil, c.cells)
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v: %q %v, want %q %v", c.cells, got, err, c.want, c.err)
		}
	}
}

func TestArrayType(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		unitColumns["int4"]:                                              `pg_catalog."int4"[]`,
		unitColumns["varchar3"]:                                          `pg_catalog."varchar"[]`,
		unitColumns["user"]:                                              `"user"[]`,
		unitColumns["s.mood"]:                                            `s.mood[]`,
		unitColumns["hour"]:                                              "",
		unitColumns["hours"]:                                             "",
		`[1560, 3, "V", "bit(3)", true, ",", false]`:                     `pg_catalog."bit"[]`,
		`[1186, -1, "T", "interval", true, ",", false]`:                  `pg_catalog."interval"[]`,
		`[1186, 67174399, "T", "dih", true, ",", false]`:                 "dih[]",
		`[603, -1, "G", "box", true, ";", false]`:                        "",
		`[30000, -1, "C", "comp", true, ",", false]`:                     "",
		`[1184, 3, "D", "timestamp(3) with time zone", true, ",", true]`: `pg_catalog."timestamptz"[]`,
	} {
		c := mustColumn(t, text)
		if got := c.ArrayType(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestColumnUnmarshalRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`[]`, `null`, `{}`, `[23, -1, "N"]`, `[23, -1, "", "integer", true, ",", null]`, `[23, -1, "N", "integer", true, null]`, `[23, -1, "N", "", true, ",", null]`, `[23, "x", "N", "integer", true, ",", null]`, `[23, -1, "N", "integer", true, ",", null, 1]`} {
		var c Column
		if err := json.Unmarshal([]byte(text), &c); err == nil && text != "null" {
			t.Errorf("%s: %+v", text, c)
		}
	}
}

// FuzzEscape: unescaping what COPY reads gives the text back, and no separator
// stands bare.
func FuzzEscape(f *testing.F) {
	for _, s := range stringConstants {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := appendEscaped(nil, text)
		if (err != nil) != strings.Contains(string(text), "\x00") {
			t.Fatalf("%q: %v", text, err)
		}
		if err != nil {
			return
		}
		if strings.ContainsAny(string(got), "\b\t\n\v\f\r") {
			t.Errorf("%q: %q", text, got)
		}
		plain := strings.NewReplacer(`\\`, `\`, `\b`, "\b", `\t`, "\t", `\n`, "\n", `\v`, "\v", `\f`, "\f", `\r`, "\r").Replace(string(got))
		if plain != string(text) {
			t.Errorf("%q: %q", text, got)
		}
	})
}

// FuzzNumber: what is written anew has the value of what was written.
func FuzzNumber(f *testing.F) {
	for _, s := range append(append([]string(nil), decimalConstants...), integerConstants...) {
		f.Add([]byte(s))
	}
	f.Add([]byte("1e"))
	f.Add([]byte("e1"))
	f.Add([]byte("1_0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, ok := parseNumber(text)
		if !ok {
			return
		}
		want, ok := new(big.Rat).SetString(string(text))
		if !ok {
			t.Fatalf("%q is taken for a number", text)
		}
		plain := string(n.appendPlain(nil))
		if got, ok := new(big.Rat).SetString(plain); !ok || got.Cmp(want) != 0 || strings.ContainsAny(plain, "eE") {
			t.Errorf("%q printed %q", text, plain)
		}
		half := new(big.Rat).Add(new(big.Rat).Abs(want), big.NewRat(1, 2))
		rounded := new(big.Int).Quo(half.Num(), half.Denom())
		if rounded.Mul(rounded, big.NewInt(int64(want.Sign()))); rounded.String() != integerText(string(n.appendRounded(nil))) {
			t.Errorf("%q rounded %q, want %s", text, n.appendRounded(nil), rounded)
		}
	})
}

// integerText reads an integer as int8in does.
func integerText(s string) string {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return strconv.Quote(s)
	}
	return n.String()
}

// FuzzSpelling: no panic, and a type fits itself.
func FuzzSpelling(f *testing.F) {
	for _, line := range castNames {
		for _, s := range strings.Split(line, "\n") {
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		own := parseSpelling(text)
		c := column{own: own}
		want := own.name != "" && (own.name != "json" || own.schema != "")
		if got := c.fits(own); got != want {
			t.Errorf("%q: %+v fits itself: %v", text, own, got)
		}
	})
}

// benchRow is a row such as an application's.
func benchRow(b *testing.B) (*Encoder, []Cell) {
	text := func(kind Kind, s string) Cell { return Cell{Kind: kind, Text: []byte(s)} }
	var columns []Column
	for _, name := range []string{"int4", "text", "varchar3", "numeric", "bool", "date", "text"} {
		columns = append(columns, mustColumn(b, unitColumns[name]))
	}
	return NewEncoder(columns), []Cell{
		text(Integer, "123456"), text(String, "customer number 123456"), text(String, "a note of some length, as they are"),
		text(Decimal, "1234.56"), {Kind: True}, text(String, "2024-05-06 07:08:09.123456+00"), {},
	}
}

func BenchmarkAppendRow(b *testing.B) {
	e, cells := benchRow(b)
	cast := append([]Cell(nil), cells...)
	cast[1].Cast = []byte("text")
	plain := append([]Cell(nil), cells...)
	for i := range plain {
		if plain[i].Kind == String {
			plain[i].Text = []byte(strings.Repeat(`a\b`, 10))
		}
	}
	for _, c := range []struct {
		name  string
		cells []Cell
	}{{"typical", cells}, {"cast", cast}, {"escapes", plain}} {
		b.Run(c.name, func(b *testing.B) {
			line, err := e.AppendRow(nil, c.cells)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				if line, err = e.AppendRow(line[:0], c.cells); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestAppendRowAllocates: nothing, once the buffer is large enough.
func TestAppendRowAllocates(t *testing.T) {
	e := NewEncoder([]Column{mustColumn(t, unitColumns["text"]), mustColumn(t, unitColumns["text"])})
	cells := []Cell{{Kind: String, Text: []byte("a\tb"), Cast: []byte("text")}, {Kind: Decimal, Text: []byte("-1.5e3")}}
	line := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() { line, _ = e.AppendRow(line[:0], cells) }); n != 0 || fmt.Sprintf("%q", line) != `"a\\tb\t-1500\n"` {
		t.Errorf("%v allocations, %q", n, line)
	}
}
