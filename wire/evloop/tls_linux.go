package evloop

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

const (
	// maxTaken bounds what one connection takes from its socket at a time: others
	// wait meanwhile.
	maxTaken = 64 << 10
	// maxKept bounds what is kept of writes. One TryWrite is the most that a handler
	// adds; beyond that come only answers to a peer who asks for new keys all the
	// time, and reads none.
	maxKept = 4 << 20
)

var errFlooded = errors.New("event loop: the other side does not read")

// Under returns c, or what stands for it, to do a TLS handshake over, so that Adopt
// can take the tls.Conn. Where c itself stands for another connection it says so by a
// method NetConn, that returns nil as long as it is needed.
func Under(c net.Conn) net.Conn { return &under{Conn: c} }

// under is the connection below TLS.
type under struct {
	net.Conn // at first what Under was given
	// on is it when it was adopted, nil before.
	on *conn
	// aloft: a handler has the Stream, so nothing may block.
	aloft atomic.Bool

	// For the one who reads. dry: the last read has emptied the socket.
	dry   bool
	taken int

	mu   sync.Mutex // one writer at a time
	kept []byte     // that TLS thinks is sent
}

// Read implements net.Conn.
func (u *under) Read(p []byte) (int, error) {
	if !u.aloft.Load() {
		return u.Conn.Read(p)
	}
	if u.dry || u.taken >= maxTaken {
		return 0, ErrWouldBlock
	}
	n, err := u.on.TryRead(p)
	u.dry = n < len(p)
	u.taken += n
	return n, err
}

// Write implements net.Conn. Aloft it never answers ErrWouldBlock: crypto/tls can't
// go on after a failed write.
func (u *under) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.aloft.Load() {
		if err := u.flush(); err != nil {
			return 0, err
		}
		return u.Conn.Write(p)
	}
	if len(u.kept) > 0 {
		n, err := u.on.TryWrite(u.kept)
		u.kept = u.kept[n:]
		if err != nil && !errors.Is(err, ErrWouldBlock) {
			return 0, err
		}
	}
	n, err := 0, error(nil)
	if len(u.kept) == 0 {
		n, err = u.on.TryWrite(p)
	}
	switch {
	case err != nil && !errors.Is(err, ErrWouldBlock):
		return n, err
	case len(u.kept)+len(p)-n > maxKept:
		return n, errFlooded
	}
	u.kept = append(u.kept, p[n:]...)
	return len(p), nil
}

// flush writes what is kept. It holds u.mu.
func (u *under) flush() error {
	if len(u.kept) == 0 {
		return nil
	}
	n, err := u.Conn.Write(u.kept)
	if u.kept = u.kept[n:]; len(u.kept) == 0 {
		u.kept = nil // it was the exception
	}
	return err
}

func (u *under) keeps() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.kept) > 0
}

// secure is TLS over a conn.
type secure struct {
	*tls.Conn
	under *under
	// more: TLS may hold bytes that were not asked for. It is the reader's.
	more bool
}

func (l *Loop) adoptTLS(t *tls.Conn) (Stream, error) {
	u, ok := t.NetConn().(*under)
	if !ok || u.on != nil {
		return nil, ErrUnsupported
	}
	below := u.Conn
	if w, ok := below.(interface{ NetConn() net.Conn }); ok {
		below = w.NetConn()
	}
	c, err := l.adopt(below)
	if err != nil {
		return nil, err
	}
	u.Conn, u.on = c, c
	return &secure{Conn: t, under: u}, nil
}

// Attach implements Stream.
func (s *secure) Attach(h Handler) error {
	s.more, s.under.dry, s.under.taken = true, false, 0
	s.under.aloft.Store(true)
	err := s.under.on.attach(h, s)
	if err != nil {
		s.under.aloft.Store(false)
	}
	return err
}

// Detach implements Stream.
func (s *secure) Detach() {
	s.under.on.Detach()
	s.under.aloft.Store(false)
}

// Watch implements Stream.
func (s *secure) Watch(input, output bool) error { return s.under.on.Watch(input, output) }

// More implements Stream.
func (s *secure) More() bool { return s.more }

// TryRead implements Stream. It reads the socket at most once where that empties it,
// and takes all records that came.
func (s *secure) TryRead(p []byte) (n int, err error) {
	if !s.more {
		s.under.dry, s.under.taken = false, 0
	}
	for n < len(p) && err == nil {
		var k int
		k, err = s.Conn.Read(p[n:])
		n += k
	}
	// After any other error the next read is to meet it.
	s.more = err == nil || n > 0 && !errors.Is(err, ErrWouldBlock)
	if n > 0 {
		err = nil
	}
	return n, err
}

// TryWrite implements Stream: what was not sent is kept, and p done with.
func (s *secure) TryWrite(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if err == nil && s.under.keeps() {
		err = ErrWouldBlock
	}
	return n, err
}

// Flush implements Stream.
func (s *secure) Flush() error {
	s.under.mu.Lock()
	defer s.under.mu.Unlock()
	return s.under.flush()
}
