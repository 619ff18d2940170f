package routing

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// EnableOptions are Enable's.
type EnableOptions struct {
	// AllowDuplicates accepts unique keys without the routing column: two rows of
	// the same key may then stand in the two tables.
	AllowDuplicates bool
}

// Enabled is what Enable has found and made.
type Enabled struct {
	Names
	Column, AuxColumn string
	// MadeAux, MadeRoutes, MadeView and Registered: they were not there before.
	MadeAux, MadeRoutes, MadeView, Registered bool
}

// Enable gives a table an auxiliary table, a routing table and a view over
// both, or checks what is there and adds what is missing, in one transaction; it
// changes neither rows nor the main table. What it can't make exactly, and a
// pair that differs, is an error. Doing it again brings privileges up to date.
//
// Schema pgbulk must have what InstallSQL makes.
func Enable(ctx context.Context, conn *pgx.Conn, t MigrateTarget, o EnableOptions) (*Enabled, error) {
	if err := Manages(conn); err != nil {
		return nil, err
	}
	names, err := lookUp(ctx, conn, t.Table)
	if err != nil {
		return nil, err
	}
	if len(names.Table) > rewrite.MaxRoutedName {
		return nil, pgerr.New(pgerr.NameTooLong, "table %s cannot be routed: its name has %d bytes, %d are allowed", names.Main(), len(names.Table), rewrite.MaxRoutedName).
			With('D', "The names of its companions would be cut to its own.")
	}
	e := &enabling{conn: conn, target: t, opts: o, done: &Enabled{Names: names}}
	if err := transaction(ctx, conn, func() error { return e.run(ctx) }); err != nil {
		return nil, err
	}
	return e.done, nil
}

// enabling is one run of Enable.
type enabling struct {
	conn   *pgx.Conn
	target MigrateTarget
	opts   EnableOptions
	done   *Enabled
	in     *rewrite.Inspection
	main   *tableFacts
	oid    uint32 // of the main table
}

func (e *enabling) run(ctx context.Context) error {
	n := e.done.Names
	// Two at once wait for each other, and nobody alters the table meanwhile.
	if err := execAll(ctx, e.conn, []string{"LOCK TABLE ONLY " + n.Main() + " IN SHARE UPDATE EXCLUSIVE MODE"}); err != nil {
		return err
	}
	oid, err := oidOf(ctx, e.conn, n.Main())
	if err != nil {
		return err
	}
	e.oid = oid
	if e.main, err = factsOf(ctx, e.conn, oid); err != nil {
		return err
	}
	if unfit := e.main.unfit(); len(unfit) > 0 {
		return pgerr.New(pgerr.FeatureNotSupported, "table %s cannot be routed: it %s", n.Main(), strings.Join(unfit, "; it "))
	}
	if err := e.makePair(ctx); err != nil {
		return err
	}
	if err := e.check(ctx); err != nil {
		return err
	}
	return e.open(ctx)
}

// makePair makes the tables that are missing.
func (e *enabling) makePair(ctx context.Context) error {
	n := e.done.Names
	aux, err := oidOf(ctx, e.conn, n.Aux())
	if err != nil {
		return err
	}
	routes, err := oidOf(ctx, e.conn, n.Routes())
	if err != nil {
		return err
	}
	var sql []string
	if e.done.MadeAux = aux == 0; e.done.MadeAux {
		if len(e.main.Triggers) > 0 {
			return pgerr.New(pgerr.FeatureNotSupported, "table %s has triggers, which an auxiliary table would need too", n.Main()).
				With('H', fmt.Sprintf("Make %s with the same triggers yourself; then this command checks it.", n.Aux()))
		}
		sql = auxSQL(n, e.main)
		spread, err := spreadSQL(ctx, e.conn, n, e.oid)
		if err != nil {
			return err
		}
		if spread != "" { // in front of foreign keys, which a local table may not have
			sql = slices.Insert(sql, 1, spread)
		}
	}
	if e.done.MadeRoutes = routes == 0; e.done.MadeRoutes {
		sql = append(sql, "CREATE TABLE "+n.Routes()+` (routing_id text COLLATE "C" PRIMARY KEY, store_table_name text NOT NULL)`,
			"ALTER TABLE "+n.Routes()+" OWNER TO "+pgident.Quote(e.main.Owner))
	}
	return execAll(ctx, e.conn, sql)
}

