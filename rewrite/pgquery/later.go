package pgquery

import (
	"fmt"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// LaterInsert says whether a statement of several, behind the first, inserts: an
// INSERT, or a statement with one in its WITH, or around it. A text that is too long
// to be parsed may.
func LaterInsert(sql string) (bool, error) {
	res, err := pg_query.Scan(sql)
	if err != nil {
		return false, fmt.Errorf("scan statements: %w", err)
	}
	if len(res.Tokens) > maxAnyTokens {
		return true, nil
	}
	tree, err := pg_query.Parse(sql)
	if err != nil {
		return false, fmt.Errorf("parse statements: %w", err)
	}
	for i, raw := range tree.Stmts {
		if i > 0 && inserts(raw.GetStmt()) {
			return true, nil
		}
	}
	return false, nil
}

func inserts(n *pg_query.Node) bool {
	var with *pg_query.WithClause
	switch {
	case n.GetInsertStmt() != nil:
		return true
	case n.GetSelectStmt() != nil:
		with = n.GetSelectStmt().GetWithClause()
	case n.GetUpdateStmt() != nil:
		with = n.GetUpdateStmt().GetWithClause()
	case n.GetDeleteStmt() != nil:
		with = n.GetDeleteStmt().GetWithClause()
	case n.GetMergeStmt() != nil:
		return true
	case n.GetPrepareStmt() != nil:
		return inserts(n.GetPrepareStmt().GetQuery())
	case n.GetExplainStmt() != nil:
		return analyzes(n.GetExplainStmt()) && inserts(n.GetExplainStmt().GetQuery())
	}
	for _, cte := range with.GetCtes() {
		if inserts(cte.GetCommonTableExpr().GetCtequery()) {
			return true
		}
	}
	return false
}

// analyzes says whether an EXPLAIN may run its statement.
func analyzes(n *pg_query.ExplainStmt) bool {
	for _, o := range n.GetOptions() {
		if o.GetDefElem().GetDefname() == "analyze" {
			return true
		}
	}
	return false
}
