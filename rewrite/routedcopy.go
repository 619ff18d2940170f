package rewrite

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// RoutedColumn is a column of a routed table, as a temporary table has it.
type RoutedColumn struct {
	Name string
	// Type is the type with its collation, Default an expression or "": that of
	// the main table, for both.
	Type, Default string
}

func (c RoutedColumn) definition(withDefault bool) string {
	if !withDefault || c.Default == "" {
		return c.Type
	}
	return c.Type + " DEFAULT " + c.Default
}

// Routed says that rows of the table may belong to its auxiliary table. It is
// known once Routing.Found is set.
func (in *Inspection) Routed() bool {
	return in.Routing != nil && in.Routing.Found != nil && !in.Routing.Found.Idle()
}

// RowsSQL returns the query, without a semicolon, for the columns that rows of
// the table have: one row with one column, for AddRows. An identity column has
// its sequence as its default, where the role may use that.
func (in *Inspection) RowsSQL() string {
	return in.Dialect().older(`SELECT pg_catalog.encode(pg_catalog.convert_to(pg_catalog.to_json(ARRAY(SELECT pg_catalog.json_build_array(a.attname,
  pg_catalog.concat(pg_catalog.format_type(a.atttypid, a.atttypmod),
    (SELECT pg_catalog.concat(' COLLATE ', pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(l.collname))
      FROM pg_catalog.pg_collation l, pg_catalog.pg_namespace n
      WHERE l.oid OPERATOR(pg_catalog.=) a.attcollation AND n.oid OPERATOR(pg_catalog.=) l.collnamespace)),
  CASE WHEN a.attidentity OPERATOR(pg_catalog.=) ''
    THEN (SELECT pg_catalog.pg_get_expr(e.adbin, e.adrelid) FROM pg_catalog.pg_attrdef e
      WHERE e.adrelid OPERATOR(pg_catalog.=) a.attrelid AND e.adnum OPERATOR(pg_catalog.=) a.attnum)
    ELSE (SELECT pg_catalog.concat('pg_catalog.nextval(', d.objid, '::pg_catalog.oid::pg_catalog.regclass)') FROM pg_catalog.pg_depend d
      WHERE d.classid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid AND d.refclassid OPERATOR(pg_catalog.=) 1259::pg_catalog.oid
      AND d.refobjid OPERATOR(pg_catalog.=) a.attrelid AND d.refobjsubid OPERATOR(pg_catalog.=) a.attnum
      AND d.deptype OPERATOR(pg_catalog.=) 'i' AND pg_catalog.has_sequence_privilege(d.objid, 'USAGE')) END)
  FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) ` + strconv.FormatUint(uint64(in.OID), 10) + `::pg_catalog.oid
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND a.attgenerated OPERATOR(pg_catalog.=) ''
  ORDER BY a.attnum))::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex')`)
}

// AddRows reads RowsSQL's row.
func (r *Routing) AddRows(row string) error {
	data, err := hex.DecodeString(row)
	if err != nil {
		return fmt.Errorf("decode columns: %w", err)
	}
	var columns [][]*string
	if err := json.Unmarshal(data, &columns); err != nil {
		return fmt.Errorf("decode columns: %w", err)
	}
	r.Rows = nil
	for _, c := range columns {
		if len(c) != 3 || c[0] == nil || c[1] == nil {
			return fmt.Errorf("decode columns: %d fields", len(c))
		}
		column := RoutedColumn{Name: *c[0], Type: *c[1]}
		if c[2] != nil {
			column.Default = *c[2]
		}
		r.Rows = append(r.Rows, column)
	}
	return nil
}

// drawn are the columns which the data does not have, but the temporary table
// does: the routing column, and those with a default, since a sequence has to
// be drawn from in the order of the data, whatever table a row goes to.
func (r *Routing) drawn(data []string) []RoutedColumn {
	var out []RoutedColumn
	for _, c := range r.Rows {
		if !slices.Contains(data, c.Name) && (c.Default != "" || c.Name == r.Column) {
			out = append(out, c)
		}
	}
	return out
}

// definition is that of a column of the data.
func (r *Routing) definition(name string, withDefault bool) string {
	for _, c := range r.Rows {
		if c.Name == name {
			return c.definition(withDefault)
		}
	}
	return "pg_catalog.text" // without Rows, for people to read
}

// refuseRouted is the decision on a statement that would go to the server as it
// is: there all its rows would land in the main table.
func (c *CopyStatement) refuseRouted(reason Reason) Decision {
	return c.refuse(RefuseRouted(reason), reason)
}

