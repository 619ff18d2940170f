package proxy

import (
	"fmt"
	"strings"
)

// numbered makes n records, of which fn changes some.
func numbered(n int, fn func(i int) string) []string {
	out := make([]string, n)
	for i := range out {
		if out[i] = fn(i); out[i] == "" {
			out[i] = fmt.Sprintf("%d\tnote %d", i, i)
		}
	}
	return out
}

func csvNumbered(n int, fn func(i int) string) []string {
	out := numbered(n, fn)
	for i, r := range out {
		if fn(i) == "" {
			out[i] = strings.Replace(r, "\t", ",", 1)
		}
	}
	return out
}

// rowAt gives record text for some numbers.
func rowAt(text string, where ...int) func(int) string {
	return func(i int) string {
		for _, w := range where {
			if w == i {
				return text
			}
		}
		return ""
	}
}

const manyKinds = `CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT generate_series(1, 20);
CREATE TABLE t (id int PRIMARY KEY, d date, n numeric(4,1), v varchar(3), j jsonb, m mood, pos positive, need text NOT NULL,
	r int4range, up int REFERENCES p, twice int GENERATED ALWAYS AS (id * 2) STORED, inv int GENERATED ALWAYS AS (10 / id) STORED,
	EXCLUDE USING gist (r WITH &&), CHECK (id < 100000))`

const goodKind = "2001-01-01\t1.5\tabc\t{}\tsad\t1\tx\t\\N\t1"

