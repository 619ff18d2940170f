package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// web is a store in memory behind plain HTTP, for tests that are not about S3.
type web struct {
	mu      sync.Mutex
	objects map[string][]byte
	url     string
}

// NewWebStore returns a store in memory whose signed URLs are served until the
// test ends. It checks no signature.
func NewWebStore(t testing.TB) store.Store {
	w := &web{objects: map[string][]byte{}}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := w.Open(r.Context(), strings.TrimPrefix(r.URL.Path, "/bucket/"))
		if err != nil {
			http.Error(rw, "NoSuchKey", http.StatusNotFound)
			return
		}
		data, _ := io.ReadAll(body)
		rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = rw.Write(data)
	}))
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

// Put implements store.Store.
func (w *web) Put(_ context.Context, key string, c store.Content) error {
	data, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.objects[key] = data
	return err
}

// Open implements store.Store.
func (w *web) Open(_ context.Context, key string) (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	data, ok := w.objects[key]
	if !ok {
		return nil, store.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Delete implements store.Store.
func (w *web) Delete(_ context.Context, keys ...string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		delete(w.objects, k)
	}
	return nil
}

// PresignGet implements store.Store.
func (w *web) PresignGet(_ context.Context, key string, _ time.Duration) (string, error) {
	return w.url + "/bucket/" + key + "?X-Amz-Expires=60&X-Amz-Signature=0123456789abcdef", nil
}
