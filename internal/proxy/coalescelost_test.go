package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy/proxytest"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// heldRun is a session with some INSERTs that are answered and not sent. Whoever
// sends them waits for holder, which has a key of theirs.
func heldRun(t *testing.T, settings string) (b *bed, holder *pgconn.PgConn, r *rawConn) {
	b, c := coalescing(t)
	holder = b.direct()
	must(t, holder, "BEGIN; INSERT INTO t VALUES (3, 0)")
	must(t, c, settings)
	must(t, c, "BEGIN; INSERT INTO other VALUES (1); SAVEPOINT s")
	for id := 1; id < 6; id++ {
		must(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d, 0)", id))
	}
	if n := must(t, b.direct(), fmt.Sprintf("SELECT count(*) FROM pg_catalog.pg_locks WHERE NOT granted AND pid = %d", c.PID())); n != "0" {
		t.Fatal("it waits already")
	}
	return b, holder, raw(t, c)
}

// cancelRaw sends a CancelRequest for a session, and returns when the proxy has
// passed it on.
func cancelRaw(t testing.TB, r *rawConn) {
	t.Helper()
	c, err := net.Dial("tcp", r.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	p := binary.BigEndian.AppendUint32(nil, uint32(12+len(r.key)))
	p = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(p, 80877102), r.pid)
	if _, err := c.Write(append(p, r.key...)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the answer to a cancel request is %v", err)
	}
}

// answers reads to the next ReadyForQuery.
func (r *rawConn) answers() (status byte, e *pgconn.PgError) {
	r.t.Helper()
	m, e, err := r.until(isReady)
	if err != nil {
		r.t.Fatal(e, err)
	}
	return m.(*pgproto3.ReadyForQuery).TxStatus, e
}

// TestCoalesceWaits: where the rows must wait, the statement behind them does.
func TestCoalesceWaits(t *testing.T) {
	t.Parallel()
	b, holder, r := heldRun(t, "")
	r.query("SELECT 1")
	b.wantWaiting(r.pid)
	must(t, holder, "ROLLBACK")
	if status, e := r.answers(); e != nil || status != 'T' {
		t.Errorf("%+v, %c", e, status)
	}
	r.query("COMMIT")
	if status, e := r.answers(); e != nil || status != 'I' {
		t.Errorf("%+v, %c", e, status)
	}
	if n := must(t, b.direct(), "SELECT count(*) FROM t"); n != "6" {
		t.Errorf("%s rows", n)
	}
}

// TestCoalesceCanceled: a cancel and the timeouts end the statement behind the rows,
// and the transaction has failed as if it had been its own.
func TestCoalesceCanceled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ settings, code string }{
		"cancel": {"", "57014"}, "statement_timeout": {"SET statement_timeout = '300ms'", "57014"}, "lock_timeout": {"SET lock_timeout = '300ms'", "55P03"},
	} {
		for _, cause := range []string{"SELECT 1", "COMMIT"} {
			t.Run(name+" "+cause, func(t *testing.T) {
				t.Parallel()
				b, holder, r := heldRun(t, c.settings)
				r.query(cause)
				if name == "cancel" {
					b.wantWaiting(r.pid)
					cancelRaw(t, r)
				}
				status, e := r.answers()
				want := byte('E')
				if cause == "COMMIT" {
					want = 'I'
				}
				if e == nil || e.Code != c.code || status != want || e.Position != 0 {
					t.Fatalf("%+v, %c", e, status)
				}
				if want == 'E' {
					r.query("ROLLBACK TO s; COMMIT")
					if status, e := r.answers(); e != nil || status != 'I' {
						t.Errorf("%+v, %c", e, status)
					}
				}
				must(t, holder, "ROLLBACK")
				got := must(t, b.direct(), "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM other)")
				if rows := map[byte]string{'E': "1 1", 'I': "1 0"}[want]; got != rows {
					t.Errorf("rows %s, want %s", got, rows)
				}
			})
		}
	}
}

// TestCoalesceCancelWithoutStatement: a cancel between statements ends none.
func TestCoalesceCancelWithoutStatement(t *testing.T) {
	t.Parallel()
	b, holder, r := heldRun(t, "")
	must(t, holder, "ROLLBACK")
	cancelRaw(t, r)
	r.query("COMMIT")
	if status, e := r.answers(); e != nil || status != 'I' {
		t.Errorf("%+v, %c", e, status)
	}
	if n := must(t, b.direct(), "SELECT count(*) FROM t"); n != "6" {
		t.Errorf("%s rows", n)
	}
}

