package rewrite

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// The names of a routed table's companions: the routing table stands in
// RoutingSchema, the auxiliary one in the table's own. The server cuts names at
// 63 bytes; MaxRoutedName leaves so much of each suffix, and of the view's
// (_relyt_all), that they differ.
const (
	RoutingSchema = "relyt_sys"
	RoutingSuffix = "_relyt_routing"
	AuxSuffix     = "_relyt_massive_group"
	MaxRoutedName = 63 - len("_relyt_m")
)

// inspectRouting is the part of the inspection that finds a routing table; true
// where it could only be seen in the catalog, since the role has no USAGE on its
// schema: RoutingSQL looks there, and asks for the rest. A look into the catalog
// would be planned for every table.
func inspectRouting(table string) string {
	return ",\n'routed', " + routedName(table) + ",\n'routes_hidden', NOT " + routesOpen
}

// routesOpen says whether names can be looked up in the schema of routes; null where
// there is none.
const routesOpen = "pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('" + RoutingSchema + "')::pg_catalog.oid, 'USAGE')"

// routedName says whether there is a routing table for a name, or may be one.
func routedName(table string) string {
	return "CASE WHEN " + routesOpen + " " +
		"THEN pg_catalog.to_regclass(" + pgident.Literal(pgident.Qualified(RoutingSchema, table+RoutingSuffix)) + ") IS NOT NULL " +
		"ELSE pg_catalog.to_regnamespace('" + RoutingSchema + "') IS NOT NULL END"
}

// LooksSQL returns a query that has no row where the table surely has no routing
// table; "" where RoutingSQL has to be asked at once. It is for roles to which the
// schema of routes is closed, as it is to most: RoutingSQL takes longer to plan than
// all else that is asked.
func (in *Inspection) LooksSQL() string {
	if in.Routing == nil || !in.routesHidden {
		return ""
	}
	return "SELECT true FROM " + hiddenRoutes(in.Table)
}

// hiddenRoutes finds the routing table of a name in the catalog, where everybody may look.
func hiddenRoutes(table string) string {
	return "pg_catalog.pg_class r WHERE r.relname OPERATOR(pg_catalog.=) " + pgident.Literal(table+RoutingSuffix) +
		"::pg_catalog.name AND r.relnamespace OPERATOR(pg_catalog.=) pg_catalog.to_regnamespace('" + RoutingSchema + "')::pg_catalog.oid LIMIT 1"
}

// installedRouting says whether migrations may be on, and raises no error where
// schema pgbulk is closed.
const installedRouting = `CASE WHEN pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('pgbulk')::pg_catalog.oid, 'USAGE')
  THEN pg_catalog.to_regprocedure('pgbulk.routing_moving(oid)') IS NOT NULL END`

// routingColumns are the columns of table %s: name, type, typmod, collation,
// generated or not, the type as SQL, the base type with its category, and the
// default, which of an identity column is its sequence's next value.
const routingColumns = `ARRAY(SELECT pg_catalog.json_build_array(a.attname, a.atttypid::pg_catalog.int8, a.atttypmod,
    a.attcollation::pg_catalog.int8, a.attgenerated, pg_catalog.format_type(a.atttypid, a.atttypmod),
    (SELECT pg_catalog.concat(t.typcategory, CASE WHEN t.typbasetype OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN t.oid ELSE t.typbasetype END)
      FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.=) a.atttypid),
    CASE WHEN a.attidentity OPERATOR(pg_catalog.<>) '' THEN (SELECT pg_catalog.concat('nextval(', pg_catalog.quote_literal(p.objid::pg_catalog.regclass::pg_catalog.text), '::regclass)')
      FROM pg_catalog.pg_depend p WHERE p.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND p.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
      AND p.refobjid OPERATOR(pg_catalog.=) a.attrelid AND p.refobjsubid OPERATOR(pg_catalog.=) a.attnum AND p.deptype OPERATOR(pg_catalog.=) 'i' LIMIT 1)
    ELSE (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d
      WHERE d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum) END)
  FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) %s
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum)`

