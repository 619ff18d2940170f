package handshake

import (
	"net"
	"sync"
	"time"
)

// past is a deadline that wakes every waiting read and write.
var past = time.Unix(1, 0)

// guard owns the deadlines of both legs. All changes go through it, so that an
// expiry (the context ended, the client left) cannot be undone by a later
// change of the ordinary deadline.
type guard struct {
	mu       sync.Mutex
	conns    []net.Conn
	deadline time.Time
	expired  bool
	released bool
}

func newGuard(timeout time.Duration) *guard {
	return &guard{deadline: time.Now().Add(timeout)}
}

// add takes charge of a connection: the raw one, below TLS.
func (g *guard) add(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, c)
	g.apply(c)
}

// apply sets what holds now. An error means a closed connection: its reads and
// writes tell.
func (g *guard) apply(c net.Conn) {
	if g.released {
		return
	}
	if g.expired {
		_ = c.SetDeadline(past)
		return
	}
	_ = c.SetDeadline(g.deadline)
}

// expire ends every wait on both legs, now and later.
func (g *guard) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expired = true
	for _, c := range g.conns {
		g.apply(c)
	}
}

// lift removes the ordinary deadline.
func (g *guard) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = time.Time{}
	for _, c := range g.conns {
		g.apply(c)
	}
}

// release ends the guard's charge: the deadlines stay as they are.
func (g *guard) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.released = true
}

// until returns the ordinary deadline.
func (g *guard) until() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.deadline
}

// wake ends the reads that wait on one connection, until rest.
func (g *guard) wake(c net.Conn) { _ = c.SetReadDeadline(past) }

// rest undoes wake.
func (g *guard) rest(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.apply(c)
}
