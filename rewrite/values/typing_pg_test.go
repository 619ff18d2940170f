package values

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// typingSetup makes types of every other sort: a string type with a cast of
// its user's, one whose modifier its input function knows and no cast applies,
// and names that need quotes or a schema.
const typingSetup = `
CREATE SCHEMA s; CREATE SCHEMA "user";
CREATE TYPE mood AS ENUM ('sad', 'Happy', '1', 'true', ''); CREATE TYPE s.mood AS ENUM ('sad');
CREATE TYPE "user".mood AS ENUM ('sad'); CREATE TYPE "user" AS ENUM ('sad'); CREATE TYPE "Odd ""name" AS ENUM ('sad');
CREATE TYPE comp AS (a int, b text, c varchar(3), i interval hour, ia interval hour[]);
CREATE TYPE frange AS RANGE (subtype = float8);
CREATE DOMAIN dpos int CHECK (VALUE > 0); CREATE DOMAIN ddpos dpos CHECK (VALUE < 100); CREATE DOMAIN dnn text NOT NULL;
CREATE DOMAIN dv varchar(3); CREATE DOMAIN ddv dv; CREATE DOMAIN dbp char(3); CREATE DOMAIN dnum numeric(5,2);
CREATE DOMAIN dih interval hour; CREATE DOMAIN diha interval hour[]; CREATE DOMAIN ddiha diha; CREATE DOMAIN dbool bool;
CREATE DOMAIN darr int[]; CREATE DOMAIN dcomp comp; CREATE DOMAIN dtext text CHECK (VALUE <> 'true'); CREATE DOMAIN dva varchar(3)[];
CREATE TYPE ustr;
CREATE FUNCTION ustr_in(cstring) RETURNS ustr LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ustr_out(ustr) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE ustr (INPUT = ustr_in, OUTPUT = ustr_out, LIKE = text, CATEGORY = 'S');
CREATE TYPE ucast;
CREATE FUNCTION ucast_in(cstring) RETURNS ucast LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION ucast_out(ucast) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE ucast (INPUT = ucast_in, OUTPUT = ucast_out, LIKE = text, CATEGORY = 'S');
CREATE FUNCTION ucast_int(int4) RETURNS ucast LANGUAGE sql AS $$ SELECT ('made of ' || $1)::ucast $$;
CREATE CAST (int4 AS ucast) WITH FUNCTION ucast_int(int4) AS ASSIGNMENT;
CREATE TYPE umod;
CREATE FUNCTION umod_in(cstring, oid, int4) RETURNS umod LANGUAGE internal IMMUTABLE STRICT AS 'varcharin';
CREATE FUNCTION umod_out(umod) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'varcharout';
CREATE TYPE umod (INPUT = umod_in, OUTPUT = umod_out, LIKE = text, TYPMOD_IN = varchartypmodin, TYPMOD_OUT = varchartypmodout);
CREATE TABLE s.text (a int)`

// builtinTypes asks for every type that the server brings and a column could
// have.
const builtinTypes = `SELECT format_type(t.oid, -1) FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') AND coalesce(e.typtype, 'b') <> 'c' ORDER BY t.oid`

var moreTypes = strings.Split(`mood|s.mood|"user".mood|"user"|"Odd ""name"|mood[]|s.mood[]|comp|comp[]|frange|frange[]
dpos|ddpos|dnn|dv|ddv|dbp|dnum|dih|diha|ddiha|dbool|darr|dcomp|dtext|dva|dv[]|ddpos[]|dih[]|ustr|ucast|umod|umod(2)|umod(2)[]
varchar(1)|varchar(3)|varchar(5)|varchar(100)|char(1)|char(3)|char(10)|numeric(5,2)|numeric(3)|numeric(10,0)|numeric(1000,500)|numeric(3,5)|numeric(3,-2)
bit(1)|bit(3)|bit(8)|varbit(3)|time(0)|time(3)|timetz(0)|timetz(2)|timestamp(0)|timestamp(3)|timestamptz(0)|timestamptz(3)|float(24)|float(25)
interval(0)|interval(3)|interval year|interval month|interval day|interval hour|interval minute|interval second|interval second(2)
interval year to month|interval day to hour|interval day to minute|interval day to second|interval day to second(3)|interval hour to minute|interval hour to second|interval minute to second
varchar(3)[]|char(3)[]|numeric(5,2)[]|bit(3)[]|varbit(3)[]|time(0)[]|timetz(0)[]|timestamp(0)[]|timestamptz(0)[]|interval hour[]|interval(0)[]|interval second(2)[]
citext|hstore|information_schema.yes_or_no|information_schema.cardinal_number`, "|")

