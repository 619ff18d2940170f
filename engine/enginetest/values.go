package enginetest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// everything has a column of each kind that COPY reads in a way of its own.
const everything = `CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'so "happy"');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN code AS varchar(5) NOT NULL;
CREATE TABLE t (
  b bool, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n numeric, n2 numeric(10,3), m money,
  c1 char(5), c2 varchar(5), c3 text, c4 "char", c5 name, c6 bpchar, by bytea,
  d date, tm time(3), tz timetz, ts timestamp(0), tsz timestamptz, iv interval, ivd interval day to second(2),
  u uuid, j json, jb jsonb, x xml, ip inet, ci cidr, ma macaddr, bt bit(3), vb varbit(9), p point, r int4range,
  ia int[], ta text[], e mood, ea mood[], co pair, dom positive, doc code, v tsvector, o oid, rc regclass)`

// someRows fills it with values, NULLs and what is easily taken for them.
const someRows = `INSERT INTO t VALUES
 (true, 1, -2, 9223372036854775807, 1.5e-7, 'NaN', 123456789.123456789, 1.2345, 12.5,
  'ab', 'abc', E'tab\there\nnew "line", back\\slash \\N \\.', 'x', 'name', 'bp  ', '\x00ff5c',
  '2024-02-29', '12:34:56.789', '23:59:59+02', '2001-01-01 00:00:00', '2024-06-01 12:00:00.123456+05', '1 mon -2 days 03:04:05.6', '3 04:05:06.78',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" :1}', '{"b":[null,"x"]}', '<a>1</a>', '::1', '10.0.0.0/8', '08:00:2b:01:02:03', B'101', B'1', '(1,2)', '[1,5)',
  '{1,NULL,3}', '{"a,b","",NULL,"null","\"q\""}', 'so "happy"', '{sad,"it''s ok"}', '(1,"x,""y""")', 7, 'abc', 'a:1 b', 42, 'pg_class'),
 (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL, NULL),
 (false, 0, 0, 0, '-Infinity', 0, 'NaN', 0, 0, '', '', '', '', '', '', '', '-infinity', '00:00', '00:00+00', 'infinity', 'infinity', '0', '0',
  '00000000-0000-0000-0000-000000000000', 'null', 'null', '', '0.0.0.0', '0.0.0.0/0', '00:00:00:00:00:00', B'000', B'', '(0,0)', 'empty',
  '{}', '{}', 'sad', '{}', '(,)', 1, 'null', '', 0, '-'),
 (false, 0, 0, 0, 0, 0, 0, 0, 0, 'null', 'NULL', 'null', 'n', 'NULL', '\N', 'null', '0044-03-15 BC', '24:00', '00:00+00', '0044-03-15 BC', '0044-03-15 BC', '0', '0',
  '00000000-0000-0000-0000-000000000000', '"null"', '"null"', 'é日本', '0.0.0.0', '0.0.0.0/0', '00:00:00:00:00:00', B'000', B'', '(0,0)', '(,)',
  '{}', '{é,日本,😀}', 'sad', '{}', '(,null)', 1, '\N', '', 0, '-')`

func runValues(t *testing.T, c Config) {
	for name, stmt := range map[string]rewrite.CopyStatement{"text": text(), "csv": csv(), "binary": binary()} {
		t.Run("every type in "+name, func(t *testing.T) { t.Parallel(); everyType(t, c, name, stmt) })
	}
	for _, tc := range valueCases() {
		t.Run(tc.name, func(t *testing.T) { t.Parallel(); tc.run(t, c) })
	}
}

