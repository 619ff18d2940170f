package handshake

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// Handshaker makes sessions. It is safe for concurrent use and holds no state
// of a connection.
type Handshaker struct {
	cfg         Config
	upstream    address
	upstreamTLS *tls.Config
	dial        func(ctx context.Context, network, addr string) (net.Conn, error)
}

// New returns a Handshaker for c with its defaults filled in.
func New(c Config) (*Handshaker, error) {
	c = c.WithDefaults()
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("handshake configuration: %w", err)
	}
	up, err := parseUpstream(c.Upstream)
	if err != nil {
		return nil, fmt.Errorf("handshake configuration: %w", err)
	}
	return &Handshaker{
		cfg: c, upstream: up,
		upstreamTLS: clientConfig(c.UpstreamTLS, c.UpstreamTLSMode, up.host),
		dial:        new(net.Dialer).DialContext,
	}, nil
}

// Outcome is what became of a connection. At most one field is set; with none
// the connection is closed.
type Outcome struct {
	// Session is ready for queries; its connections belong to the caller.
	Session *Established
	// Cancel is a cancel request. The client's connection is open still: the
	// caller closes it when the request was dealt with.
	Cancel *CancelRequest
}

// Established is a session at its first ReadyForQuery, which the client has.
type Established struct {
	// Client and Server are the two connections, above TLS where there is TLS,
	// without deadlines.
	Client, Server net.Conn
	// ClientBuffered and ServerBuffered were read beyond the handshake and come
	// before anything that is read from the connections.
	ClientBuffered, ServerBuffered []byte

	// Protocol is the version in force: what the client asked for, or less
	// where the server negotiated it down.
	Protocol uint32
	// User and Database are the client's, by the rules of the server.
	User, Database string
	// Params are the startup parameters as sent, in order.
	Params []Param
	// Replication sessions speak another language: relay them raw.
	Replication bool

	// ParameterStatus holds the server's parameters so far.
	ParameterStatus map[string]string
	// BackendPID and CancelKey are what the client will cancel with. The key is
	// nil if the server sent none.
	BackendPID uint32
	CancelKey  []byte
	// TxStatus is the byte of the ReadyForQuery.
	TxStatus byte
	// ServerAddr is where ForwardCancel finds this session's server.
	ServerAddr net.Addr
}

// Accept takes a connection from its first byte to its first ReadyForQuery. If
// ctx ends before that, the client is told of a shutdown.
//
// The error says why there is no session. If it holds a *pgerr.Error, the
// client was told that one, by us or by the server. A client that connects and
// leaves without a byte, as health checks do, is no error.
//
// One goroutine runs beside it during the authentication; it has ended when
// Accept returns.
func (h *Handshaker) Accept(ctx context.Context, client net.Conn) (Outcome, error) {
	g := newGuard(h.cfg.StartupTimeout)
	g.add(client)
	stop := context.AfterFunc(ctx, g.expire)
	l := newLeg(client)
	o := opening{h: h, leg: l}
	out, err := h.accept(ctx, g, &o)
	if !stop() && out.Session != nil {
		_ = out.Session.Server.Close()
		err = ctx.Err()
	}
	g.release()
	if err != nil {
		err = explain(ctx, o.version, err)
		sendFatal(l.conn, o.version, err)
		closeQuietly(l)
		h.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "no session", slog.Any("error", err))
		if errors.Is(err, errProbe) {
			err = nil
		}
		return Outcome{}, err
	}
	return out, nil
}

// explain replaces an error that only follows from the end of ctx. A client
// that has not said yet what it is, is told nothing.
func explain(ctx context.Context, version uint32, err error) error {
	var told *relayedError
	if ctx.Err() == nil || version == 0 || errors.As(err, &told) {
		return err
	}
	return refuseBecause(pgerr.Fatal(pgerr.AdminShutdown, "terminating connection due to administrator command"), err)
}

func (h *Handshaker) accept(ctx context.Context, g *guard, o *opening) (Outcome, error) {
	s, cancel, err := o.run()
	if err != nil {
		return Outcome{}, err
	}
	if cancel != nil {
		return Outcome{Cancel: cancel}, nil
	}
	up, err := h.open(ctx, g, s)
	if err != nil {
		return Outcome{}, err
	}
	est, err := establish(g, o.leg, up, s)
	if err != nil {
		closeQuietly(up.leg)
		return Outcome{}, err
	}
	h.cfg.Logger.LogAttrs(ctx, slog.LevelDebug, "session established",
		slog.Uint64("session", uint64(est.BackendPID)),
		slog.Bool("client_tls", o.leg.tls), slog.Bool("server_tls", up.leg.tls))
	return Outcome{Session: est}, nil
}

func establish(g *guard, client *leg, up *opened, s *startup) (*Established, error) {
	est := &Established{
		Client: client.conn, Server: up.leg.conn,
		Protocol: s.version, User: s.get("user"), Database: s.database(),
		Params: s.params, Replication: s.replication(),
		ParameterStatus: make(map[string]string),
		ServerAddr:      up.leg.raw.RemoteAddr(),
	}
	r := relay{
		client: client, server: up.leg, guard: g,
		out: bufio.NewWriterSize(client.conn, legBuffer), est: est,
	}
	if err := r.run(up.frames); err != nil {
		return nil, err
	}
	est.ClientBuffered, est.ServerBuffered = client.buffered(), up.leg.buffered()
	return est, nil
}
