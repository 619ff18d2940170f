package values

import (
	"encoding/json"
	"fmt"
)

// Column is what the typing of constants has to know of a column. ColumnSQL
// asks for it.
type Column struct {
	// Base is the oid of the column's type, or of the type below its domain; zero
	// where that is a domain again, into which nothing but NULL is then put.
	Base uint32
	// Typmod is the column's, or the domain's; -1 where there is none.
	Typmod int32
	// Category is pg_type.typcategory of the base type.
	Category string
	// Name is the column's own type as format_type tells it to this session:
	// with its modifier, and with a schema only where it needs one.
	Name string
	// Visible: the bare name in pg_type of the column's own type, or of its
	// elements if it is an array, means this type to the session.
	Visible bool
	// Delimiter is what stands between the elements of an array of the type.
	Delimiter string
	// UserCast: somebody made a cast from int4, int8 or numeric to the base type.
	UserCast bool
}

// ColumnSQL is an expression over a row a of pg_attribute: a JSON array, which a
// Column reads. It raises no error and depends on no name of the client's.
//
// A domain's row has its base type's category. Most of the time goes into
// planning, so a domain over a domain is not followed, and who made casts is
// asked once for all columns. 23, 20 and 1700 are int4, int8 and numeric; 16384
// is the first oid of a user.
const ColumnSQL = `(SELECT pg_catalog.json_build_array(
  CASE WHEN t.typtype OPERATOR(pg_catalog.<>) 'd' THEN t.oid
    WHEN (SELECT b.typtype FROM pg_catalog.pg_type b WHERE b.oid OPERATOR(pg_catalog.=) t.typbasetype)
      OPERATOR(pg_catalog.<>) 'd' THEN t.typbasetype END::pg_catalog.int8,
  CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typtypmod ELSE a.atttypmod END,
  t.typcategory, pg_catalog.format_type(a.atttypid, a.atttypmod),
  pg_catalog.pg_type_is_visible(CASE WHEN t.typcategory OPERATOR(pg_catalog.=) 'A' THEN t.typelem ELSE t.oid END), t.typdelim,
  CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE t.oid END OPERATOR(pg_catalog.=) ANY (ARRAY(
    SELECT k.casttarget FROM pg_catalog.pg_cast k WHERE k.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    AND k.castsource OPERATOR(pg_catalog.=) ANY ('{23,20,1700}'::pg_catalog.oid[]))))
FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.=) a.atttypid)`

// UnmarshalJSON reads what ColumnSQL returns.
func (c *Column) UnmarshalJSON(data []byte) error {
	var read Column
	fields := []any{&read.Base, &read.Typmod, &read.Category, &read.Name, &read.Visible, &read.Delimiter, &read.UserCast}
	want := len(fields)
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("decode column: %w", err)
	}
	if len(fields) != want || read.Category == "" || read.Name == "" {
		return fmt.Errorf("decode column: %d fields, category %q, name %q", len(fields), read.Category, read.Name)
	}
	*c = read
	return nil
}

// ArrayType returns the type for an array constant whose elements, taken apart
// by unnest and assigned to the column, are what single constants would be;
// empty where there is none.
//
// It has no modifier: an explicit cast to varchar(3)[] cuts what is too long,
// and the assignment behind unnest refuses it as it should. But an interval's
// modifier says what its text means, so there is no array for one. An array in
// an array would fall into its elements, and a composite value into its columns.
func (c *Column) ArrayType() string {
	own := parseSpelling([]byte(c.Name))
	switch {
	case c.Category == "A" || c.Category == "C" || c.Category == "P" || c.Delimiter != ",":
		return ""
	case own.system && own.name == "interval" && c.Typmod >= 0:
		return ""
	case own.system:
		return `pg_catalog."` + own.name + `"[]` // bit and char alone mean bit(1) and char(1)
	}
	return c.Name + "[]"
}
