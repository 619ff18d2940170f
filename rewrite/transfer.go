package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// needsTable says whether the rows have to be all there before the first may go
// into the table.
func (x *Extensions) needsTable() bool { return x.OnConflict != ConflictError }

// classifyTable decides on a statement with ON_CONFLICT that nothing else stands
// against.
func (c *CopyStatement) classifyTable(in *Inspection, x Extensions) Decision {
	reason := ReasonNone
	switch {
	case c.DefaultSet:
		reason = ReasonDefaultOption // the temporary table has no defaults
	case len(in.Columns) == 0:
		reason = ReasonNoColumns
	case x.Mode == LoadMerge && in.Sharding != nil && in.Sharding.Method != "h":
		reason = ReasonShardedMethod
	default:
		reason = in.byHandReason()
	}
	if reason != ReasonNone {
		return c.refuse(&Refusal{Feature: x.Asks[0].By, Because: reason}, reason)
	}
	// A list of columns that is no key is the server's to judge, except where there
	// is no ON CONFLICT to give it.
	if x.key(in) == nil && (x.ConflictTarget == nil || x.Mode == LoadMerge || in.lacksConflict()) {
		return c.refuse(&Refusal{Answer: pgerr.New(pgerr.InvalidColumnReference,
			"there is no unique or exclusion constraint matching the ON CONFLICT specification")}, ReasonConflictKey)
	}
	if x.OperationColumn != "" && slices.Contains(in.Columns, x.OperationColumn) {
		return c.refuse(&Refusal{Problem: "COPY option OPERATION_COLUMN must not be one of the table's columns"}, ReasonBadExtension)
	}
	if k := x.key(in); k != nil && (x.ordered() || in.lacksConflict()) && slices.ContainsFunc(k.Columns, func(n string) bool { return !slices.Contains(in.Columns, n) }) {
		problem := "COPY options LAST_WINS, COMPAT and MODE merge need every column of the key in the data"
		if !x.ordered() {
			problem = "without ON CONFLICT of the server's own " + x.Asks[0].By + " needs every column of the key in the data"
		}
		return c.refuse(&Refusal{Problem: problem}, ReasonBadExtension)
	}
	return Decision{Way: Stage, Method: MethodTable, Reason: ReasonUpsert, Ext: x}
}

// ordered says whether the order of the rows matters.
func (x *Extensions) ordered() bool { return x.LastWins || x.Compat || x.Mode == LoadMerge }

// DataColumns are the columns of the client's data: the table's, and the one
// that names the operation.
func (x *Extensions) DataColumns(in *Inspection) []string {
	if x.OperationColumn == "" {
		return in.Columns
	}
	at := x.OperationAt
	if at < 0 || at > len(in.Columns) {
		at = len(in.Columns)
	}
	return slices.Insert(slices.Clone(in.Columns), at, x.OperationColumn)
}

// EmptySQL is the statement with which MODE overwrite begins, or "".
func (x *Extensions) EmptySQL(in *Inspection) string {
	switch {
	case x.Mode != LoadOverwrite:
		return ""
	case in.Routing == nil && in.Truncate:
		return "TRUNCATE TABLE " + pgident.Qualified(in.Schema, in.Table)
	case in.Routing == nil:
		return "DELETE FROM " + pgident.Qualified(in.Schema, in.Table)
	case in.Truncate && in.Routing.Table.Truncate:
		return "TRUNCATE TABLE " + pgident.Qualified(in.Schema, in.Table) + ", " + in.Routing.Aux.Name()
	}
	return "DELETE FROM " + pgident.Qualified(in.Schema, in.Table) + "; DELETE FROM " + in.Routing.Aux.Name()
}

// Transfer is the SQL of MethodTable, each text one statement without a
// semicolon.
type Transfer struct {
	// Lock keeps out others who write, where there is no ON CONFLICT; else it is
	// empty, as Twice and Updates are.
	Lock string
	// Create makes the temporary table, Copy fills it.
	Create, Copy string
	// Twice returns a row where a key is in the data twice.
	Twice string
	// Check, for a merge, returns the first row that can't be obeyed: its number,
	// its operation, and whether that is a good one. Else it is empty, as Deletes is.
	Check string
	// Wait waits for groups that move; empty where none does.
	Wait string
	// Deletes and Inserts are one for each table that rows go to, and so are Updates.
	// Counts says that the Inserts return how many rows they have inserted, as a row:
	// their tag lies.
	Deletes, Updates, Inserts []string
	Counts                    bool
	Drop                      string
}

