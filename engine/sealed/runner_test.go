package sealed_test

import (
	"fmt"
	"strings"
	"testing"
)

// code of alice's that notes in own.ran whose rights it has; and tries to read
// what only the service role may.
const noteSQL = `
CREATE TABLE own.ran (what text, who text, secret bool, loads bool);
GRANT ALL ON own.ran TO PUBLIC; GRANT USAGE ON SCHEMA own TO PUBLIC;
CREATE FUNCTION own.note(what text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO own.ran VALUES (what, current_user, has_table_privilege('pgbulk.secret', 'SELECT'), has_table_privilege('pgbulk.load', 'SELECT'));
	RETURN what; END $$;
CREATE FUNCTION own.try(what text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	EXECUTE what;
	PERFORM own.note(what || ' done');
EXCEPTION WHEN OTHERS THEN
	PERFORM own.note(what || ' ' || SQLSTATE); END $$;`

// TestRunnerKeepsItsRights: code of users that an import runs tries to become
// the service role, at once.
func TestRunnerKeepsItsRights(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	mustExec(t, d.own, noteSQL)
	runner := `pgbulk_run."r_' || current_setting('own.load') || '"(text[], text[], text[])`
	tries := map[string]string{
		"RESET ROLE":                         "42501",
		"SET ROLE " + d.service:              "42501",
		"SET LOCAL ROLE NONE":                "42501",
		"RESET SESSION AUTHORIZATION":        "42501",
		"SET SESSION AUTHORIZATION DEFAULT":  "42501",
		"SET SESSION AUTHORIZATION postgres": "42501",
		"DO $x$ BEGIN PERFORM set_config('role', 'none', false); END $x$": "42501",
		"RESET ALL":                                                     "",
		"DISCARD ALL":                                                   "25001",
		"COMMIT":                                                        "0A000",
		"SELECT key FROM pgbulk.secret":                                 "42501",
		"UPDATE pgbulk.load SET owner = 'me'":                           "42501",
		"DELETE FROM pgbulk.import":                                     "42501",
		"SELECT * FROM pgbulk.staged":                                   "42501",
		"SELECT pgbulk.run_as('x', '{}', '{SELECT 1}')":                 "42501",
		"SELECT pgbulk.import_staged('x', 'x', 1)":                      "42501",
		"ALTER FUNCTION {r} SECURITY INVOKER":                           "42501",
		"ALTER FUNCTION {r} OWNER TO " + d.alice:                        "42501",
		"ALTER FUNCTION {r} RENAME TO x":                                "42501",
		"ALTER FUNCTION {r} SET SCHEMA own":                             "42501",
		"GRANT EXECUTE ON FUNCTION {r} TO PUBLIC":                       "42501",
		"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgbulk_run TO PUBLIC": "42501",
		"GRANT USAGE ON SCHEMA pgbulk_run TO PUBLIC":                    "42501",
		"DROP FUNCTION {r}":                                             "42501",
		"COMMENT ON FUNCTION {r} IS 'x'":                                "42501",
		"CREATE OR REPLACE FUNCTION pgbulk_run.x() RETURNS int LANGUAGE sql AS 'SELECT 1'": "42501",
		"SELECT pgbulk_run.x()":                    "42501",
		"DROP FUNCTION pgbulk.check_left_behind()": "42501",
		"ALTER ROLE " + d.alice + " SUPERUSER":     "42501",
		"SELECT pg_read_file('/etc/passwd')":       "42501",
		"COPY own.ran TO PROGRAM 'id'":             "42501",
	}
	for what, want := range tries {
		l := d.staged(d.own, "t", "1\tx\n")
		sql := strings.ReplaceAll(what, "{r}", strings.ReplaceAll(runner, "' || current_setting('own.load') || '", l.ProcessID))
		mustExec(t, d.own, "TRUNCATE own.ran")
		d.trap("PERFORM own.try($q$" + sql + "$q$)")
		mustExec(t, d.own, d.stageSQL(d.own, l))
		if err := d.load(l); err != nil {
			t.Errorf("%s: the import failed: %v", what, err)
			continue
		}
		if want == "" {
			want = "done"
		}
		d.want("SELECT concat_ws('|', what, who, secret, loads) FROM own.ran", sql+" "+want+"|"+d.alice+"|f|f")
	}
}

