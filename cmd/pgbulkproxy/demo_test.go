package main

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// demoDirFor is a directory that the server's user can enter.
func demoDirFor(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgbulk-demo-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// startedDemo is a demo with what it printed.
type startedDemo struct {
	*process
	dir, dsn, copySQL string
}

func launchDemo(t *testing.T, dir string, args ...string) *startedDemo {
	t.Helper()
	p := launch(t, append([]string{"demo", "--dir", dir, "--listen", "127.0.0.1:0"}, args...)...)
	d := &startedDemo{process: p, dir: dir}
	ready := p.line("ready ")
	line := p.line("psql ")
	d.dsn = strings.Trim(strings.TrimPrefix(line, "psql "), `"`)
	if u, err := url.Parse(d.dsn); err != nil || u.Host != field(ready, "listen") || u.User.Username() != "demo" {
		t.Fatalf("psql line %q, ready line %q", line, ready)
	}
	m := regexp.MustCompile(`^\\copy (\S+) FROM '(.+)' (WITH .+)$`).FindStringSubmatch(p.line(`\copy `))
	if m == nil || m[2] != filepath.Join(dir, "demo.csv") {
		t.Fatalf("copy line: %q", m)
	}
	d.copySQL = "COPY " + m[1] + " FROM STDIN " + m[3]
	p.line("Everything is kept")
	return d
}

// session opens a session as the printed line does.
func (d *startedDemo) session() *pgx.Conn {
	d.t.Helper()
	conn, err := pgx.Connect(context.Background(), d.dsn)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// count counts the rows of the demo table in a session of its own.
func (d *startedDemo) count() (n int) {
	d.t.Helper()
	conn := d.session()
	if err := conn.QueryRow(context.Background(), "SELECT count(*) FROM demo").Scan(&n); err != nil {
		d.t.Fatal(err)
	}
	_ = conn.Close(context.Background())
	return n
}

// stop presses Ctrl-C and looks for what is left.
func (d *startedDemo) stop() {
	d.t.Helper()
	pid, err := os.ReadFile(filepath.Join(d.dir, "postgres", "postmaster.pid"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.signal(syscall.SIGINT)
	if code := d.wait(); code != 0 {
		d.t.Errorf("exit code %d: %s", code, d.errors())
	}
	d.noProcess(pid)
}

// noProcess checks that the server of a postmaster.pid file is gone.
func (d *startedDemo) noProcess(pidFile []byte) {
	d.t.Helper()
	first, _, _ := bytes.Cut(pidFile, []byte("\n"))
	pid, err := strconv.Atoi(string(first))
	if err != nil {
		d.t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		d.t.Errorf("PostgreSQL, process %d, is left: %v", pid, err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "postgres", "postmaster.pid")); !os.IsNotExist(err) {
		d.t.Errorf("postmaster.pid is left: %v", err)
	}
}

// TestDemo is the whole life: start, the sample, the ledger, Ctrl-C with an
// open session, again with the same data, and --fresh.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir := demoDirFor(t)
	ctx := context.Background()

	d := launchDemo(t, dir)
	sample, err := os.Open(filepath.Join(dir, "demo.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer sample.Close()
	conn := d.session()
	tag, err := conn.PgConn().CopyFrom(ctx, sample, d.copySQL)
	if err != nil || tag.RowsAffected() != demoRows {
		t.Fatalf("COPY: %s %v", tag, err)
	}
	if n := d.count(); n != demoRows {
		t.Errorf("%d rows", n)
	}
	var status string
	var files, imported int
	if err := conn.QueryRow(ctx, `SELECT status, files_total, files_imported FROM relyt_sys.relyt_loader_checkpoint
		WHERE pg_table = 'public.demo'`).Scan(&status, &files, &imported); err != nil {
		t.Fatal(err)
	}
	if files == 0 || imported != files {
		t.Errorf("ledger: %s, %d of %d files", status, imported, files)
	}
	second := launch(t, "demo", "--dir", dir, "--listen", "127.0.0.1:0")
	if code := second.wait(); code != 1 || !strings.Contains(second.errors(), "another demo runs in "+dir) {
		t.Errorf("second demo: %d %s", code, second.errors())
	}
	d.stop() // with conn still open

	d = launchDemo(t, dir)
	if n := d.count(); n != demoRows {
		t.Errorf("%d rows after a restart", n)
	}
	d.stop()

	keep := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(keep, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = launchDemo(t, dir, "--fresh")
	if n := d.count(); n != 0 {
		t.Errorf("%d rows after --fresh", n)
	}
	if _, err := os.Stat(keep); err != nil {
		t.Errorf("--fresh removed what is not the demo's: %v", err)
	}
	d.stop()
}

// TestDemoLetsNoStrangerIn: the port is open to all users of the machine.
func TestDemoLetsNoStrangerIn(t *testing.T) {
	t.Parallel()
	d := launchDemo(t, demoDirFor(t))
	u, err := url.Parse(d.dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []*url.Userinfo{url.User("postgres"), url.UserPassword("demo", "demo"), url.User(demoServiceRole)} {
		u.User = who
		for _, db := range []string{"demo", "postgres"} {
			u.Path = "/" + db
			if conn, err := pgx.Connect(context.Background(), u.String()); err == nil {
				t.Errorf("%s got into %s", who, db)
				_ = conn.Close(context.Background())
			}
		}
	}
	d.stop()
}

// TestDemoInterruptedStart: Ctrl-C while PostgreSQL starts leaves nothing.
func TestDemoInterruptedStart(t *testing.T) {
	t.Parallel()
	dir := demoDirFor(t)
	p := launch(t, "demo", "--dir", dir, "--listen", "127.0.0.1:0")
	p.signal(syscall.SIGINT)
	p.wait() // whatever the code: it may have come before the handler
	d := launchDemo(t, dir)
	d.stop()
}
