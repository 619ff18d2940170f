package rewrite

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// maxColumns is PostgreSQL's MaxTupleAttributeNumber: no row is wider.
const maxColumns = 1664

// InsertStatement is one INSERT of rows of constants, everything consumed.
type InsertStatement struct {
	// SQL is the client's text, as sent; the statement points into it.
	SQL []byte
	// Schema is empty where the client gave none, Alias likewise.
	Schema, Table, Alias string
	// Columns is nil where the client gave no list.
	Columns []string
	// Overriding is SYSTEM, USER, or empty.
	Overriding string
	// OnConflict and Returning are the client's own texts from their keywords
	// on, without what follows; empty where absent.
	OnConflict, Returning string
	// Conflict is the action of OnConflict.
	Conflict Conflict
	// Items are what Returning asks for.
	Items []ReturningItem

	// ListStart is where the rows begin, behind the word VALUES; ListEnd is
	// behind the last row. Rows is their number, Width that of the cells of each.
	ListStart, ListEnd, Rows, Width int
	// FirstRow stays valid as long as SQL does.
	FirstRow []values.Cell
	// MaxParam is the greatest n of the $n in the rows, or 0.
	MaxParam int
	// HasDefault says that a cell is the word DEFAULT.
	HasDefault bool
	// Source says how cells go into columns where they do not go as they are.
	Source *InsertSource
}

// Conflict is the action of an ON CONFLICT clause.
type Conflict string

// The actions.
const (
	ConflictError   Conflict = ""
	ConflictNothing Conflict = "NOTHING"
	ConflictUpdate  Conflict = "UPDATE"
)

// ReturningItem is one item of a RETURNING list: a column, a star, or, where
// both are absent, an expression. Label is the name behind AS.
type ReturningItem struct {
	Table, Column, Label string
	Star                 bool
}

// InsertOptions say what the session makes of a text.
type InsertOptions struct {
	// MaxBytes bounds what stands before and behind the rows.
	MaxBytes int
	Values   values.Options
	// TailParams: parameters may stand behind the rows.
	TailParams bool
}

// Lexer returns a lexer over the rows of the statement.
func (s *InsertStatement) Lexer(opts values.Options) *values.Lexer {
	return values.New(s.SQL, s.ListStart, opts)
}

// ParseInsert reads one INSERT … VALUES, or the like in SQLAlchemy's form; or it
// says why the text is to be relayed. It reads all rows, so that whoever reads
// them again meets nothing that is refused, and keeps none but the first.
func ParseInsert(sql []byte, opts InsertOptions) (*InsertStatement, Reason) {
	head, reason := scanInsertHead(sql)
	if reason != ReasonNone {
		return nil, reason
	}
	s := &InsertStatement{SQL: sql, ListStart: head.list}
	if head.list > opts.MaxBytes {
		return nil, ReasonTooLong
	}
	if bytes.IndexByte(sql, 0) >= 0 {
		return nil, ReasonParseError
	}
	if reason := s.readRows(opts.Values, head.wrapped); reason != ReasonNone {
		return nil, reason
	}
	if reason := s.tailReason(opts); reason != ReasonNone {
		return nil, reason
	}
	raw, err := s.parseSkeleton()
	if err != nil {
		return nil, skeletonReason(err)
	}
	if reason := s.fill(raw, head.wrapped, opts.TailParams); reason != ReasonNone {
		return nil, reason
	}
	return s, ReasonNone
}

// readRows runs over the list. In SQLAlchemy's form the last cell counts the
// rows, and must do so without a gap: else ORDER BY would order them.
func (s *InsertStatement) readRows(opts values.Options, counted bool) Reason {
	first, err := s.Lexer(opts).Row(nil)
	if err != nil {
		return cellReason(err)
	}
	if s.Width = len(first); s.Width > maxColumns {
		return ReasonTooLong
	}
	s.FirstRow = first
	l := s.Lexer(opts)
	cells := make([]values.Cell, 0, s.Width)
	for {
		if cells, err = l.Row(cells); err != nil {
			break
		}
		if counted && !isCount(cells[s.Width-1], s.Rows) {
			return ReasonInsertSelect
		}
		s.Rows++
	}
	if !errors.Is(err, io.EOF) {
		return cellReason(err)
	}
	s.ListEnd, s.MaxParam, s.HasDefault = l.Offset(), l.MaxParam(), l.HasDefault()
	return ReasonNone
}

// isCount says whether a cell is the number n.
func isCount(c values.Cell, n int) bool {
	if c.Kind != values.Integer || c.Cast != nil {
		return false
	}
	got := 0
	for _, b := range c.Text {
		if b == '-' || got > n {
			return false
		}
		got = got*10 + int(b-'0')
	}
	return got == n
}

// cellReason names what the lexer refuses.
func cellReason(err error) Reason {
	switch {
	case errors.Is(err, values.ErrExpression):
		return ReasonExpression
	case errors.Is(err, values.ErrRagged):
		return ReasonRowLength
	case errors.Is(err, values.ErrStringForm):
		return ReasonStringForm
	case errors.Is(err, values.ErrStringSyntax):
		return ReasonStringSyntax
	case errors.Is(err, values.ErrEscape):
		return ReasonEscape
	case errors.Is(err, values.ErrNumberForm):
		return ReasonNumberForm
	}
	return ReasonParseError
}

// tailReason judges head and tail by what is cheap to see.
func (s *InsertStatement) tailReason(opts InsertOptions) Reason {
	head, tail := s.SQL[:s.ListStart], s.SQL[s.ListEnd:]
	at, _ := skipSpace(tail, 0)
	if at < len(tail) && tail[at] == ';' {
		// A run of INSERTs in one text is common, and may be long.
		if next, ok := skipBlank(tail[at:]); ok && at+next < len(tail) {
			return ReasonMultiStatement
		}
	}
	if len(head)+len(tail) > opts.MaxBytes {
		return ReasonTooLong
	}
	if !opts.Values.StandardStrings && (hasStringSyntax(head) || hasStringSyntax(tail)) {
		return ReasonStringSyntax
	}
	return ReasonNone
}

// hasStringSyntax says whether a text has what a session that does not conform
// to the standard may read otherwise than the parser.
func hasStringSyntax(p []byte) bool {
	return bytes.IndexByte(p, '\\') >= 0 || bytes.Contains(p, []byte("U&")) || bytes.Contains(p, []byte("u&"))
}

// parseSkeleton gives the statement to the parser with one row of NULLs for
// all rows: cells were read already, and may be large.
func (s *InsertStatement) parseSkeleton() (*pgquery.RawInsert, error) {
	var b strings.Builder
	b.Write(s.SQL[:s.ListStart])
	b.WriteString(" (NULL")
	b.WriteString(strings.Repeat(",NULL", s.Width-1))
	b.WriteString(") ")
	tail := b.Len()
	b.Write(s.SQL[s.ListEnd:])
	return pgquery.ParseInsert(b.String(), tail)
}

// skeletonReason names why the parser's side did not take the skeleton.
func skeletonReason(err error) Reason {
	switch {
	case errors.Is(err, pgquery.ErrTailTooLong):
		return ReasonTailTooLong
	case errors.Is(err, pgquery.ErrMulti):
		return ReasonMultiStatement
	case errors.Is(err, pgquery.ErrShape):
		return ReasonInsertSelect
	}
	return ReasonParseError
}