// TestRunnerWhereverCodeRuns: every kind of code that an INSERT runs has the
// sender's rights.
func TestRunnerWhereverCodeRuns(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	mustExec(t, d.own, noteSQL)
	mustExec(t, d.own, `
		CREATE FUNCTION own.yes(what text, x text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM own.note(what); RETURN true; END $$;
		CREATE FUNCTION own.index(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM own.yes('index', x); RETURN x; END $$;
		CREATE FUNCTION own.before() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM own.note('before'); RETURN NEW; END $$;
		CREATE FUNCTION own.deferred() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM own.note('deferred'); RETURN NEW; END $$;
		CREATE DOMAIN own.checked AS text CHECK (own.yes('domain', VALUE));
		CREATE TABLE own.every (a text CHECK (own.yes('check', a)), b own.checked, c text DEFAULT own.note('default'));
		CREATE TRIGGER before BEFORE INSERT ON own.every FOR EACH ROW EXECUTE FUNCTION own.before();
		CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON own.every DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION own.deferred()`)
	l := d.stage(d.own, "every", "1\tx\n2\ty\n")
	if err := d.load(l); err != nil {
		t.Fatal(err)
	}
	d.want("SELECT string_agg(DISTINCT concat_ws(' ', what, who = '"+d.alice+"', secret, loads), ',' ORDER BY concat_ws(' ', what, who = '"+d.alice+
		"', secret, loads)) FROM own.ran", "before t f f,check t f f,default t f f,deferred t f f,domain t f f")
	d.want("SELECT count(*)::text FROM own.every", "2")
}

// TestRunnerLeavesNothingBehind: code that would run when the runner has ended,
// at COMMIT and so with the rights of the service role, never does.
func TestRunnerLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	mustExec(t, d.own, noteSQL+`
		CREATE TABLE own.later (a text);
		CREATE FUNCTION own.deferred() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM own.note('deferred'); RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON own.later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION own.deferred();
		CREATE TABLE own.parted (a text) PARTITION BY LIST (a);
		CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON own.parted DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION own.deferred();
		CREATE TABLE own.part PARTITION OF own.parted DEFAULT;
		CREATE FUNCTION own.idx(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM own.note2(x); RETURN x; END $$;
		CREATE FUNCTION own.note2(x text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM own.note('index'); END $$`)
	for name, x := range map[string]struct{ trap, code string }{
		"deferred, made immediate":  {"INSERT INTO own.later VALUES ('x')", ""},
		"deferred in a partition":   {"INSERT INTO own.parted VALUES ('x')", ""},
		"held cursor":               {"EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT own.note(''held'')'", "0A000"},
		"cursor that is not held":   {"EXECUTE 'DECLARE c CURSOR FOR SELECT own.note(''open'')'", ""},
		"temporary table with hook": {"CREATE TEMP TABLE tt (a text) ON COMMIT DELETE ROWS; CREATE INDEX ON tt (own.idx(a)); INSERT INTO tt VALUES ('x')", ""},
		"notify":                    {"LISTEN x; NOTIFY x, 'y'", ""},
		"shadows": {`CREATE TEMP TABLE pg_locks (a int); CREATE TEMP TABLE pg_cursors (a int); CREATE TEMP TABLE load (a int);
			CREATE DOMAIN pg_temp.text AS pg_catalog.text; CREATE DOMAIN own.text AS pg_catalog.text;
			CREATE FUNCTION own.cardinality(anyarray) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM own.note(''shadow''); RETURN 0; END';
			CREATE FUNCTION own.same(pg_catalog.text, pg_catalog.text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM own.note(''shadow''); RETURN true; END';
			CREATE OPERATOR own.= (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = own.same);
			SET search_path = own, pg_temp, pg_catalog`, ""},
		"drop what is owned": {"DROP OWNED BY CURRENT_USER CASCADE", "*"},
	} {
		mustExec(t, d.own, "TRUNCATE own.ran, own.t")
		d.trap(x.trap)
		l := d.stage(d.own, "t", "1\tx\n")
		err := d.load(l)
		if x.code != "*" && code(err) != x.code {
			t.Errorf("%s: got %v, want %s", name, err, x.code)
		}
		if name != "drop what is owned" {
			d.want("SELECT count(*)::text FROM own.ran WHERE who <> '"+d.alice+"' OR secret OR loads", "0")
		}
		d.want("SELECT count(*)::text FROM pg_proc WHERE pronamespace = 'pgbulk_run'::regnamespace", "0")
	}
}

// trap has own.t run code on each INSERT.
func (d *depot) trap(body string) {
	d.t.Helper()
	mustExec(d.t, d.own, "DROP TRIGGER IF EXISTS trap ON own.t; CREATE OR REPLACE FUNCTION own.trap() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN "+
		body+"; RETURN NULL; END $f$; CREATE TRIGGER trap AFTER INSERT ON own.t FOR EACH STATEMENT EXECUTE FUNCTION own.trap()")
}

