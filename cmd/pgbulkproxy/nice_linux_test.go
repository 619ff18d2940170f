package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestServeNice: limits.nice is that of the proxy's session, where it has one of its
// own; else the log says that it is not in force, and the session stays as it was.
func TestServeNice(t *testing.T) {
	t.Parallel()
	before, err := os.ReadFile("/proc/self/autogroup")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("this kernel shares processors among no sessions (it has no autogroups): ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"serve", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", "--set", "relay_only=on", "--set", "limits.nice=7"}
	own := launchAs(t, &syscall.SysProcAttr{Setsid: true}, args...)
	own.line("ready ")
	got, err := os.ReadFile(fmt.Sprintf("/proc/%d/autogroup", own.cmd.Process.Pid))
	if err != nil || !strings.HasSuffix(string(got), " nice 7\n") {
		t.Errorf("%q, %v", got, err)
	}
	if log := own.errors(); strings.Contains(log, "limits.nice") {
		t.Errorf("log:\n%s", log)
	}
	launch(t, args...).logged("limits.nice is not in force")
	if after, err := os.ReadFile("/proc/self/autogroup"); err != nil || string(after) != string(before) {
		t.Errorf("%q, %v; before %q", after, err, before)
	}
}
