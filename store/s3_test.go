package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

const partSize = 5 << 20 // the smallest that S3 allows

func TestS3Conformance(t *testing.T) {
	t.Parallel()
	cfg := testenv.S3(t).Config()
	cfg.PartSize, cfg.OneRequest = partSize, partSize
	b := testenv.NewStore(t, cfg, store.Deps{})
	t.Run("", func(t *testing.T) { // ends before the store is closed
		storetest.Run(t, partSize, func(testing.TB) store.Full { return b })
	})
}

// behind opens the shared store behind a proxy that misbehaves, with timeouts
// that a test can wait for.
func behind(t *testing.T, change func(*store.Config), handle storetest.Handler) (b *store.Bucket, prefix string) {
	t.Helper()
	s3 := testenv.S3(t)
	cfg := s3.Config()
	cfg.Endpoint = storetest.Interpose(t, s3.Endpoint, handle)
	cfg.PartSize, cfg.OneRequest, cfg.MaxAttempts = partSize, partSize, 2
	if change != nil {
		change(&cfg)
	}
	return testenv.NewStore(t, cfg, store.Deps{}), s3.Prefix(t)
}

func impatient(c *store.Config) {
	c.PartTimeout, c.RequestTimeout, c.CleanupTimeout = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
}

// objects lists what is visible, past the proxy.
func objects(t *testing.T, prefix string) (keys []string) {
	t.Helper()
	for info, err := range testenv.S3(t).Store(t).List(context.Background(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func wantContent(t *testing.T, s store.Store, key string, want []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(want), err)
	}
}

// Kinds of requests, told by method and query.
func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}
func isPutOne(r *http.Request) bool { return r.Method == http.MethodPut && !isPart(r) }
func isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}
func isGet(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Path != "/pgbulkproxy" }

// TestPutThroughFaults runs every fault against every request of an upload: once,
// which the retry must hide, and always, which must end in an error in time and
// leave nothing visible.
func TestPutThroughFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]func(http.ResponseWriter, *http.Request, func(http.ResponseWriter)){
		"hangs":  func(_ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) { storetest.Hang(r) },
		"is cut": func(http.ResponseWriter, *http.Request, func(http.ResponseWriter)) { storetest.Cut() },
		"cut in body": func(_ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) {
			io.CopyN(io.Discard, r.Body, 100_000)
			storetest.Cut()
		},
		"slow down": func(w http.ResponseWriter, _ *http.Request, _ func(http.ResponseWriter)) { w.WriteHeader(503) },
		"answer lost": func(_ http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
			forward(storetest.Discard())
			storetest.Cut()
		},
	}
	requests := map[string]struct {
		is   func(*http.Request) bool
		size int64
	}{
		"one": {isPutOne, 1 << 20}, "part": {isPart, 3 * partSize}, "complete": {isComplete, 2 * partSize},
	}
	for request, which := range requests {
		for fault, do := range faults {
			for name, times := range map[string]int64{"once": 1, "always": 1 << 30} {
				t.Run(request+" "+fault+" "+name, func(t *testing.T) {
					t.Parallel()
					testPutFault(t, which.is, which.size, do, fault == "hangs", times)
				})
			}
		}
	}
}

func testPutFault(t *testing.T, is func(*http.Request) bool, size int64, fault storetest.Handler, hangs bool, times int64) {
	var seen atomic.Int64
	change := func(c *store.Config) {
		if hangs { // else a busy machine must not look like a fault
			c.PartTimeout, c.CleanupTimeout = 3*time.Second, time.Second
		}
	}
	b, prefix := behind(t, change, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		if is(r) && seen.Add(1) <= times {
			fault(w, r, forward)
			return
		}
		forward(w)
	})
	data := storetest.Random(size)
	start := time.Now()
	err := b.Put(t.Context(), prefix+"x", bytes.NewReader(data))
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	keys := objects(t, prefix)
	switch {
	case err == nil:
		// Also after a lost answer to the completion: the upload was found to
		// have become the object.
		wantContent(t, b, prefix+"x", data)
	case times == 1:
		t.Errorf("one fault was not hidden: %v", err)
	case len(keys) > 0:
		t.Errorf("put failed (%v) but %q is visible", err, keys)
	}
	if seen.Load() == 0 {
		t.Error("there was no such request")
	}
}

func TestPutCancelWhileHanging(t *testing.T) {
	t.Parallel()
	hanging := make(chan struct{}, 100)
	b, prefix := behind(t, func(c *store.Config) { c.CleanupTimeout = 200 * time.Millisecond },
		func(_ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) {
			hanging <- struct{}{}
			storetest.Hang(r)
		})
	for _, size := range []int64{100, 2 * partSize} {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the client has left")
		go func() { <-hanging; cancel(why) }()
		start := time.Now()
		if err := b.Put(ctx, prefix+"x", bytes.NewReader(storetest.Random(size))); !errors.Is(err, why) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%d bytes: it took %s", size, took)
		}
	}
}

func TestPartsInFlight(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	b, prefix := behind(t, func(c *store.Config) { c.PartsInFlight = 2 },
		func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
			if isPart(r) {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
			}
			forward(w)
		})
	if err := b.Put(t.Context(), prefix+"x", bytes.NewReader(storetest.Random(8*partSize))); err != nil {
		t.Fatal(err)
	}
	if most.Load() != 2 {
		t.Errorf("%d parts were in flight", most.Load())
	}
}

