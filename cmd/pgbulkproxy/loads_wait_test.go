package main

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// ledgerDB is a database with a ledger, in which tests play the proxy.
type ledgerDB struct {
	t      *testing.T
	dsn    string
	conn   *pgx.Conn
	ledger *checkpoint.Postgres
}

func newLedgerDB(t *testing.T) *ledgerDB {
	t.Helper()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	conn := pg.Connect(t, db, "postgres")
	l := &ledgerDB{t: t, dsn: pg.DSN(db, "postgres"), conn: conn, ledger: checkpoint.NewPostgres(conn)}
	if p := launch(t, "install", "--dsn", l.dsn); p.wait() != 0 {
		t.Fatal("install: ", p.errors())
	}
	return l
}

func (l *ledgerDB) exec(sql string, args ...any) {
	l.t.Helper()
	if _, err := l.conn.Exec(context.Background(), sql, args...); err != nil {
		l.t.Fatal(err)
	}
}

// load begins a load with so many files of 100 rows and 1000 bytes.
func (l *ledgerDB) load(id string, files int) {
	l.t.Helper()
	l.exec(`INSERT INTO pgbulk.load (process_id, database, role, schema_name, table_name, owner, start_time)
VALUES ($1, 'd', 'postgres', 'public', 't', 'test', now())`, id)
	l.exec(`INSERT INTO pgbulk.load_file (process_id, file, key, url, records, bytes, crc32c, created_at)
SELECT $1, f, 'k', 's3://b/k', 100, 1000, 1, now() FROM generate_series(1, $2::int) f`, id, files)
}

// imported says that one more file is in.
func (l *ledgerDB) imported(id string, file int) {
	l.t.Helper()
	l.exec(`INSERT INTO pgbulk.import (process_id, file, records, bytes, crc32c, role, imported_at, txid)
VALUES ($1, $2, 100, 1000, 1, 'postgres', clock_timestamp(), txid_current())`, id, file)
}

// end ends a load.
func (l *ledgerDB) end(id string, status checkpoint.Status, message string) {
	l.t.Helper()
	l.exec("UPDATE pgbulk.load SET status = $2, error_message = nullif($3, ''), end_time = now() WHERE process_id = $1",
		id, string(status), message)
}

// TestLoadsWait: one line for each change, and what the exit code says.
func TestLoadsWait(t *testing.T) {
	t.Parallel()
	l := newLedgerDB(t)
	l.load("one", 2)
	p := launch(t, "loads", "wait", "--dsn", l.dsn, "one")
	if got, want := p.line("one"), "one\tpublic.t\tRUNNING\t0/2 files, 0/200 rows, 0 B/2.0 KiB"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	l.imported("one", 1)
	if got := p.line("one"); !strings.Contains(got, "RUNNING\t1/2 files, 100/200 rows, 1000 B/2.0 KiB") {
		t.Errorf("got %q", got)
	}
	l.imported("one", 2)
	l.end("one", checkpoint.Completed, "")
	for !strings.Contains(p.line("one"), "COMPLETED\t2/2 files") {
		// The last file and the end may be two lines.
	}
	if code := p.wait(); code != 0 || p.errors() != "" {
		t.Errorf("exit code %d, %s", code, p.errors())
	}

	// One that is over is waited for at once; one that failed is an error.
	l.load("two", 1)
	l.end("two", checkpoint.Failed, "no\nroom")
	if p := launch(t, "loads", "wait", "--dsn", l.dsn, "one"); p.wait() != 0 {
		t.Error(p.errors())
	}
	p = launch(t, "loads", "wait", "--dsn", l.dsn, "one", "two")
	if code := p.wait(); code != 1 || !strings.Contains(p.errors(), "1 of 2 loads are not in: two into public.t is FAILED: no room\n") {
		t.Errorf("exit code %d, %s", code, p.errors())
	}
	p = launch(t, "loads", "wait", "--dsn", l.dsn, "one", "nobody")
	if code := p.wait(); code != 1 || !strings.Contains(p.errors(), `no load "nobody"`) {
		t.Errorf("exit code %d, %s", code, p.errors())
	}
	if p := launch(t, "loads", "wait", "--dsn", l.dsn); p.wait() != 2 || !strings.Contains(p.errors(), "give process ids, or --all") {
		t.Error(p.errors())
	}
	if p := launch(t, "loads", "wait", "--dsn", l.dsn, "--table", "other"); p.wait() != 0 {
		t.Error(p.errors())
	}
}

// TestLoadsWaitAll waits for what is under way at its start, as JSON.
func TestLoadsWaitAll(t *testing.T) {
	t.Parallel()
	l := newLedgerDB(t)
	l.load("old", 1)
	l.end("old", checkpoint.Cancelled, "")
	l.load("one", 1)
	l.load("two", 1)
	p := launch(t, "loads", "wait", "--dsn", l.dsn, "--all", "--json")
	p.line(`{"process_id":"one"`)
	p.line(`{"process_id":"two"`)
	l.load("later", 1)
	for _, id := range []string{"one", "two"} {
		l.imported(id, 1)
		l.end(id, checkpoint.Completed, "")
	}
	if code := p.wait(); code != 0 {
		t.Fatalf("exit code %d, %s", code, p.errors())
	}
	last := map[string]checkpoint.Status{}
	for line := range p.lines {
		var e loadJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		last[e.ProcessID] = e.Status
	}
	if len(last) != 2 || last["one"] != checkpoint.Completed || last["two"] != checkpoint.Completed {
		t.Errorf("%v", last)
	}
}

// TestLoadsWaitEnds: a timeout and Ctrl-C end it, and the exit codes tell.
func TestLoadsWaitEnds(t *testing.T) {
	t.Parallel()
	l := newLedgerDB(t)
	l.load("one", 1)
	p := launch(t, "loads", "wait", "--dsn", l.dsn, "--all", "--timeout", "300ms")
	// On a machine that is very busy it may not have asked once.
	if code := p.wait(); code != 2 || !regexp.MustCompile(`^pgbulkproxy: loads wait: timed out(: 1 of 1 loads are not in)?\n$`).MatchString(p.errors()) {
		t.Errorf("exit code %d, %s", code, p.errors())
	}
	p = launch(t, "loads", "wait", "--dsn", l.dsn, "--all")
	p.line("one")
	p.signal(syscall.SIGINT)
	if code := p.wait(); code != 130 || p.errors() != "pgbulkproxy: loads wait: interrupted\n" {
		t.Errorf("exit code %d, %s", code, p.errors())
	}
	// While it waits for a lock, too.
	tx, err := l.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE pgbulk.load"); err != nil {
		t.Fatal(err)
	}
	p = launch(t, "loads", "list", "--dsn", l.dsn)
	l.awaitLock(tx)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 130 {
		t.Errorf("exit code %d, %s", code, p.errors())
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// awaitLock returns when another session of the database waits for a lock.
func (l *ledgerDB) awaitLock(tx pgx.Tx) {
	l.t.Helper()
	for waits := false; !waits; {
		err := tx.QueryRow(l.t.Context(), `SELECT EXISTS (SELECT FROM pg_locks k JOIN pg_database d ON d.oid = k.database
 WHERE NOT k.granted AND d.datname = current_database())`).Scan(&waits)
		if err != nil {
			l.t.Fatal(err)
		}
	}
}
