package proxy

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// waitingInsert runs a test while an INSERT of two rows waits for what another
// session holds: the table, or a key; by rows and by arrays; in a block and
// outside.
func waitingInsert(t *testing.T, test func(b *bed, holder *pgconn.PgConn, r *rawConn)) {
	for name, holds := range map[string]string{"table": "LOCK TABLE t IN SHARE MODE", "key": "INSERT INTO t VALUES (2, 'held')"} {
		for way, tail := range map[string]string{"rows": "", "arrays": " RETURNING id"} {
			for when, before := range map[string]string{"alone": "SELECT", "block": "BEGIN; SELECT"} {
				t.Run(strings.Join([]string{name, way, when}, " "), func(t *testing.T) {
					t.Parallel()
					b := newBed(t, Options{}, nil)
					must(t, b.direct(), createT)
					holder, c := b.direct(), b.proxied()
					must(t, holder, "BEGIN; "+holds)
					must(t, c, before)
					r := raw(t, c)
					r.query("INSERT INTO t VALUES (1, 'a'), (2, 'b')" + tail)
					b.wantWaiting(r.pid)
					test(b, holder, r)
				})
			}
		}
	}
}

// wantWaiting waits until a session waits for a lock.
func (b *bed) wantWaiting(pid uint32) {
	b.t.Helper()
	c := b.direct()
	defer hangUp(c)
	eventually(b.t, patience, func() string {
		return must(b.t, c, fmt.Sprintf(`SELECT CASE WHEN count(*) = 1 THEN '' ELSE 'it does not wait' END
			FROM pg_catalog.pg_locks WHERE pid = %d AND NOT granted`, pid))
	})
}

// TestInsertBackendTerminated: the client hears it in the server's words, and
// nothing of the statement stays.
func TestInsertBackendTerminated(t *testing.T) {
	t.Parallel()
	waitingInsert(t, func(b *bed, holder *pgconn.PgConn, r *rawConn) {
		must(b.t, holder, fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d)", r.pid))
		_, e, err := r.until(isReady)
		if err == nil || e == nil || e.Code != "57P01" || e.Severity != "FATAL" || strings.Contains(e.Where, "COPY") {
			b.t.Errorf("%+v, %v", e, err)
		}
		must(b.t, holder, "ROLLBACK")
		b.wantUnlocked("0", patience)
		c := b.proxied()
		must(b.t, c, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
		b.wantUnlocked("2", patience)
	})
}

// TestInsertClientLost: a client that goes away while its INSERT waits takes it
// along, at the latest when it could go on: the server itself looks no earlier.
func TestInsertClientLost(t *testing.T) {
	t.Parallel()
	waitingInsert(t, func(b *bed, holder *pgconn.PgConn, r *rawConn) {
		r.reset()
		must(b.t, holder, "ROLLBACK")
		watch := b.direct()
		eventually(b.t, patience, func() string {
			return must(b.t, watch, fmt.Sprintf(`SELECT CASE WHEN count(*) = 0 THEN '' ELSE 'its session is still there' END
				FROM pg_catalog.pg_stat_activity WHERE pid = %d`, r.pid))
		})
		// Outside a block it may be through with it, as natively; half of it is not.
		if n := must(b.t, watch, "SELECT count(*) FROM t"); n != "0" && n != "2" {
			b.t.Errorf("%s rows", n)
		}
		b.wantUnlocked(must(b.t, watch, "SELECT count(*) FROM t"), patience)
	})
}

// TestInsertRecordLost: where the server is gone between the rows of a staged INSERT and
// what is written down of them, the ledger finds out what became of the load.
func TestInsertRecordLost(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	way := newLink(t, pg.Addr)
	b := newBed(t, Options{}, func(c *config.Config) {
		c.Upstream, c.Insert.StageBytes, c.Load.Method = way.addr(), 0, config.MethodAuto
	})
	must(t, b.direct(), createT)
	holder, c := b.direct(), b.proxied()
	must(t, holder, "BEGIN; LOCK TABLE pgbulk.import IN ACCESS EXCLUSIVE MODE")
	must(t, c, "BEGIN")
	r := raw(t, c)
	r.query("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
	b.wantWaiting(r.pid)
	way.cut()
	must(t, holder, "ROLLBACK")
	b.wantLedger(map[string]int{"CANCELLED": 1}) // its transaction did not commit
	b.wantUnlocked("0", patience)
	b.wantSwept()
}

// link passes connections on to a server until it is cut.
type link struct {
	listener net.Listener
	mu       sync.Mutex
	conns    []net.Conn
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener}
	t.Cleanup(func() { _ = listener.Close(); l.cut() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				_ = from.Close()
				continue
			}
			l.mu.Lock()
			l.conns = append(l.conns, from, up)
			l.mu.Unlock()
			for _, way := range [][2]net.Conn{{from, up}, {up, from}} {
				go func() {
					_, _ = io.Copy(way[1], way[0])
					_, _ = from.Close(), up.Close()
				}()
			}
		}
	}()
	return l
}

func (l *link) addr() string { return l.listener.Addr().String() }

// cut ends all connections.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
}
