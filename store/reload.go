package store

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// reloading asks for the configuration again when the store refuses the
// credentials, and repeats the operation with what it got.
type reloading struct {
	reload func(context.Context) (Config, error)
	open   func(context.Context, Config) (*opened, error)
	log    *slog.Logger

	now  atomic.Pointer[opened]
	mu   sync.Mutex // of those who reload
	last time.Time
}

// opened is a client with the configuration that it was made for.
type opened struct {
	Full
	cfg    Config
	access func(context.Context) (Config, error)
	close  func()
}

// reloadPause is the least time between two questions: credentials that stay
// wrong must not become a query for every file.
const reloadPause = 5 * time.Second

// isRefused says that the store does not know the credentials, or not any more.
func isRefused(err error) bool {
	switch code(err) {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "AccessDenied":
		return true
	}
	return status(err) == http.StatusForbidden || status(err) == http.StatusUnauthorized
}

// renew returns another client than old, or nil where there is none.
func (r *reloading) renew(ctx context.Context, old *opened) *opened {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now.Load(); now != old {
		return now
	}
	if !r.last.IsZero() && time.Since(r.last) < reloadPause {
		return nil
	}
	cfg, err := r.reload(ctx)
	r.last = time.Now()
	if err != nil {
		r.log.Warn("the store refused the credentials, and the configuration could not be read again", "error", err)
		return nil
	}
	next, err := r.open(ctx, cfg)
	if err != nil {
		r.log.Warn("the store refused the credentials, and the new configuration is of no use", "error", err)
		return nil
	}
	if next.cfg == old.cfg {
		next.close()
		return nil
	}
	r.log.Info("the store refused the credentials, going on with new ones", "bucket", next.cfg.Bucket, "endpoint", next.cfg.Endpoint)
	r.now.Store(next)
	old.close()
	return next
}

// try runs op, and once more where the credentials were refused.
func (r *reloading) try(ctx context.Context, op func(Full) error) error {
	now := r.now.Load()
	err := op(now.Full)
	if err == nil || !isRefused(err) {
		return err
	}
	if next := r.renew(ctx, now); next != nil {
		return op(next.Full)
	}
	return err
}

func (r *reloading) Put(ctx context.Context, key string, c Content) error {
	return r.try(ctx, func(f Full) error { return f.Put(ctx, key, c) })
}

func (r *reloading) Open(ctx context.Context, key string) (out io.ReadCloser, err error) {
	err = r.try(ctx, func(f Full) (err error) { out, err = f.Open(ctx, key); return err })
	return out, err
}

func (r *reloading) Delete(ctx context.Context, keys ...string) error {
	return r.try(ctx, func(f Full) error { return f.Delete(ctx, keys...) })
}

func (r *reloading) PresignGet(ctx context.Context, key string, ttl time.Duration) (string, error) {
	return r.now.Load().PresignGet(ctx, key, ttl)
}

func (r *reloading) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		// Only the first page can be asked for again.
		begun, ended := false, false
		err := r.try(ctx, func(f Full) error {
			for info, err := range f.List(ctx, prefix) {
				if err != nil && !begun {
					return err
				}
				begun = true
				if !yield(info, err) {
					break
				}
			}
			ended = true
			return nil
		})
		if err != nil && !ended {
			yield(Info{}, err)
		}
	}
}

func (r *reloading) AbortUploads(ctx context.Context, prefix string, before time.Time) (n int, err error) {
	err = r.try(ctx, func(f Full) (err error) { n, err = f.AbortUploads(ctx, prefix, before); return err })
	return n, err
}

func (r *reloading) URL(key string) string { return r.now.Load().URL(key) }
