package handshake

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// raw speaks the protocol byte by byte, as a client or as a server.
type raw struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func newRaw(t testing.TB, c net.Conn) *raw {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &raw{t: t, conn: c, r: bufio.NewReader(c)}
}

// dialRaw connects until the test ends.
func dialRaw(t testing.TB, addr string) *raw {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return newRaw(t, c)
}

func (r *raw) send(p []byte) {
	r.t.Helper()
	if _, err := r.conn.Write(p); err != nil {
		r.t.Errorf("send: %v", err)
	}
}

func (r *raw) byte() byte {
	r.t.Helper()
	b, err := r.r.ReadByte()
	if err != nil {
		r.t.Fatalf("read a byte: %v", err)
	}
	return b
}

// message reads one message of any length.
func (r *raw) message() []byte {
	r.t.Helper()
	m, err := readFrame(r.r, nil, func(byte) uint32 { return 1 << 24 })
	if err != nil {
		r.t.Fatalf("read a message: %v", err)
	}
	return m
}

func (r *raw) expect(typ byte) []byte {
	r.t.Helper()
	m := r.message()
	if m[0] != typ {
		r.t.Fatalf("got %q, want type %q", m, typ)
	}
	return m[headerLen:]
}

func (r *raw) expectError(code, message string) *pgerr.Error {
	r.t.Helper()
	e := pgerr.Parse(r.expect('E'))
	if e.Code() != code || message != "" && e.Get('M') != message || !e.IsFatal() {
		r.t.Fatalf("got %v, want %s %s", e.Fields, code, message)
	}
	return e
}

// expectEOF demands a closed connection without another byte. A reset is one.
func (r *raw) expectEOF() {
	r.t.Helper()
	b, err := r.r.ReadByte()
	if err == nil {
		r.t.Fatalf("got byte %q, want the end", b)
	}
	if isTimeout(err) {
		r.t.Fatal("the connection stays open")
	}
}

// packet reads what has no type byte: startup packets and their like.
func (r *raw) packet() []byte {
	r.t.Helper()
	head := make([]byte, 4)
	if _, err := io.ReadFull(r.r, head); err != nil {
		if !errors.Is(err, io.EOF) {
			r.t.Errorf("read a packet: %v", err)
		}
		return nil
	}
	p := append(head, make([]byte, binary.BigEndian.Uint32(head)-4)...)
	if _, err := io.ReadFull(r.r, p[4:]); err != nil {
		r.t.Errorf("read a packet: %v", err)
	}
	return p
}

func code(words ...uint32) []byte {
	var p []byte
	for _, w := range words {
		p = binary.BigEndian.AppendUint32(p, w)
	}
	return p
}

func sslRequest() []byte { return code(8, codeSSL) }

func gssRequest() []byte { return code(8, codeGSSENC) }

func startupPacket(version uint32, params ...string) []byte {
	p := code(0, version)
	for _, s := range params {
		p = append(append(p, s...), 0)
	}
	p = append(p, 0)
	binary.BigEndian.PutUint32(p, uint32(len(p)))
	return p
}

func msg(typ byte, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	return appendFrame(nil, typ, body)
}

func auth(code uint32, rest ...byte) []byte {
	return msg('R', binary.BigEndian.AppendUint32(nil, code), rest)
}

func cat(parts ...[]byte) []byte {
	var p []byte
	for _, part := range parts {
		p = append(p, part...)
	}
	return p
}

var (
	authenticated = auth(authOK)
	ready         = msg('Z', []byte("I"))
)