// everyType copies a table out and loads it again: all rows must be the same.
func everyType(t *testing.T, c Config, format string, stmt rewrite.CopyStatement) {
	b := newBench(t, c)
	b.must(b.admin, everything+"; "+someRows+"; CREATE TABLE twin (LIKE t INCLUDING ALL)")
	var data bytes.Buffer
	if _, err := b.admin.CopyTo(t.Context(), &data, "COPY t TO STDOUT (FORMAT "+format+")"); err != nil {
		t.Fatal(err)
	}
	n, err := b.external(newLoad("twin", stmt), data.String())
	if err != nil || n != 4 {
		t.Fatalf("%d rows, %v", n, err)
	}
	if got, want := b.must(b.admin, "SELECT twin::text FROM twin"), b.must(b.admin, "SELECT t::text FROM t"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// valueCase is one table, one statement in both forms and bytes of data.
type valueCase struct {
	name    string
	table   string // the columns of the table
	columns []string
	stmt    rewrite.CopyStatement
	options string // the same as SQL
	setup   string // run on the session before
	data    string
	// version is the first server version that knows the option.
	version string
}

func with(stmt rewrite.CopyStatement, change func(*rewrite.CopyStatement)) rewrite.CopyStatement {
	change(&stmt)
	return stmt
}

func valueCases() []valueCase {
	const ab = "a text, b text"
	return []valueCase{
		{name: "null empty and the text null", table: ab, stmt: text(), data: "\\N\t\nnull\tNULL\n\\\\N\t\\N\n"},
		{name: "csv null empty", table: ab, stmt: csv(), options: "CSV", data: ",\"\"\nnull,\"null\"\n\"\",\n"},
		{name: "null marker", table: ab, stmt: with(text(), func(s *rewrite.CopyStatement) { s.Null = "it's \"nil\"" }),
			options: `(NULL 'it''s "nil"')`, data: "it's \"nil\"\tx\nnil\t\\N\n"},
		{name: "empty null marker in text", table: ab, stmt: with(text(), func(s *rewrite.CopyStatement) { s.Null = "" }),
			options: `(NULL '')`, data: "\tx\ny\t\n"},
		{name: "delimiter quote escape", table: ab, stmt: with(csv(), func(s *rewrite.CopyStatement) {
			s.Delimiter, s.Quote, s.Escape, s.Null = '\'', '$', '\\', "-"
		}), options: `(FORMAT csv, DELIMITER '''', QUOTE '$', ESCAPE E'\\', NULL '-')`, data: "$a\\$b\nc$'-\n$-$'\"\n"},
		{name: "tab in csv", table: ab, stmt: with(csv(), func(s *rewrite.CopyStatement) { s.Delimiter = '\t' }),
			options: `(FORMAT csv, DELIMITER E'\t')`, data: "a\tb\n\"c\td\"\te,f\n"},
		{name: "text escapes", table: ab, stmt: text(), data: "\\101\\x42\\t\\n\\\\\t\\b\\f\\r\\v\\,\n\\\n\tx\n"},
		{name: "crlf", table: ab, stmt: text(), data: "a\tb\r\nc\td\r\n"},
		{name: "csv line ends in quotes", table: ab, stmt: csv(), options: "CSV", data: "\"a\r\nb\",c\n\"\n\",\"\"\"\"\n"},
		{name: "no end of last line", table: ab, stmt: text(), data: "a\tb\nc\td"},
		{name: "no rows", table: ab, stmt: text(), data: ""},
		{name: "one row", table: ab, stmt: text(), data: "a\tb\n"},
		{name: "header", table: ab, stmt: with(csv(), func(s *rewrite.CopyStatement) { s.Header, s.HeaderLines = true, 1 }),
			options: "(FORMAT csv, HEADER)", data: "x,y\na,b\n"},
		{name: "header only", table: ab, stmt: with(csv(), func(s *rewrite.CopyStatement) { s.Header, s.HeaderLines = true, 1 }),
			options: "(FORMAT csv, HEADER)", data: "x,y\n"},
		{name: "header match", table: ab, version: "150000", stmt: with(csv(), func(s *rewrite.CopyStatement) { s.HeaderMatch = true }),
			options: "(FORMAT csv, HEADER match)", data: "a,b\nc,d\n"},
		{name: "header mismatch", table: ab, version: "150000", stmt: with(csv(), func(s *rewrite.CopyStatement) { s.HeaderMatch = true }),
			options: "(FORMAT csv, HEADER match)", data: "a,c\nc,d\n"},
		{name: "force null", table: ab, stmt: with(csv(), func(s *rewrite.CopyStatement) { s.ForceNull = []string{"b"} }),
			options: "(FORMAT csv, FORCE_NULL (b))", data: "\"\",\"\"\n,\n"},
		{name: "force not null", table: ab, stmt: with(csv(), func(s *rewrite.CopyStatement) { s.ForceNotNull = []string{"a"} }),
			options: "(FORMAT csv, FORCE_NOT_NULL (a))", data: "\"\",\"\"\n,\n"},
		{name: "both force options", table: ab, stmt: with(csv(), func(s *rewrite.CopyStatement) {
			s.ForceNull, s.ForceNotNull, s.Null = []string{"a", "b"}, []string{"a"}, "-"
		}), options: "(FORMAT csv, NULL '-', FORCE_NULL (a, b), FORCE_NOT_NULL (a))", data: "-,-\n\"-\",\"-\"\n"},
		{name: "encoding", table: ab, stmt: with(text(), func(s *rewrite.CopyStatement) { s.Encoding = "LATIN1" }),
			options: "(ENCODING 'LATIN1')", data: "caf\xe9\t\xa7\n"},
		{name: "client encoding", table: ab, stmt: text(), setup: "SET client_encoding = 'SJIS'", data: "\x93\xfa\x96\x7b\t\x83\x5c\n"},
		{name: "wrong encoding", table: ab, stmt: text(), data: "caf\xe9\tx\n"},
		{name: "column list", table: "a text, b text DEFAULT 'def', c int", columns: []string{"c", "a"}, stmt: text(), data: "1\tx\n\\N\ty\n"},
		{name: "session settings", table: "a date, b timestamptz, c interval, d numeric", stmt: text(),
			setup: "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kathmandu'; SET IntervalStyle = 'sql_standard'",
			data:  "02/03/2024\t02/03/2024 10:00\t-1 2:03:04\t1.50\n"},
		{name: "varchar with blanks", table: "a varchar(3), b char(3)", stmt: text(), data: "abc   \tabc   \n"},
		{name: "varchar too long", table: "a varchar(3), b char(3)", stmt: text(), data: "abcd\tx\n"},
		{name: "numeric overflow", table: "a numeric(3,1), b text", stmt: text(), data: "1.25\tx\n1000\ty\n"},
		{name: "bad integer", table: "a int, b text", stmt: text(), data: "1\tx\n1.5\ty\n"},
		{name: "too few columns", table: ab, stmt: text(), data: "a\tb\nc\n"},
		{name: "too many columns", table: ab, stmt: text(), data: "a\tb\tc\n"},
		{name: "open quote", table: ab, stmt: csv(), options: "CSV", data: "a,\"b\n"},
		{name: "not null", table: "a int NOT NULL, b text", stmt: text(), data: "1\tx\n\\N\ty\n"},
		{name: "check", table: "a int CHECK (a > 0), b text", stmt: text(), data: "1\tx\n-1\ty\n"},
		{name: "unique", table: "a int PRIMARY KEY, b text", stmt: text(), data: "1\tx\n1\ty\n"},
		{name: "not binary", table: ab, stmt: binary(), options: "BINARY", data: "a\tb\n"},
	}
}

func (tc valueCase) run(t *testing.T, c Config) {
	b := newBench(t, c)
	if tc.version != "" && b.must(b.admin, "SELECT current_setting('server_version_num')::int < "+tc.version) == "t" {
		t.Skipf("the option came with server version %s", tc.version)
	}
	b.must(b.admin, "CREATE TABLE t ("+tc.table+"); CREATE TABLE twin ("+tc.table+")")
	if tc.setup != "" {
		b.must(b.sess, tc.setup)
	}
	tc.compare(b)
}

// compare loads t by the engine and twin by COPY.
func (tc valueCase) compare(b *bench) {
	b.t.Helper()
	l := newLoad("t", tc.stmt, tc.columns...)
	n, err := b.external(l, tc.data)
	wantN, wantErr := b.native("twin", tc.columns, tc.options, tc.data)
	if wantErr != nil {
		got, want := pgError(err), pgError(wantErr)
		if got.Code != want.Code || strings.ReplaceAll(got.Message, `"t"`, `"twin"`) != strings.ReplaceAll(want.Message, "twin_", "t_") &&
			strings.ReplaceAll(got.Message, `"t"`, `"twin"`) != want.Message {
			b.t.Errorf("got %v, want %v", err, wantErr)
		}
		b.wantLeftovers(l, "")
	} else if err != nil || n != wantN {
		b.t.Errorf("%d rows, %v, want %d", n, err, wantN)
	}
	got, want := b.must(b.admin, "SELECT t::text FROM t"), b.must(b.admin, "SELECT twin::text FROM twin")
	if got != want {
		b.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
