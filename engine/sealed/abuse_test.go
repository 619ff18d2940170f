package sealed_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/enginetest"
	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// castle is a database with the installation, a table that alice may fill, and
// her session.
type castle struct {
	t          *testing.T
	pg         *testenv.PG
	db         string
	key        []byte
	alice, bob string
	admin, own *pgx.Conn
	url        string
	target     engine.Target
}

func newCastle(t *testing.T) *castle {
	pg, db, key := installed(t, "")
	c := &castle{t: t, pg: pg, db: db, key: key, alice: pg.NewRole(t, ""), bob: pg.NewRole(t, "")}
	c.admin = pg.Connect(t, db, "postgres")
	mustExec(t, c.admin, "CREATE TABLE public.t (a text); GRANT ALL ON public.t TO PUBLIC; GRANT "+c.bob+" TO "+c.alice+
		"; GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT CREATE ON DATABASE "+db+" TO PUBLIC")
	c.own = pg.Connect(t, db, c.alice)
	store := enginetest.NewWebStore(t)
	if err := store.Put(t.Context(), "k", strings.NewReader("row\n")); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.url, err = store.PresignGet(t.Context(), "k", time.Minute); err != nil {
		t.Fatal(err)
	}
	c.target = engine.Target{Schema: "public", Table: "t", Columns: []string{"a"}}
	if err := c.admin.QueryRow(t.Context(), "SELECT 'public.t'::regclass::oid").Scan(&c.target.OID); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *castle) session() engine.Session {
	return engine.Session{Database: c.db, BackendPID: c.own.PgConn().PID(), Role: c.alice}
}

func (c *castle) file() engine.File {
	return engine.File{ProcessID: uuid.NewString(), Number: 1, URL: c.url, Records: 1}
}

func (c *castle) plan(s engine.Session, key []byte, expires time.Time) engine.Plan {
	c.t.Helper()
	stmt := rewrite.CopyStatement{Format: rewrite.FormatText, Null: `\N`}
	plan, err := postgres.New().Plan(c.target, &stmt, s, engine.Group{Files: []engine.File{c.file()}}, key, expires)
	if err != nil {
		c.t.Fatal(err)
	}
	return plan
}

func soon() time.Time { return time.Now().Add(time.Minute) }

// refused runs SQL on conn and demands that it fails for that reason.
func (c *castle) refused(conn *pgx.Conn, name, sql, reason string) {
	c.t.Helper()
	err := exec(c.t, conn, sql)
	if code(err) != "42501" || !strings.Contains(err.Error(), reason) {
		c.t.Errorf("%s: got %v, want %s", name, err, reason)
	}
}

