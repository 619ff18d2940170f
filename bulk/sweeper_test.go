package bulk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// keep is a store in memory that notes what is deleted.
type keep struct {
	store.Store
	mu      sync.Mutex
	log     []string
	failing int // so many deletions fail first
	objects map[string][]byte
	putErr  error
	began   time.Time
}

func newKeep() *keep { return &keep{objects: map[string][]byte{}, began: time.Now()} }

// fail makes the next deletion fail.
func (k *keep) fail() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failing++
}

func (k *keep) note(format string, args ...any) {
	k.log = append(k.log, fmt.Sprintf("%s ", time.Since(k.began).Round(time.Second))+fmt.Sprintf(format, args...))
}

func (k *keep) Delete(_ context.Context, keys ...string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing > 0 {
		k.failing--
		k.note("fail %s", strings.Join(keys, " "))
		return errors.New("no")
	}
	k.note("delete %s", strings.Join(keys, " "))
	for _, key := range keys {
		delete(k.objects, key)
	}
	return nil
}

func (k *keep) Put(_ context.Context, key string, c store.Content) error {
	p := make([]byte, c.Size())
	if _, err := c.ReadAt(p, 0); err != nil && len(p) > 0 {
		return err
	}
	sum := crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))
	if known, ok := c.(store.Summed); !ok || known.CRC32C() != sum {
		return errors.New("content without its checksum")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.putErr != nil {
		return k.putErr
	}
	k.objects[key] = p
	return nil
}

func (k *keep) PresignGet(_ context.Context, key string, _ time.Duration) (string, error) {
	return "https://store/" + key + "?signature=secret", nil
}

func (k *keep) URL(key string) string { return "s3://bucket/" + key }

func (k *keep) history() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.log, "\n")
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(&bytes.Buffer{}, nil)) }

// TestSweeper runs a sweeper on a synthetic clock: a Sleep moves the clock on,
// and takes no time.
func TestSweeper(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeep()
		s := NewSweeper(k, 10*time.Second, time.Minute, nil, quiet())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		swept := func(context.Context) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.note("swept")
			return nil
		}
		s.Schedule([]string{"a", "b"}, swept)
		// Sleeps are of the test's own clock, which goes on when all wait for it.
		time.Sleep(3 * time.Second)
		s.Schedule([]string{"c"}, nil)
		time.Sleep(20 * time.Second)
		k.fail()
		s.Schedule([]string{"d"}, nil) // fails at 33 s, again at 93 s
		time.Sleep(20 * time.Second)
		s.Schedule([]string{"e"}, nil) // due before the second try of d
		time.Sleep(80 * time.Second)
		stop()
		<-done
		want := "10s delete a b\n10s swept\n13s delete c\n33s fail d\n53s delete e\n1m33s delete d"
		if got := k.history(); got != want {
			t.Errorf("history:\n%s\nwanted:\n%s", got, want)
		}
	})
}

// TestSweeperFlush deletes everything at once at the end, also what failed
// before and is due only later.
func TestSweeperFlush(t *testing.T) {
	t.Parallel()
	k := newKeep()
	s := NewSweeper(k, time.Hour, 2*time.Hour, nil, quiet())
	s.Schedule([]string{"a"}, nil)
	k.fail()
	s.sweepDue(t.Context(), time.Now().Add(90*time.Minute)) // a fails
	s.Schedule([]string{"b"}, nil)
	k.fail()
	s.Schedule([]string{"c"}, nil)
	s.Flush(t.Context())
	if got, want := k.history(), "0s fail a\n0s fail b\n0s delete c\n0s delete a"; got != want {
		t.Errorf("history:\n%s\nwanted:\n%s", got, want)
	}
}

// oldLoads is a ledger that knows loads of proxies that are gone.
type oldLoads struct {
	checkpoint.Ledger
	mu    sync.Mutex
	due   []checkpoint.Swept
	err   error
	swept []string
}

func (l *oldLoads) Due(context.Context, time.Time, int) ([]checkpoint.Swept, error) {
	return l.due, l.err
}

func (l *oldLoads) MarkSwept(_ context.Context, ids ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.swept = append(l.swept, ids...)
	return nil
}

// lister is keep's other half.
type lister struct {
	*keep
	store.Lister
	err error
}

func (l lister) URL(key string) string { return l.keep.URL(key) }

func (l lister) AbortUploads(_ context.Context, prefix string, _ time.Time) (int, error) {
	l.note("give up %s", prefix)
	return 0, l.err
}

func TestSweeperAsksLedgers(t *testing.T) {
	t.Parallel()
	k := newKeep()
	k.fail()
	broken := &oldLoads{err: errors.New("down")}
	good := &oldLoads{due: []checkpoint.Swept{{ProcessID: "1", Keys: []string{"a/x"}}, {ProcessID: "2", Keys: []string{"a/y", "b/z", "a/z"}}}}
	s := NewSweeper(k, 0, 0, func() []checkpoint.Ledger { return []checkpoint.Ledger{broken, good} }, quiet())
	s.Uploads = lister{keep: k}
	s.sweepLedgers(t.Context())
	if got := k.history(); got != "0s give up a/\n0s fail a/x\n0s give up a/\n0s give up b/\n0s delete a/y b/z a/z" {
		t.Errorf("history:\n%s", got)
	}
	if fmt.Sprint(good.swept) != "[2]" {
		t.Errorf("marked as swept: %v", good.swept)
	}
	// Who may not list uploads still has the files deleted.
	k.log = nil
	s.Uploads = lister{keep: k, err: errors.New("no right")}
	s.sweepLedgers(t.Context())
	if got := k.history(); got != "0s give up a/\n0s delete a/x\n0s give up a/\n0s delete a/y b/z a/z" {
		t.Errorf("history:\n%s", got)
	}
}
