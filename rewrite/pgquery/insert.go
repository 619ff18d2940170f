package pgquery

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// MaxTailTokens bounds what stands behind the rows of an INSERT that is parsed:
// ON CONFLICT and RETURNING, whose expressions can nest. An upsert that sets 300
// columns has 1800.
const MaxTailTokens = 2000

var (
	// ErrTailTooLong is ParseInsert's answer to a tail over MaxTailTokens.
	ErrTailTooLong = errors.New("tail of insert has too many tokens")
	// ErrMulti is its answer to a text of several statements.
	ErrMulti = errors.New("several statements")
	// ErrShape is its answer to an INSERT that is legal, and not of the form
	// INSERT INTO … VALUES or SELECT … FROM (VALUES …) AS … ORDER BY.
	ErrShape = errors.New("insert of another form")
)

// RawInsert is one INSERT … VALUES as the grammar sees it.
type RawInsert struct {
	Catalog, Schema, Table, Alias string
	Columns                       []string
	// Indirection says that a column has a field or subscript behind it.
	Indirection bool
	// Overriding is SYSTEM, USER or empty.
	Overriding string
	// OnConflict is the client's own text with its keywords, or empty. Conflict
	// is its action, NOTHING or UPDATE.
	OnConflict, Conflict string
	// Returning is likewise the text, and Items what it asks for.
	Returning string
	Items     []RawItem
	// Source is nil where the rows go into the table as they are.
	Source *RawSource
	// LongName and Params are as in RawCopy.
	LongName, Params bool
}

// RawItem is one item of a RETURNING list: a column, a star, or, with neither
// Column nor Star, an expression.
type RawItem struct {
	Table, Column, Label string
	Star                 bool
}

// ParseInsert reads the skeleton of an INSERT: its rows are replaced by one of
// NULLs, which ends at tail. An error other than the ones above means that the
// grammar does not accept the text.
func ParseInsert(skeleton string, tail int) (*RawInsert, error) {
	if strings.IndexByte(skeleton, 0) >= 0 || !utf8.ValidString(skeleton) {
		return nil, errors.New("parse insert: text is not UTF-8")
	}
	res, err := pg_query.Scan(skeleton)
	if err != nil {
		return nil, fmt.Errorf("scan insert: %w", err)
	}
	raw := &RawInsert{}
	toks, err := raw.scan(skeleton, res.Tokens, tail)
	if err != nil {
		return nil, err
	}
	tree, err := pg_query.Parse(skeleton)
	if err != nil {
		return nil, fmt.Errorf("parse insert: %w", err)
	}
	if len(tree.Stmts) != 1 {
		return nil, ErrMulti
	}
	if err := raw.fromStmt(tree.Stmts[0].GetStmt().GetInsertStmt()); err != nil {
		return nil, err
	}
	if raw.Source != nil {
		return raw, raw.Source.readCasts(skeleton, toks)
	}
	return raw, nil
}

// scan judges the tokens: it bounds the tail and finds the texts in it.
func (raw *RawInsert) scan(sql string, all []*pg_query.ScanToken, tail int) ([]*pg_query.ScanToken, error) {
	toks := make([]*pg_query.ScanToken, 0, len(all))
	behind := 0
	for _, t := range all {
		switch t.Token {
		case pg_query.Token_SQL_COMMENT, pg_query.Token_C_COMMENT:
			continue
		case pg_query.Token_PARAM:
			raw.Params = true
		}
		raw.LongName = raw.LongName || tooLong(sql, t)
		if int(t.Start) >= tail {
			behind++
		}
		toks = append(toks, t)
	}
	if behind > MaxTailTokens {
		return nil, ErrTailTooLong
	}
	toks = trimSemicolons(toks)
	from := 0
	for i, t := range toks {
		switch {
		case t.Token == pg_query.Token_ASCII_59:
			return nil, ErrMulti
		case int(t.Start) < tail:
			from = i + 1
		}
	}
	if from < len(toks) && toks[from].Token == pg_query.Token_ASCII_41 {
		from++ // FROM (VALUES …)
	}
	// ON and RETURNING are reserved words: outside brackets they only name
	// something behind a dot.
	conflict := findKeyword(toks, from, pg_query.Token_ON)
	returning := findKeyword(toks, from, pg_query.Token_RETURNING)
	if returning < len(toks) {
		raw.Returning = sql[toks[returning].Start:toks[len(toks)-1].End]
	}
	if conflict < returning {
		raw.OnConflict = sql[toks[conflict].Start:toks[returning-1].End]
	}
	return toks, nil
}

