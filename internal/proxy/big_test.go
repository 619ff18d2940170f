package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// heapPeak samples the heap in use until the function it returns is called,
// which returns the largest size seen above that at the start.
func heapPeak() func() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base, peak := m.HeapInuse, m.HeapInuse
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
	}()
	return func() int64 {
		stop()
		<-done
		return int64(peak - base)
	}
}

// sameStream is same for data too large to keep, and only for failing COPYs.
func (b *bed) sameStream(sql string, data func() io.Reader, proxied func() *pgconn.PgConn) outcome {
	b.t.Helper()
	direct := copyIn(b.direct(), sql, data())
	got := copyIn(proxied(), sql, data())
	if direct.err != nil && direct.err.Code == "54000" && got.err != nil {
		// It says how the bytes came in messages, which are other ones.
		direct.err.Detail, got.err.Detail = "", ""
	}
	if direct.err == nil || direct.String() != got.String() {
		b.t.Errorf("%s\ndirect:  %.2000s\nproxied: %.2000s", sql, direct, got)
	}
	return got
}

// TestHugeRows: rows that are too long, or never end, fail as natively, in
// bounded memory. It does not run in parallel, since it measures the heap.
func TestHugeRows(t *testing.T) {
	if testing.Short() {
		t.Skip("moves gigabytes through the disk")
	}
	const mega = 1 << 20
	filler := func(n int) io.Reader { return &repeated{row: bytes.Repeat([]byte("x"), mega), left: n} }
	for name, c := range map[string]struct {
		sql  string
		data func() io.Reader
	}{
		"text row of 1 GB": {copyText, func() io.Reader {
			return io.MultiReader(strings.NewReader("1\tgood\n2\t"), filler(1040*mega), strings.NewReader("\n3\tgood\n"))
		}},
		"csv quote never closed": {"COPY t FROM STDIN CSV", func() io.Reader {
			return io.MultiReader(bytes.NewReader(generate(5000, func(i int) string { return fmt.Sprintf("%d,good\n", i) })),
				strings.NewReader("9000,\"open\n"), filler(300*mega))
		}},
		"late columns": {copyText, func() io.Reader {
			return io.MultiReader(strings.NewReader("1\t"), filler(20*mega), strings.NewReader("\n2\tb\tc\n"))
		}},
		"late bytes": {copyText, func() io.Reader {
			return io.MultiReader(strings.NewReader("1\t"), filler(20*mega), strings.NewReader("\n2\t\xff\xfe\n"))
		}},
		"late NUL": {copyText, func() io.Reader {
			return io.MultiReader(strings.NewReader("1\t"), filler(20*mega), strings.NewReader("\n2\ta\x00b\n"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, Options{}, func(c *config.Config) {
				c.Stage.MemoryBytes, c.Stage.FileBytes = 32*mega, 16*mega
				c.Stage.SpoolDir = os.TempDir()
			})
			must(t, b.direct(), "CREATE UNLOGGED TABLE t (id int, note text)")
			peak := heapPeak()
			b.sameStream(c.sql, c.data, b.proxied)
			// The budget, an S3 server in this process, and what a GC has not
			// taken yet.
			if got := peak(); got > 250*mega {
				t.Errorf("the heap grew by %d MB", got/mega)
			}
			if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != "0" {
				t.Errorf("%s rows are left", got)
			}
			b.wantSwept()
		})
	}
}
