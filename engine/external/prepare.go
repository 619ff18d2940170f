package external

import (
	"encoding/json"
	"fmt"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// factsSQL are the items of factCount columns, on every version since PostgreSQL
// 9.4: columns that only later catalogs have are asked for by name, as JSON.
//
// The rows of several readers reach the table in any order. So what a COPY
// numbers one after the other would get other numbers: a default of a function
// that may be nextval's.
const factsSQL = `%[3]s,
 (SELECT pg_catalog.array_to_json(pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY w.n))
  FROM pg_catalog.unnest(%[2]s::pg_catalog.text[]) WITH ORDINALITY w(name, n), pg_catalog.pg_attribute a
  WHERE a.attrelid OPERATOR(pg_catalog.=) %[1]d AND a.attname OPERATOR(pg_catalog.=) w.name::pg_catalog.name AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped),
 EXISTS (SELECT FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum
  WHERE a.attrelid OPERATOR(pg_catalog.=) %[1]d AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND a.attname OPERATOR(pg_catalog.<>) ALL (%[2]s::pg_catalog.name[])
  AND (pg_catalog.row_to_json(a) OPERATOR(pg_catalog.->>) 'attidentity' OPERATOR(pg_catalog.<>) '' OR EXISTS (
   SELECT FROM pg_catalog.regexp_matches(d.adbin::pg_catalog.text, ':(?:op)?funcid ([0-9]+)', 'g') f, pg_catalog.pg_proc p
   WHERE p.oid OPERATOR(pg_catalog.=) f[1]::pg_catalog.oid AND p.provolatile OPERATOR(pg_catalog.=) 'v')))`

// factCount is how many columns FactsSQL has.
const factCount = 3

// FactsSQL are the first items of a Preparer's question, which ReadFacts reads.
// encoding is the COPY's own, or empty.
func FactsSQL(t engine.Target, encoding string) string {
	files := "pg_catalog.pg_client_encoding()"
	if encoding != "" {
		files = pgident.Literal(encoding)
	}
	return fmt.Sprintf(factsSQL, t.OID, pgident.LiteralArray(t.Columns), files)
}

// ReadFacts completes a target by the first items of the answer, and returns the
// rest, of which there are so many. why says why external tables can't load it.
func ReadFacts(t engine.Target, row [][]byte, more int) (full engine.Target, rest [][]byte, why string) {
	if len(row) != factCount+more {
		return t, nil, fmt.Sprintf("an answer of %d columns", len(row))
	}
	if err := json.Unmarshal(row[1], &t.Types); err != nil || len(t.Types) != len(t.Columns) {
		return t, nil, "catalogs that are not known"
	}
	if Yes(row[2]) {
		return t, nil, "a default whose values depend on the order of the rows"
	}
	t.Encoding = string(row[0])
	return t, row[factCount:], ""
}

// Yes reads a boolean.
func Yes(value []byte) bool { return string(value) == "t" }
