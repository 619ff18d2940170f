package values

import (
	"encoding/json"
	"fmt"
)

// Column is what the typing of constants has to know of a column. ColumnSQL
// asks for it.
type Column struct {
	// Base is the oid of the column's type, or of what lies below its domains.
	Base uint32
	// Typmod is the column's, or the domain's; -1 where there is none.
	Typmod int32
	// Category is pg_type.typcategory of the base type.
	Category string
	// Name is the column's own type as format_type tells it to this session:
	// with its modifier, and with a schema only where it needs one.
	Name string
	// Visible: the bare name in pg_type of the base type, or of its elements if
	// it is an array, means this type to the session.
	Visible bool
	// UserCast: somebody made a cast from int4, int8 or numeric to a base type
	// that is a string to PostgreSQL.
	UserCast bool
}

// ColumnSQL is an expression over a row a of pg_attribute: a JSON array, which a
// Column reads. It raises no error and depends on no name of the client's.
//
// The walk goes down through domains; only the lowest can have a modifier. 23,
// 20 and 1700 are int4, int8 and numeric; 16384 is the first oid of a user.
const ColumnSQL = `(WITH RECURSIVE base AS (
  SELECT t.oid, a.atttypmod AS typmod, t.typtype, t.typbasetype, t.typtypmod, t.typcategory, t.typelem
  FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.=) a.atttypid
  UNION ALL SELECT t.oid, base.typtypmod, t.typtype, t.typbasetype, t.typtypmod, t.typcategory, t.typelem
  FROM base, pg_catalog.pg_type t
  WHERE base.typtype OPERATOR(pg_catalog.=) 'd' AND t.oid OPERATOR(pg_catalog.=) base.typbasetype)
SELECT pg_catalog.json_build_array(b.oid::pg_catalog.int8, b.typmod, b.typcategory,
  pg_catalog.format_type(a.atttypid, a.atttypmod),
  pg_catalog.pg_type_is_visible(CASE WHEN b.typcategory OPERATOR(pg_catalog.=) 'A' THEN b.typelem ELSE b.oid END),
  CASE WHEN b.typcategory OPERATOR(pg_catalog.=) 'S' THEN (SELECT true FROM pg_catalog.pg_cast k
    WHERE k.castsource OPERATOR(pg_catalog.=) ANY ('{23,20,1700}'::pg_catalog.oid[])
    AND k.casttarget OPERATOR(pg_catalog.=) b.oid AND k.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid LIMIT 1) END)
FROM base b WHERE b.typtype OPERATOR(pg_catalog.<>) 'd')`

// UnmarshalJSON reads what ColumnSQL returns.
func (c *Column) UnmarshalJSON(data []byte) error {
	var read Column
	fields := []any{&read.Base, &read.Typmod, &read.Category, &read.Name, &read.Visible, &read.UserCast}
	want := len(fields)
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("decode column: %w", err)
	}
	if len(fields) != want || read.Base == 0 || read.Name == "" {
		return fmt.Errorf("decode column: %d fields, type %d", len(fields), read.Base)
	}
	*c = read
	return nil
}