// routingRow is the JSON that RoutingSQL builds.
type routingRow struct {
	// Routes is the routing table's name.
	Routes string `json:"routes"`
	// Open: the role may use the schema of the routing table, and read it whole.
	Open bool `json:"open"`
	// Shape: it is a table with the two columns.
	Shape bool `json:"shape"`
	// Columns are the table's, AuxColumns the auxiliary one's.
	Columns    []routingColumn `json:"columns"`
	AuxColumns []routingColumn `json:"aux_columns"`
	Aux        *tableRow       `json:"aux"`
	// Elsewhere: a table of the same name in another schema has an auxiliary one.
	Elsewhere bool `json:"elsewhere"`
	Installed bool `json:"installed"`
	// DistributedBy and Distribution are those of an Inspection.
	DistributedBy []string `json:"distributed_by"`
	Distribution  string   `json:"distribution"`
	// Allowed: the role may call what is installed.
	Allowed bool `json:"allowed"`
}

// RoutingSQL returns the query, without a semicolon, that completes an
// inspection whose Routing is not nil: one row with one column, or none where
// the table is not routed after all; for AddRouting. As the inspection, it raises no error where something is missing.
func (in *Inspection) RoutingSQL() string {
	d := in.Dialect()
	texts, more := d.routingTexts(), ""
	inspect := d.inspectTexts(in.Table)
	if in.Types != nil {
		more += inspectTyping
	}
	if in.Definitions != nil {
		more += d.inspectKeys()
	}
	return "SELECT pg_catalog.encode(pg_catalog.convert_to(pg_catalog.json_build_object(" +
		"'routes', r.relname, 'open', pg_catalog.has_schema_privilege(r.relnamespace, 'USAGE') AND pg_catalog.has_table_privilege(r.oid, 'SELECT')" + texts.hidden + ",\n" +
		"'shape', r.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog.\"char\"[]) AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a " +
		"WHERE a.attrelid OPERATOR(pg_catalog.=) r.oid AND a.attname OPERATOR(pg_catalog.=) ANY ('{routing_id,store_table_name}'::pg_catalog.name[]) " +
		"AND a.atttypid OPERATOR(pg_catalog.=) ANY ('{25,1043}'::pg_catalog.oid[])) OPERATOR(pg_catalog.=) 2,\n" +
		"'columns', " + d.older(fmt.Sprintf(routingColumns, "m.oid")) + ",\n" +
		"'aux_columns', " + d.older(fmt.Sprintf(routingColumns, "aux.oid")) + ",\n" +
		"'aux', (SELECT pg_catalog.json_build_object(" + inspect.table + more + inspect.from + "\nWHERE c.oid OPERATOR(pg_catalog.=) aux.oid),\n" +
		"'elsewhere', aux.oid IS NULL AND (SELECT true FROM pg_catalog.pg_class a, pg_catalog.pg_class o WHERE a.relname OPERATOR(pg_catalog.=) aux.name " +
		"AND o.relname OPERATOR(pg_catalog.=) m.relname AND o.relnamespace OPERATOR(pg_catalog.=) a.relnamespace LIMIT 1),\n" +
		texts.more +
		")::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex')\n" +
		"FROM pg_catalog.pg_class m, pg_catalog.pg_class r, LATERAL (SELECT n.name, " +
		"(SELECT a.oid FROM pg_catalog.pg_class a WHERE a.relname OPERATOR(pg_catalog.=) n.name AND a.relnamespace OPERATOR(pg_catalog.=) m.relnamespace) AS oid " +
		"FROM (SELECT pg_catalog.concat(m.relname, '" + AuxSuffix + "')::pg_catalog.name AS name OFFSET 0) n OFFSET 0) aux\n" +
		"WHERE m.oid OPERATOR(pg_catalog.=) " + strconv.FormatUint(uint64(in.OID), 10) + "::pg_catalog.oid AND r.relname OPERATOR(pg_catalog.=) pg_catalog.concat(m.relname, '" + RoutingSuffix +
		"')::pg_catalog.name AND r.relnamespace OPERATOR(pg_catalog.=) " + texts.schema
}

