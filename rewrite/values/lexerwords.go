package values

// The forms of a type by its first word.
const (
	formGeneric = iota
	formDouble
	// formBare has no modifiers, formLength one, formVarying also the word
	// VARYING before it, formTime the words WITH TIME ZONE behind it.
	formBare
	formLength
	formVarying
	formTime
	formModifiers
	// formNone cannot begin a type's name.
	formNone
)

// typeForm returns the form of a type whose first word is w, unquoted.
func typeForm(w []byte) int {
	var buf [maxName]byte
	for i, b := range w {
		if b >= 'A' && b <= 'Z' {
			b |= 0x20
		}
		buf[i] = b
	}
	switch string(buf[:len(w)]) {
	case "double":
		return formDouble
	case "int", "integer", "smallint", "bigint", "real", "float", "boolean", "json":
		return formBare
	case "varchar", "interval":
		return formLength
	case "character", "char", "nchar", "bit":
		return formVarying
	case "time", "timestamp":
		return formTime
	case "numeric", "decimal", "dec":
		return formModifiers
	case
		// Reserved words of PostgreSQL 14 to 18.
		"all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case", "cast", "check",
		"collate", "column", "constraint", "create", "current_catalog", "current_date", "current_role", "current_time",
		"current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except",
		"false", "fetch", "for", "foreign", "from", "grant", "group", "having", "in", "initially", "intersect", "into",
		"lateral", "leading", "limit", "localtime", "localtimestamp", "not", "null", "offset", "on", "only", "or", "order",
		"placing", "primary", "references", "returning", "select", "session_user", "some", "symmetric", "system_user",
		"table", "then", "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "when", "where",
		"window", "with",
		// Words that may be a column but not a type or function.
		"between", "coalesce", "exists", "extract", "greatest", "grouping", "inout", "json_array",
		"json_arrayagg", "json_exists", "json_object", "json_objectagg", "json_query", "json_scalar", "json_serialize",
		"json_table", "json_value", "least", "merge_action", "national", "none", "normalize", "nullif", "out", "overlay",
		"position", "precision", "row", "setof", "substring", "treat", "trim", "values", "xmlattributes", "xmlconcat",
		"xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize",
		"xmltable",
		// Words that may be a function or a type, rarely are, and cannot always
		// stand before a dot.
		"authorization", "binary", "collation", "concurrently", "cross", "current_schema", "freeze", "full", "ilike",
		"inner", "is", "isnull", "join", "left", "like", "natural", "notnull", "operator", "outer", "overlaps", "right", "similar",
		"tablesample", "verbose":
		return formNone
	}
	return formGeneric
}
