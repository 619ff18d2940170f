package sealed_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/enginetest"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// depot is a database whose service role is nobody special, in which alice
// stages loads into a table of her own.
type depot struct {
	t              testing.TB
	pg             *testenv.PG
	db             string
	key            []byte
	service, alice string
	admin, own     *pgx.Conn
	ledger         *checkpoint.Postgres
	store          store.Store
}

const owner = "proxy-1"

func newDepot(t testing.TB) *depot {
	pg := testenv.Postgres(t)
	d := &depot{t: t, pg: pg, db: pg.NewDatabase(t), service: pg.NewRole(t, ""), alice: pg.NewRole(t, ""), store: enginetest.NewWebStore(t)}
	d.admin = pg.Connect(t, d.db, "postgres")
	mustExec(t, d.admin, installation(d.service))
	d.key = secret(t, d.admin)
	mustExec(t, d.admin, "CREATE SCHEMA own AUTHORIZATION "+d.alice)
	d.own = pg.Connect(t, d.db, d.alice)
	mustExec(t, d.own, "CREATE TABLE own.t (a text, b text)")
	cfg, err := pgxpool.ParseConfig(pg.DSN(d.db, d.service))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.RuntimeParams = checkpoint.RuntimeParams()
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	d.ledger = checkpoint.NewPostgres(pool)
	if err := d.ledger.Register(t.Context(), checkpoint.Proxy{Owner: owner, Host: "h", PID: 1}, time.Hour); err != nil {
		t.Fatal(err)
	}
	return d
}

// session is conn's, for sealing.
func (d *depot) session(conn *pgx.Conn) (s engine.Session) {
	d.t.Helper()
	s.BackendPID = conn.PgConn().PID()
	if err := conn.QueryRow(d.t.Context(), "SELECT current_database(), current_user").Scan(&s.Database, &s.Role); err != nil {
		d.t.Fatal(err)
	}
	return s
}

// staged makes a load of one file for each text and begins it in the ledger.
func (d *depot) staged(conn *pgx.Conn, table string, files ...string) sealed.Staged {
	d.t.Helper()
	l := sealed.Staged{ProcessID: uuid.NewString(), Owner: owner, Statement: &rewrite.CopyStatement{Format: rewrite.FormatText, Null: `\N`},
		Target: engine.Target{Schema: "own", Table: table, Columns: []string{"a", "b"}}}
	if err := d.admin.QueryRow(d.t.Context(), "SELECT $1::regclass::oid", "own."+table).Scan(&l.Target.OID); err != nil {
		d.t.Fatal(err)
	}
	for i, rows := range files {
		f := sealed.StagedFile{Number: i + 1, Key: fmt.Sprintf("%s/%d", l.ProcessID, i+1), Records: int64(strings.Count(rows, "\n")), Bytes: int64(len(rows)), CRC32C: 7}
		f.URL = "s3://b/" + f.Key
		if err := d.store.Put(d.t.Context(), f.Key, strings.NewReader(rows)); err != nil {
			d.t.Fatal(err)
		}
		l.Files = append(l.Files, f)
	}
	s := d.session(conn)
	err := d.ledger.Begin(d.t.Context(), checkpoint.Load{ProcessID: l.ProcessID, Database: d.db, Role: s.Role, Schema: "own", Table: table,
		Owner: owner, Started: time.Now(), Ack: checkpoint.AckStaged})
	if err != nil {
		d.t.Fatal(err)
	}
	return l
}

// stageSQL is the statement of the client's transaction.
func (d *depot) stageSQL(conn *pgx.Conn, l sealed.Staged) string {
	d.t.Helper()
	sql, err := sealed.StageSQL(d.session(conn), l, d.key, soon())
	if err != nil {
		d.t.Fatal(err)
	}
	return sql
}

// stage stages a load in a transaction of its own.
func (d *depot) stage(conn *pgx.Conn, table string, files ...string) sealed.Staged {
	d.t.Helper()
	l := d.staged(conn, table, files...)
	mustExec(d.t, conn, d.stageSQL(conn, l))
	return l
}

