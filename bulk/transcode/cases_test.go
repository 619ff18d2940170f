package transcode

// serverCase is a type, and texts that are made for it.
type serverCase struct {
	name, kind string
	// before is what the type needs.
	before []string
	// made are expressions for texts, over a random float r and a number g.
	made []string
	// settings are those under which texts are made and read, one after the other.
	settings []string
	// list are texts by hand; those of all cases go through all types.
	list []string
}

// timeSettings change what is written for a time, and what a text means.
var timeSettings = []string{
	"SET DateStyle = 'ISO, MDY'; SET TimeZone = 'UTC'",
	"SET DateStyle = 'ISO, DMY'; SET TimeZone = 'Europe/Amsterdam'",
	"SET DateStyle = 'ISO, YMD'; SET TimeZone = 'Asia/Kolkata'; SET timezone_abbreviations = 'India'",
	"SET DateStyle = 'SQL, DMY'; SET TimeZone = 'America/St_Johns'",
	"SET DateStyle = 'SQL, MDY'; SET TimeZone = 'GMT'",
	"SET DateStyle = 'German, YMD'; SET TimeZone = 'Etc/GMT'",
	"SET DateStyle = 'Postgres, MDY'; SET TimeZone = '<Z>-5'",
}

const (
	madeTimestamp = "'epoch'::timestamptz + (r * 4e9 - 1e9) * interval '1 s'"
	madeFar       = "'epoch'::timestamptz + (r * 9e12 - 1.9e11) * interval '1 s'"
	madeDate      = "(date '2000-01-01' + (r * 5e6 - 2e6)::int)"
	madeInterval  = "make_interval((r * 40 - 20)::int, (random() * 40 - 20)::int, 0, (random() * 60 - 30)::int, (random() * 200 - 100)::int, (random() * 100 - 50)::int, random() * 59)"
	madeNumeric   = "round((r * 2 - 1)::numeric * 10::numeric ^ (random() * 50 - 15)::int, (random() * 40)::int)"
	madeInet      = "(host('0.0.0.0'::inet + (r * 4294967295)::int8) || CASE WHEN random() < 0.5 THEN '' ELSE '/' || (random() * 32)::int END)"
	madeInet6     = "regexp_replace(regexp_replace(md5(r::text), '(....)', '\\1:', 'g'), ':$', CASE WHEN random() < 0.5 THEN '' ELSE '/' || (random() * 128)::int END)"
)

