package rewrite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// inspectRouted inspects as a session does.
func inspectRouted(t testing.TB, conn *pgconn.PgConn, table, column string) *Inspection {
	t.Helper()
	in := inspect(t, conn, mustParse(t, "COPY "+table+" FROM STDIN"))
	if in.Routing == nil {
		return in
	}
	if in.Routing.Err() == nil {
		t.Errorf("%s: loads would go on before the routing is known", table)
	}
	row := strings.Join(run(t, conn, in.RoutingSQL()), "")
	if err := in.AddRouting(row, column); err != nil {
		t.Fatal(err)
	}
	return in
}

// enter returns what EnterSQL finds.
func enter(t testing.TB, conn *pgconn.PgConn, in *Inspection) *Routes {
	t.Helper()
	rows := run(t, conn, in.Routing.EnterSQL(in))
	r, err := ParseRoutes(in, rows[len(rows)-1])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const routesOf = `(routing_id text PRIMARY KEY, store_table_name text NOT NULL)`

var (
	long49 = strings.Repeat("l", 49) // its auxiliary table's name is cut
	long55 = strings.Repeat("m", 55) // both are
	long56 = strings.Repeat("n", 56) // routed no more
)

func routedTables() string {
	pair := func(schema, table, columns string) string {
		return fmt.Sprintf("CREATE TABLE %s (%s); CREATE TABLE %s (%s); CREATE TABLE %s %s;",
			pgident.Qualified(schema, table), columns, pgident.Qualified(schema, table+AuxSuffix), columns,
			pgident.Qualified(RoutingSchema, table+RoutingSuffix), routesOf)
	}
	return `CREATE SCHEMA relyt_sys; CREATE SCHEMA s; CREATE SCHEMA "Odd ""Schema";
CREATE TABLE plain (group_id int);
` + pair("public", "byid", "a int, group_id text, routing_id bigint") + pair("public", "bygroup", "group_id uuid, a int") +
		pair("public", "named", "tenant varchar(10), a int") + pair("Odd \"Schema", `Odd 'table\`, `"group_id" text`) +
		pair("public", long49, "group_id text") + pair("public", long55, "group_id text") + pair("public", long56, "group_id text") +
		pair("public", "bystamp", "group_id timestamptz") + pair("public", "byfloat", "group_id float8") +
		pair("public", "byenum", "group_id e") + pair("public", "bydomain", "group_id d") + pair("public", "byreal", "group_id dr") + `
CREATE TABLE renamed (a int, group_id text, b text, gen text GENERATED ALWAYS AS (b || a) STORED);
CREATE TABLE renamed_relyt_massive_group (a int, routing_id text, b text, gen text GENERATED ALWAYS AS (b || a) STORED);
CREATE TABLE auxorder (group_id text, a int); CREATE TABLE auxorder_relyt_massive_group (a int, group_id text); CREATE TABLE relyt_sys.auxorder_relyt_routing ` + routesOf + `;
CREATE TABLE relyt_sys.renamed_relyt_routing ` + routesOf + `;
CREATE TABLE noaux (group_id text); CREATE TABLE relyt_sys.noaux_relyt_routing ` + routesOf + `;
CREATE TABLE nocol (id text); CREATE TABLE nocol_relyt_massive_group (id text); CREATE TABLE relyt_sys.nocol_relyt_routing ` + routesOf + `;
CREATE TABLE auxtype (group_id text, a int); CREATE TABLE auxtype_relyt_massive_group (group_id text, a bigint); CREATE TABLE relyt_sys.auxtype_relyt_routing ` + routesOf + `;
CREATE TABLE auxcoll (group_id text); CREATE TABLE auxcoll_relyt_massive_group (group_id text COLLATE "C"); CREATE TABLE relyt_sys.auxcoll_relyt_routing ` + routesOf + `;
CREATE TABLE auxless (group_id text, a int, b int); CREATE TABLE auxless_relyt_massive_group (group_id text, a int); CREATE TABLE relyt_sys.auxless_relyt_routing ` + routesOf + `;
CREATE TABLE auxother (group_id text, a int); CREATE TABLE auxother_relyt_massive_group (group_id text, b int); CREATE TABLE relyt_sys.auxother_relyt_routing ` + routesOf + `;
CREATE TABLE auxgen (group_id text, a int); CREATE TABLE auxgen_relyt_massive_group (group_id text, a int GENERATED ALWAYS AS (1) STORED); CREATE TABLE relyt_sys.auxgen_relyt_routing ` + routesOf + `;
CREATE TABLE auxview (group_id text); CREATE VIEW auxview_relyt_massive_group AS SELECT * FROM auxview; CREATE TABLE relyt_sys.auxview_relyt_routing ` + routesOf + `;
CREATE TABLE badroutes (group_id text); CREATE TABLE badroutes_relyt_massive_group (group_id text); CREATE TABLE relyt_sys.badroutes_relyt_routing (routing_id int, store_table_name text);
CREATE TABLE s.twin (group_id text); CREATE TABLE public.twin (group_id text); CREATE TABLE s.twin_relyt_massive_group (group_id text); CREATE TABLE relyt_sys.twin_relyt_routing ` + routesOf + `;
CREATE TABLE s.both (group_id text); CREATE TABLE public.both (group_id text); CREATE TABLE s.both_relyt_massive_group (group_id text); CREATE TABLE public.both_relyt_massive_group (group_id text); CREATE TABLE relyt_sys.both_relyt_routing ` + routesOf + `;
CREATE TABLE parted (group_id text, k int) PARTITION BY LIST (k); CREATE TABLE parted_relyt_massive_group (group_id text, k int); CREATE TABLE relyt_sys.parted_relyt_routing ` + routesOf + `;
CREATE VIEW seen AS SELECT 'a'::text AS group_id; CREATE TABLE seen_relyt_massive_group (group_id text); CREATE TABLE relyt_sys.seen_relyt_routing ` + routesOf + `;
CREATE TABLE noright (group_id text); CREATE TABLE noright_relyt_massive_group (group_id text); CREATE TABLE relyt_sys.noright_relyt_routing ` + routesOf + `;
CREATE TABLE noauxright (group_id text); CREATE TABLE noauxright_relyt_massive_group (group_id text); CREATE TABLE relyt_sys.noauxright_relyt_routing ` + routesOf + `;
CREATE TABLE allright (group_id text); CREATE TABLE allright_relyt_massive_group (group_id text); CREATE TABLE relyt_sys.allright_relyt_routing ` + routesOf + `;
CREATE TABLE hidden (group_id text); CREATE TABLE hidden_relyt_massive_group (group_id text); CREATE TABLE relyt_sys.hidden_relyt_routing ` + routesOf + `;
ALTER TABLE relyt_sys.hidden_relyt_routing ENABLE ROW LEVEL SECURITY;`
}

// routedCases are tables with what stands out in their Routing: columns and
// auxiliary table, or SQLSTATE and a part of the problem. weak is as a role that
// may INSERT, empty: the same.
var routedCases = []struct{ table, owner, weak string }{
	{`plain`, `not routed`, ``},
	{`byid (a)`, `routing_id bigint -> public.byid_relyt_massive_group routing_id`, `42501 permission denied for routing table "relyt_sys"."byid_relyt_routing"`},
	{`bygroup`, `group_id uuid -> public.bygroup_relyt_massive_group group_id`, `42501`},
	{`named`, `tenant character varying(10) -> public.named_relyt_massive_group tenant`, `42501`},
	{`renamed (b, group_id)`, `group_id text -> public.renamed_relyt_massive_group routing_id b,routing_id`, `42501`},
	{`"Odd ""Schema"."Odd 'table\"`, `group_id text -> Odd "Schema.Odd 'table\_relyt_massive_group group_id`, `not found`},
	{long49, `group_id text -> public.` + long49 + `_relyt_massive group_id`, `42501`},
	{long55, `group_id text -> public.` + long55 + `_relyt_m group_id`, `42501`},
	{long56, `not routed`, ``},
	{`bystamp`, `0A000 the text of type timestamp with time zone depends on the session`, `42501`},
	{`byfloat`, `0A000 the text of type double precision`, `42501`},
	{`byenum`, `group_id e -> public.byenum_relyt_massive_group group_id`, `42501`},
	{`bydomain`, `group_id d -> public.bydomain_relyt_massive_group group_id`, `42501`},
	{`byreal`, `0A000 the text of type dr depends`, `42501`},
	{`noaux`, `42P01 no auxiliary table "public"."noaux_relyt_massive_group"`, ``},
	{`nocol`, `42703 table "public"."nocol" has no routing column`, `42501`},
	{`auxtype`, `55000 column "a" is integer in table "public"."auxtype" and bigint in "public"."auxtype_relyt_massive_group"`, `42501`},
	{`auxcoll`, `55000 column "group_id"`, `42501`},
	{`auxless`, `55000 have 3 and 2 columns`, `42501`},
	{`auxother`, `55000 has no column "a"`, `42501`},
	{`auxgen`, `55000 and integer, generated, in`, `42501`},
	{`auxorder`, `group_id text -> public.auxorder_relyt_massive_group group_id shuffled`, `42501`},
	{`auxview`, `55000 "public"."auxview_relyt_massive_group" is no table`, ``},
	{`badroutes`, `55000 "relyt_sys"."badroutes_relyt_routing" is no table with columns`, ``},
	{`s.twin`, `group_id text -> s.twin_relyt_massive_group group_id`, `not found`},
	{`public.twin`, `not routed`, ``},
	{`s.both`, `group_id text -> s.both_relyt_massive_group group_id`, `not found`},
	{`public.both`, `group_id text -> public.both_relyt_massive_group group_id`, `42501`},
	{`parted`, `group_id text -> public.parted_relyt_massive_group group_id`, `42501`},
	{`seen`, `not routed`, ``},
	{`noright`, `group_id text -> public.noright_relyt_massive_group group_id`, `42501 permission denied for routing table`},
	{`noauxright`, `group_id text -> public.noauxright_relyt_massive_group group_id`, `42501 permission denied for auxiliary table "public"."noauxright_relyt_massive_group"`},
	{`allright`, `group_id text -> public.allright_relyt_massive_group group_id`, ``},
	{`hidden`, `group_id text -> public.hidden_relyt_massive_group group_id`, `42501 permission denied for routing table`},
}

func describeRouting(in *Inspection) string {
	r := in.Routing
	switch {
	case !in.Found:
		return "not found"
	case r == nil:
		return "not routed"
	case r.Problem != "":
		return r.Code + " " + r.Problem
	}
	text := fmt.Sprintf("%s %s -> %s.%s %s", r.Column, r.Type, r.Aux.Schema, r.Aux.Table, r.AuxColumn)
	if r.Shuffled {
		text += " shuffled"
	}
	if r.AuxColumn != r.Column {
		text += " " + strings.Join(r.Table.Columns, ",")
	}
	return text
}

func TestRoutingInspect(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db, role := pg.NewDatabase(t), pg.NewRole(t, "")
	owner := connect(t, pg, db, "postgres")
	run(t, owner, "CREATE TYPE e AS ENUM ('x'); CREATE DOMAIN d AS text; CREATE DOMAIN dr AS real")
	run(t, owner, routedTables())
	run(t, owner, "GRANT INSERT ON ALL TABLES IN SCHEMA public TO "+role+"; REVOKE INSERT ON noauxright_relyt_massive_group FROM "+role+
		"; GRANT USAGE ON SCHEMA relyt_sys TO "+role+
		"; GRANT SELECT ON relyt_sys.allright_relyt_routing, relyt_sys.noauxright_relyt_routing, relyt_sys.hidden_relyt_routing TO "+role)
	weak := connect(t, pg, db, role)
	for _, tc := range routedCases {
		check := func(who string, conn *pgconn.PgConn, want string) {
			got := describeRouting(inspectRouted(t, conn, tc.table, "tenant"))
			code, part, _ := strings.Cut(want, " ")
			if len(code) == 5 && code != "group" && strings.HasPrefix(got, code+" ") && strings.Contains(got, part) {
				return
			}
			if got != want {
				t.Errorf("%s as %s:\n got %s\nwant %s", tc.table, who, got, want)
			}
		}
		check("superuser", owner, tc.owner)
		if tc.weak == "" {
			tc.weak = tc.owner
		}
		check("role", weak, tc.weak)
	}
	// A role that may not even look into the schema is not let past the routes.
	run(t, owner, "REVOKE USAGE ON SCHEMA relyt_sys FROM "+role)
	if got := describeRouting(inspectRouted(t, weak, "allright", "")); !strings.HasPrefix(got, "42501") {
		t.Errorf("without USAGE: %s", got)
	}
	if got := describeRouting(inspectRouted(t, weak, "plain", "")); got != "not routed" {
		t.Errorf("not routed, without USAGE: %s", got)
	}
	if got := describeRouting(inspectRouted(t, owner, "named", "")); !strings.HasPrefix(got, "42703") {
		t.Errorf("no column configured: %s", got)
	}
	run(t, owner, "CREATE TEMP TABLE byid (routing_id text)")
	if got := describeRouting(inspectRouted(t, owner, "byid", "")); got != "not routed" {
		t.Errorf("temporary: %s", got)
	}
}

// TestRoutingRoutes: all spellings of a name mean the table, others are found.
func TestRoutingRoutes(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	conn := connect(t, pg, db, "postgres")
	run(t, conn, "CREATE TYPE e AS ENUM ('x'); CREATE DOMAIN d AS text; CREATE DOMAIN dr AS real")
	run(t, conn, routedTables())
	for _, tc := range []struct{ table, store, want string }{
		{`bygroup`, `bygroup_relyt_massive_group`, `aux`},
		{`bygroup`, `public.bygroup_relyt_massive_group`, `aux`},
		{`bygroup`, `"public"."bygroup_relyt_massive_group"`, `aux`},
		{`bygroup`, `"bygroup_relyt_massive_group"`, `aux`},
		{`bygroup`, `bygroup`, `main`},
		{`bygroup`, `public.bygroup`, `main`},
		{`bygroup`, `Bygroup_relyt_massive_group`, `bad`},
		{`bygroup`, `s.bygroup_relyt_massive_group`, `bad`},
		{`bygroup`, ``, `bad`},
		{`"Odd ""Schema"."Odd 'table\"`, `Odd "Schema.Odd 'table\_relyt_massive_group`, `aux`},
		{`"Odd ""Schema"."Odd 'table\"`, `"Odd ""Schema"."Odd 'table\_relyt_massive_group"`, `aux`},
		{`"Odd ""Schema"."Odd 'table\"`, `Odd 'table\`, `main`},
		{long49, long49 + `_relyt_massive_group`, `aux`},
		{long49, `public.` + long49 + `_relyt_massive`, `aux`},
		{`s.both`, `both_relyt_massive_group`, `aux`},
		{`s.both`, `s.both_relyt_massive_group`, `aux`},
		{`public.both`, `s.both_relyt_massive_group`, `bad`},
	} {
		in := inspectRouted(t, conn, tc.table, "")
		routes := in.Routing.Routes
		run(t, conn, "BEGIN; INSERT INTO "+routes+" VALUES ('it''s', "+pgident.Literal(tc.store)+")")
		r := enter(t, conn, in)
		got := "main"
		if r.ToAux == 1 {
			got = "aux"
		}
		if r.Bad {
			got = "bad"
			if r.BadGroup != "it's" || r.BadStore != tc.store || r.Err(in).Code() != "55000" {
				t.Errorf("%s, %s: %+v", tc.table, tc.store, r)
			}
		} else if r.Err(in) != nil {
			t.Errorf("%s, %s: %v", tc.table, tc.store, r.Err(in))
		}
		if got != tc.want || r.Idle() != (got != "aux") {
			t.Errorf("%s, %s: %s, want %s", tc.table, tc.store, got, tc.want)
		}
		// A row of the group goes the same way, another one and none to the main table.
		places := run(t, conn, "SELECT "+in.Routing.ToAux(in, "v.routing_id")+" FROM (VALUES (1, 'it''s'), (2, 'its'), (3, NULL)) v(n, routing_id) ORDER BY v.n")
		want := []string{"f", "f", "f"}
		if tc.want == "aux" {
			want[0] = "t"
		}
		if !reflect.DeepEqual(places, want) {
			t.Errorf("%s, %s: rows go %v, want %v", tc.table, tc.store, places, want)
		}
		run(t, conn, "ROLLBACK")
	}
}

// routedPair makes the tables, and a role that may load into one of the pairs.
func routedPair(t *testing.T) (owner, load *pgconn.PgConn, stranger func() *pgconn.PgConn) {
	t.Helper()
	pg := testenv.Postgres(t)
	db, role := pg.NewDatabase(t), pg.NewRole(t, "")
	owner = connect(t, pg, db, "postgres")
	run(t, owner, "CREATE TYPE e AS ENUM ('x'); CREATE DOMAIN d AS text; CREATE DOMAIN dr AS real")
	run(t, owner, routedTables())
	run(t, owner, "GRANT USAGE ON SCHEMA relyt_sys TO "+role+"; GRANT SELECT ON ALL TABLES IN SCHEMA relyt_sys TO "+role+
		"; GRANT INSERT ON allright, allright_relyt_massive_group TO "+role)
	return owner, connect(t, pg, db, role), func() *pgconn.PgConn { return connect(t, pg, db, pg.NewRole(t, "")) }
}

// TestRoutingMoving: loads see the groups that move, and wait for those that
// they have rows of.
func TestRoutingMoving(t *testing.T) {
	t.Parallel()
	owner, load, stranger := routedPair(t)
	before := inspectRouted(t, load, "allright", "")
	run(t, owner, routingInstall(t))
	// Installed between the inspection and the statement behind it.
	run(t, load, "BEGIN")
	if e := enter(t, load, before).Err(before); e == nil || e.Code() != "40001" {
		t.Errorf("installed in between: %v", e)
	}
	run(t, load, "ROLLBACK")

	in := inspectRouted(t, load, "allright", "")
	run(t, owner, fmt.Sprintf("INSERT INTO pgbulk.routing_moving (main, group_id, to_aux) VALUES (%d, 'b', true), (%[1]d, 'a''', true), (%[1]d, 'c', true), (1, 'x', true)", in.OID))
	run(t, load, "BEGIN")
	r := enter(t, load, in)
	if got := strings.Join(r.Moving, ","); got != "a',b,c" || r.Idle() {
		t.Errorf("moving: %s", got)
	}
	run(t, load, in.Routing.WaitSQL(in, r.Moving, "(VALUES ('b'), ('a'''), (NULL), ('z')) v(group_id)", "v.group_id"))
	for group, free := range map[string]string{"a'": "f", "b": "f", "c": "t", "z": "t"} {
		got := run(t, owner, "SELECT pg_try_advisory_xact_lock("+GroupLock(in.OID, pgident.Literal(group)+"::text")+")")[0]
		if got != free {
			t.Errorf("group %s is free: %s", group, got)
		}
	}
	if got := run(t, owner, "SELECT pg_try_advisory_xact_lock("+TableLock(in.OID)+")")[0]; got != "f" {
		t.Error("the table's lock is free within a load")
	}
	run(t, load, "ROLLBACK")
	if got := run(t, owner, "SELECT pg_try_advisory_xact_lock("+TableLock(in.OID)+")")[0]; got != "t" {
		t.Error("the table's lock is held after the load")
	}
	// Who may not write the table does not see its groups.
	if got := run(t, stranger(), fmt.Sprintf("SELECT pgbulk.routing_moving(%d)", in.OID))[0]; got != "{}" {
		t.Errorf("a stranger sees %s", got)
	}
}

// TestRoutingSnapshot: a load fails where routes have changed behind its
// snapshot.
func TestRoutingSnapshot(t *testing.T) {
	t.Parallel()
	owner, load, _ := routedPair(t)
	run(t, owner, routingInstall(t))
	in := inspectRouted(t, load, "allright", "")
	// As a migration does.
	change := fmt.Sprintf("INSERT INTO pgbulk.routing_generation VALUES (%d, 1) ON CONFLICT (main) DO UPDATE SET generation = routing_generation.generation + 1", in.OID)
	for round := range 2 { // the row is new, and then it is old
		for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
			run(t, load, "BEGIN ISOLATION LEVEL "+level)
			in := inspectRouted(t, load, "allright", "")
			run(t, owner, change)
			_, err := load.Exec(context.Background(), in.Routing.EnterSQL(in)).ReadAll()
			if state(err) != map[bool]string{true: "", false: "40001"}[level == "READ COMMITTED"] {
				t.Errorf("round %d, %s: %v", round, level, err)
			}
			run(t, load, "ROLLBACK; BEGIN ISOLATION LEVEL "+level)
			in = inspectRouted(t, load, "allright", "")
			enter(t, load, in) // nothing has changed
			run(t, load, "ROLLBACK")
			if round == 0 {
				run(t, owner, "DELETE FROM pgbulk.routing_generation")
			}
		}
	}
}

// routingInstall is package routing's SQL, which this package may not import.
func routingInstall(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../routing/sql/install.sql")
	if err != nil {
		t.Fatal(err)
	}
	return "BEGIN;" + string(text) + "; COMMIT"
}

// state is the SQLSTATE of an error, "" without one.
func state(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
