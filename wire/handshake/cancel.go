package handshake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
)

// CancelRequest is a client's wish to cancel what another session does. The
// client waits for its connection to be closed as the sign that the request was
// dealt with; there is no other answer.
type CancelRequest struct {
	PID uint32
	Key []byte
}

// ForwardCancel sends a cancel request to the upstream over a connection of its
// own, and returns when the upstream has closed it: from then on the signal is
// on its way. server is Established.ServerAddr, so that the request reaches the
// server that has the session; nil means Config.Upstream. The TLS rules are
// those of sessions, with plain text as the second choice for prefer only.
func (h *Handshaker) ForwardCancel(ctx context.Context, server net.Addr, pid uint32, key []byte) error {
	packet, err := cancelPacket(pid, key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.CancelTimeout)
	defer cancel()
	g := newGuard(h.cfg.CancelTimeout)
	defer context.AfterFunc(ctx, g.expire)()

	var l *leg
	for _, wish := range h.attempts() {
		l, err = h.connect(ctx, g, server, wish)
		if err == nil || wish != tlsIfOffered || !errors.Is(err, errTLS) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("forward cancel: %w", err)
	}
	defer closeQuietly(l)
	if _, err := l.conn.Write(packet); err != nil {
		return fmt.Errorf("forward cancel: %w", err)
	}
	// A server that resets instead of closing has the request all the same, and
	// it has nothing to say, so one read is enough.
	if _, err := io.CopyN(io.Discard, l.conn, 1); isTimeout(err) {
		return fmt.Errorf("await end of cancel: %w", err)
	}
	return nil
}