var serverCases = []serverCase{
	{name: "int2", kind: "int2", made: []string{"(r * 65535 - 32768)::int2", "(r * 100000 - 50000)::int4"}, list: []string{
		"0", "-0", "+0", "+7", "32767", "32768", "-32768", "-32769", " 12 ", "\t12\n", "12 3", "", " ", "-", "+", "--1", "0x10", "0b1", "0o7", "1_000", "007", "1.0", "1e2", "٣", "12\v", "12\x00", "\u00a012",
	}},
	{name: "int4", kind: "int4", made: []string{"(r * 4294967294 - 2147483647)::int4", "(r * 200 - 100)::int4", "(r * 1e10)::int8"}, list: []string{
		"2147483647", "2147483648", "-2147483648", "-2147483649", "0000000000000000000000000000001", "99999999999999999999999",
	}},
	{name: "int8", kind: "int8", made: []string{"((r * 2 - 1) * 9.2e18)::int8", "(r * 1e6)::int8", "((r * 2 - 1) * 9.3e18)::numeric(30,0)"}, list: []string{
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "1234567890123456789", "123456789012345678", " -9223372036854775808 ", "+9223372036854775807", "9_223_372_036_854_775", "0x7fffffffffffffff",
	}},
	{name: "oid", kind: "oid", made: []string{"(r * 4294967295)::int8", "(r * 1e10 - 5e9)::int8"}, list: []string{"4294967295", "4294967296", "-1", "-2147483648", "+5", " 5", "5 ", "0x5", "05"}},
	{name: "float8", kind: "float8", made: []string{
		"r", "(r * 2 - 1) * 10::float8 ^ (random() * 600 - 300)::int", "(r * 1e7)::int / 1000.0::float8", "round((r * 1e6)::numeric, (random() * 10)::int)", "to_char((r * 2 - 1) * 1e10, '9.99999999999999EEEE')",
	}, settings: []string{"SET extra_float_digits = 1", "SET extra_float_digits = 0", "SET extra_float_digits = -8", "SET extra_float_digits = 3"}, list: []string{
		"NaN", "nan", "-nan", "+nan", "nan(1)", "Infinity", "-Infinity", "+infinity", "inf", "-INF", "+Inf", "infin", "1e308", "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1e309", "-1e309",
		"2.2250738585072014e-308", "2.2250738585072011e-308", "4.9e-324", "2e-324", "1e-400", "0e-400", "0e400", "-0", "-0.0", "+0.0", ".5", "5.", ".", "-.", "-.5", "5.e3", ".e3", "1e", "1e+", "1e5", "1E5", "1e+05", "0x1p3", "0x1F", "1_0", "1_0e2",
		"9007199254740993", "9007199254740.993", "900719925474.0993", "90071992547409.93", "9.007199254740993", "9.007199254740995", "9007199254740992", "9007199254740991.5", "0.1", "123456789012345678901234567890", "1,5", "1.5 ", " 1.5", "1 .5", "1.5f", "1d", "0.30000000000000004", "1.00000000000000011102230246251565404", "8.5e-46", "infinityx", "e5", "1e1e1", "1.5.5",
	}},
	{name: "float4", kind: "float4", made: []string{"r::float4", "((r * 2 - 1) * 10::float8 ^ (random() * 74 - 37)::int)", "(r * 2 - 1) * 10::float8 ^ (random() * 100 - 50)::int", "(r * 2 - 1) * 10::float8 ^ 20"}, settings: []string{"SET extra_float_digits = 1", "SET extra_float_digits = 0", "SET extra_float_digits = -4"}, list: []string{
		"3.4028235e38", "3.4028236e38", "3.40282356e38", "3.5e38", "1.1754944e-38", "1.17549429e-38", "1e-45", "1e-46", "1.4e-45", "16777217", "16777219", "1.00000017881393432617187499", "1.00000017881393421514957253748434595763683319091796875001",
	}},
	{name: "numeric", kind: "numeric", made: []string{madeNumeric, "(r * 1e6)::int", "trim_scale(" + madeNumeric + ")"}, list: []string{
		"0", "0.0", "-0", "-0.00", "00", "000.1000", ".1", "1.", ".", "+1.5", "- 1", "1e5", "1e-5", "1.5E+10", "1e400", "1e401", "1e-400", "1e131071", "1e131072", "1e-16383", "1e-16384", "0e5", "0e-5", "0.000e3", "12e3", "1e 3", "1e", "1e+", "1e--3", "9999", "10000", "99999999", "100000000", "0.0001", "0.00010", "0.00001",
		"1234567890123456789012345678901234567890.1234567890123456789012345678901234567890", "1_000.5", "0x1f", "NaN", "-NaN", "inf", "-Infinity", "1..2", "1.2.3", "999.995", "99999999.995", "99999999.994", "0.00049", "0.0005", "12345", "12350", "-12350", "12300000000000000", "0.9999999999",
	}},
	{name: "numeric with scale", kind: "numeric(10,2)", made: []string{madeNumeric, "round((r * 2e8 - 1e8)::numeric, (random() * 5)::int)"}},
	{name: "numeric of small scale", kind: "numeric(4,4)", made: []string{"round(r::numeric, (random() * 8)::int)"}},
	{name: "bool", kind: "bool", made: []string{madeBool, "(r < 0.5)"}, list: []string{
		"t", "f", "T", "tr", "tru", "true", "TRUE", "truee", "fa", "fals", "false", "y", "ye", "yes", "Yes", "n", "no", "o", "on", "of", "off", "ofF", "1", "0", "01", "2", " true ", "\tf\n", "tt", "nope", "oN", "onn",
	}},
	{name: "text", kind: "text", made: []string{madeText, "md5(r::text)"}, list: []string{"a\tb", "a\nb", `\`, `\\`, `\N`, `\.`, `"`, `""`, "é", "😀", "\xff", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x00b", "\xc0\x80", "null", "NULL", "a,b", "a\rb"}},
	{name: "varchar", kind: "varchar(5)", made: []string{madeText, "left(md5(r::text), 5)"}, list: []string{"12345", "123456", "12345 ", "12345    ", "éééééé", "ééééé", "ééééé  ", "     ", "      "}},
	{name: "char", kind: "char(5)", made: []string{madeText, "left(md5(r::text), (r * 5)::int)"}},
	{name: "name", kind: "name", made: []string{madeText, "repeat('é', (r * 40)::int)"}, list: []string{"123456789012345678901234567890123456789012345678901234567890123", "1234567890123456789012345678901234567890123456789012345678901234"}},
	{name: "bytea", kind: "bytea", made: []string{"decode(md5(r::text), 'hex')", "convert_to(" + madeText + ", 'UTF8')", "decode(substr(md5(r::text), 1, 2 * (r * 16)::int), 'hex')", madeText}, settings: []string{"SET bytea_output = 'hex'", "SET bytea_output = 'escape'"}, list: []string{
		`\x`, `\x0`, `\x00`, `\xZZ`, `\xab cd`, `\xABcd`, `\Xab`, `\000`, `\377`, `\400`, `\08`, `\12`, `\\x`, `a\\b`, `a\b`, `\`, `\\`, `\001\`, `\x ab`, "\\xab\n", `\134`, `abc\777`,
	}},
	{name: "uuid", kind: "uuid", made: []string{"md5(r::text)::uuid", "md5(r::text)", "'{' || md5(r::text)::uuid || '}'", "upper(md5(r::text)::uuid::text)", "regexp_replace(md5(r::text), '(....)(....)?', CASE WHEN r < 0.5 THEN '\\1-\\2' ELSE '\\1\\2-' END, 'g')"}, list: []string{
		"a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11", "{a0eebc999c0b4ef8bb6d6bb9bd380a11}", "{a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11-", "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "a0-eebc999c0b4ef8bb6d6bb9bd380a11", "{}", "a0eebc999c0b4ef8bb6d6bb9bd380a1", " a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0ee--bc999c0b4ef8bb6d6bb9bd380a11", "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
	}},
	{name: "json", kind: "json", made: []string{madeJSON}, list: jsonList},
	{name: "jsonb", kind: "jsonb", made: []string{madeJSON}, list: jsonList},
	{name: "enum", kind: "mood", before: []string{"CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy', 'NULL', '', 'é')"}, made: []string{"(enum_range(null::mood))[1 + (r * 6)::int % 6]"}, list: []string{"sad", "SAD", " sad", "very happy"}},
	{name: "domain", kind: "positive", before: []string{"CREATE DOMAIN positive AS numeric(8,3) CHECK (VALUE > 0)"}, made: []string{"round((r * 1e5)::numeric + 1, (random() * 6)::int)"}, list: []string{"0.0004", "0.0005", "99999.9994", "99999.9996"}},
	{name: "domain over varchar", kind: "code", before: []string{"CREATE DOMAIN code AS varchar(4) NOT NULL CHECK (VALUE <> 'bad')"}, made: []string{"left(md5(r::text), 4) || repeat(' ', (r * 3)::int)"}, list: []string{"bad", "bad ", "abcd ", "abcde"}},
}

const (
	madeBool = "(array['t', 'f', 'true', 'false', 'yes', 'no', 'on', 'off', '1', '0', 'TRUE', ' f '])[1 + (r * 12)::int % 12]"
	madeText = "left(translate(md5(r::text), '0123', E' é\\\\\"'), (random() * 7)::int)"
	madeJSON = "json_build_object(md5(r::text), r, 'a', array[r, random()], 'b', " + madeText + ", 'c', null)"
)

var jsonList = []string{"{}", "[]", "1", "01", "1e1000", `"\u0000"`, `"\ud800"`, `"\u00e9"`, "nul", "null", " null ", `{"a":1,"a":2}`, "[1,]", `"` + "\t" + `"`, `{"a"}`, "NaN", `"é"`, "1.0", "1.10e2", "[1e5, -0, 0.0]", ""}
