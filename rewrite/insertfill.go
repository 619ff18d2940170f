package rewrite

import "github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"

// InsertSource is how SQLAlchemy inserts rows whose order counts:
//
//	INSERT INTO t (a, b) SELECT p0::VARCHAR, p1::INTEGER
//	FROM (VALUES ('x', '1', 0), …) AS imp_sen(p0, p1, sen_counter)
//	ORDER BY sen_counter
//
// The cells are first typed as VALUES outside an INSERT are, so untyped strings
// are text, and then cast. The last cell of row n is n: the rows stand in order.
type InsertSource struct {
	Columns []SourceColumn
}

// SourceColumn is what goes into one column.
type SourceColumn struct {
	// Cell is an index of the cells of a row.
	Cell int
	// Cast is the type as written, or empty.
	Cast string
}

// fill takes over what the parser saw, or says what of it is not understood.
func (s *InsertStatement) fill(raw *pgquery.RawInsert, wrapped, params bool) Reason {
	switch {
	case wrapped != (raw.Source != nil):
		return ReasonInsertSelect
	case raw.LongName:
		return ReasonLongName
	case raw.Params && !params:
		return ReasonTailParameters
	case raw.Catalog != "":
		return ReasonQualifiedDatabase
	case raw.Indirection:
		return ReasonIndirection
	case raw.Table == "":
		return ReasonParseError
	}
	s.Schema, s.Table, s.Alias, s.Columns = raw.Schema, raw.Table, raw.Alias, raw.Columns
	s.Overriding = raw.Overriding
	s.OnConflict, s.Conflict, s.Returning = raw.OnConflict, Conflict(raw.Conflict), raw.Returning
	for _, item := range raw.Items {
		s.Items = append(s.Items, ReturningItem(item))
	}
	width := s.Width
	if raw.Source != nil {
		if raw.Source.Order != s.Width-1 || s.HasDefault {
			return ReasonInsertSelect
		}
		s.Source = &InsertSource{}
		for _, item := range raw.Source.Items {
			s.Source.Columns = append(s.Source.Columns, SourceColumn(item))
		}
		width = len(s.Source.Columns)
	}
	if s.Columns != nil && len(s.Columns) != width {
		return ReasonRowLength
	}
	return ReasonNone
}
