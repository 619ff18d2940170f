package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// sick is a store that takes so many files, and then none; blind, it doesn't give
// them back either.
type sick struct {
	store.Full
	puts  *atomic.Int32
	blind *atomic.Bool
}

func (s sick) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if s.blind.Load() {
		return nil, errors.New("the store is blind")
	}
	return s.Full.Open(ctx, key)
}

func (s sick) Put(ctx context.Context, key string, c store.Content) error {
	if s.puts.Add(-1) < 0 {
		return errors.New("the store is sick")
	}
	return s.Full.Put(ctx, key, c)
}

// TestStagedWithoutStore: a file can't be staged, so the load goes natively, and is
// answered when it is loaded; those before it are read back.
func TestStagedWithoutStore(t *testing.T) {
	t.Parallel()
	b, puts, _ := newSickBed(t)
	admin, c := b.direct(), b.proxied()
	must(t, c, createT+"; CREATE TABLE source AS SELECT i AS id, repeat('longer than one file ', 5) || i AS note FROM generate_series(1, 20000) i; "+setStaged)
	loads := 0
	for _, format := range []string{"text", "csv", "binary"} {
		var data bytes.Buffer
		if _, err := admin.CopyTo(t.Context(), &data, "COPY source TO STDOUT (FORMAT "+format+")"); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int32{0, 1, 3} {
			puts.Store(n)
			o := copyIn(c, "COPY t FROM STDIN (FORMAT "+format+", LABEL '"+format+strconv.Itoa(int(n))+"')", bytes.NewReader(data.Bytes()))
			if o.tag != "COPY 20000" {
				t.Fatalf("%s, %d files: %s", format, n, o)
			}
			if got := must(t, c, "SELECT count(*) FROM (TABLE t INTERSECT TABLE source) x"); got != "20000" {
				t.Errorf("%s, %d files: %s rows are right", format, n, got)
			}
			must(t, c, "TRUNCATE t")
			loads++
		}
	}
	puts.Store(1 << 30)
	b.wantSwept()
	b.wantLedger(map[string]int{"COMPLETED": loads})
}

// newSickBed starts a proxy whose store takes no file until it is told to.
func newSickBed(t *testing.T) (*bed, *atomic.Int32, *atomic.Bool) {
	var puts atomic.Int32
	var blind atomic.Bool
	b := newStagedBed(t, Options{WrapStore: func(f store.Full) store.Full { return sick{f, &puts, &blind} }}, func(c *config.Config) {
		c.Breaker.Failures = 100
		c.Stage.FileBytes = 64 << 10
	})
	return b, &puts, &blind
}

// TestStagedReadBackFails: errors of a load whose first files are staged are those
// of one COPY of everything; where they can't be had again it fails.
func TestStagedReadBackFails(t *testing.T) {
	t.Parallel()
	b, puts, blind := newSickBed(t)
	c := b.proxied()
	must(t, c, createT+"; "+setStaged)
	bad := generate(20000, func(i int) string {
		if i == 10 {
			return "x\ta row of the first file\n"
		}
		return strconv.Itoa(i) + "\tlonger than one file, longer than one file\n"
	})
	for _, block := range []string{"", "BEGIN"} {
		puts.Store(2)
		must(t, c, block)
		if o := copyIn(c, copyText, bytes.NewReader(bad)); o.err == nil || o.err.Code != "22P02" || o.err.Where != `COPY t, line 11, column id: "x"` {
			t.Errorf("a bad row: %s", o)
		}
		must(t, c, "ROLLBACK")
		puts.Store(2)
		blind.Store(true)
		must(t, c, block)
		o := copyIn(c, copyText, bytes.NewReader(generate(60000, func(i int) string { return strconv.Itoa(10000+i) + "\tlonger than one file\n" })))
		if o.err == nil || o.err.Code != "58000" || o.err.Hint == "" {
			t.Errorf("a later file can't be staged, and none read back: %s", o)
		}
		if want := map[string]byte{"": 'I', "BEGIN": 'E'}[block]; c.TxStatus() != want {
			t.Errorf("status %c", c.TxStatus())
		}
		blind.Store(false)
		must(t, c, "ROLLBACK")
		if got := must(t, c, "SELECT count(*) FROM t"); got != "0" {
			t.Errorf("%s rows", got)
		}
	}
	puts.Store(1 << 30)
	b.wantSwept()
	b.wantLedger(map[string]int{"FAILED": 4})
}
