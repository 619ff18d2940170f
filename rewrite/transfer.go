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
	}
	if reason != ReasonNone {
		return c.refuse(&Refusal{Feature: x.Asks[0].By, Because: reason}, reason)
	}
	// A list of columns that is no key is the server's to judge, except that there
	// is no DELETE to give it.
	if x.key(in) == nil && (x.ConflictTarget == nil || x.Mode == LoadMerge) {
		return c.refuse(&Refusal{Answer: pgerr.New(pgerr.InvalidColumnReference,
			"there is no unique or exclusion constraint matching the ON CONFLICT specification")}, ReasonConflictKey)
	}
	if x.OperationColumn != "" && slices.Contains(in.Columns, x.OperationColumn) {
		return c.refuse(&Refusal{Problem: "COPY option OPERATION_COLUMN must not be one of the table's columns"}, ReasonBadExtension)
	}
	if k := x.key(in); k != nil && x.ordered() && slices.ContainsFunc(k.Columns, func(n string) bool { return !slices.Contains(in.Columns, n) }) {
		return c.refuse(&Refusal{Problem: "COPY options LAST_WINS and MODE merge need every column of the key in the data"}, ReasonBadExtension)
	}
	return Decision{Way: Stage, Method: MethodTable, Reason: ReasonUpsert, Ext: x}
}

// ordered says whether the order of the rows matters.
func (x *Extensions) ordered() bool { return x.LastWins || x.Mode == LoadMerge }

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
	case in.Truncate:
		return "TRUNCATE TABLE " + pgident.Qualified(in.Schema, in.Table)
	}
	return "DELETE FROM " + pgident.Qualified(in.Schema, in.Table)
}

// Transfer is the SQL of MethodTable, each text one statement without a
// semicolon.
type Transfer struct {
	// Create makes the temporary table, Copy fills it.
	Create, Copy string
	// Check, for a merge, returns the first row that can't be obeyed: its number,
	// its operation, and whether that is a good one. Else it is empty, as Delete is.
	Check  string
	Delete string
	Insert string
	Drop   string
}

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
	for _, sql := range []string{t.Create, t.Copy, t.Check, t.Delete, t.Insert, t.Drop} {
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
	table string // the temporary one, qualified
	key   []string
	// ordinal and last are columns of ours: the place of a row in the data, and
	// its place among those with its key, counted from the last.
	ordinal, last string
	nullsEqual    bool
}

// The words of an operation's column, in capitals.
const (
	operations = `pg_catalog.upper(%s) OPERATOR(pg_catalog.=) ANY ('{I,U,D,INSERT,UPDATE,DELETE}'::pg_catalog.text[])`
	isDelete   = `pg_catalog.upper(%s) OPERATOR(pg_catalog.=) ANY ('{D,DELETE}'::pg_catalog.text[])`
)

// Transfer returns the SQL by which the rows of a statement of MethodTable go
// through a temporary table of that name.
func (c *CopyStatement) Transfer(in *Inspection, x *Extensions, name string) Transfer {
	t := &transfer{c: c, in: in, x: x, table: pgident.Qualified("pg_temp", name), key: x.ConflictTarget}
	if k := x.key(in); k != nil {
		t.nullsEqual = k.NullsEqual
		if t.key == nil {
			t.key = k.Columns
		}
	}
	data := x.DataColumns(in)
	t.ordinal = fresh("pgbulkproxy_row", data)
	t.last = fresh("pgbulkproxy_last", data)
	out := Transfer{
		Create: t.create(data),
		Copy:   c.Native(&Inspection{Schema: "pg_temp", Table: name, Columns: data}, false),
		Insert: t.insert(),
		Drop:   "DROP TABLE " + t.table,
	}
	if x.Mode == LoadMerge {
		out.Check, out.Delete = t.check(), t.delete()
	}
	return out
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
		if i := slices.Index(t.in.Columns, name); i >= 0 {
			definition = t.in.Definitions[i]
		}
		columns = append(columns, pgident.Quote(name)+" "+definition)
	}
	if t.x.ordered() {
		columns = append(columns, pgident.Quote(t.ordinal)+" pg_catalog.int8 GENERATED ALWAYS AS IDENTITY")
	}
	return "CREATE TEMPORARY TABLE " + t.table + " (" + strings.Join(columns, ", ") + ") ON COMMIT DROP"
}

