package evloop

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// conn is a connection on a Loop, without TLS.
type conn struct {
	loop          *Loop
	id            int32
	local, remote net.Addr

	// io guards fd against Close: who reads or writes holds it for reading,
	// and no longer than one call that does not block.
	io sync.RWMutex
	fd int
	// readErr is sticky: the end of input, or its failure. It is the reader's.
	readErr error

	mu          sync.Mutex // guards what follows
	closed      bool
	handler     Handler
	as          Stream // what the handler knows it as
	armed       uint32 // what the kernel waits for
	read, write half
}

// half is one direction of a connection, for goroutines that block on it.
type half struct {
	ready   chan struct{}
	waiting bool
	waiters int // who blocks; more than one only where callers race
	expired bool
	timer   *time.Timer
	set     int // counts the deadlines, so that an old timer does nothing
}

// signal wakes who waits. It holds the conn's mu.
func (h *half) signal() {
	h.waiting = false
	select {
	case h.ready <- struct{}{}:
	default:
	}
}

const (
	inBits  = syscall.EPOLLIN | syscall.EPOLLHUP | syscall.EPOLLERR | syscall.EPOLLRDHUP
	outBits = syscall.EPOLLOUT | syscall.EPOLLHUP | syscall.EPOLLERR
)

// event is called by the loop.
func (c *conn) event(got uint32) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	if c.armed&syscall.EPOLLONESHOT != 0 {
		c.armed = 0
	}
	if h, as := c.handler, c.as; h != nil {
		c.mu.Unlock()
		h.Ready(as, got&inBits != 0, got&outBits != 0)
		return
	}
	if got&inBits != 0 && c.read.waiting {
		c.read.signal()
	}
	if got&outBits != 0 && c.write.waiting {
		c.write.signal()
	}
	_ = c.arm() // who still waits will find out by itself
	c.mu.Unlock()
}

// arm makes the kernel wait for what goroutines wait for. It holds c.mu.
func (c *conn) arm() error {
	want := uint32(0)
	if c.read.waiting {
		want |= syscall.EPOLLIN | syscall.EPOLLRDHUP
	}
	if c.write.waiting {
		want |= syscall.EPOLLOUT
	}
	if want == 0 && c.armed == 0 {
		return nil
	}
	return c.ctl(want | syscall.EPOLLONESHOT)
}

// ctl changes what the kernel waits for. It holds c.mu.
func (c *conn) ctl(want uint32) error {
	if want == c.armed {
		return nil
	}
	ev := syscall.EpollEvent{Events: want, Fd: c.id}
	if err := syscall.EpollCtl(c.loop.epfd, syscall.EPOLL_CTL_MOD, c.fd, &ev); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	c.armed = want
	return nil
}

// Attach implements Stream.
func (c *conn) Attach(h Handler) error { return c.attach(h, c) }

func (c *conn) attach(h Handler, as Stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.handler, c.as = h, as
	return c.ctl(syscall.EPOLLIN)
}

// Detach implements Stream.
func (c *conn) Detach() {
	c.mu.Lock()
	// What the kernel still reports turns itself off, in event.
	c.handler = nil
	c.mu.Unlock()
}

// Watch implements Stream.
func (c *conn) Watch(input, output bool) error {
	want := uint32(syscall.EPOLLONESHOT | syscall.EPOLLRDHUP)
	if input || output {
		want = 0
	}
	if input {
		want |= syscall.EPOLLIN
	}
	if output {
		want |= syscall.EPOLLOUT
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.handler == nil {
		return net.ErrClosed
	}
	return c.ctl(want)
}

// More implements Stream: nothing is ever kept.
func (c *conn) More() bool { return false }

// Flush implements Stream.
func (c *conn) Flush() error { return nil }

// TryRead implements Stream.
func (c *conn) TryRead(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.io.RLock()
	defer c.io.RUnlock()
	if c.fd < 0 {
		return 0, c.fail("read", net.ErrClosed)
	}
	if c.readErr != nil {
		return 0, c.readErr
	}
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return 0, ErrWouldBlock
		case errno != 0:
			c.readErr = c.fail("read", os.NewSyscallError("read", errno))
			return 0, c.readErr
		case n == 0:
			c.readErr = io.EOF
			return 0, io.EOF
		}
		return int(n), nil
	}
}

// TryWrite implements Stream.
func (c *conn) TryWrite(p []byte) (int, error) {
	c.io.RLock()
	defer c.io.RUnlock()
	done := 0
	for done < len(p) {
		if c.fd < 0 {
			return done, c.fail("write", net.ErrClosed)
		}
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&p[done])), uintptr(len(p)-done))
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return done, ErrWouldBlock
		case errno != 0:
			return done, c.fail("write", os.NewSyscallError("write", errno))
		}
		done += int(n)
	}
	return done, nil
}

func (c *conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	for {
		if err := c.check(&c.read); err != nil {
			return 0, c.fail("read", err)
		}
		n, err := c.TryRead(p)
		if !errors.Is(err, ErrWouldBlock) {
			return n, err
		}
		if err := c.wait(&c.read); err != nil {
			return 0, c.fail("read", err)
		}
	}
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	done := 0
	for {
		if err := c.check(&c.write); err != nil {
			return done, c.fail("write", err)
		}
		n, err := c.TryWrite(p[done:])
		done += n
		if !errors.Is(err, ErrWouldBlock) {
			return done, err
		}
		if err := c.wait(&c.write); err != nil {
			return done, c.fail("write", err)
		}
	}
}

func (c *conn) check(h *half) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case h.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// wait blocks until the kernel, a deadline or Close has something to say; the
// caller looks what it was.
func (c *conn) wait(h *half) error {
	c.mu.Lock()
	if c.closed || h.expired {
		c.mu.Unlock()
		return nil
	}
	if h.waiters == 0 {
		select {
		case <-h.ready: // of an earlier wait
		default:
		}
	}
	h.waiting = true
	err := c.arm()
	if err != nil {
		c.mu.Unlock()
		return err
	}
	h.waiters++
	c.mu.Unlock()
	<-h.ready
	c.mu.Lock()
	if h.waiters--; h.waiters > 0 && (c.closed || h.expired) {
		h.signal() // one signal wakes one; this holds for all
	}
	c.mu.Unlock()
	return nil
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.fail("close", net.ErrClosed)
	}
	c.closed, c.handler = true, nil
	for _, h := range []*half{&c.read, &c.write} {
		h.stop()
		h.signal()
	}
	c.mu.Unlock()
	c.loop.remove(c)
	c.io.Lock()
	defer c.io.Unlock()
	fd := c.fd
	c.fd = -1
	return os.NewSyscallError("close", syscall.Close(fd))
}

// CloseWrite implements Stream.
func (c *conn) CloseWrite() error {
	c.io.RLock()
	defer c.io.RUnlock()
	if c.fd < 0 {
		return c.fail("close", net.ErrClosed)
	}
	if err := syscall.Shutdown(c.fd, syscall.SHUT_WR); err != nil {
		return c.fail("close", os.NewSyscallError("shutdown", err))
	}
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.read, t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.write, t) }

func (c *conn) setDeadline(h *half, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fail("set deadline", net.ErrClosed)
	}
	h.stop()
	if t.IsZero() {
		return nil
	}
	left := time.Until(t)
	if left <= 0 {
		h.expired = true
		h.signal()
		return nil
	}
	set := h.set
	h.timer = time.AfterFunc(left, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if h.set == set {
			h.expired = true
			h.signal()
		}
	})
	return nil
}

// stop takes the deadline away. It holds the conn's mu.
func (h *half) stop() {
	h.set++
	h.expired = false
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
}
