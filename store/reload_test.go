package store_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// TestReloadAfterRefusal: keys that the store does not know any more are asked
// for again, and what was refused is done with the new ones.
func TestReloadAfterRefusal(t *testing.T) {
	t.Parallel()
	s3 := testenv.S3(t)
	good := s3.Config()
	bad := good
	bad.SecretKey = "changed"
	var asked atomic.Int32
	b := testenv.NewStore(t, bad, store.Deps{Reload: func(context.Context) (store.Config, error) {
		asked.Add(1)
		return good, nil
	}})
	key := s3.Prefix(t) + "file"
	if err := b.Put(t.Context(), key, bytes.NewReader([]byte("rows"))); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PresignGet(t.Context(), key, 1e9); err != nil {
		t.Error(err)
	}
	if got := objects(t, key); len(got) != 1 {
		t.Errorf("stored: %q", got)
	}
	if err := b.Delete(t.Context(), key); err != nil {
		t.Error(err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the configuration was read %d times", n)
	}
	if b.Config().SecretKey != good.SecretKey {
		t.Error("Config is that of the refused credentials")
	}
}

// TestReloadInVain: the same keys, an error, or keys that are of no use either,
// leave the store's own refusal, and are not asked for again and again.
func TestReloadInVain(t *testing.T) {
	t.Parallel()
	s3 := testenv.S3(t)
	bad := s3.Config()
	bad.SecretKey = "changed"
	other := bad
	other.SecretKey = "changed again"
	for name, reload := range map[string]func(context.Context) (store.Config, error){
		"same":  func(context.Context) (store.Config, error) { return bad, nil },
		"error": func(context.Context) (store.Config, error) { return store.Config{}, errors.New("no database") },
		"wrong": func(context.Context) (store.Config, error) { return other, nil },
		"empty": func(context.Context) (store.Config, error) { return store.Config{}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			b := testenv.NewStore(t, bad, store.Deps{Reload: func(ctx context.Context) (store.Config, error) {
				asked.Add(1)
				return reload(ctx)
			}})
			for range 3 {
				if err := b.Put(t.Context(), s3.Prefix(t)+"file", bytes.NewReader([]byte("rows"))); err == nil {
					t.Error("a refused Put succeeded")
				}
			}
			for _, err := range b.List(t.Context(), "x") {
				if err == nil {
					t.Error("a refused List succeeded")
				}
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("the configuration was read %d times", n)
			}
		})
	}
}
