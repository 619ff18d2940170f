package storetest

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Operations as Faults names them.
const (
	Put          = "put"
	Open         = "open"
	Delete       = "delete"
	PresignGet   = "sign"
	List         = "list"
	AbortUploads = "abort_uploads"
)

// Faults passes operations on to a store, and fails those that its hooks say.
// The fields must not be changed while it is used.
type Faults struct {
	store.Full
	// Before is called before an operation; its error becomes the operation's,
	// which is not carried out. The key is the prefix for List and AbortUploads
	// and the first key for Delete. It may block until ctx ends. Nil: no faults.
	Before func(ctx context.Context, op, key string) error
	// After is called after an operation that has succeeded; with its error the
	// operation took effect but nobody knows. Nil: no faults.
	After func(ctx context.Context, op, key string) error
}

func call(hook func(context.Context, string, string) error, ctx context.Context, op, key string) error {
	if hook == nil {
		return nil
	}
	return hook(ctx, op, key)
}

func (f *Faults) around(ctx context.Context, op, key string, do func() error) error {
	if err := call(f.Before, ctx, op, key); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return call(f.After, ctx, op, key)
}

// Put is store.Store's.
func (f *Faults) Put(ctx context.Context, key string, c store.Content) error {
	return f.around(ctx, Put, key, func() error { return f.Full.Put(ctx, key, c) })
}

// Open is store.Store's.
func (f *Faults) Open(ctx context.Context, key string) (r io.ReadCloser, err error) {
	if err := call(f.Before, ctx, Open, key); err != nil {
		return nil, err
	}
	if r, err = f.Full.Open(ctx, key); err != nil {
		return nil, err
	}
	if err := call(f.After, ctx, Open, key); err != nil {
		_ = r.Close() // the fault is what is to be seen
		return nil, err
	}
	return r, nil
}

// Delete is store.Store's.
func (f *Faults) Delete(ctx context.Context, keys ...string) error {
	first := ""
	if len(keys) > 0 {
		first = keys[0]
	}
	return f.around(ctx, Delete, first, func() error { return f.Full.Delete(ctx, keys...) })
}

// PresignGet is store.Store's.
func (f *Faults) PresignGet(ctx context.Context, key string, ttl time.Duration) (url string, err error) {
	err = f.around(ctx, PresignGet, key, func() error {
		url, err = f.Full.PresignGet(ctx, key, ttl)
		return err
	})
	return url, err
}

// List is store.Lister's.
func (f *Faults) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		if err := call(f.Before, ctx, List, prefix); err != nil {
			yield(store.Info{}, err)
			return
		}
		for info, err := range f.Full.List(ctx, prefix) {
			if !yield(info, err) || err != nil {
				return
			}
		}
		if err := call(f.After, ctx, List, prefix); err != nil {
			yield(store.Info{}, err)
		}
	}
}

// AbortUploads is store.Lister's.
func (f *Faults) AbortUploads(ctx context.Context, prefix string, before time.Time) (n int, err error) {
	err = f.around(ctx, AbortUploads, prefix, func() error {
		n, err = f.Full.AbortUploads(ctx, prefix, before)
		return err
	})
	return n, err
}
