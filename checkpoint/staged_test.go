package checkpoint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/checkpoint/checkpointtest"
)

// stage writes what the engine's function does in the client's transaction.
func (f *fixture) stage(ctx context.Context, x checkpoint.Fence, relid uint32) error {
	return stageOn(ctx, f.admin, x, relid)
}

func stageOn(ctx context.Context, db checkpoint.DB, x checkpoint.Fence, relid uint32) error {
	var files []map[string]any
	for n := 1; n <= 2; n++ {
		one := checkpointtest.File(x.ProcessID, n)
		files = append(files, map[string]any{"file": n, "key": one.Key, "url": one.URL, "records": one.Records, "bytes": one.Bytes, "crc32c": one.CRC32C})
	}
	list, err := json.Marshal(files)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, `INSERT INTO pgbulk.staged (process_id, owner, database, role, role_oid, pid, backend_start, relid, schema_name, table_name, label,
			statement, files, settings, staged_at, txid)
		SELECT $1, $2, 'db', 'nobody', 10, pg_backend_pid(), a.backend_start, $3, 'public', 't', 'l', '{}', $4::text::jsonb, '{}', clock_timestamp(), txid_current()
		  FROM pg_stat_get_activity(pg_backend_pid()) a`, x.ProcessID, x.Owner, relid, string(list))
	return err
}

// finish writes what the engine's import does.
func (f *fixture) finish(ctx context.Context, x checkpoint.Fence) error {
	return pgx.BeginFunc(ctx, f.admin, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"SELECT pgbulk.fence($1, $2, $3)",
			`INSERT INTO pgbulk.import (process_id, file, records, bytes, crc32c, role, imported_at, txid)
				SELECT $1, n, 5, 50, 4294967295, $2, clock_timestamp(), txid_current() + $3 FROM generate_series(1, 2) n`,
			"UPDATE pgbulk.staged SET done = true WHERE process_id = $1 AND owner = $2 AND $3 >= 0",
			"UPDATE pgbulk.load SET status = 'COMPLETED', end_time = clock_timestamp() WHERE process_id = $1 AND owner = $2 AND epoch = $3",
		} {
			if _, err := tx.Exec(ctx, sql, x.ProcessID, x.Owner, x.Epoch); err != nil {
				return err
			}
		}
		return nil
	})
}

