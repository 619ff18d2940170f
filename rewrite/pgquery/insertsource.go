package pgquery

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// RawSource is SELECT item, … FROM (VALUES …) AS name(cells …) ORDER BY cell, as
// SQLAlchemy writes it.
type RawSource struct {
	// Cells are the names of the cells of a row.
	Cells []string
	// Items are what goes into the columns: a cell, with a cast or without.
	Items []SourceItem
	// Order is the index of the cell that the rows are sorted by, ascending.
	Order int
}

// SourceItem is one item of a RawSource.
type SourceItem struct {
	// Cell is an index of Cells.
	Cell int
	// Cast is the type as written behind ::, or empty.
	Cast string
}

// sourceOf consumes every node of the SELECT or says ErrShape.
func sourceOf(sel *pg_query.SelectStmt) (*RawSource, error) {
	if sel == nil || !isBare(sel) || len(sel.ValuesLists) > 0 || len(sel.FromClause) != 1 || len(sel.SortClause) != 1 {
		return nil, ErrShape
	}
	from, sort := sel.FromClause[0].GetRangeSubselect(), sel.SortClause[0].GetSortBy()
	if from == nil || from.Lateral || from.Alias == nil || !isValues(from.Subquery.GetSelectStmt()) {
		return nil, ErrShape
	}
	if sort == nil || sort.SortbyDir != pg_query.SortByDir_SORTBY_DEFAULT ||
		sort.SortbyNulls != pg_query.SortByNulls_SORTBY_NULLS_DEFAULT || len(sort.UseOp) > 0 {
		return nil, ErrShape
	}
	cells, err := stringsOf(from.Alias.Colnames)
	if err != nil || len(cells) != len(from.Subquery.GetSelectStmt().ValuesLists[0].GetList().GetItems()) {
		return nil, ErrShape
	}
	s := &RawSource{Cells: cells}
	if s.Order = s.cell(sort.Node); s.Order < 0 {
		return nil, ErrShape
	}
	for _, node := range sel.TargetList {
		target := node.GetResTarget()
		if target == nil || target.Name != "" || len(target.Indirection) > 0 {
			return nil, ErrShape
		}
		val := target.Val
		if cast := val.GetTypeCast(); cast != nil {
			val = cast.Arg
		}
		item := SourceItem{Cell: s.cell(val)}
		if item.Cell < 0 {
			return nil, ErrShape
		}
		s.Items = append(s.Items, item)
	}
	return s, nil
}

// cell returns the index of the cell that a node names without ambiguity, or -1.
func (s *RawSource) cell(n *pg_query.Node) int {
	ref := n.GetColumnRef()
	if ref == nil || len(ref.Fields) != 1 {
		return -1
	}
	name := ref.Fields[0].GetString_().GetSval()
	at := slices.Index(s.Cells, name)
	if at >= 0 && slices.Contains(s.Cells[at+1:], name) {
		return -1
	}
	return at
}

// readCasts takes the text of each item's type from the tokens between SELECT
// and FROM: a name, alone or with :: and the type behind it.
func (s *RawSource) readCasts(sql string, toks []*pg_query.ScanToken) error {
	at := find(toks, 0, pg_query.Token_SELECT) + 1
	from := find(toks, 0, pg_query.Token_FROM)
	for i := range s.Items {
		end := from
		if i < len(s.Items)-1 {
			end = find(toks, at, pg_query.Token_ASCII_44)
		}
		switch {
		case at == 0 || end > from || end <= at:
			return ErrShape
		case end == at+1:
		case end > at+2 && toks[at+1].Token == pg_query.Token_TYPECAST:
			s.Items[i].Cast = sql[toks[at+2].Start:toks[end-1].End]
		default:
			return ErrShape
		}
		at = end + 1
	}
	return nil
}
