package bulk

import (
	"errors"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// errUntold ends the reading of values that only the server understands.
var errUntold = errors.New("a value that only the server understands")

// RoutedKeys returns the distinct values of the routing column in the complete data
// of a COPY; nil where only the server can tell them.
func RoutedKeys(c *rewrite.CopyStatement, in *rewrite.Inspection, data []byte) *rewrite.RoutedKeys {
	values := in.Routing.CopyValues(c, in)
	if values == nil {
		return nil
	}
	spec := Spec{Statement: c, Inspection: in}
	column := rows.Column{Options: spec.scanOptions(), Delimiter: c.Delimiter, Null: c.Null, At: values.At}
	err := column.Values(data, func(value []byte) error {
		if _, ok := values.Add(value); !ok {
			return errUntold
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return &values.Keys
}
