package routing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 3, "1", "2", "NULL")
	b.fill("t", 10, "3", "4")
	all := b.ask("SELECT * FROM t ORDER BY id")

	if r := b.migrate(MigrateOptions{Threshold: 10}); r.Groups != 2 || r.Rows != 20 {
		t.Errorf("moved %d groups, %d rows", r.Groups, r.Rows)
	}
	b.expect("1:3+0; 2:3+0; 3:0+10; 4:0+10; NULL:3+0", "3,4")
	if got := b.ask("SELECT * FROM t UNION ALL SELECT * FROM t_relyt_massive_group ORDER BY id"); got != all {
		t.Errorf("rows have changed: %s", got)
	}
	if r := b.migrate(MigrateOptions{Threshold: 10}); r.Groups != 0 {
		t.Errorf("a second run moved %d groups", r.Groups)
	}
	if r := b.migrate(MigrateOptions{Threshold: 3}); r.Groups != 2 {
		t.Errorf("a lower threshold moved %d groups", r.Groups)
	}
	b.expect("1:0+3; 2:0+3; 3:0+10; 4:0+10; NULL:3+0", "1,2,3,4")
	b.migrate(MigrateOptions{Back: true, Threshold: 10})
	b.expect("1:3+0; 2:3+0; 3:0+10; 4:0+10; NULL:3+0", "3,4")
	b.exec("INSERT INTO relyt_sys.t_relyt_routing VALUES ('no number', 't_relyt_massive_group')")
	b.migrate(MigrateOptions{Back: true})
	b.expect("1:3+0; 2:3+0; 3:10+0; 4:10+0; NULL:3+0", "")
	if got := b.ask("SELECT * FROM t ORDER BY id"); got != all {
		t.Errorf("rows have changed: %s", got)
	}
}

// TestMigrateTypes: groups are texts, whatever the columns' type takes for equal.
func TestMigrateTypes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ tables, large, small string }{
		"smallint":  {"group_id smallint", "-7", "7"},
		"indexed":   {"group_id bigint", "7", "8"},
		"text":      {"group_id text", `'it''s \ "x"'`, "'It''s'"},
		"collation": {"group_id text COLLATE any_case", "'abc'", "'ABC'"},
		"varchar":   {"group_id varchar(5)", "'abc'", "'abc '"},
		"char":      {"group_id char(5)", "'abc'", "'ab'"},
		"uuid":      {"group_id uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'"},
		"numeric":   {"group_id numeric", "1.0", "1.00"},
		"boolean":   {"group_id boolean", "true", "false"},
		"domain":    {"group_id positive", "1", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newPairBed(t, `CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
				CREATE DOMAIN positive AS int CHECK (VALUE > 0);
				CREATE TABLE t (v text, `+c.tables+`); CREATE INDEX ON t (group_id);
				CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL);`)
			b.fill("t", 20, c.large)
			b.fill("t", 4, c.small)
			total := b.ask("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM t")
			b.migrate(MigrateOptions{Threshold: 20})
			if got := b.ask("SELECT count(*), count(*) FILTER (WHERE group_id::text = (" + c.large + ")::text) FROM t_relyt_massive_group"); got != "20 20" {
				t.Errorf("there: %s", got)
			}
			if got := b.ask("SELECT count(*) FROM t"); got != "4" {
				t.Errorf("here: %s", got)
			}
			b.migrate(MigrateOptions{Back: true})
			if got := b.ask("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM t"); got != total {
				t.Errorf("back: %s, want %s", got, total)
			}
		})
	}
}

