package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/evloop"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
	"github.com/pgbulkproxy/pgbulkproxy/wire/handshake"
)

// Config of a Server.
type Config struct {
	// Handshake says how clients and the upstream are met.
	Handshake handshake.Config
	// StageMinBytes is how much COPY data is held before it is staged; a COPY
	// that ends before runs natively. 0 stages every COPY. Default 1 MiB.
	StageMinBytes int64
	// MaxStatement bounds the text of a COPY statement that is looked at, in
	// bytes; longer ones are relayed. Default 1 MiB.
	MaxStatement int
	// InsertMinRows is the smallest number of rows of an INSERT that is looked at;
	// 0 relays every INSERT. InsertMinRowsAlone is that of one outside a
	// transaction block, or the first of its kind in one.
	InsertMinRows, InsertMinRowsAlone int
	// InsertMinRowsBatch is that of a run of Bind and Execute.
	InsertMinRowsBatch int
	// InsertMinRowsBind is that of one whose rows all come as the parameters of one
	// Bind; 0 relays those. Where it is above InsertMinRows, those whose rows cannot
	// go in binary are relayed too: the server takes them as fast as the proxy.
	InsertMinRowsBind int
	// InsertMaxBytes is the longest INSERT that is looked at, 64 MiB by default.
	InsertMaxBytes int
	// InsertStageBytes is the length of an INSERT from which its rows go through
	// files in S3; 0 takes all of them there, a negative number none.
	InsertStageBytes int64
	// RoutingColumn is the routing column of routed tables that have neither
	// routing_id nor group_id; "" is none.
	RoutingColumn string
	// OnRouted, unless nil, hears of every load into a routed table, when the
	// table is locked for it. It must not block.
	OnRouted func(database, schema, table string)
	// Known returns what is known of a database's routed tables, for a session that
	// says when it ends; nil: nothing is. RouteSmall routes INSERTs that are not
	// looked at otherwise.
	Known      func(database string) (known *rewrite.Known, ended func())
	RouteSmall bool
	// RouteReads has SELECT, UPDATE and DELETE see both tables.
	RouteReads bool
	// MaxSessions bounds client connections; 0 means no bound.
	MaxSessions int
	// DrainTimeout is how long sessions may go on after Serve's context ended.
	DrainTimeout time.Duration
}

// WithDefaults returns c with zero values replaced. StageMinBytes stays, since
// 0 has a meaning of its own.
func (c Config) WithDefaults() Config {
	if c.MaxStatement == 0 {
		c.MaxStatement = 1 << 20
	}
	if c.InsertMaxBytes == 0 {
		c.InsertMaxBytes = 64 << 20
	}
	return c
}

// Server accepts clients and runs a session for each.
//
// Goroutines: Serve runs one accept loop a listener; each connection has one
// goroutine for its session's client pump and one for its server pump. Serve
// returns when all of them have ended.
type Server struct {
	cfg     Config
	log     *slog.Logger
	shaker  *handshake.Handshaker
	loader  *bulk.Loader
	metrics *metrics
	buffers frame.Pool // of the clients' readers, and of what is made for the server

	mu       sync.Mutex
	lastID   uint64
	sessions map[uint64]*session
	byKey    map[string]*session
	waiting  map[net.Conn]struct{} // in their handshake
	draining bool
	wg       sync.WaitGroup
}

// New returns a Server. loader may be nil: then everything is relayed. reg may
// be nil.
func New(cfg Config, loader *bulk.Loader, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	shaker, err := handshake.New(cfg.Handshake)
	if err != nil {
		return nil, fmt.Errorf("configure connections: %w", err)
	}
	srv := &Server{
		cfg: cfg.WithDefaults(), log: log, shaker: shaker, loader: loader,
		sessions: make(map[uint64]*session), byKey: make(map[string]*session),
		waiting: make(map[net.Conn]struct{}),
	}
	srv.metrics = newMetrics(reg, srv.count)
	return srv, nil
}

func (srv *Server) count() float64 {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return float64(len(srv.sessions))
}

// Serve accepts from ln until ctx ends, then closes ln and lets the sessions
// go on for DrainTimeout. It returns nil if all of them ended by themselves.
func (srv *Server) Serve(ctx context.Context, ln net.Listener) error {
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	accepted := make(chan error, 1)
	loop, err := evloop.New()
	if err != nil && !errors.Is(err, evloop.ErrUnsupported) {
		return fmt.Errorf("start relay: %w", err)
	}
	if loop != nil {
		defer loop.Close()
	}
	go func() { accepted <- srv.acceptLoop(run, ln, loop) }()
	err = nil
	select {
	case err = <-accepted:
	case <-ctx.Done():
		_ = ln.Close()
		<-accepted
	}
	srv.drain(stop)
	return err
}

func (srv *Server) acceptLoop(ctx context.Context, ln net.Listener, loop *evloop.Loop) error {
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Out of file descriptors, most likely: others may end soon.
			srv.log.Error("accept", "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		srv.wg.Add(1)
		go func() {
			defer srv.wg.Done()
			srv.handle(ctx, c, loop)
		}()
	}
}