// importSQL is the import's transaction on conn.
func (d *depot) importSQL(conn *pgx.Conn, l sealed.Staged, f checkpoint.Fence) string {
	d.t.Helper()
	s := engine.Session{Database: d.db, BackendPID: conn.PgConn().PID(), Role: d.service}
	var opens []string
	for _, file := range l.Files {
		url, err := d.store.PresignGet(d.t.Context(), file.Key, time.Minute)
		if err != nil {
			d.t.Fatal(err)
		}
		open, err := sealed.OpenStagedSQL(s, l.ProcessID, file.Number, url, d.key, soon())
		if err != nil {
			d.t.Fatal(err)
		}
		opens = append(opens, open)
	}
	return sealed.ImportTransaction(opens, f.ProcessID, f.Owner, f.Epoch)
}

func first(l sealed.Staged) checkpoint.Fence {
	return checkpoint.Fence{ProcessID: l.ProcessID, Owner: owner}
}

// load imports a load on a session of its own, as its first owner.
func (d *depot) load(l sealed.Staged) error {
	d.t.Helper()
	conn := d.pg.Connect(d.t, d.db, d.service)
	defer conn.Close(context.WithoutCancel(d.t.Context()))
	return exec(d.t, conn, d.importSQL(conn, l, first(l)))
}

// value is one text from the superuser's session.
func (d *depot) value(sql string) (s string) {
	d.t.Helper()
	if err := d.admin.QueryRow(d.t.Context(), sql).Scan(&s); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return s
}

// want demands what the query gives.
func (d *depot) want(sql, want string) {
	d.t.Helper()
	if got := d.value(sql); got != want {
		d.t.Errorf("%s: got %q, want %q", sql, got, want)
	}
}

// wantStatus demands what users see of a load, and that nothing is left of an
// import.
func (d *depot) wantStatus(l sealed.Staged, status, state string) {
	d.t.Helper()
	d.want("SELECT status || ' ' || (SELECT string_agg(DISTINCT f ->> 'state', ',') FROM jsonb_array_elements(file_details) f) "+
		"FROM relyt_sys.relyt_loader_checkpoint WHERE process_id = '"+l.ProcessID+"'", status+" "+state)
	d.want("SELECT count(*)::text FROM pg_foreign_table", "0")
	d.want("SELECT count(*)::text FROM pg_proc WHERE pronamespace = 'pgbulk_run'::regnamespace", "0")
}

func TestStagedImport(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	mustExec(t, d.own, `CREATE TABLE own.seen (who text, session text, settings text);
		CREATE FUNCTION own.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO seen VALUES (current_user, session_user, concat_ws(' ', current_setting('DateStyle'), current_setting('TimeZone'), current_setting('work_mem')));
			RETURN NULL; END $$;
		CREATE TRIGGER see AFTER INSERT ON own.t EXECUTE FUNCTION own.see();
		SET search_path = own, public; SET DateStyle = 'German, DMY'; SET TimeZone = 'Asia/Kathmandu'; SET work_mem = '5MB'; SET statement_timeout = '1min'`)
	l := d.stage(d.own, "t", "1\tx\n2\ty\n", "3\t\\N\n")
	d.wantStatus(l, "RUNNING", "FROZEN")
	d.want("SELECT count(*)::text FROM own.t", "0")
	heads, err := d.ledger.Heads(t.Context(), owner)
	if err != nil || len(heads) != 1 || heads[0].ProcessID != l.ProcessID || len(heads[0].Files) != 2 || heads[0].Role != d.alice ||
		heads[0].Files[1].Key != l.Files[1].Key || heads[0].Files[1].Records != 1 {
		t.Fatalf("heads %+v, %v", heads, err)
	}
	if err := d.ledger.Attempt(t.Context(), heads[0].Fence); err != nil {
		t.Fatal(err)
	}
	d.wantStatus(l, "RUNNING", "IMPORTING")
	if err := d.load(l); err != nil {
		t.Fatal(err)
	}
	d.wantStatus(l, "COMPLETED", "IMPORTED")
	d.want("SELECT string_agg(concat_ws(':', a, b), ' ' ORDER BY a) FROM own.t", "1:x 2:y 3")
	d.want("SELECT DISTINCT concat_ws('|', who, session, settings) FROM own.seen", d.alice+"|"+d.service+"|German, DMY Asia/Kathmandu 5MB")
	if err := d.load(l); code(err) != checkpoint.FenceCode {
		t.Errorf("a second import: %v", err)
	}
	d.want("SELECT count(*)::text FROM own.t", "3")
	if heads, err := d.ledger.Heads(t.Context(), owner); err != nil || len(heads) != 0 {
		t.Errorf("heads %+v, %v", heads, err)
	}
}

