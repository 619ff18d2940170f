package rewrite

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// Routing says where the rows of a table with an auxiliary table go: a row
// whose routing column, as text, stands in the routing table with the auxiliary
// table's name goes there, any other to the main table.
//
// Routes are never kept: EnterSQL takes the table's lock and counts them, and
// every statement that places rows reads them itself, by ToAux.
type Routing struct {
	// Routes is the routing table, qualified and quoted.
	Routes string
	// Column is the main table's routing column, Type its SQL type, base the one
	// below a domain.
	Column, Type string
	base         values.Column
	// Aux is the auxiliary table, AuxColumn its routing column: all other columns
	// have the main table's names.
	Aux       Relation
	AuxColumn string
	// Table is what an inspection of the auxiliary table says, with the statement's
	// columns under the names that they have there.
	Table *Inspection
	// Shuffled: the two tables' columns stand in another order.
	Shuffled bool
	// OtherDefaults are columns whose default in the auxiliary table is not the main
	// table's, but a sequence of its own, for example: a row that leaves them out has
	// to take the main table's.
	OtherDefaults []string
	// Moving: pgbulk.routing_moving(oid) is installed, so a migration may be on.
	Moving bool
	// Found is what EnterSQL has found, once it has been run in the transaction of
	// the load. Rows are the columns of both tables, and Groups those with a route to
	// the auxiliary one unless they are many: for loads by MethodTable.
	Found  *Routes
	Rows   []RoutedColumn
	Groups []string
	// Problem says why rows of this table cannot be routed, Code with which
	// SQLSTATE a load has to fail for that; both are empty where they can.
	Problem, Code string
}

// Relation is a table.
type Relation struct {
	OID           uint32
	Schema, Table string
}

// Name is the relation's name, qualified and quoted.
func (r Relation) Name() string { return pgident.Qualified(r.Schema, r.Table) }

// Err is the error with which a load fails because of Problem, or nil.
func (r *Routing) Err() *pgerr.Error {
	if r.Problem == "" {
		return nil
	}
	return pgerr.New(r.Code, "%s", r.Problem).With('H', "pgbulkproxy routing show says what is wrong with the pair of tables.")
}

// LockClass is the class of the advisory locks on routed tables, "pgbr" in
// ASCII: loads hold theirs in share mode to the end of the transaction.
const LockClass = 1885823602

// TableLock returns the two keys of a table's advisory lock as arguments.
func TableLock(oid uint32) string {
	return strconv.Itoa(LockClass) + ", " + strconv.Itoa(int(int32(oid)))
}

// GroupLock returns the key of a group's advisory lock as an argument; group is
// an SQL expression of type text.
func GroupLock(oid uint32, group string) string {
	return "pg_catalog.hashtextextended((" + group + ") COLLATE \"C\", " + strconv.FormatUint(uint64(oid), 10) + "::pg_catalog.int8)"
}

// Stores are the names by which a routing table means a table: as it is, or
// quoted, with its schema or without.
func (r Relation) Stores() []string {
	names := []string{
		r.Table, pgident.Quote(r.Table), r.Schema + "." + r.Table, pgident.Quote(r.Schema) + "." + r.Table,
		r.Schema + "." + pgident.Quote(r.Table), r.Name(),
	}
	return names
}

// AuxStores are the names that mean the auxiliary table in the routes of table in,
// the one that a new route gets first.
func (r *Routing) AuxStores(in *Inspection) []string { return r.auxStores(in.Table) }

// auxStores are the names that mean the auxiliary table: its full one, too,
// where the server has cut it.
func (r *Routing) auxStores(table string) []string {
	names := r.Aux.Stores()
	if full := (Relation{Schema: r.Aux.Schema, Table: table + AuxSuffix}); full.Table != r.Aux.Table {
		names = append(names, full.Stores()...)
	}
	return names
}

// ToAux is the condition that a row goes to the auxiliary table. col is an SQL
// expression for its routing column, in which columns are qualified. It is
// never null: a row without a group belongs to the main table.
func (r *Routing) ToAux(in *Inspection, col string) string {
	return "EXISTS (SELECT FROM " + r.Routes + " pgbulkproxy_route WHERE " + r.isRoute(in, col) + ")"
}

// isRoute is the condition that a route is the one to the auxiliary table for a value.
func (r *Routing) isRoute(in *Inspection, col string) string {
	return "pgbulkproxy_route.routing_id::pg_catalog.text COLLATE \"C\" OPERATOR(pg_catalog.=) (" + col + ")::pg_catalog.text COLLATE \"C\" AND " +
		storeIs(r.auxStores(in.Table))
}

// auxRows returns column pgbulkproxy_rows.n of those of an item of FROM that is no
// table whose rows go to the auxiliary table, perhaps more than once. It is no EXISTS:
// Greenplum 6 tells rows by their place in a table where it looks for doubles of a
// semijoin, and those of functions have none.
func (r *Routing) auxRows(in *Inspection, from, col string) string {
	return "SELECT pgbulkproxy_rows.n FROM " + from + ", " + r.Routes + " pgbulkproxy_route WHERE " + r.isRoute(in, col)
}

func storeIs(names []string) string {
	return "pgbulkproxy_route.store_table_name::pg_catalog.text COLLATE \"C\" OPERATOR(pg_catalog.=) ANY (" + pgident.LiteralArray(names) + ")"
}

// EnterSQL returns the statements, without a last semicolon, that come before
// everything else of a load into a routed table, in a transaction block, as one
// simple Query. They take the table's lock for the rest of the transaction;
// where the transaction has one snapshot, they fail with 40001 if routes have
// changed behind it. The last one returns one row with one column, for
// ParseRoutes.
//
// A rollback to a savepoint that is older gives the lock back.
func (r *Routing) EnterSQL(in *Inspection) string {
	return "SELECT pg_catalog.pg_advisory_xact_lock_shared(" + TableLock(in.OID) + ");\n" + r.again(in) + r.CountSQL(in)
}

