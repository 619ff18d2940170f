package rewrite

import "bytes"

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

// HasHead says whether a text begins as the statement did, up to its rows.
func (f *InsertShape) HasHead(sql []byte) bool {
	return f != nil && len(f.head) > 0 && bytes.HasPrefix(sql, f.head)
}