// TestStagedByTransaction: only what commits is staged, and what was given up
// never is.
func TestStagedByTransaction(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	settle := func(l sealed.Staged, want checkpoint.Status) {
		t.Helper()
		got, err := d.ledger.Settle(t.Context(), checkpoint.Outcome{ProcessID: l.ProcessID, Status: checkpoint.Completed})
		if err != nil || got != want {
			t.Errorf("settled as %s, %v, want %s", got, err, want)
		}
	}
	back, point, good := d.staged(d.own, "t", "1\t1\n"), d.staged(d.own, "t", "2\t2\n"), d.staged(d.own, "t", "3\t3\n")
	mustExec(t, d.own, "BEGIN; "+d.stageSQL(d.own, back)+"; ROLLBACK")
	mustExec(t, d.own, "BEGIN; SAVEPOINT a; "+d.stageSQL(d.own, point)+"; ROLLBACK TO a; "+d.stageSQL(d.own, good)+"; COMMIT")
	settle(back, checkpoint.Cancelled)
	settle(point, checkpoint.Cancelled)
	settle(good, checkpoint.Running)
	if err := d.load(back); code(err) != checkpoint.FenceCode {
		t.Errorf("import after rollback: %v", err)
	}
	// The client's transaction is still under way when its proxy is given up.
	late := d.staged(d.own, "t", "4\t4\n")
	mustExec(t, d.own, "BEGIN; "+d.stageSQL(d.own, late))
	if got, err := d.ledger.Settle(t.Context(), checkpoint.Outcome{ProcessID: late.ProcessID, Status: checkpoint.Cancelled}); err == nil {
		t.Errorf("settled as %s while nobody can know", got)
	}
	mustExec(t, d.own, "COMMIT")
	settle(late, checkpoint.Running)
	// Given up before it staged: it can't any more.
	lost := d.staged(d.own, "t", "5\t5\n")
	settle(lost, checkpoint.Cancelled)
	if err := exec(t, d.own, d.stageSQL(d.own, lost)); code(err) != "40001" {
		t.Errorf("staged after it was given up: %v", err)
	}
	if err := exec(t, d.own, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; "+d.stageSQL(d.own, d.staged(d.own, "t", "6\t6\n"))+"; COMMIT"); err != nil {
		t.Errorf("under SERIALIZABLE: %v", err)
	}
}