// TestCoalesceTLS: the same goes with TLS on one side.
func TestCoalesceTLS(t *testing.T) {
	t.Parallel()
	cert, key := proxytest.Certificate(t)
	b := newBed(t, Options{}, func(c *config.Config) { c.TLS.Cert, c.TLS.Key = cert, key })
	must(t, b.direct(), createT)
	_, port, _ := net.SplitHostPort(b.addr.String())
	c := b.connect(fmt.Sprintf("host=127.0.0.1 port=%s dbname=%s user=postgres sslmode=verify-full sslrootcert=%s", port, b.db, cert))
	must(t, c, "SET pgbulk.coalesce = 'transaction'")
	must(t, c, "BEGIN")
	insertPipelined(t, c, 5000, strings.Repeat("note", 100))
	for _, id := range []int{6000, 6001, 1} {
		exec(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d, 'again')", id), "")
	}
	exec(t, c, "COMMIT", "23505")
	must(t, c, "SET pgbulk.coalesce = 'transaction'; BEGIN")
	insertBatches(t, c, 5000, strings.Repeat("note", 100))
	must(t, c, "COMMIT")
	if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != "5000" {
		t.Errorf("%s rows", got)
	}
	if n := b.metric(t, "pgbulk_statements_total", coalesced...); n < 7000 {
		t.Errorf("%v coalesced: %s", n, b.decisions(t))
	}
}

// TestCoalescePieces: it does not matter in which pieces the messages come.
func TestCoalescePieces(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3, 7, 50, 1000} {
		b, c := coalescing(t)
		prepareInsert(t, c)
		must(t, c, "BEGIN")
		r := raw(t, c)
		var p []byte
		const n = 30
		for i := 1; i <= n; i++ {
			p = frame.AppendString(p, 'Q', fmt.Sprintf("INSERT INTO t (id, p) VALUES (%d, 0)", i))
		}
		for i := n + 1; i <= 2*n; i++ {
			id := fmt.Sprint(i)
			bind := append([]byte("\x00i\x00\x00\x00\x00\x02\x00\x00\x00"), byte(len(id)))
			bind = append(append(bind, id...), "\x00\x00\x00\x010\x00\x00"...)
			p = frame.Append(frame.Append(p, 'B', bind), 'D', []byte("P\x00"))
			p = frame.Append(frame.Append(p, 'E', make([]byte, 5)), 'S', nil)
		}
		p = frame.AppendString(p, 'Q', "COMMIT")
		for at := 0; at < len(p); at += size {
			r.send(p[at:min(at+size, len(p))])
		}
		for i := range 2*n + 1 {
			if status, e := r.answers(); e != nil || (status == 'T') != (i < 2*n) {
				t.Fatalf("pieces of %d, message %d: %+v, %c", size, i, e, status)
			}
		}
		if got := must(t, b.direct(), "SELECT count(*) || ' ' || sum(id) FROM t"); got != fmt.Sprintf("%d %d", 2*n+1, n*(2*n+1)) {
			t.Errorf("pieces of %d: rows and sum %s", size, got)
		}
		b.wantMetric(2*n-2, "pgbulk_statements_total", coalesced...)
	}
}

// TestCoalesceClientLost: rows that were answered in a transaction go with the
// client, as natively; and so does its session.
func TestCoalesceClientLost(t *testing.T) {
	t.Parallel()
	b, holder, r := heldRun(t, "")
	must(t, holder, "ROLLBACK")
	r.reset()
	b.wantGone(r.pid)
	if n := must(t, b.direct(), "SELECT count(*) FROM t"); n != "1" {
		t.Errorf("%s rows", n)
	}
}

// wantGone waits until a backend has ended.
func (b *bed) wantGone(pid uint32) {
	b.t.Helper()
	watch := b.direct()
	eventually(b.t, patience, func() string {
		return must(b.t, watch, fmt.Sprintf(`SELECT CASE WHEN count(*) = 0 THEN '' ELSE 'its session is still there' END
			FROM pg_catalog.pg_stat_activity WHERE pid = %d`, pid))
	})
}