// Move is what takes the rows from the temporary table to where they belong,
// one simple Query.
func (t *Transfer) Move() string {
	var all []string
	if t.Wait != "" {
		all = append(all, t.Wait)
	}
	return strings.Join(append(slices.Concat(all, t.Changes()), t.Drop), "; ")
}

// Changes are the statements that write into the client's tables, in order.
func (t *Transfer) Changes() []string { return slices.Concat(t.Deletes, t.Updates, t.Inserts) }

// PlanOf returns the SQL that the session gets for a statement that goes by
// COPY, in order, for people to read.
func (c *CopyStatement) PlanOf(in *Inspection, d *Decision) []string {
	var out []string
	if d.Ext.IgnoreErrors {
		c = c.WithoutErrors()
	}
	if empty := d.Ext.EmptySQL(in); empty != "" {
		out = append(out, empty)
	}
	if d.Method != MethodTable {
		return append(out, c.Native(in, false))
	}
	t := c.Transfer(in, &d.Ext, "pgbulkproxy_load")
	for _, sql := range slices.Concat([]string{t.Lock, t.Create, t.Copy, t.Check, t.Twice, t.Wait}, t.Changes(), []string{t.Drop}) {
		if sql != "" {
			out = append(out, sql)
		}
	}
	return out
}

// transfer is a Transfer under construction.
type transfer struct {
	c     *CopyStatement
	in    *Inspection
	x     *Extensions
	name  string
	table string // the temporary one, qualified
	key   []string
	// ordinal and last are columns of ours: the place of a row in the data, and
	// its place among those with its key, counted from the last; with Compat from the
	// first.
	ordinal, last string
	nullsEqual    bool
	// byHand: there is no ON CONFLICT.
	byHand bool
	// routed: rows go to the auxiliary table, too; partitioned: the temporary table
	// has a part for each.
	routed, partitioned bool
	// drawn are further columns of the temporary table, whose defaults are taken
	// there: of a routed table only.
	drawn []RoutedColumn
}

// place is a table that rows go to.
type place struct {
	name, kind string
	// rename gives a column's name there.
	rename func(string) string
	// rows is the condition for a row to go there, "" for all.
	rows string
	aux  bool
}

// places are the tables that rows go to.
func (t *transfer) places() []place {
	own := place{name: pgident.Qualified(t.in.Schema, t.in.Table), kind: t.in.Kind, rename: func(n string) string { return n }}
	if !t.routed {
		return []place{own}
	}
	r := t.in.Routing
	aux := place{aux: true, name: r.Aux.Name(), kind: r.Table.Kind, rows: r.ToAux(t.in, t.routing()), rename: func(n string) string {
		if n == r.Column {
			return r.AuxColumn
		}
		return n
	}}
	own.rows = "NOT " + aux.rows
	return []place{own, aux}
}

// routing is the routing column of the rows.
func (t *transfer) routing() string { return rowsAlias + "." + pgident.Quote(t.in.Routing.Column) }

// rowsAlias names the rows in the statements that take them from the temporary
// table.
const rowsAlias = "pgbulkproxy_rows"

// The words of an operation's column, in capitals.
const (
	operations = `pg_catalog.upper(%s) OPERATOR(pg_catalog.=) ANY ('{I,U,D,INSERT,UPDATE,DELETE}'::pg_catalog.text[])`
	isDelete   = `pg_catalog.upper(%s) OPERATOR(pg_catalog.=) ANY ('{D,DELETE}'::pg_catalog.text[])`
)

// isDeleted is the condition that an operation is a delete.
func isDeleted(operation string) string { return fmt.Sprintf(isDelete, operation) }

// Transfer returns the SQL by which the rows of a statement of MethodTable go
// through a temporary table of that name.
func (c *CopyStatement) Transfer(in *Inspection, x *Extensions, name string) Transfer {
	t := c.transfer(in, x, name, in.Routed())
	t.partitioned = t.parts()
	return t.plan(name)
}

