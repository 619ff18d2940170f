//go:build !linux

package evloop

import "net"

// Loop exists on Linux only.
type Loop struct{}

// New answers ErrUnsupported.
func New() (*Loop, error) { return nil, ErrUnsupported }

// Close does nothing.
func (*Loop) Close() {}

// Adopt answers ErrUnsupported.
func (*Loop) Adopt(net.Conn) (Stream, error) { return nil, ErrUnsupported }

// Under returns c.
func Under(c net.Conn) net.Conn { return c }