// TestCoalesceServerLost: the client hears it in the server's words, while the rows
// are held and while they wait.
func TestCoalesceServerLost(t *testing.T) {
	t.Parallel()
	for _, waiting := range []bool{false, true} {
		t.Run(fmt.Sprint(waiting), func(t *testing.T) {
			t.Parallel()
			b, holder, r := heldRun(t, "")
			if waiting {
				r.query("COMMIT")
				b.wantWaiting(r.pid)
			}
			must(t, holder, fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d)", r.pid))
			_, e, err := r.until(isReady)
			if err == nil || e == nil || e.Code != "57P01" {
				t.Errorf("%+v, %v", e, err)
			}
			b.wantGone(r.pid)
			must(t, holder, "ROLLBACK")
			if n := must(t, b.direct(), "SELECT count(*) FROM t"); n != "1" {
				t.Errorf("%s rows", n)
			}
		})
	}
}

// TestCoalesceIdleTimeout: the server's patience with a client that is silent in a
// transaction is not used up by INSERTs that it doesn't see.
func TestCoalesceIdleTimeout(t *testing.T) {
	t.Parallel()
	b, c := coalescing(t)
	must(t, c, "SET idle_in_transaction_session_timeout = '3s'; BEGIN")
	n := 0
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); time.Since(start) < 4*time.Second; n++ {
		exec(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d, 0)", n+1), "")
		<-tick.C
	}
	exec(t, c, "COMMIT", "")
	if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != fmt.Sprint(n+1) {
		t.Errorf("%s rows, want %d", got, n+1)
	}
}

// TestCoalesceGoesOnAhead: while the server loads what was sent of a long run, here
// waiting for another session's key, the next INSERTs are answered; and what became of
// the rows is the answer to the message that has to wait.
func TestCoalesceGoesOnAhead(t *testing.T) {
	t.Parallel()
	note := strings.Repeat("note ", 2000)
	for _, extended := range []bool{false, true} {
		for _, c := range []struct{ holder, end, code, rows string }{
			{"ROLLBACK", "COMMIT", "", "81"}, {"COMMIT", "COMMIT", "23505", "2"}, {"COMMIT", "SELECT 1", "23505", "2"}, {"COMMIT", "ROLLBACK", "", "2"},
			{"", "COMMIT", "57014", "1"},
		} {
			t.Run(fmt.Sprintf("%s %s %v", c.holder, c.end, extended), func(t *testing.T) {
				t.Parallel()
				b, client := coalescing(t)
				must(t, client, "ALTER TABLE t ALTER v TYPE text")
				holder := b.direct()
				must(t, holder, "BEGIN; INSERT INTO t VALUES (3, 0)")
				if _, err := client.Prepare(t.Context(), "i", "INSERT INTO t VALUES ($1, 0, $2)", nil); err != nil {
					t.Fatal(err)
				}
				must(t, client, "BEGIN")
				for id := 1; id <= 80; id++ {
					e := (*pgconn.PgError)(nil)
					if extended {
						e = insertPrepared(t, client, fmt.Sprint(id), note)
					} else {
						e = ask(t, client, fmt.Sprintf("INSERT INTO t VALUES (%d, 0, '%s')", id, note))
					}
					if e != nil {
						t.Fatalf("row %d: %+v", id, e)
					}
				}
				b.waits(client.PID())
				r := raw(t, client)
				if c.holder == "" {
					cancelRaw(t, r)
				} else {
					must(t, holder, c.holder)
				}
				r.query(c.end)
				_, e := r.answers()
				if code := codeOf(e); code != c.code {
					t.Errorf("%+v, want %q", e, c.code)
				}
				if c.end == "SELECT 1" {
					r.query("ROLLBACK")
					r.answers()
				}
				if n := must(t, b.direct(), "SELECT count(*) FROM t"); n != c.rows {
					t.Errorf("%s rows, want %s", n, c.rows)
				}
			})
		}
	}
}

func codeOf(e *pgconn.PgError) string {
	if e == nil {
		return ""
	}
	return e.Code
}

// waits returns when a session waits for a lock.
func (b *bed) waits(pid uint32) {
	b.t.Helper()
	d := b.direct()
	tick, late := time.NewTicker(10*time.Millisecond), time.After(copyLimit)
	defer tick.Stop()
	for must(b.t, d, fmt.Sprintf("SELECT count(*) FROM pg_catalog.pg_locks WHERE NOT granted AND pid = %d", pid)) == "0" {
		select {
		case <-tick.C:
		case <-late:
			b.t.Fatal("it never waits")
		}
	}
}