// source is what stands behind FROM for the rows that count.
func (t *transfer) source() string {
	if !t.x.ordered() {
		return t.table
	}
	return "(SELECT *, pg_catalog.row_number() OVER (PARTITION BY " + pgident.List(t.key) + " ORDER BY " +
		pgident.Quote(t.ordinal) + " DESC) AS " + pgident.Quote(t.last) + " FROM " + t.table + ") AS pgbulkproxy_rows"
}

// counts is the condition for a row of source to count: it is the last of its
// key. Keys with NULL are different from each other, but for an index that says
// otherwise.
func (t *transfer) counts() string {
	all := pgident.Quote(t.last) + " OPERATOR(pg_catalog.=) 1"
	if t.nullsEqual {
		return all
	}
	for _, k := range t.key {
		all += " OR " + pgident.Quote(k) + " IS NULL"
	}
	return "(" + all + ")"
}

func (t *transfer) insert() string {
	columns := pgident.List(t.in.Columns)
	var b strings.Builder
	b.WriteString("INSERT INTO " + pgident.Qualified(t.in.Schema, t.in.Table) + " (" + columns + ")")
	if t.in.IdentityAlways {
		b.WriteString(" OVERRIDING SYSTEM VALUE")
	}
	b.WriteString(" SELECT " + columns + " FROM " + t.source())
	if t.x.ordered() {
		b.WriteString(" WHERE " + t.counts())
		if t.x.Mode == LoadMerge {
			b.WriteString(" AND NOT " + fmt.Sprintf(isDelete, t.operation()))
		}
		b.WriteString(" ORDER BY " + pgident.Quote(t.ordinal))
	}
	b.WriteString(" ON CONFLICT (" + pgident.List(t.key) + ") DO ")
	if t.x.OnConflict == ConflictNothing {
		b.WriteString("NOTHING")
		return b.String()
	}
	var set []string
	for _, name := range t.in.Columns {
		if !slices.Contains(t.key, name) {
			set = append(set, name)
		}
	}
	if len(set) == 0 {
		set = []string{t.key[0]} // a row of nothing but its key is updated to itself, and counted
	}
	for i, name := range set {
		set[i] = pgident.Quote(name) + " = EXCLUDED." + pgident.Quote(name)
	}
	b.WriteString("UPDATE SET " + strings.Join(set, ", "))
	return b.String()
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
		" WHERE NOT (" + good + ") OR (" + strings.Join(null, " OR ") + ") AND " + fmt.Sprintf(isDelete, op) +
		" ORDER BY " + pgident.Quote(t.ordinal) + " LIMIT 1"
}

func (t *transfer) delete() string {
	only := ""
	if t.in.Kind == "r" {
		only = "ONLY " // INSERT knows nothing of child tables either
	}
	k := t.x.key(t.in)
	match := []string{"pgbulkproxy_rows." + pgident.Quote(t.last) + " OPERATOR(pg_catalog.=) 1",
		fmt.Sprintf(isDelete, "pgbulkproxy_rows."+t.operation())}
	for i, name := range k.Columns {
		match = append(match, "pgbulkproxy_target."+pgident.Quote(name)+
			" OPERATOR("+pgident.Quote(k.Equals[i].Schema)+"."+k.Equals[i].Name+") pgbulkproxy_rows."+pgident.Quote(name))
	}
	return "DELETE FROM " + only + pgident.Qualified(t.in.Schema, t.in.Table) + " AS pgbulkproxy_target USING " +
		t.source() + " WHERE " + strings.Join(match, " AND ")
}