func TestStagedRefusals(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	l := d.stage(d.own, "t", "1\tx\n")
	service := d.pg.Connect(t, d.db, d.service)
	for name, x := range map[string]struct {
		conn *pgx.Conn
		sql  string
		code string
	}{
		"import by the sender":     {d.own, "SELECT pgbulk.import_staged('" + l.ProcessID + "', 'proxy-1', 0)", "42501"},
		"fence by the sender":      {d.own, "SELECT pgbulk.fence('" + l.ProcessID + "', 'proxy-1', 0)", "42501"},
		"open by the sender":       {d.own, "SELECT pgbulk.open_staged('', '', '')", "42501"},
		"run by the sender":        {d.own, "SELECT pgbulk.run_as('" + l.ProcessID + "', '{}', '{}')", "42501"},
		"run by the service":       {service, "SELECT pgbulk.run_as('" + l.ProcessID + "', '{}', '{SELECT 1}')", "42501"},
		"finish by the service":    {service, "SELECT pgbulk.finish_import('" + l.ProcessID + "', '{1}')", "42501"},
		"service stages":           {service, "INSERT INTO pgbulk.staged (process_id, staged_at, txid) VALUES ('x', now(), 1)", "42501"},
		"service changes":          {service, "UPDATE pgbulk.staged SET statement = '{}'", "42501"},
		"service makes up a label": {service, "INSERT INTO pgbulk.label VALUES ('x', 'y', 'z', 'p')", "42501"},
		"files are not open":       {service, "SELECT pgbulk.import_staged('" + l.ProcessID + "', 'proxy-1', 0)", "42P01"},
		"another owner":            {service, "SELECT pgbulk.import_staged('" + l.ProcessID + "', 'proxy-2', 0)", checkpoint.FenceCode},
		"another epoch":            {service, "SELECT pgbulk.import_staged('" + l.ProcessID + "', 'proxy-1', 1)", checkpoint.FenceCode},
		"unknown load":             {service, "SELECT pgbulk.import_staged('x', 'proxy-1', 0)", checkpoint.FenceCode},
		"nulls":                    {service, "SELECT pgbulk.import_staged(NULL, NULL, NULL)", checkpoint.FenceCode},
	} {
		if err := exec(t, x.conn, x.sql); code(err) != x.code {
			t.Errorf("%s: got %v, want %s", name, err, x.code)
		}
	}
	// The service role can't stage in the name of others: a message obeys the
	// role of its session.
	sql, err := sealed.StageSQL(engine.Session{Database: d.db, BackendPID: service.PgConn().PID(), Role: d.alice}, d.staged(d.own, "t", "1\tx\n"), d.key, soon())
	if err != nil {
		t.Fatal(err)
	}
	if err := exec(t, service, sql); code(err) != "42501" {
		t.Errorf("staged in the name of another: %v", err)
	}
	// What fails leaves nothing, and the load stays.
	short := l
	short.Files = nil
	if err := d.load(short); code(err) != "42P01" {
		t.Errorf("without its files: %v", err)
	}
	if err := d.store.Put(t.Context(), l.Files[0].Key, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	if err := d.load(l); code(err) != "58030" {
		t.Errorf("with other rows: %v", err)
	}
	mustExec(t, d.own, "ALTER TABLE own.t RENAME TO u")
	if err := d.load(l); code(err) != "55000" {
		t.Errorf("with another table: %v", err)
	}
	d.want("SELECT count(*)::text FROM own.u", "0")
	d.wantStatus(l, "RUNNING", "FROZEN")
}

// TestStagedRoles: the rows come with the rights that the sender has at the time
// of the import, whatever the role is called by then.
func TestStagedRoles(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	bob, group := d.pg.NewRole(t, ""), d.pg.NewRole(t, "")
	mustExec(t, d.own, "CREATE TABLE own.who (a text, b text DEFAULT current_user); GRANT USAGE ON SCHEMA own TO PUBLIC; GRANT ALL ON own.t, own.who TO "+bob+", "+group)
	mustExec(t, d.admin, "GRANT "+group+" TO "+bob+"; CREATE TABLE own.super (a text, b text); REVOKE ALL ON own.super FROM "+d.alice)
	conn := d.pg.Connect(t, d.db, bob)
	mustExec(t, conn, "SET ROLE "+group)
	as := d.stage(conn, "t", "1\tx\n")
	mustExec(t, conn, "RESET ROLE")
	if err := d.load(as); err != nil {
		t.Fatal(err)
	}
	d.want("SELECT role FROM pgbulk.import", group)

	renamed, revoked, dropped := d.stage(conn, "t", "2\tx\n"), d.stage(conn, "t", "3\tx\n"), d.stage(conn, "t", "4\tx\n")
	mustExec(t, d.admin, "ALTER ROLE "+bob+" RENAME TO "+bob+"_new")
	if err := d.load(renamed); err != nil {
		t.Error(err)
	}
	d.want("SELECT role FROM pgbulk.import WHERE process_id = '"+renamed.ProcessID+"'", bob+"_new")
	mustExec(t, d.own, "REVOKE ALL ON own.t FROM "+bob+"_new, "+group)
	if err := d.load(revoked); code(err) != "42501" {
		t.Errorf("without the right: %v", err)
	}
	mustExec(t, d.own, "REVOKE ALL ON own.who FROM "+bob+"_new")
	// No runner stands in the way of DROP ROLE, and another role of the name
	// is another role.
	mustExec(t, d.admin, "DROP ROLE "+bob+"_new; CREATE ROLE "+bob+" SUPERUSER")
	if err := d.load(dropped); code(err) != "42704" || !strings.Contains(err.Error(), bob) {
		t.Errorf("without the role: %v", err)
	}
	mustExec(t, d.admin, "ALTER ROLE "+bob+" NOSUPERUSER")
	super := d.stage(d.admin, "super", "1\tx\n")
	if err := d.load(super); err != nil {
		t.Errorf("a superuser's load: %v", err)
	}
	d.want("SELECT count(*)::text FROM own.super", "1")
}