// TestMigrateTables: what the tables may have.
func TestMigrateTables(t *testing.T) {
	t.Parallel()
	const aux = "CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL);"
	for name, tables := range map[string]string{
		"identity":  "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, group_id int, v text);" + aux,
		"generated": "CREATE TABLE t (group_id int, v text, w text GENERATED ALWAYS AS (v || '!') STORED);" + aux,
		"dropped":   "CREATE TABLE t (x int, group_id int, v text); ALTER TABLE t DROP x;" + aux,
		"renamed":   "CREATE TABLE t (group_id int, v text, UNIQUE (group_id, v));" + aux + "ALTER TABLE t_relyt_massive_group RENAME group_id TO routing_id",
		"partition": "CREATE TABLE t (group_id int, v text) PARTITION BY HASH (v); CREATE TABLE p0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE p1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1);" + aux,
		"inherited": "CREATE TABLE t (group_id int, v text); CREATE TABLE child () INHERITS (t); INSERT INTO child VALUES (1, 'child');" + aux,
		"deferred":  "CREATE TABLE t (group_id int, v text, UNIQUE (group_id, v) DEFERRABLE INITIALLY DEFERRED);" + aux,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newPairBed(t, strings.TrimSuffix(tables, ";")+";")
			b.fill("t", 20, "1")
			b.fill("t", 4, "2")
			const rows = "SELECT u FROM t u WHERE tableoid::regclass::text <> 'child' ORDER BY u::text"
			before := b.ask(rows)
			b.migrate(MigrateOptions{Threshold: 20})
			if got := b.ask("SELECT count(*) FROM t_relyt_massive_group"); got != "20" {
				t.Errorf("there: %s", got)
			}
			b.migrate(MigrateOptions{Back: true})
			if got := b.ask(rows); got != before {
				t.Errorf("back: %s, want %s", got, before)
			}
		})
	}
}

// TestMigrateLeftovers: what the loader before this one left where it should not
// be is brought to where its route says.
func TestMigrateLeftovers(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 3, "1", "2")
	b.fill("t_relyt_massive_group", 2, "1", "3", "NULL")
	b.exec(`INSERT INTO relyt_sys.t_relyt_routing VALUES ('1', '"public".t_relyt_massive_group'), ('2', 't')`)
	b.migrate(MigrateOptions{Threshold: 100})
	b.expect("1:0+5; 2:3+0; 3:2+0; NULL:2+0", "1")
	if got := b.ask("SELECT * FROM relyt_sys.t_relyt_routing ORDER BY 1"); got != `1 "public".t_relyt_massive_group; 2 t` {
		t.Errorf("routes are %s", got)
	}
}

// TestMigrateDuplicates: nothing is deleted, and the others are moved.
func TestMigrateDuplicates(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"key in both": "",
		"key in main": "ALTER TABLE t_relyt_massive_group DROP CONSTRAINT t_relyt_massive_group_pkey",
		"key in aux":  "ALTER TABLE t DROP CONSTRAINT t_pkey",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newPairBed(t, plainPair)
			if change != "" {
				b.exec(change)
			}
			b.fill("t", 10, "1", "2", "3")
			b.exec("INSERT INTO t_relyt_massive_group SELECT id, 2, 'twice' FROM t WHERE group_id = 2 AND id % 5 = 0")
			r, err := Migrate(t.Context(), b.migrator(), pairT, MigrateOptions{Threshold: 10})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Failed) != 1 || r.Failed[0].Move.Group != "2" || codeOr(r.Failed[0].Err) != "23505" ||
				!strings.Contains(r.Failed[0].Error(), "(id)=(15), (id)=(20)") {
				t.Errorf("failed: %v", r.Failed)
			}
			b.expect("1:0+10; 2:10+2; 3:0+10", "1,3")
		})
	}
}

// codeOr is the SQLSTATE of the server's error or of our own.
func codeOr(err error) string {
	if own := pgerr.As(err); own != nil {
		return own.Code()
	}
	return codeOf(err)
}

