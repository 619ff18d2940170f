package rewrite

import "github.com/pgbulkproxy/pgbulkproxy/rewrite/values"

// Targets returns how many columns the statement fills: the first ones of what
// the inspection found.
func (s *InsertStatement) Targets() int {
	if s.Source != nil {
		return len(s.Source.Columns)
	}
	return s.Width
}

// SourceRows turns the rows of an InsertSource into rows of the table's columns.
//
// The cells of one column of a VALUES that is no INSERT's are all of one type:
// that of its numbers, or text. Then comes the cast. Where that is to the
// column's own type (Probe is for the Encoder to say so), the value is what the
// cell alone would be, unless strings and other constants are mixed: a string
// beside numbers must be a number.
type SourceRows struct {
	src     *InsertSource
	classes []cellClass
	out     []values.Cell
}

type cellClass byte

const (
	classNull cellClass = iota
	classString
	classNumber
	classBool
	classTyped
)

// SourceRows returns nil where the statement has no source.
func (s *InsertStatement) SourceRows() *SourceRows {
	if s.Source == nil {
		return nil
	}
	n := len(s.Source.Columns)
	return &SourceRows{src: s.Source, classes: make([]cellClass, n), out: make([]values.Cell, n)}
}

// Probe is a row of NULLs with the casts of the source.
func (r *SourceRows) Probe() []values.Cell {
	for i, c := range r.src.Columns {
		r.out[i] = values.Cell{Kind: values.Null}
		if c.Cast != "" {
			r.out[i].Cast = []byte(c.Cast)
		}
	}
	return r.out
}

// Row returns the cells for the table's columns, valid until the next call.
func (r *SourceRows) Row(cells []values.Cell) ([]values.Cell, error) {
	for i, c := range r.src.Columns {
		cell := cells[c.Cell]
		class := classOf(&cell)
		if class == classNull && cell.Kind == values.Param {
			return nil, values.PassParameter // it is text, whatever the column is
		}
		if have := r.classes[i]; class != classNull && have != class {
			if have != classNull {
				return nil, values.PassCast
			}
			r.classes[i] = class
		}
		r.out[i] = cell
	}
	return r.out, nil
}

func classOf(c *values.Cell) cellClass {
	switch {
	case c.Cast != nil:
		return classTyped
	case c.Kind == values.String:
		return classString
	case c.Kind == values.Integer, c.Kind == values.Decimal:
		return classNumber
	case c.Kind == values.True, c.Kind == values.False:
		return classBool
	}
	return classNull
}
