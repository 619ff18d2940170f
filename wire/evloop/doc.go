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
// The life of a Conn: Adopt takes a TCP or unix connection out of Go's poller.
// From then on it is a net.Conn as before: Read and Write block the goroutine,
// deadlines and Close end that. Attach gives its readiness to a Handler, which
// reads and writes by TryRead and TryWrite and must never block; Detach takes
// it back. Whoever changes hands sees to it that only one of both sides reads,
// and only one writes, at a time.
package evloop

import "errors"

// ErrUnsupported says that there are no loops on this system, or none for this
// kind of connection.
var ErrUnsupported = errors.New("event loop: not supported")

// ErrWouldBlock says that nothing can be read or written just now.
var ErrWouldBlock = errors.New("event loop: would block")

// Handler is told what a connection is ready for. It runs on the loop's thread:
// while it runs no other connection of the loop is served.
type Handler interface {
	// Ready is called for as long as what the connection is watched for is
	// there; readable also when the connection has ended or failed.
	Ready(c *Conn, readable, writable bool)
}
