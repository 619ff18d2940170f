package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// newPairDB makes a database with a routed table of two groups of 1000 rows.
func newPairDB(t *testing.T) (dsn string, conn *pgx.Conn) {
	t.Helper()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	conn = pg.Connect(t, db, "postgres")
	_, err := conn.Exec(t.Context(), `CREATE SCHEMA relyt_sys;
CREATE TABLE t (id bigserial, group_id int); CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL);
CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
INSERT INTO t (group_id) SELECT i % 2 FROM generate_series(1, 2000) i`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	return pg.DSN(db, "postgres"), conn
}

// TestMigrateOnTerminal: a bar that says what is waited for, and a summary. An
// interrupt ends it with what was moved.
func TestMigrateOnTerminal(t *testing.T) {
	t.Parallel()
	dsn, conn := newPairDB(t)
	// A program that reads and writes the table, and takes its time.
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	master, slave := openPTY(t, 160, 10)
	cmd := exec.Command(os.Args[0], "migrate", "--dsn", dsn, "--tables", "public.t", "--threshold", "1000")
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Stdout = slave
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	_ = slave.Close()
	screen := readScreen(t, master)
	screen.until("public.t", "0/2 groups 0/2000 rows", "waiting for loads into public.t")
	if _, err := conn.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	screen.until("2/2 groups 2000/2000 rows", "/s", "GROUPS MOVED", "2000")
	err := cmd.Wait()
	ended = true
	if err != nil || errs.String() != "" {
		t.Errorf("%v, %s", err, errs.String())
	}
}

// TestMigrateInterrupted: Ctrl-C ends it at once, and leaves nothing behind.
func TestMigrateInterrupted(t *testing.T) {
	t.Parallel()
	dsn, conn := newPairDB(t)
	if _, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "migrate", "--dsn", dsn, "--tables", "public.t", "--threshold", "1000")
	p.logged("migrate: waiting for loads into public.t")
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-p.done
	if code := p.cmd.ProcessState.ExitCode(); code != exitStopped || !strings.Contains(p.errors(), "migrate: interrupted") {
		t.Errorf("exit code %d: %s", code, p.errors())
	}
	var n int
	err := conn.QueryRow(context.Background(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&n)
	if err != nil || n != 0 {
		t.Errorf("%d locks are left, error %v", n, err)
	}
}
