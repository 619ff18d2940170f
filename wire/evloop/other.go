//go:build !linux

package evloop

import "net"

// Loop exists on Linux only.
type Loop struct{}

// Conn exists on Linux only.
type Conn struct{ net.Conn }

// New answers ErrUnsupported.
func New() (*Loop, error) { return nil, ErrUnsupported }

// Close does nothing.
func (*Loop) Close() {}

// Adopt answers ErrUnsupported.
func (*Loop) Adopt(net.Conn) (*Conn, error) { return nil, ErrUnsupported }

// Attach answers ErrUnsupported.
func (*Conn) Attach(Handler) error { return ErrUnsupported }

// Detach does nothing.
func (*Conn) Detach() {}

// Watch answers ErrUnsupported.
func (*Conn) Watch(_, _ bool) error { return ErrUnsupported }

// TryRead answers ErrUnsupported.
func (*Conn) TryRead([]byte) (int, error) { return 0, ErrUnsupported }

// TryWrite answers ErrUnsupported.
func (*Conn) TryWrite([]byte) (int, error) { return 0, ErrUnsupported }

// CloseWrite answers ErrUnsupported.
func (*Conn) CloseWrite() error { return ErrUnsupported }