func TestRefusedMessages(t *testing.T) {
	t.Parallel()
	c := newCastle(t)
	good := c.plan(c.session(), c.key, soon())
	other := func(change func(*engine.Session)) string {
		s := c.session()
		change(&s)
		return c.plan(s, c.key, soon()).Open
	}
	forged := append([]byte(nil), c.key...)
	forged[31] ^= 1
	for name, x := range map[string]struct{ sql, reason string }{
		"another key":      {c.plan(c.session(), forged, soon()).Open, "(mac)"},
		"another session":  {other(func(s *engine.Session) { s.BackendPID++ }), "(session)"},
		"another role":     {other(func(s *engine.Session) { s.Role = c.bob }), "(role)"},
		"another database": {other(func(s *engine.Session) { s.Database = "postgres" }), "(database)"},
		"expired":          {c.plan(c.session(), c.key, time.Now().Add(-time.Second)).Open, "(expired)"},
		"open as close":    {strings.Replace(good.Open, "open_file", "close_file", 1), "(operation)"},
		"open as record":   {strings.Replace(good.Open, "open_file", "record_import", 1), "(operation)"},
		"close as open":    {strings.Replace(good.Close, "close_file", "open_file", 1), "(operation)"},
		"close as record":  {strings.Replace(good.Close, "close_file", "record_import", 1), "(operation)"},
		"table altered":    {strings.Replace(good.Open, `"table":"t"`, `"table":"u"`, 1), "(mac)"},
		"blank added":      {strings.Replace(good.Open, `{"v"`, `{ "v"`, 1), "(mac)"},
		"mac cut":          {good.Open[:len(good.Open)-4] + "')", "(form)"},
		"mac upper":        {good.Open[:len(good.Open)-4] + "AB')", "(form)"},
		"made up":          {`SELECT pgbulk.open_file('{}', repeat('00', 64), repeat('00', 32))`, "(mac)"},
		"record made up":   {`SELECT pgbulk.record_import('{"op":"record"}', repeat('00', 16), repeat('00', 32))`, "(mac)"},
		"no hex":           {`SELECT pgbulk.open_file('{}', 'x', 'x')`, "(form)"},
		"empty":            {`SELECT pgbulk.open_file('', '', '')`, "(form)"},
		"null message":     {`SELECT pgbulk.open_file(NULL, repeat('00', 64), repeat('00', 32))`, "(form)"},
		"null sealed":      {`SELECT pgbulk.open_file('{}', NULL, repeat('00', 32))`, "(form)"},
		"null mac":         {`SELECT pgbulk.open_file('{}', repeat('00', 64), NULL)`, "(form)"},
		"close null":       {`SELECT pgbulk.close_file(NULL, NULL, NULL)`, "(form)"},
		"open as stage":    {strings.Replace(strings.Replace(good.Open, "open_file", "record_staged", 1), "')", "', '')", 1), "(operation)"},
		"open as import":   {strings.Replace(good.Open, "open_file", "claim_label", 1), "(operation)"},
		"open as finish":   {strings.Replace(good.Open, "open_file", "finish_label", 1), "(operation)"},
		"open as rejects":  {strings.Replace(strings.Replace(good.Open, "open_file", "add_rejects", 1), "')", "', '[]')", 1), "(operation)"},
		"stage null":       {`SELECT pgbulk.record_staged(NULL, NULL, NULL, NULL)`, "(form)"},
		"label null":       {`SELECT pgbulk.claim_label(NULL, NULL, NULL)`, "(form)"},
		"rejects null":     {`SELECT pgbulk.add_rejects(NULL, NULL, NULL, NULL)`, "(form)"},
		"record null":      {`SELECT pgbulk.record_import(NULL, NULL, NULL)`, "(form)"},
		"role set":         {"SET LOCAL ROLE " + c.bob + "; " + good.Open, "(role)"},
		"role as string":   {"SELECT set_config('role', '" + c.bob + "', true); " + good.Open, "(role)"},
	} {
		c.refused(c.own, name, x.sql, x.reason)
	}
	replay := c.pg.Connect(t, c.db, c.alice)
	c.refused(replay, "replay in another session", good.SQL(), "(session)")
	mustExec(t, c.own, good.SQL())
}

func TestRefusedSealedByMistake(t *testing.T) {
	t.Parallel()
	c := newCastle(t)
	marker := t.TempDir() + "/marker"
	message := func(extra string) string {
		return fmt.Sprintf(`{"v":1,"op":"open","pid":%d,"database":"%s","role":"%s","expires":%d,"id":"%s","file":1,"oid":%d,"schema":"public","table":"t","columns":["a"]%s}`,
			c.own.PgConn().PID(), c.db, c.alice, soon().Unix(), uuid.NewString(), c.target.OID, extra)
	}
	seal := func(text, url string) string {
		args, err := sealed.SealUnchecked(c.key, text, url)
		if err != nil {
			t.Fatal(err)
		}
		return "SELECT pgbulk.open_file(" + args + ")"
	}
	for _, url := range []string{
		"", "file:///etc/passwd", "http://h/'; touch " + marker + "; '", "http://h/x\ntouch " + marker, "http://h/$(touch${IFS}" + marker + ")",
		"http://h/`touch`", "http://h/x\\", "ftp://h/x", "-K/etc/passwd", "http://h/" + strings.Repeat("x", 8192), "http://user@h/x",
	} {
		c.refused(c.own, url, seal(message(""), url), "(url)")
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a command ran")
	}
	for name, x := range map[string]struct{ extra, code string }{
		"unknown column":    {`,"columns":["zz"]`, "55000"},
		"system column":     {`,"columns":["ctid"]`, "55000"},
		"no columns":        {`,"columns":[]`, "55000"},
		"null columns":      {`,"columns":null`, "22023"},
		"renamed table":     {`,"table":"u"`, "55000"},
		"other schema":      {`,"schema":"pg_catalog"`, "55000"},
		"another oid":       {`,"oid":1259`, "55000"},
		"nonsense encoding": {`,"options":{"encoding":"nonsense"}`, "22023"},
		"bad id":            {`,"id":"x'; DROP TABLE t"`, "42501"},
		"bad file":          {`,"file":"1; x"`, "42501"},
		"no expiry":         {`,"expires":null`, "42501"},
		"column twice":      {`,"columns":["a","a"]`, "42701"},
	} {
		err := exec(t, c.own, seal(message(x.extra), "http://h/x?Signature=s3cr3t"))
		if code(err) != x.code {
			t.Errorf("%s: got %v, want %s", name, err, x.code)
		}
		if text := fmt.Sprintf("%+v", *err.(*pgconn.PgError)); strings.Contains(text, "s3cr3t") {
			t.Errorf("%s: the URL shows in %s", name, text)
		}
	}
	// Options that are none of COPY's are left out.
	mustExec(t, c.own, "BEGIN; "+seal(message(`,"options":{"program":"touch `+marker+`","filename":"/etc/passwd","format":"text"}`), c.url))
	var options string
	if err := c.own.QueryRow(t.Context(), "SELECT array_to_string(ftoptions, '|') FROM pg_foreign_table").Scan(&options); err != nil ||
		strings.Contains(options, marker) || strings.Contains(options, "passwd") || !strings.HasSuffix(options, "'|format=text") {
		t.Errorf("options %q, %v", options, err)
	}
	mustExec(t, c.own, "ROLLBACK")
}

