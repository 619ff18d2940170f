package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// sick is a store that takes the first files of each load, and no other; blind, it
// doesn't give them back either.
type sick struct {
	store.Full
	*illness
}

type illness struct {
	takes atomic.Int32
	blind atomic.Bool
	mu    sync.Mutex
	loads map[string]*taken // by folder
}

// taken is what a sick store has of a load.
type taken struct {
	there int32
	all   chan struct{} // closed when as many are there as it takes
}

func (s sick) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if s.blind.Load() {
		return nil, errors.New("the store is blind")
	}
	return s.Full.Open(ctx, key)
}

// Put refuses a file when those before it that it takes are there: in which order files
// of a load arrive, and whether another load's last ones do between them, is up to the
// scheduler.
func (s sick) Put(ctx context.Context, key string, c store.Content) error {
	takes, folder := s.takes.Load(), path.Dir(key)
	number, err := strconv.Atoi(strings.TrimSuffix(path.Base(key), path.Ext(key)))
	if err != nil {
		return err
	}
	s.mu.Lock()
	l := s.loads[folder]
	if l == nil {
		l = &taken{all: make(chan struct{})}
		s.loads[folder] = l
	}
	s.mu.Unlock()
	if int32(number) > takes {
		if takes > 0 {
			select {
			case <-l.all:
			case <-ctx.Done():
			}
		}
		return errors.New("the store is sick")
	}
	err = s.Full.Put(ctx, key, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.there++; l.there == takes {
		close(l.all)
	}
	return err
}

// TestStagedWithoutStore: a file can't be staged, so the load goes natively, and is
// answered when it is loaded; those before it are read back.
func TestStagedWithoutStore(t *testing.T) {
	t.Parallel()
	b, ill := newSickBed(t)
	admin, c := b.direct(), b.proxied()
	must(t, c, createT+"; CREATE TABLE source AS SELECT i AS id, repeat('longer than one file ', 5) || i AS note FROM generate_series(1, 20000) i; "+setStaged)
	loads := 0
	for _, format := range []string{"text", "csv", "binary"} {
		var data bytes.Buffer
		if _, err := admin.CopyTo(t.Context(), &data, "COPY source TO STDOUT (FORMAT "+format+")"); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int32{0, 1, 3} {
			ill.takes.Store(n)
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
	ill.takes.Store(1 << 30)
	b.wantSwept()
	b.wantLedger(map[string]int{"COMPLETED": loads})
}

// newSickBed starts a proxy whose store takes no file until it is told to.
func newSickBed(t *testing.T) (*bed, *illness) {
	ill := &illness{loads: map[string]*taken{}}
	b := newStagedBed(t, Options{WrapStore: func(f store.Full) store.Full { return sick{f, ill} }}, func(c *config.Config) {
		c.Breaker.Failures = 100
		c.Stage.FileBytes = 64 << 10
		c.Stage.Uploads = 16 // a file that waits to be refused keeps no other from going up
	})
	return b, ill
}

// TestStagedReadBackFails: errors of a load whose first files are staged are those
// of one COPY of everything; where they can't be had again it fails.
func TestStagedReadBackFails(t *testing.T) {
	t.Parallel()
	b, ill := newSickBed(t)
	c := b.proxied()
	must(t, c, createT+"; "+setStaged)
	bad := generate(20000, func(i int) string {
		if i == 10 {
			return "x\ta row of the first file\n"
		}
		return strconv.Itoa(i) + "\tlonger than one file, longer than one file\n"
	})
	for _, block := range []string{"", "BEGIN"} {
		ill.takes.Store(2)
		must(t, c, block)
		if o := copyIn(c, copyText, bytes.NewReader(bad)); o.err == nil || o.err.Code != "22P02" || o.err.Where != `COPY t, line 11, column id: "x"` {
			t.Errorf("a bad row: %s", o)
		}
		must(t, c, "ROLLBACK")
		ill.takes.Store(2)
		ill.blind.Store(true)
		must(t, c, block)
		o := copyIn(c, copyText, bytes.NewReader(generate(60000, func(i int) string { return strconv.Itoa(10000+i) + "\tlonger than one file\n" })))
		if o.err == nil || o.err.Code != "58000" || o.err.Hint == "" {
			t.Errorf("a later file can't be staged, and none read back: %s", o)
		}
		if want := map[string]byte{"": 'I', "BEGIN": 'E'}[block]; c.TxStatus() != want {
			t.Errorf("status %c", c.TxStatus())
		}
		ill.blind.Store(false)
		must(t, c, "ROLLBACK")
		if got := must(t, c, "SELECT count(*) FROM t"); got != "0" {
			t.Errorf("%s rows", got)
		}
	}
	ill.takes.Store(1 << 30)
	b.wantSwept()
	b.wantLedger(map[string]int{"FAILED": 4})
}