var stringConstants = []string{
	"", " ", "a", "ab", "abc", "abc   ", "abcd", "   abc", "abcdefghijkl", "é", "日本語", "日本語x", "😀", strings.Repeat("x", 70), strings.Repeat("é", 40), strings.Repeat("long ", 700),
	`\`, `\N`, `\.`, `\\`, `\x`, `\x41`, `\xDEADBEEF`, `\101`, `\t`, "a\tb", "a\nb", "a\rb", "a\r\nb", "\b\f\v", "\x01\x02\x1b\x7f", "'", `"`, `"a"`, "null", "NULL", "12345678\t", "1234567\\8", "\n", "a\\",
	"0", "1", "-1", "+1", "-0", "007", "1.5", "1.50", "2.5", "1e3", "-1.5e-3", "0.005", "0.015", "999.995", "999.994", "12345", "32768", "2147483648", "9223372036854775808", "1 ", " 1", "0x1F", "1_000", "0b1", "NaN", "Infinity", "-inf", "1e400", "1e-400", "1e39", "16777217", "123456789.123456789", "$1,234.56", "1,5",
	"t", "true", "TRUE", "yes", "on", "of", "off", "f", "tr", "101", "1010", "10101010", "B101", "x1F",
	"2020-01-02", "01/02/2020", "20200102", "2020-01-02 03:04:05.6789995", "2020-01-02 23:59:59.9999999", "2020-01-02T03:04:05+02", "2020-01-02 03:04:05 Europe/Berlin", "infinity", "epoch", "4714-11-24 BC", "294277-01-01", "2020-02-30", "12:34:56.789", "23:59:59.9999995", "24:00:00", "12:34:56.5+03:30", "12:34 PM", "January 8, 99 BC",
	"1 day", "1 day 2:03:04.5678", "1-2", "1-2 3 4:05:06.789", "P1Y2M3DT4H5M6.7S", "-1 month +3 days", "1.5 hours", "90 seconds", "3:04", "@ 1 minute ago",
	"{}", "{1}", "{1,2}", "{1,NULL}", "{a,b}", "{abcd}", "{1.555,2}", "{{1,2},{3,4}}", "[0:1]={1,2}", `{"a b","c\\d","e\"f"}`, "{t,f}", "{101}", "{12:34:56.789}", "{2020-01-02 03:04:05.678}", "{sad,Happy}", "{1 day 2:03:04.5678}", `{"(1,2)"}`, `{"[1,2)"}`, "{", "{}}",
	"(1,2)", "(1,x,abc,1,{1})", "(,,,,)", `(1,"a,b",abcd,1,)`, "(1,2),(3,4)", "<(1,2),3>", "[(1,2),(3,4)]", "((1,2),(3,4))", "{1,2,3}", "[1,2)", "(1,2]", "empty", "[2020-01-01,2020-01-03)", "{[1,2),[5,6)}", "[1.5,2.5]",
	`{"a": 1, "b": [1, 2]}`, `{"a":1,"a":2}`, `[1]`, `"x"`, `{"a":"\u0000"}`, `{"a":"\u00e9\n"}`, "<a>b</a>", "<a>", "x=>1", `a=>NULL, "b c"=>"d\\e"`,
	"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC999C0B4EF8BB6D6BB9BD380A11", "192.168.0.1/24", "192.168.0.0/24", "::1", "08:00:2b:01:02:03", "08002b:0102030405", "16/B374D848",
	"the fat:2A cat:1", "fat & cat", "pg_class", "pg_catalog.int4", "=r/postgres", "postgres=r/postgres", "english", "simple", "sum(", "sum(int4)", "+(int4,int4)", "-", "$.a[*] ? (@ > 1)", "10:20:10,14,15", "sad", "Happy", "YES", "(0,1)",
}

var integerConstants = strings.Fields(`0 -0 00 1 -1 7 007 -007 42 99 100 101 127 128 255 256 999 1000 12345 99999 32767 32768 -32768 -32769 16777216 16777217 33554433 -16777217
2147483647 2147483648 -2147483648 -2147483649 4294967295 4294967296 9007199254740992 9007199254740993 -9007199254740993 36028797018963969
9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 00000000000000000000000012 123456789012345678901234567890
16777217000000001 1152921573326323713 20200102 ` + strings.Repeat("9", 70) + " 1" + strings.Repeat("0", 38) + " 1" + strings.Repeat("0", 400))

