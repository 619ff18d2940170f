package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
	"github.com/pgbulkproxy/pgbulkproxy/wire/handshake"
)

// session is one client connection and its one upstream connection.
//
// Goroutines: the client pump (clientLoop, on the goroutine of run) is the only
// reader of the client and, while no load runs, the only writer to the server;
// the server pump (serverLoop) is the only reader of the server. While an event
// loop relays (onLoop) the first waits for it and the second is not there. A
// load starts a loader goroutine of its own, which then is the only writer to
// the server; it ends before the client pump goes on. run waits for all of them.
type session struct {
	srv *Server
	id  uint64
	log *slog.Logger
	est *handshake.Established

	// ctx ends with the session; its cause says why.
	ctx    context.Context
	cancel context.CancelCauseFunc

	client net.Conn
	cr     *frame.Reader
	cw     sync.Mutex // one writer to the client at a time

	server net.Conn
	sr     *frame.Reader

	// on is nil where no event loop relays.
	on      *onLoop
	started bool // without a loop: the server pump runs

	// The server pump's own.
	spans      []span
	serverGone chan struct{} // closed when it has ended for good

	mu         sync.Mutex // guards what follows
	serverSkip int        // bytes of the server's frame still to come
	queue      replyQueue
	status     byte // of the last ReadyForQuery
	statements preparedStatements
	params     map[string]string // ParameterStatus
	capture    *capture
	writing    bool // the server pump is between walking and writing
	parking    bool // the server pump must not begin to write: the loop will
	congested  bool // since a write that would block; until the server owes nothing
	idleWait   chan struct{}
	flushed    bool       // idleWait is for owesNothing, not for atRest
	load       cancelable // the load under way, if any
	// interrupted is why that load must end.
	interrupted error
	// pending are messages that the server sent while it was busy with us, and
	// which it sends before a ReadyForQuery natively.
	pending []byte
	// copyWait is closed when a replayed COPY has begun.
	copyWait chan struct{}
	// fatal is the server's last word, or ours.
	fatal []byte
	// extError: an extended message failed, and its Sync is not answered yet.
	extError bool
	// guardReason is why the COPY behind the last guard passes.
	guardReason rewrite.Reason
	// unsettled are loads whose transaction has not ended yet.
	unsettled []*bulk.Load
	// judged is one more than the version of known by which the oldest statement
	// that may insert and is not answered was judged; 0 where there is none.
	judged uint64
	// executing are the portals of EXECUTEs that were not run yet.
	executing map[string]struct{}
	// queryFailed: an ErrorResponse came. holding: the tag of a Query's last statement
	// is not passed on, but left in held.
	queryFailed, holding bool
	held                 []byte
	// pipelined is what the client's tags say since the last ReadyForQuery, and
	// pipelineEnd what they said when it came.
	pipelined, pipelineEnd pipelined
	statusBefore           byte // of the ReadyForQuery before the last one
	// auxText is the statement that the server has as auxStatement for auxFor.
	auxFor  *preparedInsert
	auxText string

	database string
	// known is what may be routed in the session's database; routeSmall: INSERTs are
	// judged by that.
	known      *rewrite.Known
	routeSmall bool

	// reads is about statements that read or change routed tables.
	reads reading

	// The client pump's own.
	clientSkip int
	unsynced   bool   // extended messages since the last Sync
	executed   bool   // a Bind or Execute among them
	commitSync bool   // the next Sync has to commit our transaction block
	reparse    []byte // the Parse to repeat after that commit
	plain      int    // bytes at the front of the buffer that are relayed, whatever they are
	cleared    int    // bytes there whose INSERTs go where they say
	last       *lastInsert
	declared   bool                 // our settings are known to the server's session
	spread     bool                 // the database has Citus
	shape      *rewrite.InsertShape // of the last INSERT
	shapeOpts  values.Options
	lastHead   []byte // the head of the INSERT that was relayed just before
	keepHead   bool   // it is that of the frame at hand
	lastBatch  *preparedInsert
	// parsedInsert: the frame at hand is a Parse of an INSERT.
	parsedInsert bool
	// boundSame: the unnamed portal is of an INSERT after which last is still true.
	boundSame bool
	bound     *prepared // what the Bind at hand binds the unnamed portal to, if it is known
	pipe      pipeline
	resolver  resolver
	// flight is an INSERT that the event loop has sent on.
	flight *flight
	coal   coalescing
	// inserts are those that are answered and not sent.
	inserts *run
	// insertAhead: the INSERT at which the walk stopped is next.
	insertAhead bool
	// usual are COPYs that are relayed without an inspection, and asking is the
	// question about one of them that the event loop has sent.
	usual      usualCopies
	asking     *asking
	replays    int    // INSERTs in a row that ran natively in the end
	insertRest int    // how many are relayed without a try
	buffer     []byte // for the next INSERT
}

// cancelable is a load that a CancelRequest can end.
type cancelable interface{ Cancel() }

