package store_test

import (
	"bytes"
	"hash/crc32"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

// summed is content with a checksum, the right one or another.
type summed struct {
	*bytes.Reader
	crc uint32
}

func (s summed) CRC32C() uint32 { return s.crc }

func newSummed(data []byte) summed {
	return summed{bytes.NewReader(data), crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))}
}

const checksumHeader = "X-Amz-Checksum-Crc32c"

// TestPutSendsChecksum shows that the store is told the checksum, and refuses
// content that has another.
func TestPutSendsChecksum(t *testing.T) {
	t.Parallel()
	var told atomic.Int64
	b, prefix := behind(t, func(*store.Config) {}, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		if isPutOne(r) && r.Header.Get(checksumHeader) != "" {
			told.Add(1)
		}
		forward(w)
	})
	data := storetest.Random(1 << 20)
	if err := b.Put(t.Context(), prefix+"right", newSummed(data)); err != nil {
		t.Fatal(err)
	}
	wantContent(t, b, prefix+"right", data)
	damaged := newSummed(data)
	damaged.crc++
	if err := b.Put(t.Context(), prefix+"wrong", damaged); err == nil {
		t.Error("content with another checksum was taken")
	}
	if keys := objects(t, prefix); len(keys) != 1 {
		t.Errorf("there are %q", keys)
	}
	if n := told.Load(); n != 2 {
		t.Errorf("%d requests had a checksum", n)
	}
}

// TestPutWhereChecksumsAreUnknown shows that a store which refuses the header is
// asked without, and no second time with it.
func TestPutWhereChecksumsAreUnknown(t *testing.T) {
	t.Parallel()
	var refused atomic.Int64
	b, prefix := behind(t, func(*store.Config) {}, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		if isPutOne(r) && r.Header.Get(checksumHeader) != "" {
			refused.Add(1)
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		forward(w)
	})
	data := storetest.Random(1 << 20)
	for _, key := range []string{"a", "b"} {
		if err := b.Put(t.Context(), prefix+key, newSummed(data)); err != nil {
			t.Fatal(err)
		}
		wantContent(t, b, prefix+key, data)
	}
	// The client repeats what was answered with a 501 as often as it may.
	if n := refused.Load(); n < 1 || n > 2 {
		t.Errorf("the header was refused %d times", n)
	}
}

// TestOneRequest shows that content of more than a part goes up in one request,
// with its checksum, as long as it is not too large for that.
func TestOneRequest(t *testing.T) {
	t.Parallel()
	var ones, parts atomic.Int64
	change := func(c *store.Config) { c.OneRequest = 2 * partSize }
	b, prefix := behind(t, change, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		switch {
		case isPart(r):
			parts.Add(1)
		case isPutOne(r) && r.Header.Get(checksumHeader) != "":
			ones.Add(1)
		}
		forward(w)
	})
	for _, test := range []struct{ size, ones, parts int64 }{{2 * partSize, 1, 0}, {2*partSize + 1, 0, 3}} {
		ones.Store(0)
		parts.Store(0)
		data := storetest.Random(test.size)
		if err := b.Put(t.Context(), prefix+"x", newSummed(data)); err != nil {
			t.Fatal(err)
		}
		wantContent(t, b, prefix+"x", data)
		if ones.Load() != test.ones || parts.Load() != test.parts {
			t.Errorf("%d bytes: %d requests and %d parts, want %d and %d", test.size, ones.Load(), parts.Load(), test.ones, test.parts)
		}
	}
}
