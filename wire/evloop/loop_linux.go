package evloop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

// Loop is one thread and the connections that it waits for.
type Loop struct {
	epfd int
	wake [2]int // a pipe: its end ends the loop
	done chan struct{}

	mu     sync.Mutex
	conns  map[int32]*Conn
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
	l := &Loop{epfd: epfd, done: make(chan struct{}), conns: make(map[int32]*Conn)}
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

// run has a thread of its own: a wait that blocks then wakes up where the event
// is, without another thread being told first.
func (l *Loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(l.done)
	events := make([]syscall.EpollEvent, maxEvents)
	for {
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

func (l *Loop) conn(id int32) *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[id]
}

// Adopt takes a connection over: c is closed, and the Conn that is returned
// goes on with it. c must have no deadline, and no reader or writer. Where it is
// neither TCP nor a unix socket the answer is ErrUnsupported, and c is as it was.
func (l *Loop) Adopt(c net.Conn) (*Conn, error) {
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
	n := &Conn{loop: l, fd: fd, local: c.LocalAddr(), remote: c.RemoteAddr()}
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
func (l *Loop) add(c *Conn) error {
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

func (l *Loop) remove(c *Conn) {
	l.mu.Lock()
	delete(l.conns, c.id)
	l.mu.Unlock()
}
