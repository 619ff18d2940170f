package killmatrix

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for another process; it is never reached.
const patience = 30 * time.Second

// process is one proxy, which may be killed and started again.
type process struct {
	t   testing.TB
	env []string

	mu    sync.Mutex
	cmd   *exec.Cmd
	done  chan struct{}
	lines []string // the last of its log, over all its lives
	raced bool
}

// logLines is how much of a proxy's log a failure shows.
const logLines = 150

// newProcess prepares a proxy with settings key=value, and ends it with the test.
func newProcess(t testing.TB, env ...string) *process {
	p := &process{t: t}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") {
			p.env = append(p.env, kv)
		}
	}
	p.env = append(append(p.env, asProxy+"=1"), env...)
	t.Cleanup(func() {
		p.kill()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.raced {
			t.Error("the proxy had a data race")
		}
		if t.Failed() {
			t.Logf("the proxy's log:\n%s", strings.Join(p.lines, "\n"))
		}
	})
	return p
}

// start starts it and returns its address. A goroutine reads its log and awaits
// its end.
func (p *process) start() (string, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = p.env
	if _, err := cmd.StdinPipe(); err != nil {
		return "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	done := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.done = cmd, done
	p.mu.Unlock()
	ready := make(chan string, 1)
	go func() {
		defer close(done)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.log(s.Text())
		}
		_ = cmd.Wait() // it is killed more often than not
	}()
	go func() {
		defer close(ready)
		if s := bufio.NewScanner(stdout); s.Scan() {
			ready <- s.Text()
		}
	}()
	select {
	case addr, ok := <-ready:
		if !ok {
			return "", fmt.Errorf("the proxy ended before it was ready")
		}
		return addr, nil
	case <-time.After(patience):
		return "", fmt.Errorf("the proxy is not ready after %s", patience)
	}
}

func (p *process) log(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.raced = p.raced || strings.Contains(line, "WARNING: DATA RACE")
	p.lines = append(p.lines, line)
	if len(p.lines) > logLines && !p.raced {
		p.lines = p.lines[len(p.lines)-logLines:]
	}
}

// signal sends a signal to the process as it is now.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	_ = cmd.Process.Signal(sig) // it may have ended
}

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill() // it may have ended
	<-done
	p.log("--- killed")
}

// logged is the end of its log.
func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// alive says that it runs, or is paused.
func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}
