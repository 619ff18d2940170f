package store

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// ErrNotFound says that there is no object under the key. Every implementation
// wraps it where S3 answers NoSuchKey or 404.
var ErrNotFound = errors.New("object not found")

// Content is what Put uploads: read at any offset, possibly several parts at
// once, and again when a part is retried. bytes.Reader satisfies it.
type Content interface {
	io.ReaderAt
	Size() int64
}

// Summed is Content that knows its CRC-32C (Castagnoli). Put sends it along, so
// that the store refuses what was damaged on the way.
type Summed interface {
	Content
	CRC32C() uint32
}

// Info describes a stored object.
type Info struct {
	Key  string
	Size int64
	// Modified is the store's own clock, UTC.
	Modified time.Time
}

// Store is an object store bucket with a key prefix applied by the caller.
// All methods may be called concurrently. Errors never contain credentials or
// signed URLs.
type Store interface {
	// Put publishes an object atomically: either the whole content is durable
	// under key when it returns nil, or nothing is visible there. It does not
	// read c after it returned. Putting the same key twice replaces it.
	// Retries of single requests happen inside; an error is final.
	Put(ctx context.Context, key string, c Content) error
	// Open reads an object from its first byte. ErrNotFound if absent.
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	// Delete removes objects; absent ones are no error.
	Delete(ctx context.Context, keys ...string) error
	// PresignGet returns a URL that reads the object for ttl without other
	// credentials. It does not check that the object exists.
	PresignGet(ctx context.Context, key string, ttl time.Duration) (string, error)
}

// Lister is what a sweeper needs beyond Store.
type Lister interface {
	// List yields the objects whose key starts with prefix, in key order. It
	// stops after the first error, which it yields.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// AbortUploads removes multipart uploads under prefix that were begun
	// before the given time, and returns how many.
	AbortUploads(ctx context.Context, prefix string, before time.Time) (int, error)
	// URL returns the s3:// address of a key, without any secret, for ledgers
	// and logs.
	URL(key string) string
}
