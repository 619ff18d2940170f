package proxy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

// loading runs a COPY into t that is large enough to be staged.
func loading(c *pgconn.PgConn) <-chan outcome {
	ended := make(chan outcome, 1)
	go func() { ended <- copyIn(c, copyText, wideRows(4*mib)) }()
	return ended
}

var loaded = fmt.Sprintf("COPY %d", 4*mib/10001)

// wantLimit waits until a metric of a limit has a value.
func (b *bed) wantLimit(want float64, name, resource string) {
	b.t.Helper()
	eventually(b.t, patience, func() string {
		if got := b.metric(b.t, name, "resource", resource); got != want {
			return fmt.Sprintf("%s of %s is %v, want %v", name, resource, got, want)
		}
		return ""
	})
}

// TestLimitLoads: while a load hangs at its store, a COPY that would be one too many
// is relayed, of whatever role or database the limit is; what only a load can do is
// loaded all the same; and small statements don't notice.
func TestLimitLoads(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*config.Limits){
		"all":      func(l *config.Limits) { l.Loads = 1 },
		"role":     func(l *config.Limits) { l.Role.Loads = 1 },
		"database": func(l *config.Limits) { l.Database.Loads = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stall := make(chan struct{})
			release := sync.OnceFunc(func() { close(stall) })
			t.Cleanup(release) // or the load hangs on where the test has failed
			b := newBed(t, stalled(stall), func(c *config.Config) { limit(&c.Limits) })
			must(t, b.direct(), createWide+"; CREATE TABLE keyed (note text PRIMARY KEY)")
			hung := loading(b.proxied())
			b.wantLimit(1, "pgbulk_limit_in_use", "loads")
			c := b.proxied()
			if o := <-loading(c); o.tag != loaded {
				t.Error(o)
			}
			b.wantMetric(1, "pgbulk_statements_total", "kind", "copy", "decision", "pass", "reason", "limit")
			b.wantLimit(1, "pgbulk_limit_refused_total", "loads")
			if got := must(t, c, "INSERT INTO t SELECT 'small'; SELECT count(*) FROM t"); got != fmt.Sprint(4*mib/10001+1) {
				t.Errorf("%s rows", got)
			}
			upsert := make(chan outcome, 1)
			go func() { upsert <- copyIn(c, "COPY keyed FROM STDIN (ON_CONFLICT nothing)", wideRows(20002)) }()
			b.wantLimit(2, "pgbulk_limit_in_use", "loads")
			release()
			if o := <-upsert; o.tag != "COPY 1" {
				t.Errorf("the upsert: %s", o)
			}
			if o := <-hung; o.tag != loaded {
				t.Errorf("the one that hung: %s", o)
			}
			b.wantLimit(0, "pgbulk_limit_in_use", "loads")
			b.wantLimit(0, "pgbulk_limit_in_use", "memory")
			b.wantLimit(0, "pgbulk_limit_in_use", "workers")
			if o := <-loading(c); o.tag != loaded {
				t.Error(o)
			}
			b.wantMetric(3, "pgbulk_loads_total", "result", "ok")
		})
	}
}

// TestLimitUploads: an upload that hangs holds up those of its own role, and nobody
// else's loads.
func TestLimitUploads(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var puts atomic.Int64
	first := Options{WrapStore: func(s store.Full) store.Full {
		return &storetest.Faults{Full: s, Before: func(ctx context.Context, op, _ string) error {
			if op == storetest.Put && puts.Add(1) == 1 {
				select {
				case <-release:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}}
	}}
	b := newBed(t, first, func(c *config.Config) { c.Limits.Role.Uploads = 1 })
	must(t, b.direct(), createWide)
	other := b.connect(b.dsn(b.pg, b.db, b.pg.NewRole(t, "SUPERUSER")))
	hung := loading(b.proxied())
	b.wantLimit(1, "pgbulk_limit_in_use", "uploads")
	b.wantLimit(1, "pgbulk_limit_waiting", "uploads") // the next file
	behind := loading(b.proxied())
	b.wantLimit(2, "pgbulk_limit_in_use", "loads")
	if o := <-loading(other); o.tag != loaded {
		t.Errorf("another role: %s", o)
	}
	b.wantLimit(2, "pgbulk_limit_in_use", "loads")
	close(release)
	for _, ended := range []<-chan outcome{hung, behind} {
		if o := <-ended; o.tag != loaded {
			t.Error(o)
		}
	}
	b.wantLimit(0, "pgbulk_limit_in_use", "uploads")
	b.wantMetric(3, "pgbulk_loads_total", "result", "ok")
}

// TestLimitMemory: while a role's files wait for their store they have no more memory
// than its part, and lie on disk beyond that; all rows are loaded.
func TestLimitMemory(t *testing.T) {
	t.Parallel()
	stall := make(chan struct{})
	release := sync.OnceFunc(func() { close(stall) })
	t.Cleanup(release)
	b := newBed(t, stalled(stall), func(c *config.Config) { c.Limits.Role.MemoryBytes = mib })
	must(t, b.direct(), createWide)
	ended := loading(b.proxied())
	eventually(t, patience, func() string {
		if b.metric(t, "pgbulk_limit_refused_total", "resource", "memory") == 0 {
			return "nothing was refused"
		}
		return ""
	})
	if got := b.metric(t, "pgbulk_limit_in_use", "resource", "memory"); got == 0 || got > mib {
		t.Errorf("%v bytes in memory", got)
	}
	release()
	if o := <-ended; o.tag != loaded {
		t.Error(o)
	}
	if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != fmt.Sprint(4*mib/10001) {
		t.Errorf("%s rows", got)
	}
	b.wantLimit(0, "pgbulk_limit_in_use", "memory")
	b.wantMetric(1, "pgbulk_loads_total", "result", "ok")
}
