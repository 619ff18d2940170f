package proxy

import (
	"fmt"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// createHeld makes table t, whose rows wait while somebody has lock 42.
const createHeld = `CREATE FUNCTION held() RETURNS bool LANGUAGE sql AS 'SELECT pg_advisory_xact_lock_shared(42) IS NOT NULL';
	CREATE TABLE t (note text CHECK (held())); CREATE TABLE free (note text)`

// wantHeld waits until so many statements wait for the lock.
func (b *bed) wantHeld(want string) {
	b.t.Helper()
	c := b.direct()
	eventually(b.t, patience, func() string {
		if got := must(b.t, c, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"); got != want {
			return fmt.Sprintf("%s statements wait, want %s", got, want)
		}
		return ""
	})
}

// TestSlowServer: while the server holds up a role's load and that has used up the
// role's share, the role's next COPY is relayed; another role's load, and small
// statements of the same one, end meanwhile.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Limits.Role.Loads = 1 })
	holder := b.direct()
	must(t, holder, createHeld+"; SELECT pg_advisory_lock(42)")
	other := b.connect(b.dsn(b.pg, b.db, b.pg.NewRole(t, "SUPERUSER")))
	small := b.proxied()
	hung := loading(b.proxied())
	b.wantHeld("1")
	b.wantLimit(1, "pgbulk_limit_in_use", "loads")
	relayed := loading(b.proxied())
	b.wantHeld("2")
	b.wantMetric(1, "pgbulk_statements_total", "kind", "copy", "decision", "pass", "reason", "limit")

	if o := copyIn(other, "COPY free FROM STDIN", wideRows(4*mib)); o.tag != loaded {
		t.Errorf("another role: %s", o)
	}
	b.wantMetric(1, "pgbulk_loads_total", "result", "ok")
	b.wantMetric(1, "pgbulk_statements_total", "kind", "copy", "decision", "pass", "reason", "limit")
	if got := must(t, small, "SELECT count(*) FROM free"); loaded != "COPY "+got {
		t.Errorf("%s rows", got)
	}
	b.wantHeld("2")
	must(t, holder, "SELECT pg_advisory_unlock(42)")
	for _, ended := range []<-chan outcome{hung, relayed} {
		if o := <-ended; o.tag != loaded {
			t.Error(o)
		}
	}
	b.wantMetric(2, "pgbulk_loads_total", "result", "ok")
	b.wantLimit(0, "pgbulk_limit_in_use", "loads")
}