// findKeyword returns the index of a word outside brackets, or len(toks).
func findKeyword(toks []*pg_query.ScanToken, from int, word pg_query.Token) int {
	for {
		at := find(toks, from, word)
		if at < 0 {
			return len(toks)
		}
		if at == 0 || toks[at-1].Token != pg_query.Token_ASCII_46 {
			return at
		}
		from = at + 1
	}
}

func (raw *RawInsert) fromStmt(stmt *pg_query.InsertStmt) error {
	rel := stmt.GetRelation()
	if stmt == nil || stmt.WithClause != nil || rel == nil || !rel.Inh || rel.Relpersistence != "p" {
		return ErrShape
	}
	raw.Catalog, raw.Schema, raw.Table = rel.Catalogname, rel.Schemaname, rel.Relname
	if rel.Alias != nil {
		raw.Alias = rel.Alias.Aliasname
		if len(rel.Alias.Colnames) > 0 {
			return ErrShape
		}
	}
	for _, node := range stmt.Cols {
		target := node.GetResTarget()
		if target == nil || target.Name == "" || target.Val != nil {
			return ErrShape
		}
		raw.Indirection = raw.Indirection || len(target.Indirection) > 0
		raw.Columns = append(raw.Columns, target.Name)
	}
	switch stmt.Override {
	case pg_query.OverridingKind_OVERRIDING_NOT_SET:
	case pg_query.OverridingKind_OVERRIDING_USER_VALUE:
		raw.Overriding = "USER"
	case pg_query.OverridingKind_OVERRIDING_SYSTEM_VALUE:
		raw.Overriding = "SYSTEM"
	default:
		return ErrShape
	}
	if err := raw.readTail(stmt); err != nil {
		return err
	}
	sel := stmt.SelectStmt.GetSelectStmt()
	if isValues(sel) {
		return nil
	}
	var err error
	raw.Source, err = sourceOf(sel)
	return err
}

// readTail compares the texts of ON CONFLICT and RETURNING with the tree.
func (raw *RawInsert) readTail(stmt *pg_query.InsertStmt) error {
	if on := stmt.OnConflictClause; on != nil {
		switch on.Action {
		case pg_query.OnConflictAction_ONCONFLICT_NOTHING:
			raw.Conflict = "NOTHING"
		case pg_query.OnConflictAction_ONCONFLICT_UPDATE:
			raw.Conflict = "UPDATE"
		default:
			return ErrShape
		}
	}
	if (raw.Conflict == "") != (raw.OnConflict == "") || (len(stmt.ReturningList) == 0) != (raw.Returning == "") {
		return ErrShape
	}
	for _, node := range stmt.ReturningList {
		target := node.GetResTarget()
		if target == nil || target.Val == nil || len(target.Indirection) > 0 {
			return ErrShape
		}
		raw.Items = append(raw.Items, itemOf(target))
	}
	return nil
}

func itemOf(target *pg_query.ResTarget) RawItem {
	item := RawItem{Label: target.Name}
	ref := target.Val.GetColumnRef()
	if ref == nil || len(ref.Fields) > 2 {
		return item
	}
	last := ref.Fields[len(ref.Fields)-1]
	if len(ref.Fields) == 2 {
		item.Table = ref.Fields[0].GetString_().GetSval()
	}
	item.Star = last.GetAStar() != nil
	item.Column = last.GetString_().GetSval()
	return item
}

// isValues says whether sel is VALUES of one row of constants and nothing else.
func isValues(sel *pg_query.SelectStmt) bool {
	if sel == nil || len(sel.ValuesLists) != 1 || len(sel.TargetList) > 0 || len(sel.FromClause) > 0 || len(sel.SortClause) > 0 {
		return false
	}
	for _, node := range sel.ValuesLists[0].GetList().GetItems() {
		if !node.GetAConst().GetIsnull() {
			return false
		}
	}
	return isBare(sel)
}

// isBare says that sel has none of the clauses that neither form has.
func isBare(sel *pg_query.SelectStmt) bool {
	return len(sel.DistinctClause) == 0 && sel.IntoClause == nil && sel.WhereClause == nil && len(sel.GroupClause) == 0 &&
		!sel.GroupDistinct && sel.HavingClause == nil && len(sel.WindowClause) == 0 && sel.LimitOffset == nil &&
		sel.LimitCount == nil && sel.LimitOption == pg_query.LimitOption_LIMIT_OPTION_DEFAULT &&
		len(sel.LockingClause) == 0 && sel.WithClause == nil && sel.Op == pg_query.SetOperation_SETOP_NONE &&
		!sel.All && sel.Larg == nil && sel.Rarg == nil
}