func TestUsersReachNothingElse(t *testing.T) {
	t.Parallel()
	c := newCastle(t)
	for _, sql := range []string{
		"SELECT * FROM pgbulk.secret", "UPDATE pgbulk.secret SET id = true", "SELECT * FROM pgbulk.load", "SELECT * FROM pgbulk.import",
		"INSERT INTO pgbulk.import VALUES ('x', 1, 1, 1, 1, 'x', now(), 1)", "DELETE FROM pgbulk.import", "INSERT INTO pgbulk.load_file (file) VALUES (1)",
		"SELECT pgbulk.unseal('open', '', '', '')", "SELECT pgbulk.hmac('', '')", "SELECT pgbulk.xor('', '')", "SELECT pgbulk.add_import('{}')",
		"SELECT pgbulk.check_current(1, 'x')",
		"SELECT * FROM pgbulk.staged", "SELECT * FROM pgbulk.proxy", "SELECT * FROM pgbulk.label", "SELECT * FROM pgbulk.reject", "SELECT * FROM pgbulk.known_file",
		"INSERT INTO pgbulk.staged (process_id) VALUES ('x')", "DELETE FROM pgbulk.label", "UPDATE pgbulk.proxy SET owner = 'x'",
		"SELECT pgbulk.is_staged('x')", "SELECT pgbulk.settle('x', 'FAILED', '', 0, NULL, NULL)", "SELECT pgbulk.cancel('x')", "SELECT pgbulk.fence('x', 'x', 0)",
		"SELECT pgbulk.make_table('{}', 'http://h/x')", "SELECT pgbulk.sender('x')", "SELECT pgbulk.check_left_behind()", "SELECT pgbulk_run.x()",
		"CREATE FUNCTION pgbulk_run.x() RETURNS int LANGUAGE sql AS 'SELECT 1'", "INSERT INTO relyt_sys.relyt_loader_rejects (process_id) VALUES ('x')",
		"CREATE TABLE pgbulk.x (a int)", "CREATE FUNCTION pgbulk.x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"CREATE FOREIGN TABLE x (a text) SERVER pgbulk_files OPTIONS (program 'id')", "ALTER SERVER pgbulk_files OWNER TO CURRENT_USER",
		"CREATE OR REPLACE VIEW relyt_sys.relyt_loader_checkpoint AS SELECT 1", "INSERT INTO relyt_sys.relyt_loader_checkpoint (process_id) VALUES ('x')",
	} {
		if err := exec(t, c.own, sql); err == nil || code(err) != "42501" && code(err) != "55000" {
			t.Errorf("%s: got %v", sql, err)
		}
	}
	plan := c.plan(c.session(), c.key, soon())
	table := plan.Insert[strings.LastIndex(plan.Insert, "FROM ")+5:]
	for name, x := range map[string]string{
		"select as another role": "SET LOCAL ROLE " + c.bob + "; SELECT * FROM " + table,
		"alter":                  "ALTER FOREIGN TABLE " + table + " OPTIONS (SET program 'id')",
		"grant":                  "GRANT SELECT ON " + table + " TO PUBLIC; SELECT 1/count(*) FROM information_schema.table_privileges WHERE grantee = 'PUBLIC' AND table_schema = 'pgbulk'",
		"drop":                   "DROP FOREIGN TABLE " + table,
		"trigger":                "CREATE TRIGGER x BEFORE INSERT ON " + table + " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
	} {
		mustExec(t, c.own, "BEGIN; "+plan.Open)
		if err := exec(t, c.own, x); code(err) != "42501" && code(err) != "22012" {
			t.Errorf("%s: got %v", name, err)
		}
		mustExec(t, c.own, "ROLLBACK")
	}
}