// transfer is where a Transfer begins; routed says that the rows may go to the
// auxiliary table.
func (c *CopyStatement) transfer(in *Inspection, x *Extensions, name string, routed bool) *transfer {
	t := &transfer{c: c, in: in, x: x, name: name, table: pgident.Qualified("pg_temp", name), key: x.ConflictTarget, routed: routed,
		byHand: x.needsTable() && in.lacksConflict()}
	if k := x.key(in); k != nil {
		t.nullsEqual = k.NullsEqual
		if t.key == nil {
			t.key = k.Columns
		}
	}
	data := x.DataColumns(in)
	t.ordinal = fresh("pgbulkproxy_row", data)
	t.last = fresh("pgbulkproxy_last", data)
	if routed {
		t.drawn = in.Routing.drawn(data)
	}
	return t
}

func (t *transfer) plan(name string) Transfer {
	in, data := t.in, t.x.DataColumns(t.in)
	create := t.create(data)
	if t.partitioned {
		create = t.partition(create)
	}
	out := Transfer{
		Create: create,
		Copy:   t.c.Native(&Inspection{Schema: "pg_temp", Table: name, Columns: data}, false),
		Drop:   "DROP TABLE " + t.table,
	}
	out.Counts = in.miscounts(t.x.OnConflict)
	for _, p := range t.places() {
		insert := t.insert(p)
		if out.Counts {
			insert = counting(insert)
		}
		out.Inserts = append(out.Inserts, insert)
		if t.x.Mode == LoadMerge {
			out.Deletes = append(out.Deletes, t.delete(p))
		}
	}
	if t.x.Mode == LoadMerge {
		out.Check = t.check()
	}
	t.planByHand(&out)
	if t.routed {
		out.Wait = in.Routing.WaitSQL(in, in.Routing.Found.Moving, t.table+" "+rowsAlias, t.routing())
	}
	return out
}

// sorted says that the rows have to be numbered: triggers see their order, which
// a join with the routes need not keep.
func (t *transfer) sorted() bool {
	return t.numbered() || t.routed && (t.in.Triggers || t.in.Routing.Table.Triggers)
}

// fresh returns a name that none of the columns has.
func fresh(name string, columns []string) string {
	for slices.Contains(columns, name) {
		name += "_"
	}
	return name
}

func (t *transfer) create(data []string) string {
	var columns []string
	for _, name := range data {
		definition := `pg_catalog.text COLLATE pg_catalog."C"`
		if i := slices.Index(t.in.Columns, name); i >= 0 && t.routed {
			definition = t.in.Routing.definition(name, t.c.DefaultSet)
		} else if i >= 0 {
			definition = t.in.Definitions[i]
		}
		columns = append(columns, pgident.Quote(name)+" "+definition)
	}
	for _, c := range t.drawn {
		columns = append(columns, pgident.Quote(c.Name)+" "+c.definition(true))
	}
	if t.sorted() {
		columns = append(columns, pgident.Quote(t.ordinal)+" "+t.in.Dialect().ordinalType())
	}
	create := "CREATE TEMPORARY TABLE " + t.table + " (" + strings.Join(columns, ", ") + ") ON COMMIT DROP"
	for _, c := range t.drawn {
		data = append(data[:len(data):len(data)], c.Name)
	}
	if t.byHand {
		return create + t.in.distributed(data)
	}
	return create + t.in.placed(data)
}

// source is what stands behind FROM for the rows that count.
func (t *transfer) source() string {
	switch {
	case !t.numbered() && (t.routed || t.byHand):
		return t.table + " " + rowsAlias
	case !t.numbered():
		return t.table
	}
	direction := " DESC"
	if t.firstWins() {
		direction = ""
	}
	return "(SELECT *, pg_catalog.row_number() OVER (PARTITION BY " + pgident.List(t.key) + " ORDER BY " +
		pgident.Quote(t.ordinal) + direction + ") AS " + pgident.Quote(t.last) + " FROM " + t.table + ") AS " + rowsAlias
}

