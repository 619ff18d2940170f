package pgquery

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// maxAnyTokens bounds a text of which every token is parsed; see MaxWhereTokens.
const maxAnyTokens = 20_000

// AnyInsert is one INSERT of any form, as far as one needs it to put another
// table in the place of its own.
type AnyInsert struct {
	RawInsert
	// The name begins at NameStart; TargetEnd is behind it and its alias, TailStart
	// where ON CONFLICT or RETURNING begins, or behind the statement.
	NameStart, TargetEnd, TailStart int
	// With: it begins with WITH.
	With bool
}

// StandsAlone says whether the clauses mean the same behind another INSERT without
// parameters: they have none, and can't name what WITH names.
func (raw *AnyInsert) StandsAlone() bool {
	for _, clause := range []string{raw.OnConflict, raw.Returning} {
		if clause == "" {
			continue
		}
		res, err := pg_query.Scan(clause)
		if err != nil {
			return false
		}
		for _, t := range res.Tokens {
			query := t.Token == pg_query.Token_SELECT || t.Token == pg_query.Token_TABLE
			if t.Token == pg_query.Token_PARAM || raw.With && query {
				return false
			}
		}
	}
	return true
}

// AnyStatement is one statement of a text that has INSERTs in it.
type AnyStatement struct {
	// Insert is nil where the statement is another one.
	Insert *AnyInsert
	// Inner are the tables of INSERTs inside of it: in WITH, or behind EXPLAIN
	// ANALYZE, PREPARE or COPY.
	Inner []Target
	// Plain: it is SELECT, INSERT, UPDATE, DELETE or MERGE, or EXPLAIN of one, which
	// run in a transaction block as they do outside.
	Plain bool
	// Prepares: its INSERTs may run at any later time.
	Prepares bool
	// Name is what it prepares, Executes the prepared statement that it runs.
	Name, Executes string
	// Copies: it is a COPY.
	Copies bool
	// Transaction is what it does to the transaction block.
	Transaction Transaction
	// It stands from Start to End, its semicolon not with it.
	Start, End int
}

// Transaction is what a statement does to the transaction block that it runs in.
type Transaction byte

const (
	// TransactionNone: nothing.
	TransactionNone Transaction = iota
	// TransactionBegin begins one.
	TransactionBegin
	// TransactionEnd ends it.
	TransactionEnd
	// TransactionChain ends it and begins the next.
	TransactionChain
	// TransactionSavepoint needs one, and leaves it.
	TransactionSavepoint
)

func transactionOf(n *pg_query.TransactionStmt) Transaction {
	switch n.Kind {
	case pg_query.TransactionStmtKind_TRANS_STMT_BEGIN, pg_query.TransactionStmtKind_TRANS_STMT_START:
		return TransactionBegin
	case pg_query.TransactionStmtKind_TRANS_STMT_COMMIT, pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK,
		pg_query.TransactionStmtKind_TRANS_STMT_PREPARE:
		if n.Chain {
			return TransactionChain
		}
		return TransactionEnd
	case pg_query.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED, pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED:
		return TransactionNone // it can't run in a block
	}
	return TransactionSavepoint
}

// Target is the name of a table.
type Target struct{ Catalog, Schema, Table string }

