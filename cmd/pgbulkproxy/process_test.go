package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for another process; it is never reached.
const patience = 60 * time.Second

// process is a pgbulkproxy that a test started.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // stdout, closed at its end
	done  chan struct{}
	err   error // of Wait, valid after done

	mu     sync.Mutex
	stderr bytes.Buffer
	wrote  chan struct{} // closed and replaced when stderr grows
}

// launch starts pgbulkproxy. It starts two goroutines: one reads stdout until
// its end, one waits for the process; both end with it, and Cleanup kills what
// is still there.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	return launchAs(t, nil, args...)
}

// launchAs is launch with attributes of the process.
func launchAs(t *testing.T, attr *syscall.SysProcAttr, args ...string) *process {
	t.Helper()
	p := &process{t: t, lines: make(chan string, 1000), done: make(chan struct{}), wrote: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = append(os.Environ(), asCommand+"=1")
	p.cmd.Stderr, p.cmd.SysProcAttr = p, attr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- s.Text()
		}
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		select {
		case <-p.done:
		default:
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		if t.Failed() {
			t.Logf("stderr of %v:\n%s", args, p.errors())
		}
	})
	return p
}

// Write collects stderr.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.wrote)
	p.wrote = make(chan struct{})
	return p.stderr.Write(b)
}

// logged waits for a line of stderr that contains text, and returns it.
func (p *process) logged(text string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		lines, wrote := strings.SplitAfter(p.stderr.String(), "\n"), p.wrote
		p.mu.Unlock()
		for _, l := range lines {
			if strings.Contains(l, text) && strings.HasSuffix(l, "\n") {
				return l
			}
		}
		select {
		case <-wrote:
		case <-timeout:
			p.t.Fatalf("does not log %q", text)
		}
	}
}

func (p *process) errors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// line waits for the next line of stdout that begins with prefix.
func (p *process) line(prefix string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("ended before it printed %q", prefix)
			}
			if strings.HasPrefix(strings.TrimSpace(l), prefix) {
				return strings.TrimSpace(l)
			}
		case <-timeout:
			p.t.Fatalf("does not print %q", prefix)
		}
	}
}

// field returns name's value in a line of name=value words.
func field(line, name string) string {
	for _, w := range strings.Fields(line) {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v
		}
	}
	return ""
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits for the end and returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatal("does not end")
		return -1
	}
}
