package rewrite

import (
	"bytes"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// InsertShape remembers a statement for others that differ from it in their rows
// alone: what the parser said holds for them, too. The zero value fits none.
type InsertShape struct {
	head, tail []byte
	stmt       InsertStatement
}

// Shape returns the statement's shape. It keeps nothing of the text but copies.
func (s *InsertStatement) Shape() *InsertShape {
	shape := &InsertShape{
		head: bytes.Clone(s.SQL[:s.ListStart]), tail: bytes.Clone(s.SQL[s.ListEnd:]), stmt: *s,
	}
	shape.stmt.SQL, shape.stmt.FirstRow = nil, nil
	return shape
}

// Parse is ParseInsert for a text of this shape; nil says that it has another.
// The options must be those of the statement that the shape was taken from.
func (f *InsertShape) Parse(sql []byte, opts InsertOptions) *InsertStatement {
	if len(f.head) == 0 || !bytes.HasPrefix(sql, f.head) {
		return nil
	}
	s := f.stmt
	s.SQL, s.Rows, s.MaxParam, s.HasDefault = sql, 0, 0, false
	if bytes.IndexByte(sql, 0) >= 0 || s.readRows(opts.Values, s.Source != nil) != ReasonNone {
		return nil
	}
	if s.Width != f.stmt.Width || !bytes.Equal(sql[s.ListEnd:], f.tail) {
		return nil
	}
	return &s
}

// Begin returns a statement of this shape whose rows were not read yet: the
// caller reads all of them and then asks Ended. nil says that the text does not
// begin like that.
func (f *InsertShape) Begin(sql []byte) *InsertStatement {
	if len(f.head) == 0 || f.stmt.Source != nil || !bytes.HasPrefix(sql, f.head) || bytes.IndexByte(sql, 0) >= 0 {
		return nil
	}
	s := f.stmt
	s.SQL, s.ListEnd, s.Rows, s.MaxParam, s.HasDefault = sql, 0, 0, 0, false
	return &s
}

// Ended says whether a statement that Begin returned has this shape, now that a
// lexer has read its n rows.
func (f *InsertShape) Ended(s *InsertStatement, l *values.Lexer, n int) bool {
	s.ListEnd, s.Rows, s.MaxParam, s.HasDefault = l.Offset(), n, l.MaxParam(), l.HasDefault()
	return s.MaxParam == 0 && !s.HasDefault && bytes.Equal(s.SQL[s.ListEnd:], f.tail)
}

// HasHead says whether a text begins as the statement did, up to its rows.
func (f *InsertShape) HasHead(sql []byte) bool {
	return f != nil && len(f.head) > 0 && bytes.HasPrefix(sql, f.head)
}