// CountSQL returns the last of EnterSQL's statements, which takes no lock: what it
// finds may not be true any more.
func (r *Routing) CountSQL(in *Inspection) string {
	oid := strconv.FormatUint(uint64(in.OID), 10)
	moving, installed := "'{}'::pg_catalog.text[]", installedRouting
	switch {
	case in.Dialect() != Current:
		installed = "false"
	case r.Moving:
		moving, installed = "pgbulk.routing_moving("+oid+"::pg_catalog.oid)", "true"
	}
	aux := r.auxStores(in.Table)
	all := slices.Concat(aux, Relation{Schema: in.Schema, Table: in.Table}.Stores())
	return "SELECT pg_catalog.encode(pg_catalog.convert_to(pg_catalog.json_build_object(" +
		"'aux', (SELECT pg_catalog.count(*) FROM " + r.Routes + " pgbulkproxy_route WHERE " + storeIs(aux) + "),\n" +
		"'bad', (SELECT pg_catalog.json_build_array(pgbulkproxy_route.routing_id, pgbulkproxy_route.store_table_name) FROM " +
		r.Routes + " pgbulkproxy_route WHERE (" + storeIs(all) + ") IS NOT TRUE LIMIT 1),\n" +
		"'moving', " + moving + ", 'installed', " + installed +
		")::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex')"
}

// again returns the statement that looks whether the routes are those of the
// transaction's snapshot; "" where every statement has a new one.
func (r *Routing) again(in *Inspection) string {
	if !r.Moving || in.Isolation != "repeatable read" && in.Isolation != "serializable" {
		return ""
	}
	return "SELECT pgbulk.routing_enter(" + strconv.FormatUint(uint64(in.OID), 10) + "::pg_catalog.oid);\n"
}

// WaitSQL returns the statements, without a last semicolon, that wait for those
// of the moving groups that rows of a load belong to, and keep them where they
// are for the rest of the transaction; "" where none moves. from is an item of
// FROM with the rows, col an expression for their routing column, in which
// columns are qualified. Routes must be read by a later statement.
func (r *Routing) WaitSQL(in *Inspection, moving []string, from, col string) string {
	if len(moving) == 0 {
		return ""
	}
	groups := slices.Clone(moving)
	slices.Sort(groups) // the same order for everybody: no deadlocks among loads
	sql := "SELECT pg_catalog.pg_advisory_xact_lock_shared(" + GroupLock(in.OID, "pgbulkproxy_moving.g") + ") FROM (SELECT m.g FROM pg_catalog.unnest(" +
		pgident.LiteralArray(groups) + ") WITH ORDINALITY AS m(g, n) WHERE EXISTS (SELECT FROM " + from +
		" WHERE (" + col + ")::pg_catalog.text COLLATE \"C\" OPERATOR(pg_catalog.=) m.g) ORDER BY m.n OFFSET 0) pgbulkproxy_moving"
	return strings.TrimSuffix(sql+";\n"+r.again(in), ";\n")
}

// TakesOther says whether rows of the statement that go to the auxiliary table
// would take one of OtherDefaults.
func (r *Routing) TakesOther(in *Inspection, s *InsertStatement) bool {
	return slices.ContainsFunc(r.OtherDefaults, func(name string) bool {
		return s.HasDefault || !slices.Contains(in.Columns[:s.Targets()], name)
	})
}

// Routes is what EnterSQL has found.
type Routes struct {
	// ToAux is the number of groups in the auxiliary table.
	ToAux int64
	// BadGroup is a group whose route names neither table: BadStore.
	Bad                bool
	BadGroup, BadStore string
	// Moving are the groups that a migration is about to move, or was.
	Moving []string
	// late: routing has been installed since the inspection.
	late bool
}

// Idle says that no row can go anywhere but to the main table.
func (r *Routes) Idle() bool { return r.ToAux == 0 && len(r.Moving) == 0 }

// Err is the error with which every load into the table fails, or nil.
func (r *Routes) Err(in *Inspection) *pgerr.Error {
	switch {
	case r.late:
		return pgerr.New(pgerr.SerializationFailure, "routing of table %s was installed while the statement began", pgident.Qualified(in.Schema, in.Table))
	case r.Bad:
		return pgerr.New(pgerr.PrerequisiteState, "the route of group %q names table %q, which is neither %s nor its auxiliary table",
			r.BadGroup, r.BadStore, pgident.Qualified(in.Schema, in.Table)).
			With('H', fmt.Sprintf("Correct store_table_name in %s.", in.Routing.Routes))
	}
	return nil
}

// ParseRoutes reads the one column of EnterSQL's one row.
func ParseRoutes(in *Inspection, row string) (*Routes, error) {
	data, err := hex.DecodeString(row)
	if err != nil {
		return nil, fmt.Errorf("decode routes: %w", err)
	}
	var v struct {
		Aux       int64     `json:"aux"`
		Bad       []*string `json:"bad"`
		Moving    []string  `json:"moving"`
		Installed bool      `json:"installed"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("decode routes: %w", err)
	}
	r := &Routes{ToAux: v.Aux, Moving: v.Moving, late: v.Installed && !in.Routing.Moving}
	if len(v.Bad) == 2 {
		r.Bad = true
		for i, field := range []*string{&r.BadGroup, &r.BadStore} {
			if v.Bad[i] != nil {
				*field = *v.Bad[i]
			}
		}
	}
	return r, nil
}