func TestMaxPuts(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	cfg := testenv.S3(t).Config()
	cfg.MaxPuts = 2
	b := testenv.NewStore(t, cfg, store.Deps{Wrap: func(f store.Full) store.Full {
		return &storetest.Faults{Full: f, Before: func(context.Context, string, string) error {
			entered <- struct{}{}
			<-leave
			return nil
		}}
	}})
	prefix := testenv.S3(t).Prefix(t)
	var wg sync.WaitGroup
	for _, key := range []string{"a", "b"} {
		wg.Go(func() {
			if err := b.Put(t.Context(), prefix+key, strings.NewReader(key)); err != nil {
				t.Error(err)
			}
		})
	}
	<-entered
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Put(ctx, prefix+"c", strings.NewReader("c")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third put: %v", err)
	}
	close(leave)
	wg.Wait()
	if keys := objects(t, prefix); len(keys) != 2 {
		t.Errorf("keys %q", keys)
	}
}

func TestOpenGoesOnAfterCut(t *testing.T) {
	t.Parallel()
	var gets atomic.Int64
	b, prefix := behind(t, nil, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		if isGet(r) && gets.Add(1) <= 3 {
			w = storetest.Truncate(w, 1_000_000)
		}
		forward(w)
	})
	data := storetest.Random(partSize)
	if err := b.Put(t.Context(), prefix+"x", bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	wantContent(t, b, prefix+"x", data)
	if gets.Load() != 4 {
		t.Errorf("%d requests", gets.Load())
	}
}

func TestOpenGivesUp(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request, func(http.ResponseWriter)){
		"cut": func(w http.ResponseWriter, _ *http.Request, forward func(http.ResponseWriter)) {
			forward(storetest.Truncate(w, 0))
		},
		"stall": func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
			w.Header().Set("Content-Length", "100")
			w.Header().Set("ETag", `"x"`)
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			storetest.Hang(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, prefix := behind(t, impatient, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
				if isGet(r) {
					fault(w, r, forward)
					return
				}
				forward(w)
			})
			if err := b.Put(t.Context(), prefix+"x", bytes.NewReader(make([]byte, 100))); err != nil {
				t.Fatal(err)
			}
			r, err := b.Open(t.Context(), prefix+"x")
			if err == nil {
				defer r.Close()
				_, err = io.ReadAll(r)
			}
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestOpenRefusesAnotherObject has an object replaced between the two halves of
// its reading.
func TestOpenRefusesAnotherObject(t *testing.T) {
	t.Parallel()
	key := testenv.S3(t).Prefix(t) + "x"
	var gets atomic.Int64
	b, _ := behind(t, nil, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		if isGet(r) && gets.Add(1) == 1 {
			defer testenv.S3(t).Store(t).Put(context.Background(), key, bytes.NewReader(make([]byte, 1_000_000)))
			w = storetest.Truncate(w, 500_000)
		}
		forward(w)
	})
	if err := b.Put(t.Context(), key, bytes.NewReader(storetest.Random(1_000_000))); err != nil {
		t.Fatal(err)
	}
	r, err := b.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err == nil {
		t.Errorf("read %d bytes of two objects", len(got))
	}
}

func TestDeleteWhereBatchesAreUnknown(t *testing.T) {
	t.Parallel()
	var singles atomic.Int64
	b, prefix := behind(t, nil, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		if r.URL.Query().Has("delete") {
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		if r.Method == http.MethodDelete {
			singles.Add(1)
		}
		forward(w)
	})
	for _, key := range []string{"a", "b"} {
		if err := b.Put(t.Context(), prefix+key, strings.NewReader(key)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Delete(t.Context(), prefix+"a", prefix+"none", prefix+"b"); err != nil {
		t.Error(err)
	}
	if keys := objects(t, prefix); len(keys) > 0 || singles.Load() != 3 {
		t.Errorf("%d requests left %q", singles.Load(), keys)
	}
}

func TestAbortUploadsSparesNewOnes(t *testing.T) {
	t.Parallel()
	parts := make(chan struct{})
	var once sync.Once
	b, prefix := behind(t, nil, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		if isPart(r) {
			once.Do(func() {
				parts <- struct{}{}
				<-parts
			})
		}
		forward(w)
	})
	done := make(chan error)
	go func() {
		done <- b.Put(context.Background(), prefix+"x", bytes.NewReader(storetest.Random(2*partSize)))
	}()
	<-parts
	if n, err := b.AbortUploads(t.Context(), prefix, time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("a new upload: %d, %v", n, err)
	}
	if n, err := b.AbortUploads(t.Context(), prefix, time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("all uploads: %d, %v", n, err)
	}
	parts <- struct{}{}
	if err := <-done; err == nil {
		t.Error("a put whose upload was aborted succeeded")
	}
	if keys := objects(t, prefix); len(keys) > 0 {
		t.Errorf("%q is visible", keys)
	}
}

func BenchmarkPut16MiB(b *testing.B) {
	s := testenv.S3(b).Store(b)
	key := testenv.S3(b).Prefix(b) + "x"
	data := storetest.Random(16 << 20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Put(b.Context(), key, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestPutBesideDelete: the last object of a folder is deleted while another is
// put there.
func TestPutBesideDelete(t *testing.T) {
	t.Parallel()
	s3 := testenv.S3(t)
	b := testenv.NewStore(t, s3.Config(), store.Deps{})
	prefix := s3.Prefix(t)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			key := prefix + "folder/" + string(rune('a'+n))
			for range 100 {
				if err := b.Put(t.Context(), key, bytes.NewReader([]byte("rows"))); err != nil {
					t.Error(err)
				}
				if err := b.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
}
