package transcode

import (
	"encoding/json"
	"fmt"
	"slices"
)

// DescribeSQL returns a statement that gives one row of one value, for
// Describe. It depends on no name of the client's. A column whose domain lies
// over another domain has no known type. table is SQL for the table's oid.
func DescribeSQL(table string) string {
	return describeTree + table + describeSQL
}

// The table with all below it, since rows may go to a partition.
const describeTree = `WITH RECURSIVE target AS (SELECT (`

// A dependency in code is on a function (1255), an operator (2617) or an operator
// class (2616) that is not the server's own, of a default (2604), a constraint
// (2606), an index or a partition's key (1259). One of a default on a relation is
// on a sequence. Columns of the catalog that old servers don't have go through
// row_to_json.
const describeSQL = `)::pg_catalog.oid AS oid), tree AS (SELECT oid FROM target
 UNION ALL SELECT h.inhrelid FROM pg_catalog.pg_inherits h JOIN tree ON h.inhparent OPERATOR(pg_catalog.=) tree.oid)
SELECT pg_catalog.json_build_object(
 'version', pg_catalog.current_setting('server_version_num'),
 'client', pg_catalog.pg_client_encoding(), 'server', pg_catalog.getdatabaseencoding(),
 'zone', pg_catalog.current_setting('TimeZone'), 'abbreviations', pg_catalog.current_setting('timezone_abbreviations'),
 'intervals', pg_catalog.current_setting('IntervalStyle'), 'nulls', pg_catalog.current_setting('array_nulls'),
 'code', (SELECT true FROM pg_catalog.pg_depend d WHERE d.objid OPERATOR(pg_catalog.=) ANY (
   ARRAY(SELECT oid FROM tree)
   OPERATOR(pg_catalog.||) ARRAY(SELECT x.oid FROM pg_catalog.pg_attrdef x JOIN tree ON x.adrelid OPERATOR(pg_catalog.=) tree.oid)
   OPERATOR(pg_catalog.||) ARRAY(SELECT x.indexrelid FROM pg_catalog.pg_index x JOIN tree ON x.indrelid OPERATOR(pg_catalog.=) tree.oid)
   OPERATOR(pg_catalog.||) ARRAY(SELECT x.oid FROM pg_catalog.pg_constraint x JOIN tree ON x.conrelid OPERATOR(pg_catalog.=) tree.oid)
   OPERATOR(pg_catalog.||) ARRAY(SELECT x.oid FROM pg_catalog.pg_attribute a
     JOIN target ON a.attrelid OPERATOR(pg_catalog.=) target.oid
     JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
     LEFT JOIN pg_catalog.pg_type b ON b.oid OPERATOR(pg_catalog.=) t.typbasetype
     JOIN pg_catalog.pg_constraint x ON x.contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
       AND x.contypid OPERATOR(pg_catalog.=) ANY (ARRAY[t.oid, t.typelem, t.typbasetype, b.typelem])))
  AND d.classid OPERATOR(pg_catalog.=) ANY ('{2604,2606,1259}'::pg_catalog.oid[])
  AND d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2616,2617}'::pg_catalog.oid[])
  AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid LIMIT 1),
 'columns', pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname,
  'drawn', pg_catalog.row_to_json(a) OPERATOR(pg_catalog.->>) 'attidentity' OPERATOR(pg_catalog.<>) ''
   OR (SELECT true FROM pg_catalog.pg_attrdef x JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) x.oid
    WHERE x.adrelid OPERATOR(pg_catalog.=) a.attrelid AND x.adnum OPERATOR(pg_catalog.=) a.attnum
    AND d.classid OPERATOR(pg_catalog.=) 2604::pg_catalog.oid AND d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
    AND d.refobjid OPERATOR(pg_catalog.<>) a.attrelid LIMIT 1) IS TRUE,
  'type', pg_catalog.json_build_array(b.oid::pg_catalog.int8, CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typtypmod ELSE a.atttypmod END, b.typtype),
  'element', CASE WHEN e.oid IS NOT NULL THEN pg_catalog.json_build_array(eb.oid::pg_catalog.int8,
   CASE WHEN e.typtype OPERATOR(pg_catalog.=) 'd' THEN e.typtypmod WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typtypmod ELSE a.atttypmod END, eb.typtype) END,
  'elementtype', e.oid::pg_catalog.int8)))::pg_catalog.text
FROM target JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) target.oid
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
JOIN pg_catalog.pg_type b ON b.oid OPERATOR(pg_catalog.=) CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_catalog.pg_type e ON e.oid OPERATOR(pg_catalog.=) b.typelem AND b.typlen OPERATOR(pg_catalog.=) -1 AND e.typarray OPERATOR(pg_catalog.=) b.oid
LEFT JOIN pg_catalog.pg_type eb ON eb.oid OPERATOR(pg_catalog.=) CASE WHEN e.typtype OPERATOR(pg_catalog.=) 'd' THEN e.typbasetype ELSE e.oid END
WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped`

// described is what the statement gives.
type described struct {
	Version       int `json:",string"`
	Client        string
	Server        string
	Zone          string
	Abbreviations string
	Intervals     string
	Nulls         string
	Code          bool
	Columns       []struct {
		Name        string
		Drawn       bool
		Type        describedType
		Element     *describedType
		ElementType uint32
	}
}

// describedType is an oid, a modifier, and pg_type.typtype.
type describedType struct {
	oid    uint32
	typmod int32
	kind   string
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *describedType) UnmarshalJSON(p []byte) error {
	return json.Unmarshal(p, &[]any{&d.oid, &d.typmod, &d.kind})
}

func (d *describedType) column() Column {
	switch d.kind {
	case "b":
		return Column{Base: d.oid, Typmod: d.typmod}
	case "e":
		return Column{Base: d.oid, Typmod: -1, Enum: true}
	}
	return Column{}
}

// Description is what the server says of a table and the session.
type Description struct {
	Columns  []Column
	Settings Settings
	// UserCode: the table runs functions that are not the server's own.
	UserCode bool
	// Draws: a column that is not among them gets the numbers of a sequence.
	Draws bool
}

// Describe reads the row of DescribeSQL, for the columns of those names. A column
// that is not known has no type, with which New refuses it.
func Describe(row []byte, names []string) (Description, error) {
	var d described
	if err := json.Unmarshal(row, &d); err != nil {
		return Description{}, fmt.Errorf("read description of columns: %w", err)
	}
	out := Description{
		Settings: Settings{
			Version: d.Version, ClientEncoding: d.Client, ServerEncoding: d.Server, TimeZone: d.Zone,
			Abbreviations: d.Abbreviations, IntervalStyle: d.Intervals, ArrayNulls: d.Nulls == "on",
		},
		Columns: make([]Column, len(names)), UserCode: d.Code,
	}
	for j := range d.Columns {
		c := &d.Columns[j]
		i := slices.Index(names, c.Name)
		if i < 0 {
			out.Draws = out.Draws || c.Drawn
			continue
		}
		out.Columns[i] = c.Type.column()
		if c.Element != nil {
			element := c.Element.column()
			out.Columns[i].Element, out.Columns[i].ElementOID = &element, c.ElementType
		}
	}
	return out, nil
}
