package testenv_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// waitVariable makes TestWaitForSignal the whole life of a test binary that is
// to be interrupted; see TestInterrupt.
const waitVariable = "TESTENV_TEST_WAIT"

func TestWaitForSignal(t *testing.T) {
	if os.Getenv(waitVariable) == "" {
		t.Skip("it is run by TestInterrupt")
	}
	pg := testenv.Postgres(t)
	testenv.S3(t)
	os.Stdout.WriteString("ready " + pg.LogFile() + "\n")
	select {} // until the signal
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for parent := dir; parent != "/"; parent = filepath.Dir(parent) {
		if strings.HasPrefix(filepath.Base(parent), "Test") || parent == dir {
			if err := os.Chmod(parent, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What a killed binary left an hour ago.
	stale := filepath.Join(dir, "pgbulk-test-1")
	if err := os.Mkdir(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stale, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(stale, old, old); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(os.Args[0], "-test.run=^TestWaitForSignal$")
	cmd.Env = append(os.Environ(), waitVariable+"=1", "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready "+dir) {
		t.Errorf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its state tells more
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %s", cmd.ProcessState)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
}