func newSession(srv *Server, id uint64, est *handshake.Established) *session {
	if est.ParameterStatus == nil {
		est.ParameterStatus = make(map[string]string)
	}
	s := &session{
		srv: srv, id: id, est: est,
		log:    srv.log.With("session", id),
		client: est.Client, cr: frame.NewReader(est.Client, est.ClientBuffered),
		server: est.Server, sr: frame.NewReader(est.Server, est.ServerBuffered),
		status: est.TxStatus, params: est.ParameterStatus,
		serverGone: make(chan struct{}),
	}
	for _, p := range est.Params {
		if strings.Contains(p.Name+p.Value, "pgbulk.coalesce") {
			s.coal.mentioned()
		}
	}
	s.cr.SetPool(&srv.buffers)
	s.sr.SetPool(&srv.buffers)
	return s
}

// run relays until one side ends. Both connections are closed when it returns.
func (s *session) run() {
	defer s.cancel(nil)
	err := s.survive(s.clientLoop)
	s.dropRun()
	if errors.Is(err, io.EOF) && s.ctx.Err() == nil {
		// The client sends no more, but may still read: the server sees the
		// same, answers what it has and ends by itself.
		err = closeWrite(s.server)
	}
	s.drive()
	if err != nil {
		s.end(err)
		// What the server said last (why it ended) may still be under way.
		_ = s.server.SetReadDeadline(time.Now().Add(lastWords))
		// Where the client is gone, the server learns it at once, and lets go
		// of its locks.
		_ = closeWrite(s.server)
	}
	<-s.serverGone
	s.mu.Lock()
	fatal := s.fatal
	s.mu.Unlock()
	if fatal == nil && errors.Is(err, errDefect) {
		fatal = errorFrame(nil, pgerr.Fatal(pgerr.InternalError, "pgbulkproxy: internal error"))
	}
	if fatal != nil {
		_ = s.client.SetWriteDeadline(time.Now().Add(lastWords))
		_ = s.writeClient(fatal) // the client may be gone
	}
	s.settle()
	_ = s.server.Close()
	linger(s.client)
}

var errDefect = errors.New("a defect of the proxy's")

// survive keeps a defect that one session's statements meet from ending the others.
func (s *session) survive(loop func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("defect, please report it: the session ends", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", errDefect, p)
		}
	}()
	return loop()
}

// serverPump is the goroutine of the server pump.
func (s *session) serverPump() {
	aloft := false
	err := s.survive(func() (err error) {
		if err = s.finishDown(); err == nil {
			aloft, err = s.serverLoop()
		}
		return err
	})
	if aloft {
		return
	}
	// Unblock the client pump, which may be reading the client. Under mu, so
	// that nobody clears the deadline who has not seen the end.
	s.mu.Lock()
	s.end(err)
	_ = s.client.SetReadDeadline(time.Unix(1, 0))
	s.mu.Unlock()
	close(s.serverGone)
}

// lastWords bounds the wait for the server's last message after a failed write.
const lastWords = 2 * time.Second

// end notes why the session ends; the first reason stays.
func (s *session) end(err error) {
	if err == nil {
		err = io.EOF
	}
	s.cancel(err)
}

// writeClient writes whole frames, or a part of what the server sent, to the
// client.
func (s *session) writeClient(p []byte) error {
	s.cw.Lock()
	defer s.cw.Unlock()
	_, err := s.client.Write(p)
	return err
}

func (s *session) writeServer(p []byte) error {
	_, err := s.server.Write(p)
	return err
}

// waitIdle waits until the server has answered everything and the answers are
// written to the client. It returns false where that can't be told.
func (s *session) waitIdle() (bool, error) {
	s.mu.Lock()
	if s.queue.lost {
		s.mu.Unlock()
		return false, nil
	}
	if s.atRest() {
		s.mu.Unlock()
		return true, nil
	}
	wait := make(chan struct{})
	s.idleWait = wait
	s.mu.Unlock()
	select {
	case <-wait:
	case <-s.ctx.Done():
		return false, context.Cause(s.ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.queue.lost, nil
}

// atRest says that the server owes nothing, and that the client has all of what
// it sent: no part of a frame is still to come. It holds s.mu.
func (s *session) atRest() bool { return s.queue.idle() && !s.writing && s.serverSkip == 0 }

func (s *session) txStatus() byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// settle tells the loads that are left, at the session's end, to look up
// whether their transaction committed.
func (s *session) settle() {
	s.mu.Lock()
	left := s.unsettled
	s.unsettled = nil
	s.mu.Unlock()
	for _, l := range left {
		l.Settle()
	}
}

// closeWrite ends the sending side of a connection and keeps the other.
func closeWrite(c net.Conn) error {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}

// linger closes a connection in such a way that what was written last arrives:
// closing a TCP connection with unread input resets it, and a reset can
// overtake the last message.
func linger(c net.Conn) {
	if closeWrite(c) == nil {
		_ = c.SetReadDeadline(time.Now().Add(time.Second / 2))
		_, _ = io.Copy(io.Discard, io.LimitReader(c, 16<<20))
	}
	_ = c.Close()
}