// counts is the condition for a row of source to count: it is the last of its
// key, or the first. Keys with NULL are different from each other, but for an index that says
// otherwise.
func (t *transfer) counts() string {
	all := pgident.Quote(t.last) + " OPERATOR(pg_catalog.=) 1"
	if t.x.Compat {
		for _, k := range t.key {
			all += " AND " + pgident.Quote(k) + " IS NOT NULL"
		}
		return all
	}
	if t.nullsEqual {
		return all
	}
	for _, k := range t.key {
		all += " OR " + pgident.Quote(k) + " IS NULL"
	}
	return "(" + all + ")"
}

// insert takes the rows of one table to it.
func (t *transfer) insert(p place) string {
	columns := t.in.Columns
	for _, c := range t.drawn {
		columns = append(columns[:len(columns):len(columns)], c.Name)
	}
	var b strings.Builder
	b.WriteString("INSERT INTO " + p.name + " (" + p.list(columns) + ")")
	if t.in.IdentityAlways || len(t.drawn) > 0 {
		b.WriteString(t.in.Dialect().overriding())
	}
	if t.partitioned {
		b.WriteString(" " + t.partRows(pgident.List(columns), p) + t.conflict(p))
		return b.String()
	}
	b.WriteString(" SELECT " + pgident.List(columns) + " FROM " + t.source())
	var where []string
	if t.numbered() {
		where = append(where, t.counts())
	}
	if t.byHand {
		where = append(where, t.missing(p))
	}
	if t.x.Mode == LoadMerge {
		where = append(where, "NOT "+isDeleted(t.operation()))
	}
	if p.rows != "" {
		where = append(where, p.rows)
	}
	if len(where) > 0 {
		b.WriteString(" WHERE " + strings.Join(where, " AND "))
	}
	if t.sorted() && !t.byHand {
		b.WriteString(" ORDER BY " + pgident.Quote(t.ordinal))
	}
	b.WriteString(t.conflict(p))
	return b.String()
}

// list writes a list of columns as the table has them.
func (p place) list(columns []string) string {
	names := make([]string, len(columns))
	for i, n := range columns {
		names[i] = p.rename(n)
	}
	return pgident.List(names)
}

// conflict is the clause ON CONFLICT, or "".
func (t *transfer) conflict(p place) string {
	if t.x.OnConflict == ConflictError || t.byHand {
		return ""
	}
	clause := " ON CONFLICT (" + p.list(t.key) + ") DO "
	if t.x.OnConflict == ConflictNothing {
		return clause + "NOTHING"
	}
	set := t.updated()
	for i, name := range set {
		set[i] = pgident.Quote(p.rename(name)) + " = EXCLUDED." + pgident.Quote(p.rename(name))
	}
	return clause + "UPDATE SET " + strings.Join(set, ", ")
}

// updated are the columns that an upsert sets.
func (t *transfer) updated() []string {
	var set []string
	for _, name := range t.in.Columns {
		if !slices.Contains(t.key, name) {
			set = append(set, name)
		}
	}
	if len(set) == 0 {
		return []string{t.key[0]} // a row of nothing but its key is updated to itself, and counted
	}
	return set
}

func (t *transfer) operation() string { return pgident.Quote(t.x.OperationColumn) }

// check finds an operation that is none, and a DELETE by a key with NULL, which
// would find no row.
func (t *transfer) check() string {
	op := t.operation()
	var null []string
	for _, k := range t.key {
		null = append(null, pgident.Quote(k)+" IS NULL")
	}
	good := "(" + fmt.Sprintf(operations, op) + ") IS TRUE"
	return "SELECT " + pgident.Quote(t.ordinal) + ", " + op + ", " + good + " FROM " + t.table +
		" WHERE NOT (" + good + ") OR (" + strings.Join(null, " OR ") + ") AND " + isDeleted(op) +
		" ORDER BY " + pgident.Quote(t.ordinal) + " LIMIT 1"
}

// delete obeys the operations D in one table: whatever table a row is in, its key
// names it.
func (t *transfer) delete(p place) string {
	return "DELETE FROM " + p.only() + p.name + " AS " + targetAlias + " USING " + t.source() + " WHERE " + rowsAlias + "." +
		pgident.Quote(t.last) + " OPERATOR(pg_catalog.=) 1 AND " + isDeleted(rowsAlias+"."+t.operation()) + " AND " + t.matches(p)
}