// auxSQL makes an auxiliary table like the main one.
func auxSQL(n Names, main *tableFacts) []string {
	create := "CREATE TABLE "
	if main.Persistence == "u" {
		create = "CREATE UNLOGGED TABLE "
	}
	alter := "ALTER TABLE " + n.Aux() + " "
	sql := []string{
		create + n.Aux() + " (LIKE " + n.Main() + " INCLUDING ALL EXCLUDING IDENTITY)",
		alter + "OWNER TO " + pgident.Quote(main.Owner),
	}
	for _, c := range main.Columns {
		if c.Sequence != "" {
			sql = append(sql, alter+"ALTER COLUMN "+pgident.Quote(c.Name)+" SET DEFAULT "+c.Default)
		}
	}
	for _, k := range main.Constraints {
		if k.Type == "f" {
			sql = append(sql, alter+"ADD CONSTRAINT "+pgident.Quote(k.Name)+" "+k.Def)
		}
	}
	if len(main.Options) > 0 && main.Kind == "r" {
		var set []string
		for _, o := range main.Options {
			name, value, _ := strings.Cut(o, "=")
			set = append(set, pgident.Quote(name)+" = "+pgident.Literal(value))
		}
		sql = append(sql, alter+"SET ("+strings.Join(set, ", ")+")")
	}
	return sql
}

// check compares the pair.
func (e *enabling) check(ctx context.Context) (err error) {
	if e.in, err = inspect(ctx, e.conn, e.done.Names, e.target.Column); err != nil {
		return err
	}
	r := e.in.Routing
	if r == nil {
		return pgerr.New(pgerr.InternalError, "the routing table of %s is not found", e.done.Main())
	}
	if problem := r.Err(); problem != nil {
		if problem.Code() == pgerr.UndefinedColumn {
			return problem.With('H', "Name the column with --column, and to the proxies by the key routing.column.")
		}
		return problem.With('H', "")
	}
	e.done.Column, e.done.AuxColumn = r.Column, r.AuxColumn
	aux, err := factsOf(ctx, e.conn, r.Aux.OID)
	if err != nil {
		return err
	}
	p := pairColumns{r.Column, r.AuxColumn}
	if unfit := aux.unfit(); len(unfit) > 0 {
		return pgerr.New(pgerr.FeatureNotSupported, "the auxiliary table %s cannot be used: it %s", r.Aux.Name(), strings.Join(unfit, "; it "))
	}
	if diff := differences(e.main, aux, p); len(diff) > 0 {
		return pgerr.New(pgerr.PrerequisiteState, "tables %s and %s do not match: %s", e.done.Main(), r.Aux.Name(), strings.Join(diff, "; ")).
			With('H', "Alter one of them, or drop the auxiliary table if it is empty: then it is made anew.")
	}
	if keys := apart(e.main, p); len(keys) > 0 && !e.opts.AllowDuplicates {
		return pgerr.New(pgerr.PrerequisiteState, "a key of table %s does not contain the routing column %s: %s", e.done.Main(), pgident.Quote(p.main), strings.Join(keys, "; ")).
			With('D', "The same key could stand in both tables, in rows of different groups, and nothing would see it.").
			With('H', "Add the column to the key, or accept that with --allow-duplicates-across.")
	}
	return e.badRoute(ctx)
}

// badRoute looks for routes that name neither table.
func (e *enabling) badRoute(ctx context.Context) error {
	r, err := enter(ctx, e.conn, e.in)
	if err != nil {
		return err
	}
	if bad := r.Err(e.in); bad != nil {
		return bad
	}
	return nil
}

// open gives every role the privileges that it has on the main table, makes the
// view and registers the pair.
func (e *enabling) open(ctx context.Context) error {
	if err := e.openSchema(ctx); err != nil {
		return err
	}
	n, aux := e.done.Names, e.in.Routing.Aux.Name()
	p := pairColumns{e.done.Column, e.done.AuxColumn}
	view, err := oidOf(ctx, e.conn, n.View())
	if err != nil {
		return err
	}
	e.done.MadeView = view == 0
	if err := execAll(ctx, e.conn, viewSQL(n, aux, e.main, p, e.in.Version)); err != nil {
		return err
	}
	var sql []string
	for name, made := range map[string]bool{aux: e.done.MadeAux, n.View(): e.done.MadeView, n.Routes(): e.done.MadeRoutes} {
		if made {
			revoke, err := e.revoke(ctx, name)
			if err != nil {
				return err
			}
			sql = append(sql, revoke...)
		}
	}
	for _, g := range e.main.Grants {
		if g.Privilege == "SELECT" {
			sql = append(sql, g.on(n.View(), func(s string) string { return s }))
		}
		sql = append(sql, g.on(aux, p.toAux))
	}
	for _, role := range e.main.readers() {
		sql = append(sql, "GRANT SELECT ON TABLE "+n.Routes()+" TO "+grantee(role))
	}
	for _, c := range e.main.Columns {
		for _, role := range e.main.grantees("INSERT") {
			if c.Sequence != "" {
				// An identity column asks for no right to its sequence, a default does.
				sql = append(sql, "GRANT USAGE ON SEQUENCE "+c.Sequence+" TO "+grantee(role))
			}
		}
	}
	if err := execAll(ctx, e.conn, sql); err != nil {
		return err
	}
	tag, err := e.conn.Exec(ctx, "INSERT INTO pgbulk.routed (main) VALUES ($1) ON CONFLICT (main) DO NOTHING", e.in.OID)
	if err != nil {
		return fmt.Errorf("register the pair: %w", err)
	}
	e.done.Registered = tag.RowsAffected() == 1
	// The row has to be there before a snapshot that is to see it change.
	_, err = e.conn.Exec(ctx, "INSERT INTO pgbulk.routing_generation (main) VALUES ($1) ON CONFLICT (main) DO NOTHING", e.in.OID)
	return err
}

