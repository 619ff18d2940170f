package evloop_test

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"

	"github.com/pgbulkproxy/pgbulkproxy/wire/evloop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLoop(t *testing.T) *evloop.Loop {
	t.Helper()
	l, err := evloop.New()
	if errors.Is(err, evloop.ErrUnsupported) {
		t.Skip("there are no event loops on this system")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// pair returns both ends of a connection.
func pair(t *testing.T, network, addr string) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if a, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// TestConn holds a Conn to what every net.Conn does.
func TestConn(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			l := newLoop(t)
			nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
				addr := "127.0.0.1:0"
				if network == "unix" {
					addr = filepath.Join(t.TempDir(), "s")
				}
				a, b = pair(t, network, addr)
				la, err := l.Adopt(a)
				if err != nil {
					return nil, nil, nil, err
				}
				lb, err := l.Adopt(b)
				if err != nil {
					return nil, nil, nil, err
				}
				return la, lb, func() { _ = la.Close(); _ = lb.Close() }, nil
			})
		})
	}
}

func TestAdoptRefuses(t *testing.T) {
	l := newLoop(t)
	a, b := net.Pipe()
	if _, err := l.Adopt(a); !errors.Is(err, evloop.ErrUnsupported) {
		t.Errorf("a pipe: %v", err)
	}
	_, _ = a.Close(), b.Close()
}

// echo writes back what it reads, on the loop.
type echo struct {
	c     *evloop.Conn
	buf   []byte
	ended chan error
	once  sync.Once
}

func (e *echo) Ready(_ *evloop.Conn, readable, writable bool) {
	n, err := 0, error(nil)
	if readable && len(e.buf) == 0 {
		e.buf = make([]byte, 1000)
		n, err = e.c.TryRead(e.buf)
		e.buf = e.buf[:n]
	}
	if err == nil {
		n, err = e.c.TryWrite(e.buf)
		e.buf = e.buf[n:]
	}
	if err == nil || errors.Is(err, evloop.ErrWouldBlock) {
		err = e.c.Watch(len(e.buf) == 0, len(e.buf) > 0)
	}
	if err != nil {
		e.once.Do(func() { e.ended <- err })
		e.c.Detach()
	}
	_ = writable
}

// TestHandler: what a handler is given comes back whole, also when the other
// side reads late; and a goroutine can go on afterwards.
func TestHandler(t *testing.T) {
	l := newLoop(t)
	a, b := pair(t, "tcp", "127.0.0.1:0")
	c, err := l.Adopt(b)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = a.Close(), c.Close() }()
	if err := a.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	e := &echo{c: c, ended: make(chan error, 1)}
	if err := c.Attach(e); err != nil {
		t.Fatal(err)
	}
	const much = 16 << 20
	sent := make(chan error, 1)
	go func() {
		_, err := a.Write(make([]byte, much))
		sent <- errors.Join(err, a.(*net.TCPConn).CloseWrite())
	}()
	n, err := io.CopyN(io.Discard, a, much)
	if err != nil || n != much {
		t.Fatal(n, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := <-e.ended; !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read after the end: %v", err)
	}
	if _, err := c.Write([]byte("bye")); err != nil {
		t.Error(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(a); string(rest) != "bye" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}
