package checkpoint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/checkpoint/checkpointtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// fixture is a database with a ledger, used by a service role.
type fixture struct {
	pg      *testenv.PG
	db      string
	service string
	admin   *pgxpool.Pool
	ledger  *checkpoint.Postgres
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	pg := testenv.Postgres(t)
	f := &fixture{pg: pg, db: pg.NewDatabase(t), service: pg.NewRole(t, "")}
	mustExec(t, pg.Connect(t, f.db, "postgres"), "BEGIN; "+checkpoint.InstallSQL(f.service)+"COMMIT")
	f.admin = f.pool(t, "postgres")
	// The worst default that a service role can have.
	mustExec(t, pg.Connect(t, f.db, "postgres"), "ALTER ROLE "+f.service+" SET default_transaction_isolation = serializable")
	f.ledger = checkpoint.NewPostgres(f.pool(t, f.service))
	return f
}

func (f *fixture) pool(t testing.TB, role string) *pgxpool.Pool {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(f.pg.DSN(f.db, role))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.RuntimeParams = checkpoint.RuntimeParams()
	cfg.MaxConns = 20
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

const importSQL = `INSERT INTO pgbulk.import (process_id, file, records, bytes, crc32c, role, imported_at, txid)
VALUES ($1, $2, 5, 50, 4294967295, 'nobody', clock_timestamp(), txid_current())`

func (f *fixture) imported(ctx context.Context, id string, file int) error {
	_, err := f.admin.Exec(ctx, importSQL, id, file)
	return err
}

// loaded records a load of role with two frozen files and one imported.
func (f *fixture) loaded(t testing.TB, role, table string) string {
	t.Helper()
	id := uuid.NewString()
	if err := f.ledger.Begin(t.Context(), checkpoint.Load{ProcessID: id, Database: f.db, Role: role, Schema: "public", Table: table, Owner: "x", Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2; n++ {
		key := fmt.Sprintf("p/2024-01-01/%s/%d", id, n)
		if err := f.ledger.Freeze(t.Context(), checkpoint.File{ProcessID: id, Number: n, Key: key, URL: "s3://b/" + key,
			Records: 5, Bytes: 50, CRC32C: 0xAB, Created: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.imported(t.Context(), id, 1); err != nil {
		t.Fatal(err)
	}
	return id
}

func mustExec(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
}

// text returns the rows of a query, columns joined by "|".
func text(t testing.TB, conn *pgx.Conn, sql string) string {
	t.Helper()
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var rows []string
	for _, r := range results[len(results)-1].Rows {
		var cells []string
		for _, c := range r {
			cells = append(cells, string(c))
		}
		rows = append(rows, strings.Join(cells, "|"))
	}
	return strings.Join(rows, "\n")
}

func TestPostgresConforms(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.ledger.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkpointtest.Run(t, checkpointtest.Config{Ledger: f.ledger, Import: f.imported, Stage: f.stage, Finish: f.finish})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user := f.pg.NewRole(t, "")
	if err := checkpoint.NewPostgres(f.pool(t, user)).Check(t.Context()); err == nil {
		t.Error("a user may use the ledger")
	}
	admin := f.pg.Connect(t, f.db, "postgres")
	mustExec(t, admin, "UPDATE pgbulk.format SET version = 77")
	if err := f.ledger.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "version 77") {
		t.Errorf("got %v", err)
	}
	mustExec(t, admin, "BEGIN; "+checkpoint.UninstallSQL()+checkpoint.UninstallSQL()+"COMMIT")
	if err := f.ledger.Check(t.Context()); err == nil {
		t.Error("there is a ledger after the removal")
	}
}

// TestUsersQueries: the two queries that users run.
func TestUsersQueries(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.pg.NewRole(t, "")
	conn := f.pg.Connect(t, f.db, alice)
	list := "SELECT process_id, pg_table, status, files_total, files_imported FROM relyt_sys.relyt_loader_checkpoint ORDER BY start_time DESC"
	if got := text(t, conn, list); got != "" {
		t.Errorf("an empty ledger shows %q", got)
	}
	first, second := f.loaded(t, alice, "t"), f.loaded(t, alice, "T x")
	want := second + `|public."T x"|RUNNING|2|1` + "\n" + first + "|public.t|RUNNING|2|1"
	if got := text(t, conn, list); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	files := "SELECT f->>'url', f->>'state' FROM relyt_sys.relyt_loader_checkpoint, jsonb_array_elements(file_details) f WHERE process_id='" + first + "'"
	url := "s3://b/p/2024-01-01/" + first
	if got, want := text(t, conn, files), url+"/1|IMPORTED\n"+url+"/2|FROZEN"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := f.ledger.Settle(t.Context(), checkpoint.Outcome{ProcessID: first, Status: checkpoint.Failed, Message: "no"}); err != nil {
		t.Fatal(err)
	}
	if got, want := text(t, conn, files), url+"/1|IMPORTED\n"+url+"/2|ERROR"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	row := "SELECT status, files_total, files_imported, error_message, error_records, last_insert_time IS NULL FROM relyt_sys.relyt_loader_checkpoint WHERE process_id = '" + first + "'"
	if got := text(t, conn, row); got != "FAILED|2|1|no|0|f" {
		t.Errorf("got %s", got)
	}
	// The commit turns out to have happened: the view says so at once.
	if err := f.imported(t.Context(), first, 2); err != nil {
		t.Fatal(err)
	}
	if got := text(t, conn, row); got != "COMPLETED|2|2||0|f" {
		t.Errorf("got %s", got)
	}
}

func TestFileDetails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.loaded(t, "postgres", "t")
	if err := f.imported(t.Context(), id, 3); err != nil { // its Freeze was lost
		t.Fatal(err)
	}
	admin := f.pg.Connect(t, f.db, "postgres")
	var details []map[string]any
	if err := json.Unmarshal([]byte(text(t, admin, "SELECT file_details FROM relyt_sys.relyt_loader_checkpoint")), &details); err != nil {
		t.Fatal(err)
	}
	if len(details) != 3 || details[1]["imported_at"] != nil || details[0]["imported_at"] == nil || details[0]["created_at"] == nil {
		t.Fatalf("%v", details)
	}
	for _, d := range details {
		delete(d, "imported_at")
		delete(d, "created_at")
	}
	want := fmt.Sprintf(`{"bytes":50,"checksum":"crc32c:000000ab","file":1,"key":"p/2024-01-01/%[1]s/1","records":5,"state":"IMPORTED","url":"s3://b/p/2024-01-01/%[1]s/1"}`, id)
	if got, _ := json.Marshal(details[0]); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want = `{"bytes":50,"checksum":"crc32c:ffffffff","file":3,"key":null,"records":5,"state":"IMPORTED","url":null}`
	if got, _ := json.Marshal(details[2]); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestWhoSeesWhat: a role sees the loads of the roles it is a member of.
func TestWhoSeesWhat(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice, bob, group, gone := f.pg.NewRole(t, ""), f.pg.NewRole(t, ""), f.pg.NewRole(t, ""), f.pg.NewRole(t, "")
	admin := f.pg.Connect(t, f.db, "postgres")
	mustExec(t, admin, "GRANT "+group+" TO "+alice)
	for _, role := range []string{alice, bob, group, gone} {
		f.loaded(t, role, strings.ReplaceAll(role, "role_", "of_"))
	}
	mustExec(t, admin, "DROP ROLE "+gone)
	for role, want := range map[string]int{alice: 2, bob: 1, group: 1, f.service: 4, "postgres": 4} {
		conn := f.pg.Connect(t, f.db, role)
		if got := text(t, conn, "SELECT count(*) FROM relyt_sys.relyt_loader_checkpoint"); got != fmt.Sprint(want) {
			t.Errorf("%s sees %s loads, want %d", role, got, want)
		}
	}
	// A function of the reader's must not be shown the rows of others.
	conn := f.pg.Connect(t, f.db, bob)
	mustExec(t, conn, `SET client_min_messages = notice; CREATE FUNCTION pg_temp.peek(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001
		AS 'BEGIN PERFORM set_config(''pgbulktest.seen'', current_setting(''pgbulktest.seen'', true) || $1, false); RETURN true; END'`)
	mustExec(t, conn, "SET pgbulktest.seen = ''; SELECT FROM relyt_sys.relyt_loader_checkpoint WHERE pg_temp.peek(pg_table)")
	if got := text(t, conn, "SHOW pgbulktest.seen"); got != "public."+strings.ReplaceAll(bob, "role_", "of_") {
		t.Errorf("the function saw %s", got)
	}
}

// TestPrivileges: users can't write the ledger, the service role not what
// decides whether rows are in a table.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	user := f.pg.Connect(t, f.db, f.pg.NewRole(t, ""))
	service := f.pg.Connect(t, f.db, f.service)
	for sql, conns := range map[string][]*pgx.Conn{
		"INSERT INTO pgbulk.import VALUES ('x', 1, 1, 1, 1, 'x', now(), 1)": {user, service},
		"UPDATE pgbulk.import SET file = 2":                                 {user, service},
		"DELETE FROM pgbulk.import":                                         {user, service},
		"TRUNCATE pgbulk.load":                                              {user, service},
		"UPDATE pgbulk.format SET version = 2":                              {user, service},
		"SELECT * FROM pgbulk.load":                                         {user},
		"SELECT * FROM pgbulk.load_file":                                    {user},
		"INSERT INTO pgbulk.load_file (process_id) VALUES ('x')":            {user},
		"UPDATE pgbulk.load SET status = 'FAILED'":                          {user},
		"CREATE TABLE pgbulk.x (a int)":                                     {user, service},
		"CREATE TABLE relyt_sys.x (a int)":                                  {user, service},
	} {
		for _, conn := range conns {
			var e *pgconn.PgError
			_, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
			if e, _ = err.(*pgconn.PgError); e == nil || e.Code != "42501" {
				t.Errorf("%s: got %v", sql, err)
			}
		}
	}
}

// TestNobodyWaits: an import row that isn't committed yet blocks neither the
// ledger nor another load, and the ledger's reads don't make SERIALIZABLE
// transactions fail.
func TestNobodyWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ids := [2]string{f.loaded(t, "postgres", "t"), f.loaded(t, "postgres", "t")}
	var conns [2]*pgx.Conn
	for i := range conns {
		conns[i] = f.pg.Connect(t, f.db, "postgres")
		mustExec(t, conns[i], "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1")
	}
	for round := range 2 {
		for i, conn := range conns {
			if _, err := conn.Exec(ctx, importSQL, ids[i], 2+round); err != nil {
				t.Fatal(err)
			}
			if got, err := f.ledger.Settle(ctx, checkpoint.Outcome{ProcessID: ids[i], Status: checkpoint.Cancelled}); err != nil || got != checkpoint.Cancelled {
				t.Fatalf("got %s, %v", got, err)
			}
			if _, err := f.ledger.Due(ctx, time.Now().Add(time.Hour), 10); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, conn := range conns {
		mustExec(t, conn, "COMMIT")
		if got, err := f.ledger.Settle(ctx, checkpoint.Outcome{ProcessID: ids[i], Status: checkpoint.Cancelled}); err != nil || got != checkpoint.Completed {
			t.Errorf("got %s, %v", got, err)
		}
	}
}

// TestInstallTwice keeps rows and serves another service role, too.
func TestInstallTwice(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.loaded(t, "postgres", "t")
	other := f.pg.NewRole(t, "")
	mustExec(t, f.pg.Connect(t, f.db, "postgres"), "BEGIN; "+checkpoint.InstallSQL(other)+"COMMIT")
	if err := checkpoint.NewPostgres(f.pool(t, other)).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if got := text(t, f.pg.Connect(t, f.db, other), "SELECT count(*) FROM relyt_sys.relyt_loader_checkpoint"); got != "1" {
		t.Errorf("%s loads", got)
	}
}
