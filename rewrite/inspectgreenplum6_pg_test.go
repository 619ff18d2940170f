package rewrite

import (
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

const inspectTablesGreenplum6 = `
CREATE SCHEMA s; CREATE SCHEMA closed; CREATE SCHEMA "Odd ""Schema";
CREATE TABLE plain (id int, note text) DISTRIBUTED BY (id);
CREATE TABLE s.other (id int, gone int, "Mixed ""case" text) DISTRIBUTED BY (id);
ALTER TABLE s.other DROP COLUMN gone;
CREATE TABLE closed.hidden (id int) DISTRIBUTED BY (id);
CREATE TABLE "Odd ""Schema"."Odd 'table\" (id int) DISTRIBUTED BY (id);
CREATE UNLOGGED TABLE fast (id int) DISTRIBUTED BY (id);
CREATE TEMP TABLE temporary (id int) DISTRIBUTED BY (id);
CREATE TABLE ao (id int) WITH (appendonly=true) DISTRIBUTED BY (id);
CREATE TABLE aoco (id int) WITH (appendonly=true, orientation=column) DISTRIBUTED BY (id);
CREATE TABLE random (id int) DISTRIBUTED RANDOMLY;
CREATE TABLE everywhere (id int) DISTRIBUTED REPLICATED;
CREATE VIEW v AS SELECT * FROM plain;
CREATE EXTERNAL WEB TABLE ext (id int) EXECUTE 'echo 1' ON MASTER FORMAT 'TEXT';
CREATE WRITABLE EXTERNAL WEB TABLE extout (id int) EXECUTE 'cat > /dev/null' FORMAT 'TEXT';
CREATE TABLE parted (id int, k int) DISTRIBUTED BY (id) PARTITION BY LIST (k)
  SUBPARTITION BY RANGE (id) SUBPARTITION TEMPLATE (START (0) END (4) EVERY (2)) (PARTITION one VALUES (1), DEFAULT PARTITION rest);
CREATE TABLE pext (id int, k int) DISTRIBUTED BY (id) PARTITION BY LIST (k) (PARTITION one VALUES (1), PARTITION two VALUES (2));
CREATE EXTERNAL WEB TABLE pextdata (id int, k int) EXECUTE 'echo 1' ON MASTER FORMAT 'TEXT';
ALTER TABLE pext EXCHANGE PARTITION two WITH TABLE pextdata WITHOUT VALIDATION;
CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE trigrow (id int) DISTRIBUTED BY (id);
CREATE TRIGGER t AFTER INSERT OR UPDATE ON trigrow FOR EACH ROW EXECUTE PROCEDURE trg();
CREATE TABLE trigupd (id int) DISTRIBUTED BY (id);
CREATE TRIGGER t BEFORE UPDATE ON trigupd FOR EACH ROW EXECUTE PROCEDURE trg();
CREATE TABLE parent (id int PRIMARY KEY) DISTRIBUTED BY (id);
CREATE TABLE child () INHERITS (parent) DISTRIBUTED BY (id);
CREATE TABLE ruled (id int) DISTRIBUTED BY (id);
CREATE RULE r AS ON INSERT TO ruled DO ALSO INSERT INTO plain VALUES (1, 'rule');
CREATE TABLE denied (id int) DISTRIBUTED BY (id);
CREATE TABLE bycol (id int, note text) DISTRIBUTED BY (id);
GRANT INSERT ON ALL TABLES IN SCHEMA closed TO PUBLIC;
`

// inspectCasesGreenplum6 are as inspectCases.
var inspectCasesGreenplum6 = []struct{ table, owner, weak string }{
	{`plain`, `rp public.plain id,note`, `=`},
	{`PLAIN (NOTE, id)`, `rp public.plain note,id`, `=`},
	{`plain (id, nope)`, `rp public.plain  badcolumns`, `=`},
	{`s.other`, `rp s.other id,Mixed "case`, `rp s.other id,Mixed "case noinsert`},
	{`other`, `not found`, `=`},
	{`nosuch.plain`, `not found`, `=`},
	{`closed.hidden`, `rp closed.hidden id`, `not found`},
	{`"Odd ""Schema"."Odd 'table\"`, `rp Odd "Schema.Odd 'table\ id`, `not found`},
	{`fast`, `ru public.fast id`, ``},
	{`ao`, `rp public.ao id`, ``},
	{`aoco`, `rp public.aoco id`, ``},
	{`random`, `rp public.random id`, ``},
	{`everywhere`, `rp public.everywhere id`, ``},
	{`v`, `vp public.v id,note`, ``},
	{`ext`, `fp public.ext id`, ``},
	{`extout`, `fp public.extout id`, ``},
	{`parted`, `pp public.parted id,k`, ``},
	{`parted_1_prt_one`, `rp public.parted_1_prt_one id,k`, ``},
	{`pext`, `pp public.pext id,k foreign`, ``},
	{`trigrow`, `rp public.trigrow id triggers`, ``},
	{`trigupd`, `rp public.trigupd id`, ``},
	{`parent`, `rp public.parent id`, ``},
	{`child`, `rp public.child id`, ``},
	{`ruled`, `rp public.ruled id rules`, ``},
	{`denied`, `rp public.denied id`, `rp public.denied id noinsert`},
	{`bycol (id)`, `rp public.bycol id`, `rp public.bycol id noinsert somecolumns`},
	{`pg_class`, `rp pg_catalog.pg_class `, ``},
}

// TestInspectGreenplum6 asks a real cluster.
func TestInspectGreenplum6(t *testing.T) {
	t.Parallel()
	pg := testenv.Greenplum(t)
	db := pg.NewDatabase(t)
	admin := connect(t, pg, db, "postgres")
	run(t, admin, "SET client_min_messages = error")
	if DialectOf(admin.ParameterStatus("server_version")) != Greenplum6 {
		t.Skip("the cluster is newer than Greenplum 6")
	}
	run(t, admin, inspectTablesGreenplum6)
	role := pg.NewRole(t, "")
	weak := connect(t, pg, db, role)
	run(t, admin, "GRANT USAGE ON SCHEMA s TO "+pgident.Quote(role)+"; GRANT INSERT ON plain TO "+pgident.Quote(role)+
		"; GRANT INSERT (id) ON bycol TO "+pgident.Quote(role))
	for _, c := range inspectCasesGreenplum6 {
		stmt := mustParse(t, "COPY "+c.table+" FROM STDIN")
		ask := func(sql string, weakly bool) *Inspection {
			conn := admin
			if weakly {
				conn = weak
			}
			rows := run(t, conn, Greenplum6.DeclareSQL()+"; "+sql)
			in, err := ParseInspection(rows[len(rows)-1])
			if err != nil {
				t.Fatal(err)
			}
			return in
		}
		got := summary(ask(stmt.InspectSQL(Greenplum6), false))
		if cut := strings.HasSuffix(c.owner, "pg_class "); got != c.owner && !(cut && strings.HasPrefix(got, c.owner)) {
			t.Errorf("%s:\ngot  %s\nwant %s", c.table, got, c.owner)
		}
		want := c.weak
		if want == "=" {
			want = c.owner
		}
		if got := summary(ask(stmt.InspectSQL(Greenplum6), true)); want != "" && got != want {
			t.Errorf("%s as weak role:\ngot  %s\nwant %s", c.table, got, want)
		}
		insert := &InsertStatement{Schema: stmt.Schema, Table: stmt.Table}
		if in := ask(insert.InspectSQL(Greenplum6), false); in.Found && len(in.Types) != len(in.Columns) {
			t.Errorf("%s: %d types of %d columns", c.table, len(in.Types), len(in.Columns))
		}
	}
	in, _ := ParseInspection(run(t, admin, "SET pgbulk.mode = 'off'; SET statement_timeout = '90s'; "+mustParse(t, "COPY plain FROM STDIN").InspectSQL(Greenplum6))[0])
	if in.Mode != "off" || !in.Segmented || in.StatementTimeout.Seconds() != 90 || in.Version/10000 != 9 || in.BackendPID != admin.PID() || in.ServerEncoding != "UTF8" {
		t.Errorf("session %+v", in.Session)
	}
}