// routingTexts are the parts of RoutingSQL that differ: hidden is what goes on behind
// the right to read the routes, schema the oid of their schema.
type routingTexts struct{ hidden, more, schema string }

func (d Dialect) routingTexts() routingTexts {
	if d == Greenplum6 {
		return routingTextsGreenplum6
	}
	return routingTexts{
		hidden: " AND NOT (r.relrowsecurity AND pg_catalog.row_security_active(r.oid))",
		more: "'installed', " + installedRouting + ",\n'allowed', CASE WHEN " + installedRouting +
			" THEN pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('pgbulk.routing_moving(oid)')::pg_catalog.oid, 'EXECUTE') END",
		schema: "pg_catalog.to_regnamespace('" + RoutingSchema + "')::pg_catalog.oid",
	}
}

// AddRouting completes the inspection by RoutingSQL's row, "" for none. column
// is the routing column of tables that have neither routing_id nor group_id, ""
// for none. Where there is no routing table, or it turns out to be another
// table's, Routing is nil afterwards.
func (in *Inspection) AddRouting(row, column string) error {
	if row == "" {
		in.Routing = nil
		return nil
	}
	data, err := hex.DecodeString(row)
	if err != nil {
		return fmt.Errorf("decode routing: %w", err)
	}
	var v routingRow
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("decode routing: %w", err)
	}
	if v.Aux == nil && v.Elsewhere {
		in.Routing = nil
		return nil
	}
	if v.Distribution != "" {
		in.DistributedBy, in.Distribution = v.DistributedBy, v.Distribution
	}
	r := &Routing{Routes: pgident.Qualified(RoutingSchema, v.Routes), Moving: v.Installed}
	in.Routing = r
	r.resolve(in, &v, column)
	return nil
}

// fail notes the first problem.
func (r *Routing) fail(code, format string, args ...any) {
	if r.Problem == "" {
		r.Problem, r.Code = fmt.Sprintf(format, args...), code
	}
}

// resolve finds the columns and checks what routed rows need.
func (r *Routing) resolve(in *Inspection, v *routingRow, column string) {
	main := pgident.Qualified(in.Schema, in.Table)
	if v.Aux == nil {
		r.fail(pgerr.UndefinedTable, "table %s has a routing table, but no auxiliary table %s", main,
			pgident.Qualified(in.Schema, in.Table+AuxSuffix))
		return
	}
	r.Aux = Relation{v.Aux.OID, v.Aux.Schema, v.Aux.Table}
	switch {
	case !v.Shape:
		r.fail(pgerr.PrerequisiteState, "%s is no table with columns routing_id and store_table_name of type text", r.Routes)
	case v.Aux.Kind != "r" && v.Aux.Kind != "p":
		r.fail(pgerr.PrerequisiteState, "%s is no table", r.Aux.Name())
	case !v.Open:
		r.fail(pgerr.InsufficientPrivilege, "permission denied for routing table %s", r.Routes)
	case in.InsertPrivilege && !v.Aux.Insert || in.ColumnPrivilege && !v.Aux.InsertColumns:
		r.fail(pgerr.InsufficientPrivilege, "permission denied for auxiliary table %s", r.Aux.Name())
	case v.Installed && !v.Allowed:
		r.fail(pgerr.InsufficientPrivilege, "permission denied for function pgbulk.routing_moving")
	}
	r.columns(main, v, column)
	if r.Problem != "" {
		return
	}
	r.Table = &Inspection{Session: in.Session}
	r.Table.table(v.Aux)
	names := slices.Clone(in.Columns)
	for i, name := range names {
		if name == r.Column {
			names[i] = r.AuxColumn
		}
	}
	if in.BadColumns {
		r.Table.BadColumns = true
	} else if err := r.Table.columns(v.Aux, names); err != nil {
		r.fail(pgerr.InternalError, "%s", err)
	}
}