// TestMigrateRefuses: what a move would do beside moving, and what is no pair.
func TestMigrateRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, code, text string }{
		"cascade":      {"CREATE TABLE child (t bigint REFERENCES t ON DELETE CASCADE)", "0A000", "foreign key child_t_fkey of table child refers to t"},
		"trigger":      {"CREATE TRIGGER audit BEFORE DELETE ON t EXECUTE FUNCTION f()", "0A000", "trigger audit of table t would fire"},
		"aux trigger":  {"CREATE TRIGGER audit AFTER INSERT ON t_relyt_massive_group FOR EACH ROW EXECUTE FUNCTION f()", "0A000", "trigger audit of table t_relyt_massive_group would fire"},
		"rule":         {"CREATE RULE keep AS ON DELETE TO t DO INSTEAD NOTHING", "0A000", "rule keep of table t would apply"},
		"shared":       {"CREATE SCHEMA s; CREATE TABLE s.t (LIKE t); CREATE TABLE s.t_relyt_massive_group (LIKE t)", "0A000", "table s.t has an auxiliary table, too"},
		"no aux":       {"DROP TABLE t_relyt_massive_group", "42P01", "t_relyt_massive_group"},
		"no routes":    {"DROP TABLE relyt_sys.t_relyt_routing", "55000", "has no routing table"},
		"no table":     {"DROP TABLE t CASCADE", "42P01", "public.t does not exist"},
		"bad route":    {"INSERT INTO relyt_sys.t_relyt_routing VALUES ('7', 'elsewhere')", "55000", `group "7"`},
		"other column": {"ALTER TABLE t_relyt_massive_group ADD w int", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newPairBed(t, "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"+plainPair)
			b.fill("t", 10, "1")
			b.exec(c.sql)
			before := b.ask("SELECT count(*), sum(xmin::text::bigint) FROM pg_class")
			r, err := Migrate(t.Context(), b.migrator(), pairT, MigrateOptions{Threshold: 1})
			if err == nil || c.code != "" && codeOr(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, result %v", err, r)
			}
			if got := b.ask("SELECT count(*), sum(xmin::text::bigint) FROM pg_class"); got != before {
				t.Error("the catalog has changed")
			}
		})
	}
}

// TestMigrateTriggersOff: the user's way around it.
func TestMigrateTriggersOff(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$fired$$; END';"+plainPair)
	b.fill("t", 10, "1")
	b.exec("CREATE TRIGGER audit BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION f()")
	conn := b.migrator()
	if _, err := conn.Exec(t.Context(), "SET session_replication_role = replica"); err != nil {
		t.Fatal(err)
	}
	if _, err := Migrate(t.Context(), conn, pairT, MigrateOptions{Threshold: 1}); err != nil {
		t.Fatal(err)
	}
	b.expect("1:0+10", "1")
}

// TestMigrateRowSecurity: rows that a policy hides would be left behind unseen.
func TestMigrateRowSecurity(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 10, "1")
	role := b.pg.NewRole(t, "")
	b.exec(fmt.Sprintf(`GRANT ALL ON ALL TABLES IN SCHEMA public, relyt_sys, pgbulk TO %[1]s; GRANT USAGE ON SCHEMA relyt_sys TO %[1]s; GRANT ALL ON SEQUENCE t_id_seq TO %[1]s;
		ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id > 5)`, role))
	conn, err := connectMigrator(b.pg.DSN(b.db, role))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := Migrate(t.Context(), conn, pairT, MigrateOptions{Threshold: 1}); codeOr(err) != "42501" {
		t.Errorf("error %v", err)
	}
	b.expect("1:10+0", "")
}

// TestMigrateErrorOfOneGroup: a group whose rows can't be there stays, the others go.
func TestMigrateErrorOfOneGroup(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair+"ALTER TABLE t_relyt_massive_group ADD CHECK (group_id <> 2);")
	b.fill("t", 10, "1", "2", "3")
	r, err := Migrate(t.Context(), b.migrator(), pairT, MigrateOptions{Threshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Failed) != 1 || codeOr(errors.Unwrap(r.Failed[0])) != "23514" {
		t.Errorf("failed: %v", r.Failed)
	}
	b.expect("1:0+10; 2:10+0; 3:0+10", "1,3")
}
