package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Memory is a store in memory, for tests that need no S3.
type Memory struct {
	secret string
	url    string

	mu      sync.Mutex
	objects map[string]object
}

type object struct {
	data     []byte
	modified time.Time
}

// NewMemory returns an empty store. Its URLs are served until the test ends.
func NewMemory(tb testing.TB) *Memory {
	m := &Memory{secret: rand.Text(), objects: map[string]object{}}
	server := httptest.NewServer(http.HandlerFunc(m.serve))
	tb.Cleanup(server.Close)
	m.url = server.URL
	return m
}

func (m *Memory) serve(w http.ResponseWriter, r *http.Request) {
	expires, err := time.Parse(time.RFC3339Nano, r.FormValue("expires"))
	if err != nil || r.FormValue("secret") != m.secret || time.Now().After(expires) {
		http.Error(w, "AccessDenied", http.StatusForbidden)
		return
	}
	data, ok := m.Get(strings.TrimPrefix(r.URL.Path, "/"))
	if !ok {
		http.Error(w, "NoSuchKey", http.StatusNotFound)
		return
	}
	_, _ = w.Write(data) // a reader that left is no concern of the store
}

// Get returns an object's bytes and whether there is one.
func (m *Memory) Get(key string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	return o.data, ok
}

// Keys returns all keys in order.
func (m *Memory) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := make([]string, 0, len(m.objects))
	for key := range m.objects {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Put is store.Store's.
func (m *Memory) Put(ctx context.Context, key string, c store.Content) error {
	data := make([]byte, c.Size())
	// In steps, so that a cancelled context is noticed on the way.
	for off := 0; off < len(data); {
		end := min(off+1<<16, len(data))
		if n, err := c.ReadAt(data[off:end], int64(off)); n < end-off {
			return fmt.Errorf("put %s: read content: %w", m.URL(key), cmpErr(err))
		}
		if ctx.Err() != nil {
			break
		}
		off = end
	}
	if ctx.Err() != nil {
		return fmt.Errorf("put %s: %w", m.URL(key), context.Cause(ctx))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = object{data: data, modified: time.Now().UTC()}
	return nil
}

func cmpErr(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Open is store.Store's.
func (m *Memory) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("open %s: %w", m.URL(key), context.Cause(ctx))
	}
	data, ok := m.Get(key)
	if !ok {
		return nil, fmt.Errorf("open %s: %w", m.URL(key), store.ErrNotFound)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Delete is store.Store's.
func (m *Memory) Delete(ctx context.Context, keys ...string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("delete: %w", context.Cause(ctx))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.objects, key)
	}
	return nil
}

// PresignGet is store.Store's.
func (m *Memory) PresignGet(_ context.Context, key string, ttl time.Duration) (string, error) {
	if ttl < time.Second {
		return "", fmt.Errorf("sign %s: %s is less than 1s", m.URL(key), ttl)
	}
	query := url.Values{"secret": {m.secret}, "expires": {time.Now().Add(ttl).Format(time.RFC3339Nano)}}
	return m.url + (&url.URL{Path: "/" + key}).EscapedPath() + "?" + query.Encode(), nil
}

// List is store.Lister's.
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for _, key := range m.Keys() {
			if ctx.Err() != nil {
				yield(store.Info{}, fmt.Errorf("list %s: %w", m.URL(prefix), context.Cause(ctx)))
				return
			}
			m.mu.Lock()
			o, ok := m.objects[key]
			m.mu.Unlock()
			if !ok || !strings.HasPrefix(key, prefix) {
				continue
			}
			if !yield(store.Info{Key: key, Size: int64(len(o.data)), Modified: o.modified}, nil) {
				return
			}
		}
	}
}

// AbortUploads is store.Lister's. There are never any.
func (m *Memory) AbortUploads(context.Context, string, time.Time) (int, error) { return 0, nil }

// URL is store.Lister's.
func (m *Memory) URL(key string) string { return "s3://memory/" + key }
