package proxy

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// TestCopyCancelWhileBeginning: a cancel that meets a COPY whose load is just about
// to begin ends it, as natively where rows follow. The server ignores one that comes
// between two statements of ours. When it comes is spread over the time that takes.
func TestCopyCancelWhileBeginning(t *testing.T) {
	t.Parallel()
	rows := bytes.Repeat([]byte("1\tnote\n"), 3000)
	for _, engine := range []string{"plain", "postgres", "routed"} {
		create := "CREATE TABLE t (id int, note text)"
		b := newBed(t, Options{}, func(c *config.Config) {
			c.Stage.MinBytes, c.Engine = 0, engine
			if engine == "routed" {
				c.Engine, c.Routing.Column = "postgres", "note"
				create += nobodysRoute
			}
		})
		must(t, b.direct(), create)
		r := raw(t, b.proxied())
		for round := range 80 {
			block, status := "", byte('I')
			if round%2 == 1 {
				block, status = "BEGIN", 'E'
			}
			r.query(block)
			r.answers()
			r.startCopy(copyText)
			r.data(rows)
			for began := time.Now(); time.Since(began) < time.Duration(round/2)*100*time.Microsecond; {
			}
			cancelRaw(t, r)
			r.data(rows)
			r.send([]byte{'c', 0, 0, 0, 4})
			if got, e := r.answers(); e == nil || e.Code != pgerr.QueryCanceled || got != status {
				t.Errorf("%s, round %d: %+v, status %c", engine, round, e, got)
			}
			r.query("ROLLBACK")
			r.answers()
		}
		if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != "0" {
			t.Errorf("%s: %s rows are left", engine, got)
		}
	}
}

// TestCopyWithoutMemory: a COPY that can't be held, since the memory budget is used
// up, is relayed, and says why.
func TestCopyWithoutMemory(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes, c.Stage.MemoryBytes = 64*mib, 8*mib })
	must(t, b.direct(), "CREATE UNLOGGED TABLE t (id int, note text)")
	rows := bytes.Repeat([]byte("1\tnote\n"), 9*mib/7)
	if o := copyIn(b.proxied(), copyText, bytes.NewReader(rows)); o.err != nil {
		t.Error(o)
	}
	if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != strconv.Itoa(len(rows)/7) {
		t.Errorf("%s rows", got)
	}
	if got := b.metric(t, "pgbulk_statements_total", "reason", "memory"); got != 1 {
		t.Errorf("%g statements passed for want of memory", got)
	}
}

// TestForeignCancel: pg_cancel_backend by somebody else ends a COPY, whichever
// statement of ours it meets, also one that sets a savepoint: natively none of the
// rows stays, and a block has failed.
func TestForeignCancel(t *testing.T) {
	t.Parallel()
	for name, method := range map[string]string{"transcoded": config.MethodAuto, "external": config.MethodExternal} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) {
				c.Load.Method, c.Load.Transcode, c.Stage.FileBytes = method, config.TranscodeOn, mib
			})
			other := b.direct()
			must(t, other, "CREATE TABLE t (id int, note text)")
			for round := range 30 {
				c := b.proxied()
				pid, block, status := must(t, c, "SELECT pg_backend_pid()"), "", byte('I')
				if round%2 == 1 {
					block, status = "BEGIN", 'E'
				}
				must(t, c, block)
				o := copyIn(c, copyText, &cancelingRows{row: []byte("1\tnote\n"), cancel: func() { must(t, other, "SELECT pg_cancel_backend("+pid+")") }, after: round})
				if o.err == nil || o.err.Code != pgerr.QueryCanceled || c.TxStatus() != status {
					t.Errorf("round %d: %v, status %c", round, o, c.TxStatus())
				}
				must(t, c, "ROLLBACK")
				if got := must(t, other, "SELECT count(*) FROM t"); got != "0" {
					t.Fatalf("round %d: %s rows are left", round, got)
				}
				_ = c.Close(t.Context())
			}
		})
	}
}

// cancelingRows gives rows without end, and has them canceled from some time on again
// and again: a cancel that comes when no statement runs is lost.
type cancelingRows struct {
	row    []byte
	cancel func()
	after  int
	reads  int
}

func (r *cancelingRows) Read(p []byte) (int, error) {
	if r.reads++; r.reads > 10*r.after {
		r.cancel()
	}
	n := len(p) / len(r.row) * len(r.row)
	for i := 0; i < n; i += len(r.row) {
		copy(p[i:], r.row)
	}
	return n, nil
}
