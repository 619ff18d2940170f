package proxy

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// rawConn is a session whose messages the test writes itself.
type rawConn struct {
	net.Conn
	t   testing.TB
	fe  *pgproto3.Frontend
	pid uint32
	key []byte
}

// raw takes over a new session's connection.
func raw(t testing.TB, c *pgconn.PgConn) *rawConn {
	t.Helper()
	h, err := c.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	r := &rawConn{Conn: h.Conn, t: t, fe: h.Frontend, pid: h.PID, key: h.SecretKey}
	t.Cleanup(func() { _ = r.Close() }) // most are closed by then
	return r
}

// send writes bytes; the other side may have closed.
func (r *rawConn) send(p []byte) {
	_ = r.SetWriteDeadline(time.Now().Add(patience))
	_, _ = r.Write(p)
}

func (r *rawConn) query(sql string) { r.send(frame.AppendString(nil, 'Q', sql)) }

func (r *rawConn) data(p []byte) { r.send(copyData(p)) }

// copyData makes CopyData messages of 64 kB.
func copyData(p []byte) (out []byte) {
	for len(p) > 0 {
		n := min(len(p), 64<<10)
		out = frame.Append(out, 'd', p[:n])
		p = p[n:]
	}
	return out
}

// until reads messages up to one that fits, an error or the connection's end,
// and returns that. FATAL errors are skipped to the end, and returned there.
func (r *rawConn) until(fits func(pgproto3.BackendMessage) bool) (pgproto3.BackendMessage, *pgconn.PgError, error) {
	r.t.Helper()
	_ = r.SetReadDeadline(time.Now().Add(patience))
	var last *pgconn.PgError
	for {
		m, err := r.fe.Receive()
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				r.t.Fatalf("nothing comes: %v", err)
			}
			return nil, last, err
		}
		if e, ok := m.(*pgproto3.ErrorResponse); ok {
			last = pgconn.ErrorResponseToPgError(e)
		}
		if fits(m) {
			return m, last, nil
		}
	}
}

func isReady(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.ReadyForQuery); return ok }
func isCopyIn(m pgproto3.BackendMessage) bool {
	_, ok := m.(*pgproto3.CopyInResponse)
	return ok
}

// startCopy sends a COPY and waits until data is asked for.
func (r *rawConn) startCopy(sql string) {
	r.t.Helper()
	r.query(sql)
	if _, e, err := r.until(isCopyIn); e != nil || err != nil {
		r.t.Fatalf("%s: %v %v", sql, e, err)
	}
}

// reset closes the connection so that the peer gets a reset.
func (r *rawConn) reset() {
	if tcp, ok := r.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = r.Close()
}
