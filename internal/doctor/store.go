package doctor

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/loaderconfig"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/embedded"
)

// openStore opens the store of a configuration. prefix goes before keys.
func openStore(ctx context.Context, cfg config.Config, change func(*store.Config)) (*store.Bucket, string, error) {
	var sc store.Config
	var prefix string
	if cfg.Store == config.StoreLoaderConfig {
		source, err := loaderconfig.Open(ctx, cfg.ServiceDSN)
		if err != nil {
			return nil, "", known(err)
		}
		sc, prefix = source.Settings().Store, source.Prefix()
	} else {
		var err error
		if sc, prefix, err = store.ParseURL(cfg.Store); err != nil {
			return nil, "", err
		}
	}
	sc.MaxAttempts = 2 // a person waits for the answer
	sc.RequestTimeout, sc.PartTimeout = 5*time.Second, 5*time.Second
	if change != nil {
		change(&sc)
	}
	bucket, err := store.New(ctx, sc, store.Deps{Embedded: embedded.Serve})
	return bucket, prefix, err
}

// bucket is a store.Bucket as checks use it.
type bucket struct{ *store.Bucket }

// PutText implements check.Store.
func (b bucket) PutText(ctx context.Context, key, text string) error {
	return b.Put(ctx, key, strings.NewReader(text))
}

// GetText implements check.Store.
func (b bucket) GetText(ctx context.Context, key string) (string, error) {
	r, err := b.Open(ctx, key)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxText))
	return string(text), err
}

// maxText is more than the checks' object has.
const maxText = 4096

// List implements check.Store. No upload began so long ago: none is aborted.
func (b bucket) List(ctx context.Context, prefix string) (n int, err error) {
	for _, err := range b.Bucket.List(ctx, prefix) {
		if err != nil {
			return n, err
		}
		n++
	}
	_, err = b.AbortUploads(ctx, prefix, time.Unix(0, 0))
	return n, err
}

// Delete implements check.Store.
func (b bucket) Delete(ctx context.Context, key string) error { return b.Bucket.Delete(ctx, key) }

// Presign implements check.Store.
func (b bucket) Presign(ctx context.Context, key string, ttl time.Duration) (string, error) {
	return b.PresignGet(ctx, key, ttl)
}

// Code implements check.Store.
func (b bucket) Code(err error) string { return store.Code(err) }

// fetch gets a URL without credentials, as curl on the database host does.
func fetch(ctx context.Context, url string) (int, string, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", time.Time{}, errFetch
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", time.Time{}, masked(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxText))
	// Where there is no date, or none that can be read, the clock is zero.
	clock, _ := http.ParseTime(resp.Header.Get("Date"))
	return resp.StatusCode, string(body), clock, err
}

var _ check.Store = bucket{}
