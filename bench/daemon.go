package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// startTimeout is for a program to say that it is ready: several times what
	// the slowest one needs on a busy machine.
	startTimeout = 30 * time.Second
	// stopTimeout is for an orderly end; then the program is killed.
	stopTimeout = 10 * time.Second
	// logTail is how much of a program's log stands in an error.
	logTail = 2 << 10
)

// daemonSpec describes a program that runs until it is stopped.
type daemonSpec struct {
	name string
	path string
	args []string
	env  []string
	// log receives all it prints.
	log string
	// readyLine is how the line on stdout begins that says it can be used.
	// Where a program prints none, readyAddr is dialled instead.
	readyLine string
	readyAddr string
	// as is another user to run as; nil keeps ours.
	as *syscall.Credential
}

// daemon is a running program. One goroutine waits for its end and closes done.
type daemon struct {
	spec  daemonSpec
	cmd   *exec.Cmd
	ready string
	done  chan struct{}
	err   error
}

// startDaemon returns when the program is ready. It runs in a session of its own, as
// services do: so an interrupt from the terminal reaches us alone, and we can stop
// everything in order; and Linux, which shares processors among sessions first, does
// not count it as a part of the client programs. Each server process of PostgreSQL is
// a session, too. Should we be killed, the system ends it.
func startDaemon(ctx context.Context, spec daemonSpec) (*daemon, error) {
	log, err := os.Create(spec.log)
	if err != nil {
		return nil, fmt.Errorf("create log of %s: %w", spec.name, err)
	}
	watch := &readyWriter{out: log, prefix: spec.readyLine, found: make(chan string, 1)}
	cmd := exec.Command(spec.path, spec.args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = spec.env, watch, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: spec.as}
	dieWithParent(cmd.SysProcAttr)
	d := &daemon{spec: spec, cmd: cmd, done: make(chan struct{})}
	if err := d.launch(log); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.name, err)
	}
	if err := d.awaitReady(ctx, watch.found); err != nil {
		d.stop()
		return nil, fmt.Errorf("start %s: %w%s", spec.name, err, d.tail())
	}
	return d, nil
}

// launch starts the program and the goroutine that waits for it. That goroutine
// keeps its thread, because what the kernel takes for the death of the parent
// is the end of the thread that started the child. It closes log.
func (d *daemon) launch(log io.Closer) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(d.done)
		defer log.Close()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			d.err = d.cmd.Wait()
		}
	}()
	return <-started
}

func (d *daemon) awaitReady(ctx context.Context, line <-chan string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var poll <-chan time.Time
	if d.spec.readyLine == "" {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		poll = ticker.C
	}
	for {
		select {
		case d.ready = <-line:
			return nil
		case <-poll:
			if accepts(ctx, d.spec.readyAddr) {
				return nil
			}
		case <-d.done:
			return fmt.Errorf("ended before it was ready: %w", exitError(d.err))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop ends the program and returns when it has ended. It may be called again.
func (d *daemon) stop() {
	// The process may have ended by itself: there is nothing to stop then, and
	// done says so.
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(stopTimeout):
		_ = d.cmd.Process.Kill()
		<-d.done
	}
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// tail is the end of the log on lines of its own, for an error message.
func (d *daemon) tail() string {
	b, err := os.ReadFile(d.spec.log)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(b[max(0, len(b)-logTail):]))
}

// exitError gives an orderly exit, for which Wait returns nil, a name.
func exitError(err error) error {
	if err == nil {
		return fmt.Errorf("exit status 0")
	}
	return err
}

func accepts(ctx context.Context, addr string) bool {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// freeAddr returns a local address that nobody listens on at this moment, for
// programs that cannot be given port 0 and asked which one they got.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// readyWriter copies whole lines to a log, but for the first one with the
// prefix, which it reports: that line may hold a secret. The goroutine of
// os/exec is its only writer.
type readyWriter struct {
	out     io.Writer
	prefix  string
	found   chan string
	partial []byte
	done    bool
}

func (w *readyWriter) Write(p []byte) (int, error) {
	w.partial = append(w.partial, p...)
	for {
		line, rest, ok := bytes.Cut(w.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		w.partial = rest
		if !w.done && w.prefix != "" && bytes.HasPrefix(line, []byte(w.prefix)) {
			w.done = true
			w.found <- strings.TrimSpace(string(line))
			continue
		}
		if _, err := fmt.Fprintf(w.out, "%s\n", line); err != nil {
			return 0, err
		}
	}
}
