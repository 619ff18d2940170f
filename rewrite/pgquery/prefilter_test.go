package pgquery_test

import (
	"testing"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// FuzzPrefilter: what the grammar takes for a COPY or INSERT at the start of a
// text, the prefilter takes for one too, and no prefix of the text makes it
// decide otherwise. It stands here for the sake of pg_query.
func FuzzPrefilter(f *testing.F) {
	for _, sql := range []string{
		"COPY t FROM STDIN", "COPY(SELECT 1)TO STDOUT", "copy/**/t to stdout", "/* /* */ */ --\r\nCOPY t TO STDOUT; SELECT 1",
		"INSERT INTO t VALUES (1)", ";; insert into t select 1", "WITH x AS (SELECT 1) INSERT INTO t TABLE x",
		"SELECT 1", "(SELECT 1)", "\f\vCOPY t FROM STDIN", "-- COPY", "/", "-",
	} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if len(sql) > 500 {
			return
		}
		whole := rewrite.Prefilter([]byte(sql))
		for n := range len(sql) {
			if kind, decided := rewrite.PrefilterHead([]byte(sql[:n]), false); decided && kind != whole {
				t.Errorf("%q: %q at %d, %q in the end", sql, kind, n, whole)
			}
		}
		tree, err := pg_query.Parse(sql)
		if err != nil || len(tree.Stmts) == 0 {
			return
		}
		switch tree.Stmts[0].GetStmt().GetNode().(type) {
		case *pg_query.Node_CopyStmt:
			if whole != rewrite.KindCopy {
				t.Errorf("%q is a COPY, prefilter says %q", sql, whole)
			}
		case *pg_query.Node_InsertStmt:
			if whole != rewrite.KindInsert {
				t.Errorf("%q is an INSERT, prefilter says %q", sql, whole)
			}
		}
	})
}
