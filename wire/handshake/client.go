package handshake

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/wire/evloop"
)

// tlsHandshakeRecord is the first byte of a TLS ClientHello. As the first byte
// of a startup packet's length it would be far out of bounds.
const tlsHandshakeRecord = 0x16

var (
	errProbe      = errors.New("client left before its first byte")
	errNotStartup = errors.New("not a startup packet")
)

// opening reads the packets up to the startup packet or cancel request.
type opening struct {
	h       *Handshaker
	leg     *leg
	sslDone bool
	gssDone bool
	version uint32 // what the client speaks, for errors
}

// run returns the startup packet or the cancel request; the other is nil.
func (o *opening) run() (*startup, *CancelRequest, error) {
	first, err := o.leg.r.Peek(1)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil, errProbe
		}
		return nil, nil, clientGone(err)
	}
	if first[0] == tlsHandshakeRecord {
		if err := o.directTLS(); err != nil {
			return nil, nil, err
		}
	}
	for {
		raw, err := o.packet()
		if err != nil {
			return nil, nil, err
		}
		code := binary.BigEndian.Uint32(raw[4:])
		switch {
		case code == codeCancel:
			c, err := parseCancel(raw)
			return nil, c, err
		case code == codeSSL && !o.sslDone:
			err = o.ssl()
		case code == codeGSSENC && !o.gssDone:
			err = o.gssenc()
		default:
			s, err := o.startup(raw)
			return s, nil, err
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

// packet reads a length word and what it counts. PostgreSQL closes without an
// answer when the length is out of bounds: the other side is no client of it.
func (o *opening) packet() ([]byte, error) {
	head, err := o.leg.r.Peek(4)
	if err != nil {
		return nil, clientGone(err)
	}
	n := binary.BigEndian.Uint32(head)
	if n < 4+minStartupBytes || n > 4+uint32(o.h.cfg.MaxStartupBytes) {
		return nil, fmt.Errorf("%w: %w %d", errNotStartup, errLength, n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(o.leg.r, raw); err != nil {
		return nil, clientGone(err)
	}
	return raw, nil
}

func (o *opening) startup(raw []byte) (*startup, error) {
	o.version = binary.BigEndian.Uint32(raw[4:])
	s, err := parseStartup(raw)
	if err != nil {
		return nil, err
	}
	if o.h.cfg.ClientTLSMode == ClientTLSRequire && !o.leg.tls && !o.leg.isUnix() {
		return nil, refuse(pgerr.Fatal(pgerr.InvalidAuthorization,
			"connection is not allowed for host %q, user %q, database %q, no encryption",
			hostOf(o.leg.raw), s.get("user"), s.database()).
			With('H', "The proxy requires TLS: connect with sslmode=require or stricter."))
	}
	return &s, nil
}

func hostOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}

// offersTLS says whether an SSLRequest is answered with S. Unix sockets never
// have TLS in PostgreSQL, and clients do not ask there.
func (o *opening) offersTLS() bool {
	return o.h.cfg.ClientTLS != nil && o.h.cfg.ClientTLSMode != ClientTLSDisable && !o.leg.isUnix()
}

func (o *opening) ssl() error {
	o.sslDone = true
	yes := o.offersTLS()
	answer := byte('N')
	if yes {
		answer = 'S'
	}
	if err := o.answer(answer, "SSL"); err != nil || !yes {
		return err
	}
	o.gssDone = true
	_, err := o.handshake(o.leg.raw)
	return err
}

func (o *opening) gssenc() error {
	o.gssDone = true
	return o.answer('N', "GSSAPI encryption")
}

// answer replies to a request for encryption. Nothing may have come after the
// request: it would be plain text that poses as encrypted (CVE-2021-23214).
func (o *opening) answer(b byte, what string) error {
	early := o.leg.r.Buffered() > 0
	if early {
		b = 'N' // so that the client can read the error that follows
	}
	if _, err := o.leg.conn.Write([]byte{b}); err != nil {
		return clientGone(err)
	}
	if !early {
		return nil
	}
	return refuse(pgerr.Fatal(pgerr.ProtocolViolation, "received unencrypted data after %s request", what).
		With('D', "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack."))
}

func (o *opening) directTLS() error {
	if !o.offersTLS() {
		return fmt.Errorf("%w: direct TLS is not offered", errNotStartup)
	}
	o.sslDone, o.gssDone = true, true
	proto, err := o.handshake(&replayConn{Conn: o.leg.raw, head: o.leg.buffered()})
	if err == nil && proto != alpn {
		err = fmt.Errorf("%w: direct TLS without ALPN protocol %q", errNotStartup, alpn)
	}
	return err
}

func (o *opening) handshake(over net.Conn) (string, error) {
	var shown []byte
	conn := tls.Server(evloop.Under(over), serverConfig(o.h.cfg.ClientTLS, &shown))
	if err := conn.Handshake(); err != nil {
		return "", clientGone(fmt.Errorf("TLS handshake: %w", err))
	}
	o.leg.secured(conn, shown)
	return conn.ConnectionState().NegotiatedProtocol, nil
}

// parseCancel accepts keys of every length that protocol 3.2 has; protocol 3.0
// always has four bytes. A wrong length gets no answer, as in PostgreSQL.
func parseCancel(raw []byte) (*CancelRequest, error) {
	const head = 12
	if len(raw) < head+minCancelKey || len(raw) > head+maxCancelKey {
		return nil, fmt.Errorf("cancel request: %w %d", errLength, len(raw))
	}
	return &CancelRequest{PID: binary.BigEndian.Uint32(raw[8:]), Key: raw[head:]}, nil
}
