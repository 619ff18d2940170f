package handshake

import (
	"bufio"
	"net"
)

// legBuffer is the read buffer of one leg. Startup packets and most messages of
// a handshake fit; what does not is read into its own space.
const legBuffer = 4 << 10

// leg is one side of a handshake.
type leg struct {
	raw  net.Conn // the socket
	conn net.Conn // the TLS connection over it, or the socket
	r    *bufio.Reader
	tls  bool
	cert []byte // the leaf that stands for the server on this leg, DER
}

func newLeg(raw net.Conn) *leg {
	return &leg{raw: raw, conn: raw, r: bufio.NewReaderSize(raw, legBuffer)}
}

// secured replaces the plain connection by the TLS connection over it.
func (l *leg) secured(conn net.Conn, cert []byte) {
	l.conn, l.tls, l.cert = conn, true, cert
	l.r.Reset(conn)
}

// buffered returns a copy of what was read and not consumed.
func (l *leg) buffered() []byte {
	p, err := l.r.Peek(l.r.Buffered())
	if err != nil || len(p) == 0 {
		return nil
	}
	return append([]byte(nil), p...)
}

func (l *leg) isUnix() bool { return isUnix(l.raw.LocalAddr()) }

func isUnix(a net.Addr) bool { return a != nil && a.Network() == "unix" }

// replayConn yields bytes that were read ahead before those of the connection.
type replayConn struct {
	net.Conn
	head []byte
}

// Read implements net.Conn.
func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// NetConn returns the connection, or nil as long as there is something before it.
func (c *replayConn) NetConn() net.Conn {
	if len(c.head) > 0 {
		return nil
	}
	return c.Conn
}
