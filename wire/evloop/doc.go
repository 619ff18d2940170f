// Package evloop waits for many connections on one thread of its own, beside
// Go's poller, and runs a handler on that thread when one of them is ready.
//
// It exists for the relay: a round trip through two goroutines on Go's poller
// costs two reads that find nothing, further epoll calls and wake-ups of
// threads, twice the processor time of the work itself. On a loop a message is
// one wait, one read and one write.
//
// It owns: a set of connections, and who is told that one of them is ready. It
// knows nothing of what they carry. Where the system has no epoll, New says
// ErrUnsupported, and connections stay with Go's poller.
//
// The life of a Stream: Adopt takes a TCP or unix connection out of Go's poller.
// From then on it is a net.Conn as before: Read and Write block the goroutine,
// deadlines and Close end that. Attach gives its readiness to a Handler, which
// reads and writes by TryRead and TryWrite and must never block; Detach takes
// it back. Whoever changes hands sees to it that only one of both sides reads,
// and only one writes, at a time.
//
// TLS has its handshake before, over a connection that Under has prepared.
// crypto/tls does the rest: on the loop its reads end with ErrWouldBlock, after
// which it can go on, and of its writes, after which it could not, what the
// socket does not take is kept for Flush.
package evloop

import (
	"errors"
	"net"
)

// ErrUnsupported says that there are no loops on this system, or none for this
// kind of connection.
var ErrUnsupported = errors.New("event loop: not supported")

// ErrWouldBlock says that nothing can be read or written just now.
var ErrWouldBlock error = wouldBlock{}

// wouldBlock is a temporary net.Error: after one of those crypto/tls reads on.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "event loop: would block" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// Handler is told what a connection is ready for. It runs on the loop's thread:
// while it runs no other connection of the loop is served.
type Handler interface {
	// Ready is called for as long as what the connection is watched for is
	// there; readable also when the connection has ended or failed.
	Ready(c Stream, readable, writable bool)
}

// Stream is what Adopt returns: a connection on a loop, or TLS over one. As a
// net.Conn it is safe for concurrent use, with one reader and one writer at a
// time.
type Stream interface {
	net.Conn
	// Attach gives what is ready to h, which watches for input at first. A
	// goroutine that blocks in Read or Write must not be there. Where More then
	// says so, something may be there of which h will not be told.
	Attach(h Handler) error
	// Detach takes the readiness back from the handler. A call of it may be under
	// way still.
	Detach()
	// Watch says what the handler waits for from here on. The end of the
	// connection it is told in any case.
	Watch(input, output bool) error
	// TryRead reads what is there, or answers ErrWouldBlock. The end of input is
	// io.EOF. An error other than ErrWouldBlock comes again at the next read.
	TryRead(p []byte) (int, error)
	// More says that TryRead may have more, which was taken from the socket
	// already: the handler is not told of that.
	More() bool
	// TryWrite writes as much of p as goes at once. It answers ErrWouldBlock where
	// that is not all of it, or where bytes that it took are not sent: then the
	// handler detaches, and somebody calls Flush.
	TryWrite(p []byte) (int, error)
	// Flush writes what TryWrite took, and waits until it can. Every Write does,
	// too.
	Flush() error
	// CloseWrite ends the output; input goes on.
	CloseWrite() error
}
