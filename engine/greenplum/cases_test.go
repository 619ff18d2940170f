package greenplum

import (
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// copyCase is one load: a table, how it is read, and its files.
type copyCase struct {
	name, types, with, options, eol string
	columns                         []string
	stmt                            rewrite.CopyStatement
	data                            []string
}

// copyCases are loads that COPY takes or refuses.
func copyCases() []copyCase {
	const types = "a int, b text, c numeric(6,2), d timestamptz, e bytea, f text[], g varchar(3), h char(4), i boolean, j json, k float8, l mood, m pos, n pair"
	all := "1\tx\t1.005\t2024-02-29 12:00\t\\\\x00ff\t{a,\"b c\",NULL}\tabc\tz\tt\t{\"a\": 1}\t1e300\tglad\t7\t(1,x)\n"
	latin := text()
	latin.Encoding = "LATIN1"
	named := text()
	named.Delimiter, named.Null = '|', "null"
	odd := csv()
	odd.Delimiter, odd.Quote, odd.Escape, odd.Null = ';', '|', '\\', `\N`
	header := csv()
	header.Header, header.HeaderLines = true, 1
	notNull := csv()
	notNull.ForceNotNull = []string{"b"}
	return []copyCase{
		{name: "all types", types: types, stmt: text(), data: []string{all, all, strings.Repeat("\\N\t", 13) + "\\N\n"}},
		{name: "null, empty, text null", types: "a int, b text", stmt: text(), data: []string{"1\t\n2\t\\N\n3\tnull\n4\t\\\\N\n", "5\tN\n6\tNULL\n"}},
		{name: "escapes", types: "b text", stmt: text(), data: []string{`a\tb\nc\\d\101\x41` + "\n", `\b\f\r\v\q` + "\n", `x\` + "\ty\\\t\n"}},
		{name: "other signs", types: "a int, b text", stmt: named, options: "DELIMITER '|' NULL 'null'", data: []string{"1|x\n2|null\n3|\\N\n4|\\|\n"}},
		{name: "lines of Windows", types: "a int, b text", stmt: text(), eol: "\r\n", data: []string{"1\tx\r\n", "2\ty\r\n3\t\r\n"}},
		{name: "no last end of line", types: "a int, b text", stmt: text(), data: []string{"1\tx\n2\ty"}},
		{name: "utf-8", types: "b text", stmt: text(), data: []string{"žluťoučký kůň\n", "😀\n"}},
		{name: "encoding", types: "b text", stmt: latin, options: "ENCODING 'LATIN1'", data: []string{"caf\xe9\n"}},
		{name: "bad utf-8", types: "b text", stmt: text(), data: []string{"caf\xe9\n"}},
		{name: "column list", types: "a int DEFAULT 7, b text, c numeric(6,2)", columns: []string{"c", "b"}, stmt: text(), data: []string{"1.5\tx\n", "2\ty\n"}},
		{name: "csv", types: "a int, b text", stmt: csv(), options: "CSV", data: []string{"1,x\n2,\n3,\"\"\n", "4,\"a\nb\"\"c,\"\n5,null\n6, x \n7,a\\nb\n"}},
		{name: "csv null", types: "a int, b text", stmt: odd, options: `CSV DELIMITER ';' QUOTE '|' ESCAPE '\' NULL '\N'`, data: []string{"1;\\N\n2;|\\N|\n3;|a\\|b|\n4;\n"}},
		{name: "csv header", types: "a int, b text", stmt: header, options: "CSV HEADER", data: []string{"a,b\n1,x\n2,y\n"}},
		{name: "force not null", types: "a int, b text", stmt: notNull, options: `CSV FORCE NOT NULL b`, data: []string{"1,\n2,\"\"\n"}},
		{name: "csv of Windows", types: "a int, b text", stmt: csv(), options: "CSV", eol: "\r\n", data: []string{"1,x\r\n2,\"a\r\nb\"\r\n"}},
		{name: "bad number", types: "a int, b text", stmt: text(), data: []string{"1\tx\n", "x\ty\n"}},
		{name: "too long", types: "g varchar(3)", stmt: text(), data: []string{"abcd\n"}},
		{name: "missing column", types: "a int, b text", stmt: text(), data: []string{"1\tx\n", "2\n"}},
		{name: "extra column", types: "a int, b text", stmt: text(), data: []string{"1\tx\ty\n"}},
		{name: "domain", types: "a int, m pos", stmt: text(), data: []string{"1\t-1\n"}},
		{name: "not null", types: "a int, b text NOT NULL", stmt: text(), data: []string{"1\t\\N\n"}},
		{name: "check", types: "a int CHECK (a > 0), b text", stmt: text(), data: []string{"1\tx\n-1\tx\n"}},
		{name: "unique", types: "a int PRIMARY KEY, b text", stmt: text(), data: []string{"1\tx\n", "1\ty\n"}},
		{name: "carriage return inside", types: "a int, b text", stmt: text(), data: []string{"1\tx\n2\ty\r\n"}},
		{name: "mixed ends", types: "a int, b text", stmt: text(), eol: "\r\n", data: []string{"1\tx\r\n2\ty\n"}},
		{name: "zero byte", types: "a int, b text", stmt: text(), data: []string{"1\ta\x00b\n"}},
		{name: "long line", types: "a int, b text", stmt: text(), data: []string{"1\t" + strings.Repeat("x", 5<<20) + "\n"}},
		{name: "long csv line", types: "a int, b text", stmt: csv(), options: "CSV", data: []string{"1,\"" + strings.Repeat("x,\n", 2<<20) + "\"\n"}},
		{name: "append-optimised", types: "a int, b text", with: "WITH (appendonly=true, orientation=column)", stmt: text(), data: []string{"1\tx\n", "2\ty\n"}},
		{name: "replicated", types: "a int, b text", with: "DISTRIBUTED REPLICATED", stmt: text(), data: []string{"1\tx\n", "2\ty\n"}},
		{name: "partitioned", types: "a int, b text", with: "PARTITION BY RANGE (a) (START (0) END (10) EVERY (5))", stmt: text(), data: []string{"1\tx\n", "7\ty\n"}},
		{name: "no partition", types: "a int, b text", with: "PARTITION BY RANGE (a) (START (0) END (10) EVERY (5))", stmt: text(), data: []string{"1\tx\n", "17\ty\n"}},
	}
}