// ParseAny reads the statements of a text.
func ParseAny(sql string) ([]AnyStatement, error) {
	if strings.IndexByte(sql, 0) >= 0 || !utf8.ValidString(sql) {
		return nil, errors.New("parse statements: text is not UTF-8")
	}
	res, err := pg_query.Scan(sql)
	if err != nil {
		return nil, fmt.Errorf("scan statements: %w", err)
	}
	if len(res.Tokens) > maxAnyTokens {
		return nil, ErrTailTooLong
	}
	tree, err := pg_query.Parse(sql)
	if err != nil {
		return nil, fmt.Errorf("parse statements: %w", err)
	}
	var out []AnyStatement
	for _, stmt := range tree.Stmts {
		s := anyStatement(stmt.GetStmt())
		s.Start, s.End = int(stmt.StmtLocation), int(stmt.StmtLocation+stmt.StmtLen)
		if stmt.StmtLen == 0 {
			s.End = len(sql)
		}
		if ins := stmt.GetStmt().GetInsertStmt(); ins != nil && len(tree.Stmts) == 1 {
			if err := s.Insert.place(sql, res.Tokens, ins); err != nil {
				return nil, err
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func anyStatement(node *pg_query.Node) AnyStatement {
	var s AnyStatement
	var with *pg_query.WithClause
	switch n := node.GetNode().(type) {
	case *pg_query.Node_InsertStmt:
		s.Plain, with = true, n.InsertStmt.WithClause
		s.Insert = &AnyInsert{}
		s.Insert.fromAny(n.InsertStmt)
	case *pg_query.Node_SelectStmt:
		s.Plain, with = n.SelectStmt.IntoClause == nil, n.SelectStmt.WithClause
	case *pg_query.Node_UpdateStmt:
		s.Plain, with = true, n.UpdateStmt.WithClause
	case *pg_query.Node_DeleteStmt:
		s.Plain, with = true, n.DeleteStmt.WithClause
	case *pg_query.Node_MergeStmt:
		s.Plain, with = true, n.MergeStmt.WithClause
		s.Inner = append(s.Inner, targetOf(n.MergeStmt.Relation))
	case *pg_query.Node_ExplainStmt:
		s.Plain = anyStatement(n.ExplainStmt.Query).Plain
		if analyzes(n.ExplainStmt) {
			s.inside(n.ExplainStmt.Query)
		}
	case *pg_query.Node_PrepareStmt:
		s.Prepares, s.Name = true, n.PrepareStmt.Name
		s.inside(n.PrepareStmt.Query)
	case *pg_query.Node_ExecuteStmt:
		s.Plain, s.Executes = true, n.ExecuteStmt.Name
	case *pg_query.Node_TransactionStmt:
		s.Transaction = transactionOf(n.TransactionStmt)
	case *pg_query.Node_CopyStmt:
		s.Copies = true
		s.inside(n.CopyStmt.Query)
	}
	for _, cte := range with.GetCtes() {
		if ins := cte.GetCommonTableExpr().GetCtequery().GetInsertStmt(); ins != nil {
			s.Inner = append(s.Inner, targetOf(ins.Relation))
		}
	}
	return s
}

// inside notes the tables of a statement that is part of another.
func (s *AnyStatement) inside(node *pg_query.Node) {
	inner := anyStatement(node)
	s.Inner, s.Executes = append(s.Inner, inner.Inner...), inner.Executes
	if inner.Insert != nil {
		s.Inner = append(s.Inner, Target{inner.Insert.Catalog, inner.Insert.Schema, inner.Insert.Table})
	}
}

func targetOf(rel *pg_query.RangeVar) Target {
	return Target{rel.GetCatalogname(), rel.GetSchemaname(), rel.GetRelname()}
}

func (raw *AnyInsert) fromAny(stmt *pg_query.InsertStmt) {
	rel := stmt.GetRelation()
	raw.Catalog, raw.Schema, raw.Table = rel.GetCatalogname(), rel.GetSchemaname(), rel.GetRelname()
	raw.Alias = rel.GetAlias().GetAliasname()
	for _, node := range stmt.Cols {
		raw.Indirection = raw.Indirection || len(node.GetResTarget().GetIndirection()) > 0
		raw.Columns = append(raw.Columns, node.GetResTarget().GetName())
	}
	if stmt.Override == pg_query.OverridingKind_OVERRIDING_USER_VALUE {
		raw.Overriding = "USER"
	}
	raw.NameStart, raw.With = int(rel.GetLocation()), stmt.WithClause != nil
}

// place finds the places and the texts of the clauses.
func (raw *AnyInsert) place(sql string, all []*pg_query.ScanToken, stmt *pg_query.InsertStmt) error {
	toks := make([]*pg_query.ScanToken, 0, len(all))
	for _, t := range all {
		if t.Token != pg_query.Token_SQL_COMMENT && t.Token != pg_query.Token_C_COMMENT {
			raw.LongName = raw.LongName || tooLong(sql, t)
			toks = append(toks, t)
		}
	}
	toks = trimSemicolons(toks)
	at := 0
	for at < len(toks) && int(toks[at].Start) < raw.NameStart {
		at++
	}
	for at+2 < len(toks) && toks[at+1].Token == pg_query.Token_ASCII_46 {
		at += 2
	}
	if raw.Alias != "" {
		at += 2
	}
	if at >= len(toks) {
		return ErrShape
	}
	raw.TargetEnd = int(toks[at].End)
	end := int(toks[len(toks)-1].End)
	returning := len(toks)
	if len(stmt.ReturningList) > 0 {
		for returning = findKeyword(toks, at, pg_query.Token_RETURNING); returning > 0 && returning < len(toks) && toks[returning-1].Token == pg_query.Token_AS; {
			returning = findKeyword(toks, returning+1, pg_query.Token_RETURNING)
		}
		if returning == len(toks) {
			return ErrShape
		}
		raw.Returning = sql[toks[returning].Start:end]
		raw.TailStart = int(toks[returning].Start)
	} else {
		raw.TailStart = end
	}
	on := stmt.OnConflictClause
	if on == nil {
		return nil
	}
	// That is the place of ON in the text.
	start := int(on.Location)
	if start < raw.TargetEnd || start >= raw.TailStart || !strings.EqualFold(sql[start:start+2], "on") {
		return ErrShape
	}
	raw.OnConflict = sql[start:toks[returning-1].End]
	raw.TailStart = start
	raw.Conflict = "NOTHING"
	if on.Action == pg_query.OnConflictAction_ONCONFLICT_UPDATE {
		raw.Conflict = "UPDATE"
	}
	return nil
}