// TestDefinerFunctions: a message obeys the role of the session, whoever's
// function hands it over.
func TestDefinerFunctions(t *testing.T) {
	t.Parallel()
	c := newCastle(t)
	bob := c.pg.Connect(t, c.db, c.bob)
	mustExec(t, bob, `CREATE FUNCTION public.trap(sql text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN EXECUTE sql; END';
		GRANT EXECUTE ON FUNCTION public.trap(text) TO PUBLIC`)
	trap := func(sql string) string { return "SELECT public.trap($x$" + sql + "$x$)" }
	forBob := c.session()
	forBob.Role = c.bob
	c.refused(c.own, "for the function's owner", trap(c.plan(forBob, c.key, soon()).Open), "(role)")
	plan := c.plan(c.session(), c.key, soon())
	mustExec(t, c.own, "BEGIN; "+trap(plan.Open))
	c.refused(c.own, "the owner reads the file", trap("CREATE TABLE public.loot AS SELECT * FROM "+plan.Insert[strings.LastIndex(plan.Insert, "FROM ")+5:]),
		"permission denied")
	mustExec(t, c.own, "ROLLBACK")
}

// TestShadows puts objects of the user's before those of the system: neither
// may a forged message pass, nor may any of them run.
func TestShadows(t *testing.T) {
	t.Parallel()
	c := newCastle(t)
	mustExec(t, c.own, `CREATE SCHEMA evil; CREATE TABLE evil.ran (what text);
		CREATE FUNCTION evil.yes(text, text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO evil.ran VALUES ($1); RETURN true; END';
		CREATE FUNCTION evil.yes(bytea, bytea) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO evil.ran VALUES (''b''); RETURN true; END';
		CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes);
		CREATE OPERATOR evil.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = evil.yes);
		CREATE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE plpgsql AS 'BEGIN INSERT INTO evil.ran VALUES (''sha''); RETURN ''x''; END';
		CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN INSERT INTO evil.ran VALUES ($1); RETURN ''postgres''; END';
		CREATE FUNCTION evil.format(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN INSERT INTO evil.ran VALUES ($1); RETURN ''x''; END';
		CREATE DOMAIN evil.text AS pg_catalog.text; CREATE DOMAIN evil.jsonb AS pg_catalog.jsonb;
		CREATE TEMP TABLE pg_class (oid oid, relname name, relnamespace oid); CREATE TEMP TABLE pg_attribute (a int); CREATE TEMP TABLE secret (key bytea);
		CREATE TEMP TABLE import (a int); CREATE DOMAIN pg_temp.text AS pg_catalog.text;
		SET search_path = evil, pg_temp, pg_catalog;
		SET standard_conforming_strings = off; SET escape_string_warning = off; SET bytea_output = escape; SET DateStyle = 'German';
		SET IntervalStyle = 'sql_standard'; SET transform_null_equals = on; SET extra_float_digits = -15; SET xmloption = document;
		SET plpgsql.extra_errors = 'all'; SET quote_all_identifiers = on; SET TimeZone = 'Asia/Kathmandu'; SET array_nulls = off;
		SET lock_timeout = '5s'; SET default_tablespace = 'pg_default'`)
	forged := append([]byte(nil), c.key...)
	forged[0] ^= 1
	c.refused(c.own, "forged", c.plan(c.session(), forged, soon()).Open, "(mac)")
	mustExec(t, c.own, c.plan(c.session(), c.key, soon()).SQL())
	sql, err := sealed.ImportSQL(c.session(), c.file(), c.key, soon())
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, c.own, sql)
	var ran, rows, imports int
	if err := c.admin.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM evil.ran), (SELECT count(*) FROM public.t), (SELECT count(*) FROM pgbulk.import)").
		Scan(&ran, &rows, &imports); err != nil || ran != 0 || rows != 1 || imports != 2 {
		t.Errorf("%d shadows ran, %d rows, %d imports, %v", ran, rows, imports, err)
	}
}

// TestSealedInSQL: the server's view of a running load does not show the URL.
func TestSealedInSQL(t *testing.T) {
	t.Parallel()
	c := newCastle(t)
	mustExec(t, c.own, "BEGIN; "+c.plan(c.session(), c.key, soon()).Open)
	var query string
	if err := c.admin.QueryRow(t.Context(), "SELECT query FROM pg_stat_activity WHERE pid = $1", c.own.PgConn().PID()).Scan(&query); err != nil ||
		!strings.Contains(query, "open_file") || strings.Contains(query, "Signature") {
		t.Errorf("got %s, %v", query, err)
	}
	mustExec(t, c.own, "ROLLBACK")
}
