package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

const mib = 1 << 20

// smallMemory is the least memory that may be configured, with large files.
func smallMemory(spool bool) func(*config.Config) {
	return func(c *config.Config) {
		c.Stage.MemoryBytes, c.Stage.Spool, c.Stage.FileBytes = 8*mib, spool, 16*mib
	}
}

// repeated is n bytes of rows, made while they are read.
type repeated struct {
	row  []byte
	left int
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(r.row)-r.at, r.left)
	if r.at == 0 && r.left < len(r.row) {
		return 0, io.EOF // whole rows only
	}
	copy(p, r.row[r.at:r.at+n])
	r.at = (r.at + n) % len(r.row)
	r.left -= n
	return n, nil
}

const createWide = "CREATE UNLOGGED TABLE t (note text)"

func wideRows(total int) *repeated {
	return &repeated{row: append(bytes.Repeat([]byte("wide "), 2000), '\n'), left: total}
}

// TestMemorySpools: loads that need more memory than there is go through local
// files.
func TestMemorySpools(t *testing.T) {
	t.Parallel()
	size := 200 * mib
	if testing.Short() {
		size = 40 * mib
	}
	b := newBed(t, Options{}, smallMemory(true))
	must(t, b.direct(), createWide)
	c := b.proxied()
	want := fmt.Sprintf("COPY %d", size/10001)
	if o := copyIn(c, copyText, wideRows(size)); o.tag != want {
		t.Errorf("%s, want %s", o, want)
	}
	must(t, c, "TRUNCATE t")
	one := &repeated{row: append(bytes.Repeat([]byte("one row "), size/16), '\n'), left: size/2 + 1}
	if o := copyIn(c, copyText, one); o.tag != "COPY 1" {
		t.Errorf("one row: %s", o)
	}
	if got := must(t, c, "SELECT count(*) || ' ' || sum(length(note)) FROM t"); got != fmt.Sprintf("1 %d", size/2) {
		t.Errorf("the table has %s", got)
	}
	b.wantMetric(2, "pgbulk_loads_total", "result", "ok")
	b.wantSwept()
}

// TestMemoryWithoutSpool: without local files such a load fails, says why and
// leaves the session as a failed COPY does.
func TestMemoryWithoutSpool(t *testing.T) {
	t.Parallel()
	for engine, installed := range map[string]bool{"postgres": true, "plain": false} {
		for _, block := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s block %v", engine, block), func(t *testing.T) {
				t.Parallel()
				release := make(chan struct{})
				b := newBed(t, stalled(release), func(c *config.Config) {
					smallMemory(false)(c)
					if !installed {
						c.Engine = "plain"
					}
				})
				must(t, b.direct(), createWide)
				c := b.proxied()
				want := byte('I')
				if block {
					must(t, c, "BEGIN; INSERT INTO t VALUES ('first')")
					want = 'E'
				}
				o := copyIn(c, copyText, wideRows(60*mib))
				close(release)
				if o.err == nil || o.err.Code != pgerr.OutOfMemory || c.TxStatus() != want {
					t.Fatalf("%s, status %c", o, c.TxStatus())
				}
				must(t, c, "ROLLBACK")
				if got := must(t, c, "SELECT count(*) FROM t"); got != "0" {
					t.Errorf("%s rows are left", got)
				}
				if o := copyIn(c, copyText, wideRows(2*mib)); o.err != nil || o.lost != nil {
					t.Errorf("the next load: %s", o)
				}
				b.wantMetric(1, "pgbulk_loads_total", "result", "error")
				b.wantSwept()
			})
		}
	}
}

// stalled holds uploads back until release is closed, so that memory fills.
func stalled(release chan struct{}) Options {
	return Options{WrapStore: func(s store.Full) store.Full {
		return &storetest.Faults{Full: s, Before: func(ctx context.Context, op, _ string) error {
			if op == storetest.Put {
				select {
				case <-release:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}}
	}}
}

// TestMemoryShared: loads at once share the memory; all of them end well.
func TestMemoryShared(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, smallMemory(true))
	must(t, b.direct(), createWide)
	const loads, size = 8, 10 * mib
	conns := make([]*pgconn.PgConn, loads)
	for i := range conns {
		conns[i] = b.proxied()
	}
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			if o := copyIn(c, copyText, wideRows(size)); o.err != nil || o.lost != nil {
				t.Error(o)
			}
		})
	}
	wg.Wait()
	if got, want := must(t, b.direct(), "SELECT count(*) FROM t"), fmt.Sprint(loads*(size/10001)); got != want {
		t.Errorf("%s rows, want %s", got, want)
	}
	b.wantMetric(loads, "pgbulk_loads_total", "result", "ok")
	b.wantSwept()
}