var decimalConstants = strings.Fields(`0.0 -0.0 0. .0 -.0 0e5 -0e5 -0e-5 0.000 1.0 1.5 1.50 -1.5 2.5 -2.5 0.5 -0.5 .5 -.5 5. 1.4999999999999999999999 0.49999999999999999999 1.6 -1.6 9.5 99.5 999.5 -999.5 999.995 999.994999 -999.995 0.005 0.015 0.025 1.005
1e3 1E3 1e+3 1e-3 1.5e3 1.50e1 -1.50e1 12.5e-1 5e-1 -5e-1 5e-2 45e-1 0012.50 0.1e1 1e0 1.23456789012345678901234567890 32767.4 32767.5 -32768.5 -32768.4 2147483647.5 2147483647.4 -2147483648.5 9223372036854775807.4 9223372036854775807.5 -9223372036854775808.4 -9223372036854775808.5
1e18 1e19 1e38 3.4028235e38 3.4028236e38 1e39 1.17549435e-38 1e-45 7e-46 1e-46 1e308 1.7976931348623157e308 1.7976931348623159e308 1e309 5e-324 2e-324 1e-400 -1e-400 1e400
16777217.0 16777216.999999999 1.00000017881393432617187499 1.00000017881393432617187500 1.00000017881393432617187501 0.1 0.3 123456.789e3 1e999 1e-999 0e999 0e-999 1e1000 0e-1000 1e1001 0e20000 0e-20000 1e-20000 1e200000
1.` + strings.Repeat("0", 995) + " 1." + strings.Repeat("0", 1100) + " 0." + strings.Repeat("0", 17000) + " " + strings.Repeat("0", 70) + "1." + strings.Repeat("9", 70))

// constants are all bare ones.
func constants() (cells []Cell) {
	for _, s := range stringConstants {
		cells = append(cells, Cell{Kind: String, Text: []byte(s)})
	}
	for _, s := range integerConstants {
		cells = append(cells, Cell{Kind: Integer, Text: []byte(s)})
	}
	for _, s := range decimalConstants {
		cells = append(cells, Cell{Kind: Decimal, Text: []byte(s)})
	}
	return append(cells, Cell{Kind: Null}, Cell{Kind: True}, Cell{Kind: False})
}

// typingDatabase makes a database with all the types and returns their names.
func typingDatabase(t *testing.T, s *session) []string {
	t.Helper()
	// Not every installation has the extensions.
	s.run([]command{{sql: "CREATE EXTENSION citext"}, {sql: "CREATE EXTENSION hstore"}})
	s.must(typingSetup)
	var types []string
	for _, row := range s.must(builtinTypes) {
		types = append(types, row[0])
	}
	for _, line := range moreTypes {
		types = append(types, strings.Split(line, "\n")...)
	}
	return types
}

// TestTypingAsNative puts every constant into every type, natively and by COPY.
func TestTypingAsNative(t *testing.T) {
	t.Parallel()
	s := ownSession(t)
	targets := newTargets(s, typingDatabase(t, s))
	for _, tg := range targets {
		for _, cell := range constants() {
			tg.add(cell, false)
		}
	}
	load(s, targets, byCopy)
	if same := compare(s, targets); len(targets) < 200 || same < 7000 {
		t.Errorf("%d types, %d constants stored", len(targets), same)
	}
	missed := map[string][]string{}
	for _, tg := range targets {
		for _, c := range tg.cases {
			if c.native == "" && (c.pass != nil || c.ours != "") && !mayMiss(tg, &c) {
				missed[tg.typ] = append(missed[tg.typ], fmt.Sprintf("%s (%v %s)", c.sql[:min(len(c.sql), 40)], c.pass, c.ours))
			}
		}
	}
	for typ, list := range missed {
		t.Errorf("natively stored in %s, not by us: %v", typ, list)
	}
}

// mayMiss says whether a constant passes, or is replayed, though the server
// would store it.
func mayMiss(tg *target, c *testCase) bool {
	name := strings.TrimSuffix(tg.typ, "[]")
	switch {
	case tg.column.Base == 0:
		return slices.Contains([]string{"ddpos", "ddv", "ddiha"}, tg.typ)
	case c.pass == PassColumnType:
		return strings.HasPrefix(name, "interval") || tg.typ == "diha" || strings.HasPrefix(name, "umod(")
	case c.pass == PassNumber:
		return len(c.cell.Text) > maxNumber || strings.Contains(string(c.cell.Text), "e")
	case c.pass == PassConstant && c.cell.Kind == True, c.pass == PassConstant && c.cell.Kind == False:
		return slices.Contains([]string{"name", "citext", "ustr", "ucast", `"char"`}, tg.typ) || strings.HasPrefix(tg.typ, "information_schema")
	case c.pass == PassConstant:
		return slices.Contains([]string{"money", "oid", "real", "float(24)", "ucast", `"char"`}, tg.typ) || strings.HasPrefix(tg.typ, "reg")
	}
	return false
}

