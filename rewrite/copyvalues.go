package rewrite

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// CopyValues are the values of the routing column among the rows of a COPY.
type CopyValues struct {
	// At is the column's place in the data, from 0 on.
	At   int
	Keys RoutedKeys

	read    *values.Parameter // of binary data
	utf8    bool
	scratch []byte
}

// CopyValues returns what takes the values of the routing column; nil where they
// do not tell what the server makes of them: of a COPY whose options say more than
// where a value is, for example.
func (r *Routing) CopyValues(c *CopyStatement, in *Inspection) *CopyValues {
	v := &CopyValues{
		At: slices.Index(in.Columns, r.Column), Keys: RoutedKeys{Type: r.Type + "[]"},
		utf8: in.ClientEncoding == "UTF8" && in.ServerEncoding == "UTF8",
	}
	forced := c.ForceNullAll || c.ForceNotNullAll || slices.Contains(c.ForceNull, r.Column) || slices.Contains(c.ForceNotNull, r.Column)
	if v.At < 0 || forced || c.DefaultSet || c.Encoding != "" {
		return nil
	}
	if c.Format == FormatBinary {
		read, err := values.NewParam(&r.base, nil, r.base.Base, true)
		if err != nil || r.base.Base == 0 {
			return nil
		}
		v.read = &read
	}
	return v
}

// Add takes a value as Column.Values of package bulk/rows finds it, and returns its
// number among Keys, 0 for NULL, which is the main table's. It answers false where only
// the server can tell what it is.
func (v *CopyValues) Add(value []byte) (number int32, ok bool) {
	if value == nil {
		return 0, true
	}
	if v.read != nil {
		cell, grown, err := v.read.Cell(value, v.scratch[:0])
		if err != nil {
			return 0, false
		}
		value, v.scratch = cell.Text, grown
	}
	if bytes.IndexByte(value, 0) >= 0 || !isASCII(string(value)) && (!v.utf8 || !utf8.Valid(value)) {
		return 0, false
	}
	return v.Keys.Add(pgident.AppendElement(nil, value)), true
}