// revoke takes away what default privileges have given to others.
func (e *enabling) revoke(ctx context.Context, table string) ([]string, error) {
	oid, err := oidOf(ctx, e.conn, table)
	if err != nil {
		return nil, err
	}
	f, err := factsOf(ctx, e.conn, oid)
	if err != nil {
		return nil, err
	}
	var sql []string
	for _, g := range f.Grants {
		if g.Grantee == f.Owner && table != e.in.Routing.Aux.Name() {
			continue // of the auxiliary table the owner gets what he has on the main one
		}
		sql = append(sql, "REVOKE "+g.Privilege+" ON TABLE "+table+" FROM "+grantee(g.Grantee))
	}
	return sql, nil
}

// openSchema lets the table's roles into the schema of the routing table.
func (e *enabling) openSchema(ctx context.Context) error {
	var sql []string
	for _, role := range e.main.readers() {
		name, open := role, false
		if role == "" {
			name = "public"
		}
		if err := e.conn.QueryRow(ctx, "SELECT pg_catalog.has_schema_privilege($1, $2, 'USAGE')", name, rewrite.RoutingSchema).Scan(&open); err != nil {
			return fmt.Errorf("look at schema %s: %w", rewrite.RoutingSchema, err)
		}
		if !open {
			sql = append(sql, "GRANT USAGE ON SCHEMA "+pgident.Quote(rewrite.RoutingSchema)+" TO "+grantee(role))
		}
	}
	if len(sql) == 0 {
		return nil
	}
	var function *string
	err := e.conn.QueryRow(ctx, `SELECT min(p.oid::regprocedure::text) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND has_function_privilege('public', p.oid, 'EXECUTE')`, rewrite.RoutingSchema).Scan(&function)
	if err != nil {
		return fmt.Errorf("look at schema %s: %w", rewrite.RoutingSchema, err)
	}
	if function != nil {
		return pgerr.New(pgerr.InsufficientPrivilege, "roles that may use table %s may not use schema %s, and opening it would let them run %s", e.done.Main(), rewrite.RoutingSchema, *function).
			With('H', "REVOKE EXECUTE ON FUNCTION "+*function+" FROM PUBLIC, if it returns secrets; or GRANT USAGE on the schema yourself.")
	}
	return execAll(ctx, e.conn, sql)
}

// viewSQL makes the view over both tables, with the main table's columns.
func viewSQL(n Names, aux string, main *tableFacts, p pairColumns, version int) []string {
	var own, other []string
	for _, c := range main.Columns {
		own = append(own, pgident.Quote(c.Name))
		other = append(other, pgident.Quote(p.toAux(c.Name)))
	}
	with := ""
	if version >= 150000 {
		with = " WITH (security_invoker = true)"
	}
	return []string{
		"CREATE OR REPLACE VIEW " + n.View() + with + " AS SELECT " + strings.Join(own, ", ") + " FROM " + n.Main() +
			" UNION ALL SELECT " + strings.Join(other, ", ") + " FROM " + aux,
		"ALTER VIEW " + n.View() + " OWNER TO " + pgident.Quote(main.Owner),
	}
}

// enter takes the table's lock in share mode and reads the routes.
func enter(ctx context.Context, conn *pgx.Conn, in *rewrite.Inspection) (*rewrite.Routes, error) {
	results, err := conn.PgConn().Exec(ctx, in.Routing.EnterSQL(in)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read the routes of %s: %w", in.Routing.Routes, err)
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 {
		return nil, fmt.Errorf("read the routes of %s: no row", in.Routing.Routes)
	}
	return rewrite.ParseRoutes(in, string(last.Rows[0][0]))
}
