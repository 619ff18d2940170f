package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// openPTY makes a pseudo terminal of that size.
func openPTY(t *testing.T, width, height uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no pseudo terminals here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// screen is what a program writes to a terminal.
type screen struct {
	t     *testing.T
	wrote chan string // closed when the program is gone
	text  string      // not yet matched
}

// readScreen starts one goroutine, which ends when the program has closed the
// terminal.
func readScreen(t *testing.T, master *os.File) *screen {
	s := &screen{t: t, wrote: make(chan string, 1000)}
	go func() {
		defer close(s.wrote)
		for buf := make([]byte, 64<<10); ; {
			n, err := master.Read(buf)
			if n > 0 {
				s.wrote <- string(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// until waits until all texts have been on the screen since the last call.
func (s *screen) until(texts ...string) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		missing := ""
		for _, text := range texts {
			if !strings.Contains(s.text, text) {
				missing = text
			}
		}
		if missing == "" {
			s.text = ""
			return
		}
		select {
		case more, ok := <-s.wrote:
			if !ok {
				s.t.Fatalf("the program ended and did not show %q, but %q", missing, s.text)
			}
			s.text += more
		case <-timeout:
			s.t.Fatalf("does not show %q, but %q", missing, s.text)
		}
	}
}

// TestLoadsWaitOnTerminal: bars, and the last state stays.
func TestLoadsWaitOnTerminal(t *testing.T) {
	t.Parallel()
	l := newLedgerDB(t)
	l.load("one", 2)
	l.load("two", 4)
	l.imported("two", 1)
	master, slave := openPTY(t, 200, 10)
	cmd := exec.Command(os.Args[0], "loads", "wait", "--dsn", l.dsn, "--all")
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
	screen.until("2 of 2 loads left", "public.t one", "0/2 files, 0/200 rows, 0 B/2.0 KiB", "1/4 files, 100/400 rows")
	l.imported("one", 1)
	screen.until("public.t one", "1/2 files, 100/200 rows, 1000 B/2.0 KiB", "B/s ETA ")
	l.imported("one", 2)
	l.end("one", checkpoint.Completed, "")
	screen.until("1 of 2 loads left", "2/2 files, 200/200 rows, 2.0 KiB/2.0 KiB COMPLETED")
	l.end("two", checkpoint.Failed, "no room")
	screen.until("0 of 2 loads left", "FAILED")
	err := cmd.Wait()
	ended = true
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), "two into public.t is FAILED: no room") {
		t.Errorf("%v, %s", err, errs.String())
	}
}
