package testenv

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// registry owns what the tests of one binary share. Everything in it is started
// by the first test that asks.
type registry struct {
	mu     sync.Mutex
	closed bool
	dir    string // root of all temporary files
	unlock func()
	stops  []func(context.Context) error

	pg lazy[*PG]
	s3 lazy[*S3Server]
}

// current is the registry of the Main that is running. Tests have no other way
// to reach it: the testing package passes nothing from TestMain to them.
var current atomic.Pointer[registry]

// lazy starts something once and remembers an error.
type lazy[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (l *lazy[T]) get(start func() (T, error)) (T, error) {
	l.once.Do(func() { l.value, l.err = start() })
	return l.value, l.err
}

// Main runs the tests and then stops and removes what they started. It returns
// the exit code for os.Exit. The options name goroutines that may outlive the
// tests.
func Main(m *testing.M, allowed ...goleak.Option) int {
	r := &registry{}
	if !current.CompareAndSwap(nil, r) {
		fmt.Fprintln(os.Stderr, "testenv: Main is already running")
		return 2
	}
	defer current.Store(nil)
	if err := overlap(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 2
	}
	restore := r.closeOnSignal()
	code := m.Run()
	if err := r.close(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	restore()
	if code != 0 {
		return code // a failed test may well leave goroutines behind
	}
	if err := goleak.Find(append(allowed, ignored()...)...); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	return 0
}

// atOnce is how many tests run at once at least, unless -parallel says otherwise: they
// mostly wait for their servers, so that as many as there are processors would leave
// those of a small machine half idle.
const atOnce = 4

// overlap raises the number of tests that run at once to atOnce.
func overlap() error {
	const name = "test.parallel"
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if given || runtime.GOMAXPROCS(0) >= atOnce {
		return nil
	}
	return flag.Set(name, strconv.Itoa(atOnce))
}

// closeOnSignal starts one goroutine that stops the servers on Ctrl-C and then
// dies of the same signal. The function it returns ends and awaits it.
func (r *registry) closeOnSignal() func() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		sig, ok := <-signals
		if !ok {
			return
		}
		if err := r.close(); err != nil {
			fmt.Fprintln(os.Stderr, "testenv:", err)
		}
		signal.Reset()
		// There is nobody left to tell about an error here.
		_ = syscall.Kill(os.Getpid(), sig.(syscall.Signal))
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// shared returns the running registry, or ends the test.
func shared(tb testing.TB) *registry {
	tb.Helper()
	r := current.Load()
	if r == nil {
		tb.Fatal("testenv: TestMain must call testenv.Main")
	}
	return r
}

// tempDir makes a directory that other users, such as the server's, can enter.
func (r *registry) tempDir(name string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return "", errors.New("the tests are over")
	}
	if r.dir == "" {
		parent := parentDir()
		sweep(parent)
		dir, unlock, err := makeRoot(parent)
		if err != nil {
			return "", fmt.Errorf("make temporary directory: %w", err)
		}
		r.dir, r.unlock = dir, unlock
	}
	dir, err := os.MkdirTemp(r.dir, name+"-")
	if err != nil {
		return "", fmt.Errorf("make temporary directory: %w", err)
	}
	return dir, os.Chmod(dir, 0o755)
}

// onClose has stop called at the end, in reverse order. If the end is here, it
// is called at once.
func (r *registry) onClose(stop func(context.Context) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return errors.Join(errors.New("the tests are over"), stop(ctx))
	}
	r.stops = append(r.stops, stop)
	return nil
}

// close stops everything and removes the files. It may be called again.
func (r *registry) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	for i := len(r.stops) - 1; i >= 0; i-- {
		errs = append(errs, r.stops[i](ctx))
	}
	if r.dir != "" {
		errs = append(errs, os.RemoveAll(r.dir))
		r.unlock()
	}
	return errors.Join(errs...)
}

const rootPattern = "pgbulk-test-"

// makeRoot makes the directory of one test binary. Its lock file is held locked
// while the binary lives, which tells sweep to keep off.
func makeRoot(parent string) (dir string, unlock func(), err error) {
	if dir, err = os.MkdirTemp(parent, rootPattern); err != nil {
		return "", nil, err
	}
	if err = os.Chmod(dir, 0o755); err != nil {
		return "", nil, err
	}
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return "", nil, err
	}
	if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return "", nil, errors.Join(err, f.Close())
	}
	return dir, func() { f.Close() }, nil
}

// sweep removes the directories of binaries that were killed. It is a courtesy:
// what it cannot remove stays for the next one.
func sweep(parent string) {
	dirs, err := filepath.Glob(filepath.Join(parent, rootPattern+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		// A directory this young may belong to a binary that is about to lock it.
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		f, err := os.Open(filepath.Join(dir, "lock"))
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		f.Close()
	}
}
