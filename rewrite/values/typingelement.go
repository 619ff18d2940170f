package values

import "github.com/pgbulkproxy/pgbulkproxy/internal/pgident"

// AppendElements appends the cells of one row to the columns' arrays, which are
// the insides of '{…}' in E” strings. Like AppendRow it stops with a Pass where
// a cell has no text that surely stores what the INSERT would store; the arrays
// are then of no more use.
func (e *Encoder) AppendElements(arrays [][]byte, cells []Cell) error {
	if len(cells) != len(e.columns) || len(arrays) != len(cells) {
		return PassRowLength
	}
	for i := range cells {
		dst := arrays[i]
		if len(dst) > 0 {
			dst = append(dst, ',')
		}
		dst, err := e.columns[i].element(dst, &cells[i])
		if err != nil {
			return err
		}
		arrays[i] = dst
	}
	return nil
}

func (c *column) element(dst []byte, cell *Cell) ([]byte, error) {
	switch cell.Kind {
	case Null:
		if cell.Cast != nil && !c.casts(cell) {
			return dst, PassCast
		}
		return append(dst, "NULL"...), nil
	case String:
		if cell.Cast != nil && !c.casts(cell) {
			return dst, PassCast
		}
		if err := c.takes(cell.Text); err != nil {
			return dst, err
		}
		return pgident.AppendElement(dst, cell.Text), nil
	}
	// Numbers and words need no escape in either form.
	return c.append(dst, cell)
}
