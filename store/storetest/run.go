package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Run tests a store against the contract of store.Store and store.Lister. Its
// part size is asked for because objects around it take different ways.
func Run(t *testing.T, partSize int64, open func(testing.TB) store.Full) {
	for name, test := range map[string]func(*testing.T, suite){
		"RoundTrip": testRoundTrip, "Concurrent": testConcurrent, "Overwrite": testOverwrite,
		"NotFound": testNotFound, "Delete": testDelete, "DeleteMany": testDeleteMany,
		"Presign": testPresign, "PresignExpires": testPresignExpires,
		"CancelledPut": testCancelledPut, "BrokenContent": testBrokenContent, "ShortContent": testShortContent,
		"NoReadAfterPut": testNoReadAfterPut, "List": testList, "URL": testURL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, suite{Full: open(t), part: partSize, prefix: strings.ToLower(rand.Text()) + "/"})
		})
	}
}

// suite is one test's store, with a prefix of its own.
type suite struct {
	store.Full
	part   int64
	prefix string
}

// Random returns the same pseudo-random bytes each time: they compress badly and
// show every shift.
func Random(size int64) []byte {
	b := make([]byte, size)
	src := mathrand.NewChaCha8([32]byte{1})
	_, _ = src.Read(b) // it never fails
	return b
}

func (s suite) put(t testing.TB, key string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), s.prefix+key, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

func (s suite) remove(t testing.TB, key string) {
	t.Helper()
	if err := s.Delete(t.Context(), s.prefix+key); err != nil {
		t.Error(err)
	}
}

func (s suite) wants(t testing.TB, key string, want []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), s.prefix+key)
	if err != nil {
		t.Error(err)
		return
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read back %d bytes of %d, %v", len(got), len(want), err)
	}
}

func (s suite) wantsNothing(t testing.TB) {
	t.Helper()
	for info, err := range s.List(context.Background(), s.prefix) {
		t.Errorf("there is %+v, %v", info, err)
	}
	later := time.Now().Add(time.Hour)
	if _, err := s.AbortUploads(context.Background(), s.prefix, later); err != nil {
		t.Error(err)
	}
	if n, err := s.AbortUploads(context.Background(), s.prefix, later); n != 0 || err != nil {
		t.Errorf("%d uploads are left after AbortUploads, %v", n, err)
	}
}

func testRoundTrip(t *testing.T, s suite) {
	for _, size := range []int64{0, 1, s.part - 1, s.part, s.part + 1, 2*s.part + 12345} {
		data := Random(size)
		key := fmt.Sprintf("round/%d bytes, ü+%%.csv", size)
		s.put(t, key, data)
		s.wants(t, key, data)
	}
}

func testConcurrent(t *testing.T, s suite) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			key, data := fmt.Sprint("c/", i), Random(int64(i)*1000)
			if err := s.Put(t.Context(), s.prefix+key, bytes.NewReader(data)); err != nil {
				t.Error(err)
				return
			}
			s.wants(t, key, data)
		})
	}
	wg.Wait()
}

func testOverwrite(t *testing.T, s suite) {
	s.put(t, "x", Random(s.part+1))
	s.put(t, "x", []byte("second"))
	s.wants(t, "x", []byte("second"))
}

func testNotFound(t *testing.T, s suite) {
	_, err := s.Open(t.Context(), s.prefix+"none")
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("open: %v", err)
	}
}

func testDelete(t *testing.T, s suite) {
	s.put(t, "a", []byte("a"))
	s.put(t, "b", []byte("b"))
	if err := s.Delete(t.Context()); err != nil {
		t.Errorf("no keys: %v", err)
	}
	for _, keys := range [][]string{{"a"}, {"a"}, {"a", "none", "b"}} {
		for i := range keys {
			keys[i] = s.prefix + keys[i]
		}
		if err := s.Delete(t.Context(), keys...); err != nil {
			t.Errorf("%q: %v", keys, err)
		}
	}
	s.wantsNothing(t)
}

func testDeleteMany(t *testing.T, s suite) {
	keys := make([]string, 1001) // one more than S3 takes in a request
	for i := range keys {
		keys[i] = fmt.Sprint(s.prefix, "many/", i)
	}
	s.put(t, "many/0", nil)
	s.put(t, "many/1000", nil)
	if err := s.Delete(t.Context(), keys...); err != nil {
		t.Error(err)
	}
	s.wantsNothing(t)
}

