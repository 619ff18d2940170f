package handshake

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/wire/evloop"
)

// tlsWish is what one attempt to connect wants of TLS.
type tlsWish int

const (
	tlsNever tlsWish = iota
	tlsIfOffered
	tlsAlways
)

// errTLS marks a TLS negotiation that did not succeed, after which prefer goes
// on without TLS.
var errTLS = errors.New("TLS with upstream")

// attempts is what libpq tries, in order, for a mode.
func (h *Handshaker) attempts() []tlsWish {
	if h.upstream.network == "unix" {
		return []tlsWish{tlsNever}
	}
	switch h.cfg.UpstreamTLSMode {
	case SSLDisable:
		return []tlsWish{tlsNever}
	case SSLAllow:
		return []tlsWish{tlsNever, tlsAlways}
	case SSLPrefer:
		return []tlsWish{tlsIfOffered, tlsNever}
	}
	return []tlsWish{tlsAlways}
}

// opened is an upstream that got the startup packet, and its messages so far:
// the last is the first that says whether it lets the client try.
type opened struct {
	leg    *leg
	frames [][]byte
}

func (o *opened) refused() bool { return o.frames[len(o.frames)-1][0] == typeError }

// open connects, sends the startup packet and reads the upstream's first
// answer. A refusal is returned as an opened upstream too: it is the client's
// to read.
func (h *Handshaker) open(ctx context.Context, g *guard, s *startup) (*opened, error) {
	var refusal *opened
	var lastErr error
	for _, wish := range h.attempts() {
		o, err := h.try(ctx, g, wish, s)
		if err == nil && refusal != nil {
			closeQuietly(refusal.leg)
			refusal = nil
		}
		switch {
		case err == nil && o.refused() && !(wish == tlsIfOffered && !o.leg.tls):
			refusal = o // the other way may be open
		case err == nil:
			return o, nil
		default:
			lastErr = err
			if !errors.Is(err, errTLS) {
				return orRefusal(refusal, err)
			}
		}
	}
	return orRefusal(refusal, lastErr)
}

// orRefusal prefers what the upstream itself said to an error of ours.
func orRefusal(o *opened, err error) (*opened, error) {
	if o != nil {
		return o, nil
	}
	return nil, err
}

func (h *Handshaker) try(ctx context.Context, g *guard, wish tlsWish, s *startup) (*opened, error) {
	l, err := h.connect(ctx, g, nil, wish)
	if err != nil {
		return nil, err
	}
	o := &opened{leg: l}
	if _, err = l.conn.Write(s.raw); err != nil {
		err = upstreamLost("did not take the startup packet", err)
	} else {
		err = o.readFirst()
	}
	if err != nil {
		closeQuietly(l)
		return nil, err
	}
	return o, nil
}

// maxEarly bounds the messages that may stand before the first answer: a
// version negotiation and notices.
const maxEarly = 16

func (o *opened) readFirst() error {
	for range maxEarly {
		f, err := readFrame(o.leg.r, nil, serverLimit)
		if err != nil {
			return firstError(o.leg, err)
		}
		o.frames = append(o.frames, f)
		if f[0] != typeNegotiateVersion && f[0] != typeNotice {
			return nil
		}
	}
	return upstreamBroke("sent no authentication request")
}

// firstError is readError, but knows what a PostgreSQL that cannot even fork
// says: an E with plain text where the length should be.
func firstError(l *leg, err error) error {
	if head, peekErr := l.r.Peek(1); errors.Is(err, errLength) && peekErr == nil && head[0] == typeError {
		return refuseBecause(pgerr.Fatal(pgerr.CannotConnectNow, "could not connect to upstream: it cannot start a session now"), err)
	}
	return readError(err)
}

