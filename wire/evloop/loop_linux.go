package evloop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// timeSlice is less than the 10 ms after which the runtime's monitor takes
// something to be done about a goroutine.
const timeSlice = 5 * time.Millisecond

// Loop is one thread and the connections that it waits for.
type Loop struct {
	epfd int
	wake [2]int // a pipe: its end ends the loop
	done chan struct{}

	mu     sync.Mutex
	conns  map[int32]*conn
	lastID int32
}

// maxEvents is how many events one wait brings at most.
const maxEvents = 128

// New starts a loop. Close ends it.
func New() (*Loop, error) {
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", os.NewSyscallError("epoll_create1", err))
	}
	l := &Loop{epfd: epfd, done: make(chan struct{}), conns: make(map[int32]*conn)}
	err = syscall.Pipe2(l.wake[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK)
	if err == nil {
		// Its data is 0, which is no connection's.
		err = syscall.EpollCtl(epfd, syscall.EPOLL_CTL_ADD, l.wake[0], &syscall.EpollEvent{Events: syscall.EPOLLIN})
	}
	if err != nil {
		l.closeAll()
		return nil, fmt.Errorf("event loop: %w", err)
	}
	go l.run()
	return l, nil
}

// Close ends the loop and waits for its thread. Its connections stay open, but
// nothing waits for them any more: close them before.
func (l *Loop) Close() {
	_ = syscall.Close(l.wake[1])
	l.wake[1] = -1
	<-l.done
	l.closeAll()
}

func (l *Loop) closeAll() {
	for _, fd := range []int{l.wake[0], l.wake[1], l.epfd} {
		if fd > 0 {
			_ = syscall.Close(fd)
		}
	}
}

// run stays on its thread while it waits, so that it wakes up where the event is.
// But it is not bound to it: then giving way, which costs nothing here, would mean
// two changes of threads. Where it does not give way, the runtime's monitor takes
// its processor away in each wait after 10 ms, and wakes up a thousand times a second
// to see whether that is to be done again: as much time as a tenth of the relay's.
func (l *Loop) run() {
	defer close(l.done)
	events := make([]syscall.EpollEvent, maxEvents)
	yielded := time.Now()
	for {
		if now := time.Now(); now.Sub(yielded) > timeSlice {
			runtime.Gosched()
			yielded = now
		}
		// Not syscall.EpollWait: it goes by epoll_wait, which not all have.
		n, _, errno := syscall.Syscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epfd),
			uintptr(unsafe.Pointer(&events[0])), maxEvents, ^uintptr(0), 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return // the descriptor is ours and valid: can't be
		}
		for _, ev := range events[:n] {
			if ev.Fd == 0 {
				return
			}
			if c := l.conn(ev.Fd); c != nil {
				c.event(ev.Events)
			}
		}
	}
}

func (l *Loop) conn(id int32) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[id]
}

// Adopt takes a connection over: c is closed, and the Stream that is returned
// goes on with it. c must have no deadline, and no reader or writer. Where it is
// neither TCP nor a unix socket, nor TLS over what Under made of one, the answer
// is ErrUnsupported, and c is as it was.
func (l *Loop) Adopt(c net.Conn) (Stream, error) {
	if t, ok := c.(*tls.Conn); ok {
		return l.adoptTLS(t)
	}
	n, err := l.adopt(c)
	if err != nil {
		return nil, err // not a nil *conn
	}
	return n, nil
}

func (l *Loop) adopt(c net.Conn) (*conn, error) {
	var raw syscall.RawConn
	var err error
	switch c := c.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	default:
		return nil, ErrUnsupported
	}
	if err != nil {
		return nil, fmt.Errorf("adopt connection: %w", err)
	}
	fd := -1
	cerr := raw.Control(func(old uintptr) { fd, err = dup(old) })
	if err := errors.Join(cerr, err); err != nil {
		return nil, fmt.Errorf("adopt connection: %w", err)
	}
	n := &conn{loop: l, fd: fd, local: c.LocalAddr(), remote: c.RemoteAddr()}
	n.read.ready, n.write.ready = make(chan struct{}, 1), make(chan struct{}, 1)
	if err := l.add(n); err != nil {
		_ = syscall.Close(fd)
		return nil, fmt.Errorf("adopt connection: %w", err)
	}
	_ = c.Close() // out of Go's poller; the socket lives on in fd
	return n, nil
}

func dup(fd uintptr) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	return int(n), nil
}

// add makes the loop know a connection, with nothing to wait for yet.
func (l *Loop) add(c *conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		l.lastID++
		if _, used := l.conns[l.lastID]; !used && l.lastID != 0 {
			break
		}
	}
	c.id, c.armed = l.lastID, syscall.EPOLLONESHOT
	ev := syscall.EpollEvent{Events: c.armed, Fd: c.id}
	if err := syscall.EpollCtl(l.epfd, syscall.EPOLL_CTL_ADD, c.fd, &ev); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	l.conns[c.id] = c
	return nil
}

func (l *Loop) remove(c *conn) {
	l.mu.Lock()
	delete(l.conns, c.id)
	l.mu.Unlock()
}