// drain ends what is left after DrainTimeout.
func (srv *Server) drain(stop context.CancelFunc) {
	srv.mu.Lock()
	srv.draining = true
	for c := range srv.waiting {
		_ = c.Close()
	}
	srv.mu.Unlock()
	done := make(chan struct{})
	go func() { srv.wg.Wait(); close(done) }()
	timer := time.NewTimer(srv.cfg.DrainTimeout)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
	}
	srv.mu.Lock()
	for _, s := range srv.sessions {
		s.shutdown(pgerr.Fatal(pgerr.AdminShutdown, "terminating connection due to administrator command"))
	}
	srv.mu.Unlock()
	stop()
	<-done
}

// shutdown ends a session from outside: the client is told why.
func (s *session) shutdown(e *pgerr.Error) {
	s.mu.Lock()
	if s.fatal == nil {
		s.fatal = errorFrame(nil, e)
	}
	s.mu.Unlock()
	s.end(e)
	_ = s.client.SetWriteDeadline(time.Now().Add(lastWords))
	_ = s.server.Close() // ends the server pump, and with it the session
}

func (srv *Server) handle(ctx context.Context, c net.Conn, loop *evloop.Loop) {
	if !srv.admit(c) {
		_ = c.Close()
		return
	}
	out, err := srv.shaker.Accept(ctx, c)
	srv.mu.Lock()
	delete(srv.waiting, c)
	srv.mu.Unlock()
	switch {
	case err != nil:
		srv.log.Debug("handshake", "client", c.RemoteAddr().String(), "error", err)
	case out.Cancel != nil:
		srv.cancel(ctx, out.Cancel)
		_ = c.Close()
	case out.Session != nil:
		srv.runSession(ctx, out.Session, loop)
	}
}

func (srv *Server) admit(c net.Conn) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.draining {
		return false
	}
	srv.waiting[c] = struct{}{}
	return true
}

func (srv *Server) runSession(ctx context.Context, est *handshake.Established, loop *evloop.Loop) {
	srv.mu.Lock()
	srv.lastID++
	id := srv.lastID
	srv.mu.Unlock()
	s := newSession(srv, id, est)
	s.database = est.Database
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	if !est.Replication {
		s.adopt(loop)
		if srv.cfg.Known != nil {
			known, ended := srv.cfg.Known(est.Database)
			s.known, s.routeSmall = known, srv.cfg.RouteSmall && srv.loader != nil
			if srv.cfg.RouteReads && s.dialect().RoutesReads() {
				s.reads.known = known
			}
			defer ended()
		}
	}
	srv.mu.Lock()
	full := srv.cfg.MaxSessions > 0 && len(srv.sessions) >= srv.cfg.MaxSessions
	if !full {
		srv.sessions[s.id] = s
		srv.byKey[cancelKey(est.BackendPID, est.CancelKey)] = s
	}
	srv.mu.Unlock()
	if full {
		e := pgerr.Fatal(pgerr.TooManyConnections, "too many clients of the proxy already")
		_ = s.writeClient(errorFrame(nil, e)) // closed next anyway
		_ = s.server.Close()
		linger(s.client)
		s.cancel(nil)
		return
	}
	s.log.Debug("session begins", "database", s.database)
	if est.Replication {
		s.relayReplication()
	} else {
		s.run()
	}
	srv.mu.Lock()
	delete(srv.sessions, s.id)
	if srv.byKey[cancelKey(est.BackendPID, est.CancelKey)] == s {
		delete(srv.byKey, cancelKey(est.BackendPID, est.CancelKey))
	}
	srv.mu.Unlock()
	s.log.Debug("session ends", "cause", context.Cause(s.ctx))
}

// relayReplication copies bytes: nothing in a replication session is ours.
func (s *session) relayReplication() {
	s.queue = replyQueue{lost: true}
	s.clientSkip = int(^uint(0) >> 1)
	s.serverSkip = s.clientSkip
	s.run()
}

func cancelKey(pid uint32, key []byte) string { return fmt.Sprintf("%d/%x", pid, key) }

// cancel handles a CancelRequest. A load that runs no statement just now has to
// be told; everything else is the server's.
func (srv *Server) cancel(ctx context.Context, req *handshake.CancelRequest) {
	srv.mu.Lock()
	s := srv.byKey[cancelKey(req.PID, req.Key)]
	srv.mu.Unlock()
	var addr net.Addr
	if s != nil {
		addr = s.est.ServerAddr
		s.mu.Lock()
		load := s.load
		s.mu.Unlock()
		if load != nil {
			load.Cancel()
			return
		}
	}
	if err := srv.shaker.ForwardCancel(ctx, addr, req.PID, req.Key); err != nil {
		srv.log.Warn("forward cancel request", "error", err)
	}
}

// forwardCancel asks the server to cancel what a session's load runs now. It
// returns when the server has seen the request.
func (srv *Server) forwardCancel(ctx context.Context, est *handshake.Established) {
	err := srv.shaker.ForwardCancel(context.WithoutCancel(ctx), est.ServerAddr, est.BackendPID, est.CancelKey)
	if err != nil {
		srv.log.Warn("cancel a load's statement", "error", err)
	}
}