// columns finds the routing columns, and compares the tables' columns.
func (r *Routing) columns(main string, v *routingRow, configured string) {
	own, other := findRouting(v.Columns, configured), findRouting(v.AuxColumns, configured)
	if own == nil || other == nil {
		name := main
		if own != nil {
			name = r.Aux.Name()
		}
		r.fail(pgerr.UndefinedColumn, "table %s has no routing column: none is named routing_id or group_id, or as configured", name)
		return
	}
	r.Column, r.Type, r.AuxColumn = own.name, own.sql, other.name
	r.base = own.baseType()
	if !own.stable() {
		r.fail(pgerr.FeatureNotSupported, "column %s of table %s cannot be a routing column: the text of type %s depends on the session",
			pgident.Quote(own.name), main, own.sql)
	}
	if len(v.Columns) != len(v.AuxColumns) {
		r.fail(pgerr.PrerequisiteState, "tables %s and %s have %d and %d columns", main, r.Aux.Name(), len(v.Columns), len(v.AuxColumns))
	}
	for at, c := range v.Columns {
		name := c.name
		if name == r.Column {
			name = r.AuxColumn
		}
		r.Shuffled = r.Shuffled || at >= len(v.AuxColumns) || v.AuxColumns[at].name != name
		i := slices.IndexFunc(v.AuxColumns, func(o routingColumn) bool { return o.name == name })
		switch {
		case i < 0:
			r.fail(pgerr.PrerequisiteState, "table %s has no column %s", r.Aux.Name(), pgident.Quote(name))
		case !c.same(v.AuxColumns[i]):
			r.fail(pgerr.PrerequisiteState, "column %s is %s in table %s and %s in %s", pgident.Quote(name), c.describe(), main,
				v.AuxColumns[i].describe(), r.Aux.Name())
		case c.generated == "" && !reflect.DeepEqual(c.def, v.AuxColumns[i].def):
			r.OtherDefaults = append(r.OtherDefaults, c.name)
		}
	}
}

// routingColumn is one of routingColumns.
type routingColumn struct {
	name           string
	oid, collation int64
	typmod         int
	generated, sql string
	base           string // category and oid
	def            *string
}

// UnmarshalJSON reads what routingColumns returns.
func (c *routingColumn) UnmarshalJSON(data []byte) error {
	fields := []any{&c.name, &c.oid, &c.typmod, &c.collation, &c.generated, &c.sql, &c.base, &c.def}
	want := len(fields)
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("decode column: %w", err)
	}
	if len(fields) != want || c.base == "" {
		return fmt.Errorf("decode column: %d fields", len(fields))
	}
	return nil
}

// baseType is what is to be known of the type of parameters of that column.
func (c routingColumn) baseType() values.Column {
	oid, _ := strconv.ParseUint(c.base[1:], 10, 32) // 0 has no form that is known
	return values.Column{Base: uint32(oid), Category: c.base[:1], Typmod: -1, Name: c.sql}
}

func (c routingColumn) same(o routingColumn) bool {
	return c.oid == o.oid && c.typmod == o.typmod && c.collation == o.collation && c.generated == o.generated
}

func (c routingColumn) describe() string {
	if c.generated != "" {
		return c.sql + ", generated,"
	}
	return c.sql
}

// stable says that the type's text is the same in every session, unlike that of
// timestamps and floats: strings, booleans, enums, addresses; "char", the
// integers, oid, numeric and uuid; and domains over them.
func (c routingColumn) stable() bool {
	switch c.base[0] {
	case 'S', 'B', 'E', 'I':
		return true
	}
	return slices.Contains([]string{"18", "20", "21", "23", "26", "1700", "2950"}, c.base[1:])
}

// findRouting returns the routing column, or nil.
func findRouting(columns []routingColumn, configured string) *routingColumn {
	for _, name := range []string{"routing_id", "group_id", configured} {
		for i := range columns {
			if columns[i].name == name && name != "" {
				return &columns[i]
			}
		}
	}
	return nil
}
