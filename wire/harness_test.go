package wire

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/wire/evloop"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
	"github.com/pgbulkproxy/pgbulkproxy/wire/handshake"
)

// testLoop relays the sessions of tests; nil where there are no loops.
var testLoop *evloop.Loop

func TestMain(m *testing.M) {
	loop, err := evloop.New()
	if err != nil && !errors.Is(err, evloop.ErrUnsupported) {
		panic(err)
	}
	testLoop = loop
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/pgbulkproxy/pgbulkproxy/wire/evloop.(*Loop).run"))
}

// socketPair returns the two ends of a connection that can be closed one way,
// as net.Pipe's can't.
func socketPair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		c, err := net.FileConn(f)
		_ = f.Close() // c has its own
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// newTestServer is a Server that accepts nobody; sessions are given to it.
func newTestServer(loader *bulk.Loader) *Server {
	shaker, err := handshake.New(handshake.Config{Upstream: "127.0.0.1:1"})
	if err != nil {
		panic(err)
	}
	srv := &Server{
		cfg: Config{}.WithDefaults(), log: slog.New(slog.DiscardHandler), loader: loader, shaker: shaker,
		sessions: map[uint64]*session{}, byKey: map[string]*session{}, waiting: map[net.Conn]struct{}{},
	}
	srv.metrics = newMetrics(nil, srv.count)
	return srv
}

// talk runs a session: the client and the server send their bytes in the given
// pieces, each at its own pace, and then say that no more will come. It returns
// what either of them got. The server ends when the client has.
type talk struct {
	toServer, toClient []byte // to send
	pieces             func(side int) int
	// patience, if not zero, makes a server that answers: it says its next
	// ReadyForQuery or CopyInResponse, and what stands before it, when it was
	// asked. But it waits no longer than this, and then ends.
	patience time.Duration
	loader   *bulk.Loader
	by       way
	// narrow: the proxy's sockets take little at a time.
	narrow bool
}

// way is how a session is relayed.
type way int

const (
	byGoroutines way = iota
	byLoop
	byLoopTLS // with TLS on both sides
)

// everyWay runs a test on the event loop, and without.
func everyWay(f func(by way)) {
	f(byGoroutines)
	if testLoop != nil {
		f(byLoop)
		f(byLoopTLS)
	}
}

func (k talk) run(t *testing.T) (atServer, atClient []byte) {
	t.Helper()
	client, proxyClient := k.pair(t)
	server, proxyServer := k.pair(t)
	srv := newTestServer(k.loader)
	s := newSession(srv, 1, &handshake.Established{Client: proxyClient, Server: proxyServer, TxStatus: 'I', ServerAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}})
	s.ctx, s.cancel = context.WithCancelCause(t.Context())
	if k.by != byGoroutines {
		if s.adopt(testLoop); s.on == nil {
			t.Fatal("no event loop")
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, c := range []net.Conn{client, server} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	heard := make(chan struct{})
	wg.Go(func() { k.send(client, k.toServer, 0); _ = client.CloseWrite() })
	wg.Go(func() { atClient, _ = io.ReadAll(client) })
	if k.patience > 0 {
		wg.Go(func() { atServer = k.answer(server) })
	} else {
		wg.Go(func() { defer close(heard); atServer, _ = io.ReadAll(server) })
		wg.Go(func() { k.send(server, k.toClient, 1); <-heard; _ = server.CloseWrite() })
	}
	done := make(chan struct{})
	go func() { defer close(done); s.run() }()
	select {
	case <-done:
	case <-time.After(time.Until(deadline)):
		t.Error("the session hangs")
		_ = server.Close()
		_ = client.Close()
		<-done
	}
	wg.Wait()
	_ = client.Close()
	_ = server.Close()
	return atServer, atClient
}

// maxPieces keeps an input that a fuzzer has made long from taking as long.
const maxPieces = 10_000

// send ignores errors: the other side may have ended.
func (k talk) send(c net.Conn, p []byte, side int) {
	least := 1 + len(p)/maxPieces
	for len(p) > 0 {
		n := min(len(p), max(k.pieces(side), least))
		if _, err := c.Write(p[:n]); err != nil {
			return
		}
		p = p[n:]
	}
}

// answer is the server that answers. It returns what it was asked.
func (k talk) answer(c endable) (asked []byte) {
	rest, walked := k.toClient, 0
	buf := make([]byte, 4096)
	for len(rest) > 0 {
		if err := c.SetReadDeadline(time.Now().Add(k.patience)); err != nil {
			break
		}
		n, err := c.Read(buf)
		asked = append(asked, buf[:n]...)
		if err != nil {
			break
		}
		for len(asked)-walked >= frame.HeaderLen && len(rest) > 0 {
			typ, n, err := frame.Head(asked[walked:])
			if err != nil || len(asked)-walked < frame.HeaderLen+n {
				break
			}
			walked += frame.HeaderLen + n
			if strings.IndexByte("QScfF", typ) >= 0 {
				n := nextAnswer(rest)
				k.send(c, rest[:n], 1)
				rest = rest[n:]
			}
		}
	}
	k.send(c, rest, 1)
	if k.patience > time.Second {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		more, _ := io.ReadAll(c)
		asked = append(asked, more...)
	}
	_ = c.CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	more, _ := io.ReadAll(c)
	return append(asked, more...)
}

// nextAnswer returns the length of the frames up to the next one after which a
// server waits.
func nextAnswer(p []byte) int {
	for i := 0; len(p)-i >= frame.HeaderLen; {
		typ, n, err := frame.Head(p[i:])
		i += frame.HeaderLen + n
		if err != nil || i > len(p) {
			break
		}
		if typ == 'Z' || typ == 'G' {
			return i
		}
	}
	return len(p)
}

// wholeOnly says whether got is all of sent, but for a last frame that is cut.
func wholeOnly(sent, got []byte) bool {
	if len(got) > len(sent) || string(sent[:len(got)]) != string(got) {
		return false
	}
	rest := sent[len(got):]
	if len(rest) < frame.HeaderLen {
		return true
	}
	_, n, err := frame.Head(rest)
	return err == nil && len(rest) < frame.HeaderLen+n
}

// frames makes frames of words: a type byte and the body, where a $ stands for
// a zero byte.
func frames(words ...string) []byte {
	var out []byte
	for _, w := range words {
		body := []byte(w[1:])
		for i, c := range body {
			if c == '$' {
				body[i] = 0
			}
		}
		out = frame.Append(out, w[0], body)
	}
	return out
}