// get reads a URL as an engine does: with no credentials.
func get(t testing.TB, url string) (int, string) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal("get a signed URL: no answer") // the error holds the URL
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func testPresign(t *testing.T, s suite) {
	s.put(t, "d ü/x", []byte("content"))
	url, err := s.PresignGet(t.Context(), s.prefix+"d ü/x", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := get(t, url); status != http.StatusOK || body != "content" {
		t.Errorf("status %d, %q", status, body)
	}
	bare, _, _ := strings.Cut(url, "?")
	if status, body := get(t, bare); status == http.StatusOK {
		t.Errorf("the object can be read without a signature: %q", body)
	}
	other := strings.Replace(url, "/x?", "/y?", 1)
	if status, _ := get(t, other); status == http.StatusOK {
		t.Error("the signature reads another object")
	}
	if _, err := s.PresignGet(t.Context(), s.prefix+"x", 0); err == nil {
		t.Error("a URL that lives no time is no error")
	}
}

func testPresignExpires(t *testing.T, s suite) {
	s.put(t, "x", []byte("content"))
	url, err := s.PresignGet(t.Context(), s.prefix+"x", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		if status, _ := get(t, url); status == http.StatusForbidden {
			return
		}
	}
	t.Error("the URL works after its time")
}

// content calls at when it is read at or behind an offset.
type content struct {
	*bytes.Reader
	from int64
	at   func() error
}

func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > c.from {
		if err := c.at(); err != nil {
			return 0, err
		}
	}
	return c.Reader.ReadAt(p, off)
}

// sizes are one for each way of uploading.
func (s suite) sizes() map[string]int64 { return map[string]int64{"one": s.part, "parts": 3 * s.part} }

func testCancelledPut(t *testing.T, s suite) {
	for way, size := range s.sizes() {
		ctx, cancel := context.WithCancel(t.Context())
		c := &content{bytes.NewReader(Random(size)), size / 2, func() error { cancel(); return nil }}
		if err := s.Put(ctx, s.prefix+way, c); err == nil {
			// The cancel came too late.
			s.wants(t, way, Random(size))
			s.remove(t, way)
			continue
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", way, err)
		}
		s.wantsNothing(t)
	}
}

func testBrokenContent(t *testing.T, s suite) {
	for way, size := range s.sizes() {
		broken := errors.New("disk on fire")
		c := &content{bytes.NewReader(Random(size)), size / 2, func() error { return broken }}
		start := time.Now()
		if err := s.Put(t.Context(), s.prefix+way, c); !errors.Is(err, broken) {
			t.Errorf("%s: %v", way, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: content that cannot be read was tried for %s", way, took)
		}
		s.wantsNothing(t)
	}
}

// short claims more bytes than it has.
type short struct{ *bytes.Reader }

func (s short) Size() int64 { return s.Reader.Size() + 1 }

func testShortContent(t *testing.T, s suite) {
	for way, size := range s.sizes() {
		err := s.Put(t.Context(), s.prefix+way, short{bytes.NewReader(Random(size - 1))})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", way, err)
		}
		s.wantsNothing(t)
	}
}

func testNoReadAfterPut(t *testing.T, s suite) {
	for way, size := range s.sizes() {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		returned, late := false, false
		c := &content{bytes.NewReader(Random(size)), 0, func() error {
			mu.Lock()
			defer mu.Unlock()
			late = late || returned
			cancel()
			return nil
		}}
		err := s.Put(ctx, s.prefix+way, c)
		mu.Lock()
		returned = true
		mu.Unlock()
		if err == nil {
			s.remove(t, way)
		}
		s.wantsNothing(t)
		mu.Lock()
		if late {
			t.Errorf("%s: the content was read after Put returned", way)
		}
		mu.Unlock()
	}
}

func testList(t *testing.T, s suite) {
	names := []string{"a-b", "a/b", "a/c/d", "ab", "Ü", "b/1", "b/10", "b/2"}
	for i, name := range names {
		s.put(t, name, Random(int64(i)))
	}
	start := time.Now().Add(-time.Hour)
	for prefix, want := range map[string][]string{
		"": names, "a": {"a-b", "a/b", "a/c/d", "ab"}, "a/": {"a/b", "a/c/d"}, "b/1": {"b/1", "b/10"}, "none": nil,
	} {
		want = slices.Sorted(slices.Values(want))
		var got []string
		for info, err := range s.List(t.Context(), s.prefix+prefix) {
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimPrefix(info.Key, s.prefix)
			got = append(got, name)
			if info.Size != int64(slices.Index(names, name)) || info.Modified.Before(start) || info.Modified.Location() != time.UTC {
				t.Errorf("%+v", info)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("prefix %q: %q instead of %q", prefix, got, want)
		}
	}
	for range s.List(t.Context(), s.prefix) {
		break // must not panic
	}
}

func testURL(t *testing.T, s suite) {
	if url := s.URL("a/b"); !strings.HasPrefix(url, "s3://") || !strings.HasSuffix(url, "/a/b") {
		t.Errorf("URL %s", url)
	}
}
