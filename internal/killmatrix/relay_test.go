package killmatrix

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay passes the protocol on, frame by frame, and tells of the points that it
// sees.
type relay struct {
	addr string
	// front and back are for the frames of the client and of the server.
	front, back namer
	trigger     *trigger

	ln     net.Listener
	target atomic.Value // string
	wg     sync.WaitGroup
	mu     sync.Mutex
	closed bool
	links  map[*link]struct{}
}

// namer names the point that a frame is, if it is one.
type namer func(c *link, typ byte, body []byte) point

// link is one relayed connection.
type link struct {
	front, back *net.TCPConn
	pid         atomic.Uint32
	service     bool        // it is the proxy's own
	ledger      atomic.Bool // the server owes the answer to a ledger entry
	binary      atomic.Bool // a COPY binary of the proxy runs
}

// newRelay listens until the test ends. Each link has two goroutines, which end
// with it; the test waits for them.
func newRelay(t testing.TB, tr *trigger, target string, front, back namer) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: ln.Addr().String(), front: front, back: back, trigger: tr, ln: ln, links: make(map[*link]struct{})}
	r.target.Store(target)
	r.wg.Add(1)
	go r.accept()
	t.Cleanup(func() {
		_ = ln.Close()
		r.cut(true)
		r.wg.Wait()
	})
	return r
}

// cut ends all links; for good where the relay is to end.
func (r *relay) cut(forGood bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = r.closed || forGood
	for l := range r.links {
		l.close()
	}
}

func (l *link) close() {
	_ = l.front.Close()
	_ = l.back.Close()
}

func (r *relay) accept() {
	defer r.wg.Done()
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.wg.Add(1)
		go r.serve(c.(*net.TCPConn))
	}
}

func (r *relay) serve(front *net.TCPConn) {
	defer r.wg.Done()
	defer front.Close()
	conn, err := net.Dial("tcp", r.target.Load().(string))
	if err != nil {
		return // as a client of a dead proxy sees it
	}
	l := &link{front: front, back: conn.(*net.TCPConn)}
	defer l.back.Close()
	r.mu.Lock()
	closed := r.closed
	r.links[l] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.links, l)
		r.mu.Unlock()
	}()
	if closed || !l.startup() {
		return
	}
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		r.pump(l, l.back, l.front, r.back)
	}()
	r.pump(l, l.front, l.back, r.front)
}

// startup passes the first message on, which has no type.
func (l *link) startup() bool {
	var head [4]byte
	if _, err := io.ReadFull(l.front, head[:]); err != nil {
		return false
	}
	body := make([]byte, max(0, int(binary.BigEndian.Uint32(head[:]))-4))
	if _, err := io.ReadFull(l.front, body); err != nil {
		return false
	}
	l.service = bytes.Contains(body, []byte("application_name\x00pgbulkproxy\x00"))
	_, err := l.back.Write(append(head[:], body...))
	return err == nil
}

// pump passes frames on until the one side ends, which it tells the other.
func (r *relay) pump(l *link, from, to *net.TCPConn, see namer) {
	in, out := bufio.NewReaderSize(from, 64<<10), bufio.NewWriterSize(to, 64<<10)
	defer func() {
		_ = out.Flush()
		_ = to.CloseWrite()
	}()
	var head [5]byte
	var body []byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(head[1:])) - 4
		if n < 0 {
			return
		}
		if cap(body) < n {
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		if p := see(l, head[0], body); p != "" {
			_ = out.Flush() // what came before it has arrived
			if !r.trigger.pass(p, where{pid: l.pid.Load()}) {
				l.close()
				return
			}
		}
		_, _ = out.Write(head[:]) // an error stays, for Flush
		_, _ = out.Write(body)
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}
