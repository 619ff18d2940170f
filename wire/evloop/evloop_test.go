package evloop_test

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
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
func pair(t testing.TB, network, addr string) (a, b net.Conn) {
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
	c     evloop.Stream
	mu    sync.Mutex // for the loop, and the goroutine that writes what it can't
	buf   []byte
	off   bool
	lag   chan struct{} // where it is not nil: what the goroutine waits for
	ended chan error
	wg    sync.WaitGroup
	times int // the goroutine had to write
}

// start attaches it. Its end is told by ended.
func (e *echo) start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.attach()
}

func (e *echo) attach() {
	e.off = false
	err := e.c.Attach(e)
	if err == nil && e.c.More() {
		err = e.echo()
	}
	e.after(err)
}

func (e *echo) Ready(_ evloop.Stream, readable, _ bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if readable && !e.off {
		e.after(e.echo())
	}
}

func (e *echo) echo() error {
	for {
		e.buf = append(e.buf[:0], make([]byte, 1000)...)
		n, err := e.c.TryRead(e.buf)
		if errors.Is(err, evloop.ErrWouldBlock) {
			e.buf = nil
			return nil
		}
		if err != nil {
			return err
		}
		e.buf = e.buf[:n]
		if n, err = e.c.TryWrite(e.buf); err != nil {
			e.buf = e.buf[n:]
			return err
		}
		if !e.c.More() {
			return nil
		}
	}
}

// after has a goroutine write what the loop could not, or ends.
func (e *echo) after(err error) {
	if err == nil {
		return
	}
	e.off = true
	e.c.Detach()
	if !errors.Is(err, evloop.ErrWouldBlock) {
		e.ended <- err
		return
	}
	e.times++
	e.wg.Go(func() {
		if e.lag != nil {
			<-e.lag
		}
		err := e.c.Flush()
		e.mu.Lock()
		defer e.mu.Unlock()
		if err == nil {
			_, err = e.c.Write(e.buf)
		}
		if err != nil {
			e.ended <- err
			return
		}
		e.attach()
	})
}

// TestHandler: what a handler is given comes back whole, also when the other
// side reads late; and a goroutine can go on afterwards.
func TestHandler(t *testing.T) {
	for _, way := range ways(t) {
		t.Run(way.name, func(t *testing.T) {
			l := newLoop(t)
			a, c := way.pair(t, l)
			defer func() { _, _ = a.Close(), c.Close() }()
			if err := a.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
				t.Fatal(err)
			}
			lag := make(chan struct{})
			e := &echo{c: c, ended: make(chan error, 1), lag: lag}
			defer e.wg.Wait()
			e.start()
			const much = 16 << 20
			sent := make(chan error, 1)
			go func() {
				_, err := a.Write(make([]byte, much))
				sent <- errors.Join(err, a.(interface{ CloseWrite() error }).CloseWrite())
			}()
			// Nothing is read before the loop's side is full: it holds until then.
			waitFull(e)
			close(lag)
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
		})
	}
}

// waitFull returns when a write of the loop would have blocked.
func waitFull(e *echo) {
	for {
		e.mu.Lock()
		full := e.times > 0
		e.mu.Unlock()
		if full {
			return
		}
		runtime.Gosched()
	}
}
