package rewrite

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// ReadInspection is what the catalogs say about the names of a ReadStatement.
type ReadInspection struct {
	// tables has one for each of the statement's names, nil where it means no
	// routed table.
	tables []*readTable
}

// readTable is one routed table.
type readTable struct {
	in      *Inspection // oid and names, and Routing
	kind    string
	columns []string
	// given are those that are not generated.
	given []string
	// typ is the type of the routing column, and exact says that values which are
	// equal have the same text.
	typ   uint32
	exact bool
	// readable: the role may SELECT from both; secured: row security applies.
	readable, secured bool
	// open: the role may read the routes.
	open bool
}

// Routed says that at least one of the names means a routed table.
func (r *ReadInspection) Routed() bool {
	for _, t := range r.tables {
		if t != nil {
			return true
		}
	}
	return false
}

// readRow is one of the JSON objects that InspectSQL builds.
type readRow struct {
	N          int             `json:"n"`
	OID        uint32          `json:"oid"`
	Kind       string          `json:"kind"`
	Schema     string          `json:"schema"`
	Table      string          `json:"table"`
	Routes     string          `json:"routes"`
	Open       bool            `json:"open"`
	Readable   bool            `json:"readable"`
	Secured    bool            `json:"secured"`
	Columns    []routingColumn `json:"columns"`
	AuxColumns []routingColumn `json:"aux_columns"`
	AuxOID     uint32          `json:"aux_oid"`
	AuxTable   string          `json:"aux_table"`
	AuxKind    string          `json:"aux_kind"`
	Installed  bool            `json:"installed"`
	Fuzzy      []string        `json:"fuzzy"`
}

// readSecured says of a row of pg_class whether its rows depend on the role.
func readSecured(c string) string {
	return "(" + c + ".relrowsecurity AND pg_catalog.row_security_active(" + c + ".oid))"
}

// InspectSQL returns one SELECT, without a semicolon, that tells which of the
// statement's names mean routed tables, and what those are. It raises no error
// where something is missing, takes no lock, and returns one row with one column
// for ParseReadInspection.
func (s *ReadStatement) InspectSQL() string {
	var b strings.Builder
	b.WriteString("SELECT pg_catalog.encode(pg_catalog.convert_to(pg_catalog.to_json(ARRAY(SELECT pg_catalog.json_build_object('n', q.n, " +
		"'oid', c.oid::pg_catalog.int8, 'kind', c.relkind, 'table', c.relname, 'routes', r.relname,\n" +
		"'schema', (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid OPERATOR(pg_catalog.=) c.relnamespace),\n" +
		"'open', pg_catalog.has_schema_privilege(r.relnamespace, 'USAGE') AND pg_catalog.has_table_privilege(r.oid, 'SELECT') AND NOT " + readSecured("r") + ",\n" +
		"'readable', pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(x.oid, 'SELECT'),\n" +
		"'secured', " + readSecured("c") + " OR " + readSecured("x") + ",\n" +
		"'columns', " + fmt.Sprintf(routingColumns, "c.oid") + ",\n'aux_columns', " + fmt.Sprintf(routingColumns, "x.oid") + ",\n" +
		"'fuzzy', ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute a, pg_catalog.pg_collation o WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid " +
		"AND o.oid OPERATOR(pg_catalog.=) a.attcollation AND NOT o.collisdeterministic),\n" +
		"'aux_oid', x.oid::pg_catalog.int8, 'aux_table', x.relname, 'aux_kind', x.relkind, 'installed', " + installedRouting + ")\n" +
		"FROM (VALUES ")
	for i, n := range s.names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(" + strconv.Itoa(i) + ", " + Current.resolve(n.schema, n.table) + ")")
	}
	b.WriteString(") AS q(n, oid), pg_catalog.pg_class c, pg_catalog.pg_class r, pg_catalog.pg_class x\n" +
		"WHERE c.oid OPERATOR(pg_catalog.=) q.oid AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog.\"char\"[]) AND c.relpersistence OPERATOR(pg_catalog.<>) 't'\n" +
		"AND r.relname OPERATOR(pg_catalog.=) pg_catalog.concat(c.relname, '" + RoutingSuffix + "')::pg_catalog.name " +
		"AND r.relnamespace OPERATOR(pg_catalog.=) pg_catalog.to_regnamespace('" + RoutingSchema + "')::pg_catalog.oid\n" +
		"AND x.relname OPERATOR(pg_catalog.=) pg_catalog.concat(c.relname, '" + AuxSuffix + "')::pg_catalog.name " +
		"AND x.relnamespace OPERATOR(pg_catalog.=) c.relnamespace))::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex')")
	return b.String()
}

// ParseReadInspection reads the one column of InspectSQL's one row. column is the
// routing column that is configured, or "".
func (s *ReadStatement) ParseReadInspection(row, column string) (*ReadInspection, error) {
	data, err := hex.DecodeString(row)
	if err != nil {
		return nil, fmt.Errorf("decode read inspection: %w", err)
	}
	var rows []readRow
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, fmt.Errorf("decode read inspection: %w", err)
	}
	r := &ReadInspection{tables: make([]*readTable, len(s.names))}
	for i := range rows {
		if n := rows[i].N; n >= 0 && n < len(r.tables) {
			r.tables[n] = rows[i].resolve(column)
		}
	}
	return r, nil
}

func (v *readRow) resolve(column string) *readTable {
	t := &readTable{
		in:   &Inspection{Found: true, OID: v.OID, Schema: v.Schema, Table: v.Table, Kind: v.Kind},
		kind: v.Kind, readable: v.Readable, secured: v.Secured, open: v.Open,
	}
	routing := &Routing{
		Routes: pgident.Qualified(RoutingSchema, v.Routes), Moving: v.Installed,
		Aux: Relation{OID: v.AuxOID, Schema: v.Schema, Table: v.AuxTable},
	}
	t.in.Routing = routing
	for _, c := range v.Columns {
		t.columns = append(t.columns, c.name)
		if c.generated == "" {
			t.given = append(t.given, c.name)
		}
	}
	if v.AuxKind != "r" && v.AuxKind != "p" {
		routing.fail("", "no table")
	}
	routing.columns(pgident.Qualified(v.Schema, v.Table), &routingRow{Columns: v.Columns, AuxColumns: v.AuxColumns}, column)
	if c := findRouting(v.Columns, column); c != nil {
		t.typ, t.exact = uint32(c.oid), !slices.Contains(v.Fuzzy, c.name)
	}
	return t
}