// TestArraysAsNative puts the constants in by unnest of an array of the column's
// ArrayType, too.
func TestArraysAsNative(t *testing.T) {
	t.Parallel()
	s := ownSession(t)
	all := newTargets(s, typingDatabase(t, s))
	targets := slices.DeleteFunc(slices.Clone(all), func(tg *target) bool { return tg.column.ArrayType() == "" })
	for _, tg := range targets {
		for _, cell := range constants() {
			tg.add(cell, true)
		}
	}
	load(s, targets, byArray)
	if same := compare(s, targets); len(targets) < 120 || same < 6000 {
		t.Errorf("%d of %d types, %d constants stored", len(targets), len(all), same)
	}
	for _, tg := range targets {
		for _, c := range tg.cases {
			// These have no array type, and but NULL there is no constant of theirs.
			if c.native == "" && c.ours != "" && !(c.cell.Kind == Null && strings.HasPrefix(tg.typ, "pg_")) {
				t.Errorf("%s into %s: natively stored, as %s %s", c.sql, tg.typ, tg.column.ArrayType(), c.ours)
			}
		}
	}
}

// castNames are types as casts spell them, of which few fit a column.
var castNames = strings.Split(`int|INTEGER|Int4|"int4"|pg_catalog.int4|pg_catalog . "int4"|smallint|int2|bigint|int8|int[]|integer [ ]|int4[]|int4[][]|_int4|numeric|decimal|dec(5,2)|numeric ( 5 , 2 )|numeric(3)|numeric(10)|numeric(3,0)|numeric(5,2)[]|real|float4|float|float(24)|float(25)|float8|double precision|DOUBLE  PRECISION[]
bool|boolean|text|TEXT|"text"|pg_catalog.text|text[]|varchar|character varying|varchar(3)|char varying(3)|national character varying(3)|nchar varying(3)|character varying (3)[]|pg_catalog.varchar|char|character|nchar|char(3)|national char(3)|bpchar|bpchar(3)|"char"|"bpchar"|char(1)|name|citext|hstore|"varchar"|"varchar"(3)
bit|bit(3)|bit(1)|"bit"|varbit|bit varying|bit varying(3)|varbit(3)|bytea|uuid|json|jsonb|"json"|xml|money|oid|regclass|inet|cidr|macaddr|point|box|tsvector|int4range|int4multirange
date|time|time(3)|time(0) without time zone|time with time zone|timetz|timetz(2)|time(2) with time zone|timestamp|timestamp without time zone|timestamp(3)|timestamptz|timestamp with time zone|timestamp(3) with time zone|timestamptz(3)|"timestamptz"|timestamp[]
interval|interval hour|interval(3)|interval(0)|interval day to second|interval day to second(3)|interval second(2)|interval year to month|interval hour[]|interval[]|"interval"
mood|MOOD|public.mood|s.mood|s . "mood"|"user".mood|user.mood|"user"|USER|"mood"|"Odd ""name"|mood[]|s.mood[]|comp|comp[]|frange|dpos|ddpos|dnn|dv|ddv|dbp|dnum|dih|diha|dbool|darr|dcomp|dtext|dv[]|ustr|ucast|umod|umod(2)`, "|")

var castTexts = []string{
	"", "1", "1.555", "999.995", "abc", "abcd", "abc  ", "ab     ", "2020-01-02 03:04:05.6789", "12:34:56.789", "1 day 2:03:04.5678", "t", "101", "1010", "{1}", "{1.555}", "{abcd}", "sad", "{sad}",
	`{"a": 1}`, `\x41`, "a\tb", "(1,x,abc,1,{1})", "[1,2)", "{[1,2)}", "pg_class", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "192.168.0.1", "(1,2)", "a=>1", "08:00:2b:01:02:03", "{2020-01-02 03:04:05.6}",
}