// TestRunnerRefusesWhatIsDeferredAnew: a deferred trigger that defers another,
// each time it is run, is the one way to leave one for COMMIT.
func TestRunnerRefusesWhatIsDeferredAnew(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	mustExec(t, d.own, noteSQL)
	for _, kind := range []string{"(a text)", "(a text) PARTITION BY LIST (a)", "TEMP"} {
		d.deferring(kind)
		l := d.stage(d.own, "t", "1\tx\n")
		if err := d.load(l); code(err) != "0A000" || !strings.Contains(err.Error(), "deferred triggers of table") {
			t.Errorf("%s: got %v", kind, err)
		}
		d.wantStatus(l, "RUNNING", "FROZEN")
		d.want("SELECT count(*)::text FROM own.ran WHERE who <> '"+d.alice+"'", "0")
	}
	// Where the table has such triggers and they have run, all is well; the
	// probe leaves no lock behind.
	mustExec(t, d.own, `DROP TRIGGER trap ON own.t; CREATE TABLE own.child (a text, b text, PRIMARY KEY (a), FOREIGN KEY (b) REFERENCES own.child DEFERRABLE INITIALLY DEFERRED)`)
	l := d.stage(d.own, "child", "1\t2\n", "2\t1\n")
	if err := d.load(l); err != nil {
		t.Errorf("a deferred key: %v", err)
	}
	bad := d.stage(d.own, "child", "3\t9\n")
	if err := d.load(bad); code(err) != "23503" {
		t.Errorf("a deferred key that fails: %v", err)
	}
	d.want("SELECT count(*)::text FROM own.child", "2")
}

// deferring has own.t's trigger fill a table whose deferred trigger defers itself
// anew.
func (d *depot) deferring(kind string) {
	d.t.Helper()
	table, rows := "own.chain", "(a text)"
	if kind != "TEMP" {
		rows = kind
	}
	partition := ""
	if strings.Contains(kind, "PARTITION") {
		partition = "CREATE TABLE own.chain1 PARTITION OF own.chain DEFAULT;"
	}
	create := fmt.Sprintf("CREATE TABLE %s %s; CREATE CONSTRAINT TRIGGER chain AFTER INSERT ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION own.again();%s",
		table, rows, table, partition)
	body := ""
	if kind == "TEMP" {
		table = "pg_temp.chain"
		body = strings.ReplaceAll(strings.Replace(create, "CREATE TABLE", "CREATE TEMP TABLE", 1), "own.chain", "chain")
		create = ""
	}
	mustExec(d.t, d.own, fmt.Sprintf(`DROP TABLE IF EXISTS own.chain; CREATE OR REPLACE FUNCTION own.again() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
		PERFORM own.note('again'); SET CONSTRAINTS ALL DEFERRED; INSERT INTO %s VALUES ('x'); RETURN NULL; END $f$;`, table)+create)
	if kind == "TEMP" {
		body = strings.Replace(body, "CREATE TEMP TABLE chain", "CREATE TEMP TABLE pg_temp.chain", 1)
	}
	d.trap(body + fmt.Sprintf(" INSERT INTO %s VALUES ('x')", table))
}

// TestRunnerSeesOnlyItsLoad: what a user's code can read of the import while it
// runs neither shows a URL nor lets it go further.
func TestRunnerSeesOnlyItsLoad(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	mustExec(t, d.own, noteSQL+"CREATE TABLE own.query (q text)")
	d.trap("INSERT INTO own.query VALUES (current_query())")
	if err := d.load(d.stage(d.own, "t", "1\tx\n")); err != nil {
		t.Fatal(err)
	}
	var query string
	if err := d.admin.QueryRow(t.Context(), "SELECT q FROM own.query").Scan(&query); err != nil || !strings.Contains(query, "import_staged") ||
		strings.Contains(query, "Signature") {
		t.Errorf("got %s, %v", query, err)
	}
	// It records the import itself, from the sealed messages that it sees: then
	// there are two records, and the import is undone.
	d.trap(`PERFORM own.try('SELECT pgbulk.open_staged(' || split_part(split_part(current_query(), 'open_staged(', 2), '); ', 1) || ')');
		PERFORM own.try('SELECT pgbulk.finish_import(''x'', ''{1}'')')`)
	if err := d.load(d.stage(d.own, "t", "2\tx\n")); err != nil {
		t.Fatal(err)
	}
	d.want("SELECT string_agg(right(what, 5), ' ') FROM own.ran", "42501 42501")
}