var tolerances = []tolerant{
	{name: "none", records: numbered(300, rowAt(""))},
	{name: "empty"},
	{name: "first", records: numbered(3000, rowAt("x\ty", 0))},
	{name: "last", records: numbered(3000, rowAt("x\ty", 2999))},
	{name: "last without a line end", records: numbered(3000, rowAt("x\ty", 2999)), bare: true},
	{name: "middle", records: numbered(3000, rowAt("x\ty", 1500))},
	{name: "adjacent", records: numbered(3000, rowAt("x\ty", 10, 11, 12, 2000, 2001))},
	{name: "all", records: numbered(150, func(int) string { return "x\ty" })},
	{name: "only", records: []string{"x\ty"}},
	{name: "columns", records: numbered(300, func(i int) string { return map[int]string{5: "1", 7: "1\t2\t3", 9: ""}[i] })},
	{name: "check", records: numbered(3000, rowAt("77777\tforbidden", 50, 1700))},
	{name: "unique in the input", records: numbered(3000, rowAt("1\tagain", 50, 1700, 2999))},
	{name: "unique in the table", ddl: tolerantDDL + "; INSERT INTO t VALUES (50, 'there'), (2000, 'there')", records: numbered(3000, rowAt(""))},
	{name: "unique behind conversion", records: numbered(900, func(i int) string { return map[int]string{5: "1\tagain", 8: "x\ty", 3: "2\ttwo"}[i] })},
	{name: "many kinds", ddl: manyKinds, records: []string{
		"1\t" + goodKind, "2\t2001-02-30" + goodKind[10:], "99999999999\t" + goodKind, "x\t" + goodKind, "0\t" + strings.Replace(goodKind, "\\N", "[1,2)", 1),
		strings.Replace("3\t"+goodKind, "1.5", "12345", 1), strings.Replace("4\t"+goodKind, "abc", "abcd", 1), strings.Replace("5\t"+goodKind, "{}", "{\"a\":", 1),
		strings.Replace("6\t"+goodKind, "sad", "mad", 1), strings.Replace("7\t"+goodKind, "\t1\tx", "\t-1\tx", 1), strings.Replace("8\t"+goodKind, "\tx\t", "\t\\N\t", 1),
		strings.Replace("9\t"+goodKind, "\\N\t1", "[5,9)\t1", 1), strings.Replace("10\t"+goodKind, "\\N\t1", "[8,12)\t1", 1), strings.Replace("11\t"+goodKind, "\\N\t1", "[9,12)\t1", 1),
		"12\t" + strings.TrimSuffix(goodKind, "1") + "21", "1\t" + goodKind, "100000\t" + goodKind, "13\t" + goodKind, "14\t" + goodKind + "\t5", "\\N\t" + goodKind,
		"15\t2001-01-01\t\\N\t\xff" + goodKind[18:], "16\t" + goodKind,
	}},
	{name: "foreign key", ddl: "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 2000); CREATE TABLE t (id int REFERENCES p, note text)",
		records: numbered(1500, rowAt("9999\tnobody", 3, 700, 701))},
	{name: "partitions", ddl: "CREATE TABLE t (id int, note text) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (1000); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (1000) TO (2000) PARTITION BY LIST (note); CREATE TABLE t21 PARTITION OF t2 DEFAULT",
		records: numbered(2300, rowAt("x\ty", 5, 1500))},
	{name: "row triggers", ddl: tolerantDDL + `; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		IF NEW.id % 100 = 7 THEN RAISE unique_violation USING MESSAGE = 'not ' || NEW.id; END IF; NEW.note = NEW.note || '!'; RETURN NEW; END$$;
		CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()`, records: numbered(450, rowAt("x\ty", 3))},
	{name: "after triggers", ddl: tolerantDDL + `; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		IF NEW.id % 100 = 7 THEN RAISE unique_violation USING MESSAGE = 'not ' || NEW.id; END IF; RETURN NULL; END$$;
		CREATE TRIGGER b AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()`, records: numbered(450, rowAt("x\ty", 3))},
	{name: "deferrable", ddl: "CREATE TABLE t (id int UNIQUE DEFERRABLE, note text)", records: numbered(900, rowAt("1\tagain", 50, 700))},
	{name: "csv", options: "FORMAT csv", records: csvNumbered(3000, rowAt("x,y", 0, 9, 2999))},
	{name: "csv header", options: "FORMAT csv", header: "id,note", records: csvNumbered(3000, rowAt("x,y", 0, 9, 2999))},
	{name: "csv header of several lines", options: "FORMAT csv", header: "id,\"no\nte\"", records: csvNumbered(30, rowAt("x,\"y\nz\"", 0, 9, 29))},
	{name: "csv quoted lines", options: "FORMAT csv", records: csvNumbered(4000, func(i int) string {
		if i%3 == 1 {
			return []string{"x,\"a\nCOPY t, line 1\nb\"", fmt.Sprintf("%d,\"a\n\n\"\"b\n\"", i)}[min(1, i%500)]
		}
		return ""
	})},
	{name: "csv quoted value in the message", options: "FORMAT csv", records: csvNumbered(200, rowAt("\"x\nCOPY t, line 3, column note: y\",y", 0, 9, 150))},
	{name: "csv crlf", options: "FORMAT csv", header: "id,note", eol: "\r\n", records: csvNumbered(3000, func(i int) string {
		if i%100 == 50 {
			return []string{"x,\"a\r\nb\"", fmt.Sprintf("%d,\"a\r\nb\"", i)}[min(1, i%3)]
		}
		return ""
	})},
	{name: "csv crlf, bare", options: "FORMAT csv", eol: "\r\n", bare: true, records: csvNumbered(5, rowAt("x,y", 1, 4))},
	{name: "csv cr", options: "FORMAT csv", eol: "\r", records: csvNumbered(900, rowAt("x,\"y\ry\"", 0, 1, 800))},
	{name: "csv first row of several lines", options: "FORMAT csv", records: csvNumbered(900, func(i int) string {
		return map[int]string{0: "0,\"a\nb\"", 5: "x,\"a\nb\"", 800: "x,z"}[i]
	})},
	{name: "text crlf", eol: "\r\n", records: numbered(900, rowAt("x\ty", 0, 500, 899))},
	{name: "text cr", eol: "\r", records: numbered(900, rowAt("x\ty", 0, 500, 899))},
	{name: "escaped line end", records: numbered(900, func(i int) string { return map[int]string{6: "x\ta\\nb", 7: "7\ta\\nb"}[i] })},
	{name: "invalid bytes", records: numbered(900, rowAt("5000\tb\xffd", 0, 7, 800))},
	{name: "long rows", records: numbered(20, func(i int) string {
		return []string{fmt.Sprintf("%d\t", i), "x\t"}[i%2] + strings.Repeat("long ", 3000)
	})},
	{name: "options", options: "FORMAT csv, DELIMITER ';', NULL 'nil', QUOTE '''', FORCE_NOT_NULL (note)", columns: " (note, id)",
		records: numbered(900, func(i int) string { return []string{fmt.Sprintf("'no;te';%d", i), "nil;nil"}[min(1, i%50/49)] })},
	{name: "latin1", options: "ENCODING 'LATIN1'", records: numbered(30, func(i int) string { return fmt.Sprintf("%d\tb\xe4d", i) })},
}