// stagedOn begins and stages a load on conn, the client's session.
func (f *fixture) stagedOn(t testing.TB, conn *pgx.Conn, id string) checkpoint.Fence {
	t.Helper()
	x := checkpoint.Fence{ProcessID: id, Owner: "p"}
	err := f.ledger.Begin(t.Context(), checkpoint.Load{ProcessID: id, Owner: "p", Started: time.Now(), Ack: checkpoint.AckStaged, Role: "nobody", Table: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if err := stageOn(t.Context(), conn, x, 1); err != nil {
		t.Fatal(err)
	}
	return x
}

// TestFlush: it waits for this session's loads, and says how they failed.
func TestFlush(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	conn, bystander := f.pg.Connect(t, f.db, "postgres"), f.pg.Connect(t, f.db, f.pg.NewRole(t, ""))
	const flush = "SELECT pgbulk.flush()"
	mustExec(t, conn, flush)
	one, two := f.stagedOn(t, conn, "1"), f.stagedOn(t, conn, "2")
	mustExec(t, bystander, flush)
	ended := make(chan error, 1)
	go func() {
		_, err := conn.PgConn().Exec(t.Context(), flush).ReadAll()
		ended <- err
	}()
	if err := f.finish(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	// Two rests from now on it has seen that the first load is in.
	admin, rests := f.pg.Connect(t, f.db, "postgres"), 0
	for resting := false; rests < 2; {
		select {
		case err := <-ended:
			t.Fatalf("flush ended before the second load: %v", err)
		default:
		}
		now := text(t, admin, fmt.Sprintf("SELECT wait_event FROM pg_stat_activity WHERE pid = %d", conn.PgConn().PID())) == "PgSleep"
		if now && !resting {
			rests++
		}
		resting = now
	}
	if err := f.finish(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	bad := f.stagedOn(t, conn, "3")
	if _, err := f.ledger.Fail(t.Context(), bad, checkpoint.Failure{Message: "null value in column", SQLState: "23502", Retry: -1}); err != nil {
		t.Fatal(err)
	}
	wantError(t, conn, flush, "23502", "null value in column")
	if _, err := f.ledger.Cancel(t.Context(), "3"); err != nil {
		t.Fatal(err)
	}
	mustExec(t, conn, flush)
	mustExec(t, conn, "BEGIN")
	f.stagedOn(t, conn, "4")
	wantError(t, conn, flush, "25001", "cannot wait for loads of the transaction")
	mustExec(t, conn, "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ")
	wantError(t, conn, flush, "25001", "repeatable read")
	mustExec(t, conn, "ROLLBACK")
}

func wantError(t testing.TB, conn *pgx.Conn, sql, code, message string) {
	t.Helper()
	_, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err == nil || !strings.Contains(err.Error(), code) || !strings.Contains(err.Error(), message) {
		t.Errorf("%s: got %v, want %s %s", sql, err, code, message)
	}
}

// TestUpgrade: what version 1 has written is shown as before, and can be settled
// and swept.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	old, err := os.ReadFile("testdata/version1.sql")
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	conn := f.pg.Connect(t, f.db, "postgres")
	service := f.service
	mustExec(t, conn, "BEGIN; "+checkpoint.UninstallSQL()+string(old)+"GRANT SELECT, INSERT, UPDATE ON pgbulk.load, pgbulk.load_file TO "+service+
		`; INSERT INTO pgbulk.load (process_id, database, role, schema_name, table_name, owner, status, start_time, end_time, error_message) VALUES
			('a', 'db', 'postgres', 'public', 't', 'x', 'RUNNING', now(), NULL, NULL),
			('b', 'db', 'postgres', 'public', 't', 'x', 'COMPLETED', now(), now(), NULL),
			('c', 'db', 'postgres', 'public', 't', 'x', 'FAILED', now(), now(), 'why');
		INSERT INTO pgbulk.load_file SELECT p, n, 'k' || p || n, 's3://b/k', 5, 50, 1, now() FROM unnest('{a,b,c}'::text[]) p, generate_series(1, 2) n;
		INSERT INTO pgbulk.import SELECT 'b', n, 5, 50, 1, 'postgres', now(), 1 FROM generate_series(1, 2) n; COMMIT`)
	const columns = "process_id, pg_table, status, start_time, last_insert_time, files_total, files_imported, file_details, error_message, error_records"
	list := "SELECT " + columns + " FROM relyt_sys.relyt_loader_checkpoint ORDER BY process_id"
	before := text(t, conn, list)
	if strings.Count(before, "\n") != 2 || !strings.Contains(before, "|FAILED|") {
		t.Fatalf("the fixture shows %s", before)
	}
	if err := f.ledger.Check(t.Context()); err == nil {
		t.Error("version 1 is taken for the present one")
	}
	for range 2 {
		mustExec(t, conn, "BEGIN; "+checkpoint.InstallSQL(service)+"COMMIT")
		if after := text(t, conn, list); after != before {
			t.Errorf("after the upgrade\n%s\nbefore\n%s", after, before)
		}
	}
	if err := f.ledger.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, err := f.ledger.Settle(t.Context(), checkpoint.Outcome{ProcessID: "b", Status: checkpoint.Failed}); err != nil || status != checkpoint.Completed {
		t.Errorf("settled as %s, %v", status, err)
	}
	due, err := f.ledger.Due(t.Context(), time.Now().Add(time.Hour), 10)
	if err != nil || fmt.Sprint(due) != "[{b [kb1 kb2] true} {c [kc1 kc2] false}]" {
		t.Errorf("due are %v, %v", due, err)
	}
	if orphans, err := f.ledger.Orphans(t.Context(), 10); err != nil || len(orphans) != 1 || orphans[0].ProcessID != "a" {
		t.Errorf("orphans are %v, %v", orphans, err)
	}
}

func TestDropLabels(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	conn := f.pg.Connect(t, f.db, "postgres")
	mustExec(t, conn, "INSERT INTO pgbulk.label (schema_name, table_name, label, process_id, created) VALUES ('s', 't', 'old', 'x', now() - interval '2 hours'), ('s', 't', 'new', 'x', now())")
	if n, err := f.ledger.DropLabels(t.Context(), time.Now().Add(-time.Hour)); err != nil || n != 1 {
		t.Errorf("%d labels, %v", n, err)
	}
	if got := text(t, conn, "SELECT label FROM pgbulk.label"); got != "new" {
		t.Errorf("left is %s", got)
	}
}

func TestRetryable(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]bool{
		"": true, "08006": true, "40001": true, "40P01": true, "53300": true, "57P01": true, "57P03": true, "57014": true, "55P03": true, "38000": true, "58030": true, "25006": true,
		"22P02": false, "23505": false, "42501": false, "42P01": false, "0A000": false, "55000": false, "P0001": false, checkpoint.FenceCode: false,
	} {
		if got := checkpoint.Retryable(state); got != want {
			t.Errorf("%s: %v", state, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for attempts, most := range map[int]time.Duration{0: 1, 1: 1, 2: 2, 4: 8, 7: 64, 8: 64, 1000: 64} {
		for range 50 {
			d := checkpoint.Backoff(attempts, time.Second)
			if d > most*time.Second || d < most*time.Second/2 {
				t.Errorf("after %d attempts %s", attempts, d)
			}
			seen[d] = true
		}
	}
	if len(seen) < 100 {
		t.Errorf("%d different times", len(seen))
	}
	if d := checkpoint.Backoff(3, 0); d != 0 {
		t.Errorf("got %s", d)
	}
}