// TestCastsAsNative puts cast constants into every type, wherever the cast is
// taken to be the column's type.
func TestCastsAsNative(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	s := newSession(t, pg, db)
	types := typingDatabase(t, s)
	for name, setup := range map[string]string{
		"plain": "SELECT",
		// Every name means something else here, first of all.
		"shadowed": `CREATE TABLE s.int4 (a int); CREATE DOMAIN s.bool AS text; CREATE DOMAIN s.timestamptz AS text; CREATE DOMAIN s.json AS text;
			CREATE DOMAIN s.jsonb AS text; CREATE DOMAIN s.varchar AS int; CREATE DOMAIN s.bpchar AS bytea; SET search_path = s, public, pg_catalog`,
	} {
		s.must("DROP TABLE IF EXISTS " + pairs(len(types)))
		s.must(setup)
		targets := newTargets(s, types)
		for _, tg := range targets {
			for _, line := range castNames {
				for _, cast := range strings.Split(line, "\n") {
					for _, text := range castTexts {
						tg.add(Cell{Kind: String, Text: []byte(text), Cast: []byte(cast)}, true)
					}
					tg.add(Cell{Kind: Null, Cast: []byte(cast)}, true)
				}
			}
		}
		load(s, targets, byCopy)
		if same := compare(s, targets); same < 1000 {
			t.Errorf("%s: only %d stored", name, same)
		}
	}
}

// pairs names all tables of newTargets.
func pairs(n int) string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("n%d, c%d", i, i))
	}
	return strings.Join(names, ", ")
}

// randomNumber is mostly near something: few digits, a half, a bound.
func randomNumber(r *rand.Rand) Cell {
	digits := func(most int) string {
		b := make([]byte, r.IntN(most+1))
		for i := range b {
			b[i] = "0012345567899999"[r.IntN(16)]
		}
		return string(b)
	}
	sign := []string{"", "-"}[r.IntN(2)]
	near := []string{"32767", "32768", "2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "99", "999", "16777217", "9007199254740993", "340282356779733661637539395458142568447"}
	head := digits([]int{3, 8, 20, 50}[r.IntN(4)])
	if r.IntN(3) == 0 {
		head = near[r.IntN(len(near))]
	}
	if r.IntN(2) == 0 && head != "" {
		return Cell{Kind: Integer, Text: []byte(sign + head)}
	}
	text := head + "." + []string{"", "5", "4", "49999999999999999", "50000000000001"}[r.IntN(5)] + digits(12)
	if text == "." {
		text = "0."
	}
	if r.IntN(3) == 0 {
		text += fmt.Sprintf("e%d", r.IntN(r.IntN(60)+1)-r.IntN(r.IntN(360)+1))
	}
	return Cell{Kind: Decimal, Text: []byte(sign + text)}
}

// TestRandomNumbers does the same with random numbers in the types for numbers.
func TestRandomNumbers(t *testing.T) {
	t.Parallel()
	s := ownSession(t)
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	targets := newTargets(s, []string{"int2", "int4", "int8", "numeric", "numeric(5,2)", "numeric(20,3)", "float4", "float8", "text", "varchar(12)", "char(12)", "name", "oid"})
	for range 500 {
		cell := randomNumber(r)
		for _, tg := range targets {
			tg.add(cell, true)
		}
	}
	load(s, targets, byCopy)
	if same := compare(s, targets); same < 2000 {
		t.Errorf("only %d stored", same)
	}
}

// TestTypingInOtherSessions: settings change what input functions read, but
// both ways alike.
func TestTypingInOtherSessions(t *testing.T) {
	t.Parallel()
	s := ownSession(t)
	types := typingDatabase(t, s)
	s.must(`SET standard_conforming_strings = off; SET escape_string_warning = off; SET backslash_quote = off; SET DateStyle = 'German, DMY'; SET IntervalStyle = sql_standard;
		SET TimeZone = 'Asia/Kolkata'; SET xmloption = document; SET bytea_output = escape; SET extra_float_digits = -3; SET quote_all_identifiers = on; SET client_encoding = LATIN1; SET array_nulls = off`)
	targets := newTargets(s, types)
	for _, tg := range targets {
		for _, text := range stringConstants {
			tg.add(Cell{Kind: String, Text: []byte(text)}, true)
		}
	}
	load(s, targets, byCopy)
	if same := compare(s, targets); same < 6000 {
		t.Errorf("only %d stored", same)
	}
}

// TestNowAsNative: words for the moment mean the beginning of the transaction
// both ways.
func TestNowAsNative(t *testing.T) {
	t.Parallel()
	s := ownSession(t)
	s.must("CREATE DOMAIN dnow AS timestamp(0)")
	targets := newTargets(s, []string{"timestamptz", "timestamp(3)", "date", "dnow", "time", "timetz(1)"})
	for _, tg := range targets {
		words := []string{"now", "today", "tomorrow", "yesterday 12:00"}
		if tg.typ == "time" || tg.typ == "timetz(1)" {
			words = words[:1]
		}
		for _, text := range words {
			tg.add(Cell{Kind: String, Text: []byte(text)}, true)
		}
	}
	s.must("BEGIN")
	load(s, targets, byCopy)
	if same := compare(s, targets); same != 4*4+2 {
		t.Errorf("%d stored", same)
	}
}
