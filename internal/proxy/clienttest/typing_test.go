package clienttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
)

const typingSetup = `CREATE TYPE mood AS ENUM ('sad', '1', 'true'); CREATE DOMAIN pos AS int CHECK (VALUE > 0); CREATE DOMAIN dv AS varchar(3); CREATE TYPE comp AS (a int, b text);
	CREATE TABLE ok (a int);`

// typingTypes are the types of columns, typingLiterals what goes into each.
var (
	typingTypes = strings.Split(`bool|int2|int4|int8|numeric|numeric(5,2)|float4|float8|text|varchar|varchar(3)|char(3)|name|"char"|bytea|oid|money|
date|time|time(0)|timetz|timestamp|timestamptz(1)|interval|interval hour|uuid|inet|json|jsonb|xml|bit(3)|varbit(3)|int4range|point|tsvector|
mood|pos|dv|comp|int4[]|text[]|varchar(3)[]|numeric(5,2)[]`, "|")
	typingLiterals = strings.Split(`0|1|-1|007|32768|2147483648|9223372036854775808|1.5|2.5|-0.5|1e3|1e-3|999.995|1e400|true|false|NULL|''|'1'|' 1 '|'1.5'|'1e3'|'abc'|'abc   '|'abcd'|'t'|'yes'|
'2020-01-02 03:04:05.678'|'12:34:56.789'|'1 day 02:03'|'epoch'|'{}'|'{1,2}'|'{abcd}'|'{1.555}'|'[1,5)'|'(1,2)'|'101'|'\\x41'|'{"a":1}'|'<a/>'|'sad'|'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'|'10.0.0.1'|
E'a\\tb'|$$1$$|'1'::int4|'1'::text|'1'::varchar|NULL::int4|'1'::numeric|'{1}'::int4[]`, "|")
)

// typingScripts is how many scripts the types are spread over, which run at once.
const typingScripts = 4

// TestInsertTyping: every kind of literal in a column of every sort of type is
// stored, or refused, as without the proxy: as rows, and as arrays.
func TestInsertTyping(t *testing.T) {
	t.Parallel()
	_, direct, proxied, o := ways(t)
	var scripts [typingScripts]strings.Builder
	for i, typ := range typingTypes {
		script := &scripts[i%typingScripts]
		if script.Len() == 0 {
			script.WriteString("setup\n\t" + typingSetup + "\n")
		}
		typ = strings.TrimSpace(typ)
		fmt.Fprintf(script, "case %s\nsetup CREATE TABLE x (v %s);\n", typ, typ)
		for _, literal := range typingLiterals {
			literal = strings.TrimSpace(literal)
			// The second statement keeps a session from being left alone after several
			// failures in a row.
			fmt.Fprintf(script, "query INSERT INTO x (v) VALUES (%s), (NULL)\nquery INSERT INTO ok VALUES (1), (2)\n", literal)
			fmt.Fprintf(script, "query INSERT INTO x (v) VALUES (NULL), (%s) RETURNING v\nquery INSERT INTO ok VALUES (1), (2)\n", literal)
		}
	}
	dir := t.TempDir()
	for i := range scripts {
		path := filepath.Join(dir, fmt.Sprintf("typing%d.txt", i+1))
		if err := os.WriteFile(path, []byte(scripts[i].String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("scripts", func(t *testing.T) { pgtest.RunDir(t, dir, direct, proxied, o) })
}