// readError turns what went wrong with reading the upstream into a refusal.
func readError(err error) error {
	if errors.Is(err, errLength) {
		return refuseBecause(pgerr.Fatal(pgerr.ProtocolViolation, "upstream sent what is no message of the protocol"), err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuseBecause(pgerr.Fatal(pgerr.ConnectionFailure, "upstream closed the connection unexpectedly"), err)
	}
	return upstreamLost("did not answer", err)
}

// connect dials the upstream and negotiates TLS. Where to is not nil, that
// address is dialled instead of the configured one.
func (h *Handshaker) connect(ctx context.Context, g *guard, to net.Addr, wish tlsWish) (*leg, error) {
	network, addr := h.upstream.network, h.upstream.addr
	if to != nil {
		network, addr = to.Network(), to.String()
	}
	raw, err := h.dialUntil(ctx, g.until(), network, addr)
	if err != nil {
		return nil, unreachable(err)
	}
	g.add(raw)
	l := newLeg(raw)
	if wish == tlsNever {
		return l, nil
	}
	if err := h.secure(l, wish); err != nil {
		closeQuietly(l)
		return nil, err
	}
	return l, nil
}

func (h *Handshaker) dialUntil(ctx context.Context, deadline time.Time, network, addr string) (net.Conn, error) {
	if d := time.Now().Add(h.cfg.DialTimeout); d.Before(deadline) {
		deadline = d
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return h.dial(ctx, network, addr)
}

// secure asks for TLS, or begins with it, and does the TLS handshake.
func (h *Handshaker) secure(l *leg, wish tlsWish) error {
	if !h.cfg.UpstreamDirectTLS {
		yes, err := askTLS(l.raw)
		if err != nil {
			return err
		}
		if !yes && wish == tlsIfOffered {
			return nil
		}
		if !yes {
			return tlsFailed("upstream does not support TLS, but TLS was required", nil)
		}
	}
	conn := tls.Client(evloop.Under(l.raw), h.upstreamTLS)
	if err := conn.Handshake(); err != nil {
		return tlsFailed("could not negotiate TLS with upstream: "+reason(err), err)
	}
	state := conn.ConnectionState()
	if h.cfg.UpstreamDirectTLS && state.NegotiatedProtocol != alpn {
		return tlsFailed("upstream does not support direct TLS", nil)
	}
	if len(state.PeerCertificates) == 0 {
		return tlsFailed("upstream showed no certificate", nil)
	}
	l.secured(conn, state.PeerCertificates[0].Raw)
	return nil
}

func tlsFailed(tell string, cause error) error {
	if cause == nil {
		return refuseBecause(pgerr.Fatal(pgerr.ConnectionFailure, "%s", tell), errTLS)
	}
	return refuseBecause(pgerr.Fatal(pgerr.ConnectionFailure, "%s", tell), fmt.Errorf("%w: %w", errTLS, cause))
}

// askTLS sends an SSLRequest and reads exactly one byte: what an attacker may
// have put behind it goes to the TLS handshake, which refuses it
// (CVE-2021-23222).
func askTLS(raw net.Conn) (bool, error) {
	req := binary.BigEndian.AppendUint32(nil, 8)
	req = binary.BigEndian.AppendUint32(req, codeSSL)
	if _, err := raw.Write(req); err != nil {
		return false, upstreamLost("did not take the TLS request", err)
	}
	var b [1]byte
	if _, err := io.ReadFull(raw, b[:]); err != nil {
		return false, readError(err)
	}
	switch b[0] {
	case 'S':
		return true, nil
	case 'N':
		return false, nil
	case typeError:
		// Its text is neither authenticated nor encrypted (CVE-2024-10977).
		return false, refuse(pgerr.Fatal(pgerr.CannotConnectNow, "upstream sent an error instead of negotiating TLS"))
	}
	return false, upstreamBroke("sent %q instead of negotiating TLS", b[0])
}

func closeQuietly(l *leg) {
	// Nothing depends on it: what had to arrive was written before.
	_ = l.conn.Close()
}
