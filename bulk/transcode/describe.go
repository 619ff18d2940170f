package transcode

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// DescribeSQL returns a statement that gives one row of one value, for
// Describe. It depends on no name of the client's. A column whose domain lies
// over another domain has no known type. table is the table's oid.
func DescribeSQL(table uint32) string {
	return describeSQL + strconv.FormatUint(uint64(table), 10) + describeEnd
}

const describeSQL = `SELECT pg_catalog.json_build_object(
 'version', pg_catalog.current_setting('server_version_num'),
 'client', pg_catalog.pg_client_encoding(), 'server', pg_catalog.getdatabaseencoding(),
 'zone', pg_catalog.current_setting('TimeZone'), 'abbreviations', pg_catalog.current_setting('timezone_abbreviations'),
 'intervals', pg_catalog.current_setting('IntervalStyle'), 'nulls', pg_catalog.current_setting('array_nulls'),
 'columns', pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname,
  'type', pg_catalog.json_build_array(b.oid::pg_catalog.int8, CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typtypmod ELSE a.atttypmod END, b.typtype),
  'element', CASE WHEN e.oid IS NOT NULL THEN pg_catalog.json_build_array(eb.oid::pg_catalog.int8,
   CASE WHEN e.typtype OPERATOR(pg_catalog.=) 'd' THEN e.typtypmod WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typtypmod ELSE a.atttypmod END, eb.typtype) END,
  'elementtype', e.oid::pg_catalog.int8)))::pg_catalog.text
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
JOIN pg_catalog.pg_type b ON b.oid OPERATOR(pg_catalog.=) CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_catalog.pg_type e ON e.oid OPERATOR(pg_catalog.=) b.typelem AND b.typlen OPERATOR(pg_catalog.=) -1 AND e.typarray OPERATOR(pg_catalog.=) b.oid
LEFT JOIN pg_catalog.pg_type eb ON eb.oid OPERATOR(pg_catalog.=) CASE WHEN e.typtype OPERATOR(pg_catalog.=) 'd' THEN e.typbasetype ELSE e.oid END
WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND a.attrelid OPERATOR(pg_catalog.=) `

const describeEnd = `::pg_catalog.oid`

// described is what the statement gives.
type described struct {
	Version       int `json:",string"`
	Client        string
	Server        string
	Zone          string
	Abbreviations string
	Intervals     string
	Nulls         string
	Columns       []struct {
		Name        string
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

// Describe reads the row of DescribeSQL: the settings of the session, and the
// columns of those names. A column that is not known has no type, with which New
// refuses it.
func Describe(row []byte, names []string) (cols []Column, s Settings, err error) {
	var d described
	if err := json.Unmarshal(row, &d); err != nil {
		return nil, s, fmt.Errorf("read description of columns: %w", err)
	}
	s = Settings{
		Version: d.Version, ClientEncoding: d.Client, ServerEncoding: d.Server, TimeZone: d.Zone,
		Abbreviations: d.Abbreviations, IntervalStyle: d.Intervals, ArrayNulls: d.Nulls == "on",
	}
	cols = make([]Column, len(names))
	for i, name := range names {
		for j := range d.Columns {
			c := &d.Columns[j]
			if c.Name != name {
				continue
			}
			cols[i] = c.Type.column()
			if c.Element != nil {
				element := c.Element.column()
				cols[i].Element, cols[i].ElementOID = &element, c.ElementType
			}
		}
	}
	return cols, s, nil
}