// classifyRouted decides on a statement whose rows go to two tables.
func (c *CopyStatement) classifyRouted(in *Inspection, x Extensions, caps Caps) Decision {
	aux := in.Routing.Table
	switch {
	case len(in.Columns) == 0:
		return c.refuseRouted(ReasonNoColumns)
	case in.Rules || aux.Rules:
		return c.refuseRouted(ReasonRules)
	case aux.RowSecurity:
		return c.refuseRouted(ReasonRowSecurity)
	case aux.ForeignPartition:
		return c.refuseRouted(ReasonForeignPartition)
	}
	if x.needsTable() {
		return c.classifyTable(in, x)
	}
	if x.Staged && x.Mode == LoadAppend && copyReason(c, in, caps, &x) == ReasonNone && copyReason(c, aux, caps, &x) == ReasonNone {
		return Decision{Way: Stage, Method: MethodExternal, Reason: ReasonRouted, Ext: x}
	}
	return Decision{Way: Stage, Method: MethodTable, Reason: ReasonRouted, Ext: x}
}

// Import is the SQL by which a load that was acknowledged when it was staged
// comes into two tables, each text one statement: Lock, Create, a Fill for each
// file, Wait and Move. The routes are those of the moment at which it runs.
type Import struct {
	// Lock takes the table's lock. Bad returns a row where a route names neither
	// table.
	Lock, Bad  string
	Create     string
	fill       string
	Wait, Move string
}

// Fill takes the rows of one external table.
func (i *Import) Fill(external string) string { return i.fill + external }

// Import returns the SQL of an import by a temporary table of that name.
func (c *CopyStatement) Import(in *Inspection, x *Extensions, name string) Import {
	r := in.Routing
	t := c.transfer(in, x, name, true)
	p := t.plan(name)
	columns := pgident.List(in.Columns)
	return Import{
		Lock:   "SELECT pg_catalog.pg_advisory_xact_lock_shared(" + TableLock(in.OID) + ")",
		Bad:    r.badSQL(in),
		Create: p.Create,
		fill:   "INSERT INTO " + t.table + " (" + columns + ") SELECT " + columns + " FROM ",
		Wait: "SELECT pg_catalog.pg_advisory_xact_lock_shared(" + GroupLock(in.OID, "pgbulkproxy_moving.g") + ") FROM (SELECT m.g FROM " +
			"pg_catalog.unnest(pgbulk.routing_moving(" + strconv.FormatUint(uint64(in.OID), 10) + "::pg_catalog.oid)) WITH ORDINALITY AS m(g, n) WHERE EXISTS (SELECT FROM " +
			t.table + " " + rowsAlias + " WHERE (" + t.routing() + ")::pg_catalog.text COLLATE \"C\" OPERATOR(pg_catalog.=) m.g) ORDER BY m.g COLLATE \"C\" OFFSET 0) pgbulkproxy_moving",
		// One statement has one snapshot: no row is left out between the two.
		Move: "WITH pgbulkproxy_aux AS (" + p.Inserts[1] + ") " + p.Inserts[0],
	}
}

// badSQL finds routes that name neither table.
func (r *Routing) badSQL(in *Inspection) string {
	all := slices.Concat(r.AuxStores(in), Relation{Schema: in.Schema, Table: in.Table}.Stores())
	return "SELECT FROM " + r.Routes + " pgbulkproxy_route WHERE (" + storeIs(all) + ") IS NOT TRUE LIMIT 1"
}

// GroupsSQL returns the query for the groups in the auxiliary table, no more
// than so many.
func (r *Routing) GroupsSQL(in *Inspection, most int) string {
	return "SELECT pgbulkproxy_route.routing_id FROM " + r.Routes + " pgbulkproxy_route WHERE " + storeIs(r.AuxStores(in)) +
		" LIMIT " + strconv.Itoa(most)
}

// CopyWhere says whether the server's COPY can leave out rows.
func (s *Session) CopyWhere() bool { return s.Version >= 120000 }

// NativeParts returns two COPYs of the client's data, one into each table, which
// take only the rows that belong there: what the server says of these is what it
// would have said of one table. Without CopyWhere they take all rows. Citus has no
// WHERE: there it is one COPY of all rows into the main table, of which only that counts
// what it says of a line.
func (c *CopyStatement) NativeParts(in *Inspection, groups []string) []string {
	if in.Sharding != nil {
		return []string{c.Native(in, false)}
	}
	r := in.Routing
	belongs := func(column string) string {
		return "(" + pgident.Quote(column) + "::pg_catalog.text COLLATE \"C\" OPERATOR(pg_catalog.=) ANY (" + pgident.LiteralArray(groups) + ")) IS "
	}
	own, other := *c, *c
	if in.CopyWhere() {
		own.Where, own.WhereSQL = true, belongs(r.Column)+"NOT TRUE"
		other.Where, other.WhereSQL = true, belongs(r.AuxColumn)+"TRUE"
	}
	other.HeaderMatch = false // the first one has checked it
	other.ForceNull, other.ForceNotNull = r.auxNames(c.ForceNull), r.auxNames(c.ForceNotNull)
	aux := &Inspection{Schema: r.Aux.Schema, Table: r.Aux.Table, Columns: r.auxNames(in.Columns)}
	return []string{own.Native(in, false), other.Native(aux, false)}
}

// auxNames are a list's columns as the auxiliary table has them.
func (r *Routing) auxNames(columns []string) []string {
	out := slices.Clone(columns)
	for i, n := range out {
		if n == r.Column {
			out[i] = r.AuxColumn
		}
	}
	return out
}
