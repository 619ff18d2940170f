package pgserver_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgserver"
)

// parentVariable makes the test binary the parent of a server that is about to
// lose it; see TestServerDiesWithParent.
const parentVariable = "PGSERVER_TEST_PARENT_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentVariable); dir != "" {
		os.Exit(beParent(dir))
	}
	goleak.VerifyTestMain(m)
}

// tempDir is one that the server's user can enter, which t.TempDir is not.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgserver-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func config(dir string) pgserver.Config {
	return pgserver.Config{
		BinDir: os.Getenv("PGBULK_TEST_PG_BIN"), DataDir: filepath.Join(dir, "data"),
		Settings: map[string]string{"fsync": "off"},
	}
}

func start(t *testing.T, cfg pgserver.Config) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) }) // for tests that fail before their own Stop
	return s
}

func stop(t *testing.T, s *pgserver.Server) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func query(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var v string
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestStartStopRestart(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	s := start(t, config(dir))
	dsn := s.DSN("postgres", pgserver.Superuser)
	got := query(t, dsn, "select concat_ws(' ', current_setting('server_encoding'), current_setting('lc_messages'), current_setting('fsync'), current_setting('listen_addresses'), current_user)")
	if got != "UTF8 C off  postgres" {
		t.Errorf("settings %q", got)
	}
	query(t, dsn, "with x as (select set_config('a.b', 'c', false)) select oid::text from pg_database where datname = 'postgres'")
	if _, err := os.Stat(filepath.Join(s.SocketDir(), ".s.PGSQL."+strconv.Itoa(s.Port()))); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(s.SocketDir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket directory is open to others: %v, %v", info, err)
	}
	stop(t, s)
	stop(t, s)
	if _, err := os.Stat(s.SocketDir()); !os.IsNotExist(err) {
		t.Errorf("the socket directory is left: %v", err)
	}

	cfg := config(dir)
	cfg.ListenTCP, cfg.TCPAuth = true, "trust"
	s = start(t, cfg)
	if got := query(t, s.TCPDSN("postgres", pgserver.Superuser), "select inet_server_addr()::text"); got != "127.0.0.1/32" {
		t.Errorf("address %s", got)
	}
	if _, err := os.Stat(s.LogFile() + ".1"); err != nil {
		t.Errorf("the last log was not kept: %v", err)
	}
	stop(t, s)
}

func TestTCPNeedsPassword(t *testing.T) {
	t.Parallel()
	cfg := config(tempDir(t))
	cfg.ListenTCP = true
	s := start(t, cfg)
	if conn, err := pgx.Connect(t.Context(), s.TCPDSN("postgres", pgserver.Superuser)); err == nil {
		conn.Close(context.Background())
		t.Error("anyone on the machine is superuser")
	}
	stop(t, s)
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	full := filepath.Join(dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // after the parallel tests below
	for want, change := range map[string]func(*pgserver.Config){
		"DataDir is required":            func(c *pgserver.Config) { c.DataDir = "" },
		"is not an absolute path":        func(c *pgserver.Config) { c.DataDir = "data" },
		"Port 65536 is not between":      func(c *pgserver.Config) { c.Port = 65536 },
		"makes a socket path of":         func(c *pgserver.Config) { c.SocketDir = "/" + strings.Repeat("x", 100) },
		"must be single lines":           func(c *pgserver.Config) { c.HBA = []string{"a\nb"} },
		"is not a setting":               func(c *pgserver.Config) { c.Settings = map[string]string{"a=b": "c"} },
		"no PostgreSQL server binaries":  func(c *pgserver.Config) { c.BinDir = dir },
		"neither empty nor a PostgreSQL": func(c *pgserver.Config) { c.DataDir = full },
		"unrecognized configuration":     func(c *pgserver.Config) { c.Settings = map[string]string{"no_such_setting": "1"} },
		"Address already in use":         func(c *pgserver.Config) { c.ListenTCP, c.Port = true, taken.Addr().(*net.TCPAddr).Port },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			cfg := config(tempDir(t))
			change(&cfg)
			s, err := pgserver.Start(t.Context(), cfg)
			if err == nil {
				_ = s.Stop(context.Background())
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestStartNeedsEnterableParents(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root starts servers as another user")
	}
	dir := tempDir(t)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := pgserver.Start(t.Context(), config(dir))
	if err == nil || !strings.Contains(err.Error(), "may not enter "+dir) {
		t.Errorf("%v", err)
	}
}

func TestCancelledInitdbLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	cfg := config(dir)
	if s, err := pgserver.Start(ctx, cfg); err == nil {
		stop(t, s)
		t.Fatal("it started in no time")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
	// An unfinished directory of a process that was killed is no obstacle.
	if err := os.MkdirAll(filepath.Join(dir, "data.initdb", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, cfg))
}

func TestServerThatEndsByItself(t *testing.T) {
	t.Parallel()
	s := start(t, config(tempDir(t)))
	pid, err := strconv.Atoi(postmasterPID(t, s.LogFile()))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Stop(context.Background()); err == nil || !strings.Contains(err.Error(), "had ended") {
		t.Errorf("stop: %v", err)
	}
}

func postmasterPID(t *testing.T, logFile string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(filepath.Dir(logFile), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(data), "\n")
	return pid
}

// beParent starts a server, says so and waits to be killed.
func beParent(dir string) int {
	s, err := pgserver.Start(context.Background(), config(dir))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready", s.LogFile())
	<-s.Done()
	return 0
}

func TestServerDiesWithParent(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ties a child's life to its parent's")
	}
	dir := tempDir(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parentVariable+"="+dir, "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		t.Fatalf("%q, %v", line, err)
	}
	pid, err := strconv.Atoi(postmasterPID(t, strings.TrimSpace(strings.TrimPrefix(line, "ready "))))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		// A zombie that nobody waits for is dead too.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	t.Error("the server outlives its parent")
	_ = syscall.Kill(pid, syscall.SIGKILL)
}
