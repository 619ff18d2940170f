package wire

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// insertTask is one INSERT of many rows that the proxy sends on in another form.
// It runs on the client pump; the client's message stays at the front of the
// buffer until it is answered, so that it can go to the server after all:
//
//	parse    the text alone decides whether it is looked at
//	open     the table is locked and inspected, unless the INSERT before, in the
//	         same transaction, has left that
//	encode   the rows become COPY data, or arrays
//	run      one write, one Query: savepoint, statement, release; or a load by
//	         files in S3, if there is much of it
//	         → undo: the client's own statement goes to the server
type insertTask struct {
	s       *session
	stmt    *rewrite.InsertStatement
	batch   *batch // nil in the simple protocol
	insp    *rewrite.Inspection
	inBlock bool
	several bool // it is the first of a run of INSERTs that go together
	began   time.Time
	// opened: the session is where opening has brought it.
	opened bool
	// routes are those of a routed table, whose lock is held; refused is why
	// nothing may go into it.
	routes  *rewrite.Routes
	refused *pgerr.Error
	out     []byte
	ready   int // ReadyForQuerys still to come, of which main end the statement
	main    int
	failed  error
	// kept are the server's messages for the client, but for those of a batch
	// rowDescription and the tag.
	kept           []byte
	rowDescription []byte
	tag            string
	rows           int64 // that the server says to have inserted
	more           int64 // memory that was taken besides that for the message
}

// insertOptions say how the session's INSERTs are read. ok is false where they
// can't be: in encodings whose characters may have bytes that look like ASCII.
// It holds s.mu.
func (s *session) insertOptions() (opts values.Options, ok bool) {
	param := func(name string) string { return s.params[name] }
	return values.Options{
		StandardStrings: param("standard_conforming_strings") == "on",
		UTF8:            param("client_encoding") == "UTF8" && param("server_encoding") == "UTF8",
	}, s.srv.cfg.InsertMinRows > 0 && s.srv.loader != nil && rewrite.InsertReadable(param)
}

// maxShape bounds what a session keeps of the INSERT before, and of its head.
const maxShape = 4 << 10

// enoughRows returns how many rows an INSERT needs to be taken. Inside a
// transaction block fewer are enough where another one of the kind went before:
// either it has left its inspection, or this one's will serve those that follow.
// It holds s.mu.
func (s *session) enoughRows(again bool) int {
	if again && s.inBlock() {
		return s.srv.cfg.InsertMinRows
	}
	return max(s.srv.cfg.InsertMinRows, s.srv.cfg.InsertMinRowsAlone)
}

// maxUndecided is how far into an INSERT the walk looks for its rows.
const maxUndecided = 256 << 10

// manyRows says whether an INSERT has as many rows as are worth the while.
// It holds s.mu.
func (s *session) manyRows(sql []byte, whole bool) (many, decided bool) {
	// The shortest row is (1), with its comma.
	if whole && len(sql) < 4*s.srv.cfg.InsertMinRows {
		return false, true
	}
	opts, ok := s.insertOptions()
	if !ok {
		return false, true
	}
	again := s.last != nil || len(s.lastHead) > 0 && bytes.HasPrefix(sql, s.lastHead)
	many, decided = rewrite.ManyRows(sql, whole, s.enoughRows(again), opts)
	if decided && !many && !again && s.status == 'T' {
		s.rememberHead(sql)
	}
	return many, decided || len(sql) >= maxUndecided
}

// rememberHead keeps the begin of an INSERT that is relayed, up to its rows.
func (s *session) rememberHead(sql []byte) {
	if n := rewrite.InsertHead(sql); n > 0 && n <= maxShape {
		s.lastHead, s.keepHead = append(s.lastHead[:0], sql[:n]...), true
	}
}

// onInsert handles a Query that begins with many rows to insert.
func (s *session) onInsert() error {
	s.insertAhead = false
	memory := s.srv.loader.Memory()
	if err := s.cr.Need(frame.HeaderLen); err != nil {
		return err
	}
	_, size, err := frame.Head(s.cr.Buffered())
	if err != nil {
		return s.relayRaw()
	}
	if size > s.srv.cfg.InsertMaxBytes && !s.mayRoute(s.cr.Buffered()[frame.HeaderLen:]) {
		return s.passInsert(rewrite.ReasonTooLong)
	} else if size > s.srv.cfg.InsertMaxBytes {
		return s.unreadRouted(rewrite.ReasonTooLong, size)
	}
	// The message, and what is made of it.
	reserved := 2 * int64(size)
	if !memory.Reserve(reserved) {
		if s.mayRoute(s.cr.Buffered()[frame.HeaderLen:]) {
			return s.unreadRouted(rewrite.ReasonMemory, size)
		}
		return s.passInsert(rewrite.ReasonMemory)
	}
	defer memory.Return(reserved)
	_, body, _, err := s.peekFrame(s.srv.cfg.InsertMaxBytes)
	if err != nil {
		return err
	}
	if t := s.sameInsert(body); t != nil {
		return t.run(frame.HeaderLen + len(body))
	}
	t, reason := s.newInsert(body)
	if reason != rewrite.ReasonNone && s.mayRoute(body) {
		return s.routeBody(body)
	}
	if reason != rewrite.ReasonNone {
		if _, copies := rewrite.Inner(trimZero(body)); copies {
			return s.onSeveral(trimZero(body))
		}
		return s.passInsert(reason)
	}
	if ok, err := s.waitIdle(); err != nil {
		return err
	} else if !ok {
		return s.behindPipeline(body, rewrite.ReasonInPipeline)
	}
	switch s.txStatus() {
	case 'E':
		return s.passInsert(rewrite.ReasonFailedTransaction)
	case 'T':
		t.inBlock = true
	}
	return t.run(frame.HeaderLen + len(body))
}

// newInsert judges the text of a Query.
func (s *session) newInsert(body []byte) (*insertTask, rewrite.Reason) {
	sql, rest, ok := frame.CString(body)
	if !ok || len(rest) > 0 {
		return nil, rewrite.ReasonParseError
	}
	if s.unsynced {
		return nil, rewrite.ReasonInPipeline
	}
	if s.insertRest > 0 {
		s.insertRest--
		return nil, rewrite.ReasonNativeReplay
	}
	s.mu.Lock()
	s.statements.forget(nil) // a Query drops the unnamed statement
	opts, ok := s.insertOptions()
	s.mu.Unlock()
	if !ok {
		return nil, rewrite.ReasonClientEncoding
	}
	stmt, reason := s.parseInsert(sql, opts)
	if reason != rewrite.ReasonNone {
		return nil, reason
	}
	if !opts.UTF8 && !stmt.ASCII() {
		return nil, rewrite.ReasonNameEncoding
	}
	return &insertTask{s: s, stmt: stmt}, rewrite.ReasonNone
}

// parseInsert parses a text, or takes what the parser said of the one before.
func (s *session) parseInsert(sql []byte, opts values.Options) (*rewrite.InsertStatement, rewrite.Reason) {
	o := rewrite.InsertOptions{MaxBytes: s.srv.cfg.MaxStatement, Values: opts}
	if s.shape != nil && s.shapeOpts == opts {
		if stmt := s.shape.Parse(sql, o); stmt != nil {
			return stmt, rewrite.ReasonNone
		}
	}
	stmt, reason := rewrite.ParseInsert(sql, o)
	if reason == rewrite.ReasonNone && len(sql)-(stmt.ListEnd-stmt.ListStart) <= maxShape {
		s.shape, s.shapeOpts = stmt.Shape(), opts
	}
	return stmt, reason
}

// passInsert relays the Query at the front of the buffer, for a reason.
func (s *session) passInsert(reason rewrite.Reason) error {
	s.srv.metrics.pass(rewrite.KindInsert, reason)
	s.log.Debug("pass", "stmt", rewrite.KindInsert, "reason", reason)
	s.last = nil
	return s.relayOne(entQuery)
}

// run does what is left; size is the length of the client's message.
func (t *insertTask) run(size int) error {
	defer t.giveMore()
	t.began = time.Now()
	if t.out != nil {
		return t.sent(t.send(), streamedRows, size)
	}
	d, err := t.decide()
	return t.runDecided(d, err, size)
}

// runDecided goes on with a decision, or with the error in its place.
func (t *insertTask) runDecided(d rewrite.Decision, err error, size int) error {
	s := t.s
	switch {
	case err == nil && t.routed() && t.batch == nil:
		return t.runRouted(size)
	case err == nil && t.routed():
		return t.runRoutedBatch(size)
	}
	var staged *rewrite.CopyStatement
	if err == nil && d.Way == rewrite.Stream {
		if staged, d = t.stageDecision(d, size); staged == nil {
			err = t.encode(d.Method)
		}
	}
	var pass values.Pass
	switch e := pgerr.As(err); {
	case errors.As(err, &pass):
		d = rewrite.Decision{Way: rewrite.Pass, Reason: rewrite.Reason(pass)}
	case e != nil && s.ctx.Err() == nil:
		return t.fail(e, size)
	case err != nil:
		return err
	}
	switch {
	case staged != nil:
		if err = t.stage(staged, d); err == nil && t.batch != nil {
			err = s.restoreUnnamed()
		}
	case d.Way == rewrite.Stream:
		err = t.send()
	case d.Reason == rewrite.ReasonInspectFailed && t.batch == nil:
		return t.passUnlocked(size)
	default:
		return t.pass(d.Reason, size)
	}
	return t.sent(err, d, size)
}

// streamedRows is the decision on an INSERT that is like the one before.
var streamedRows = rewrite.Decision{Way: rewrite.Stream, Method: rewrite.MethodRows, Reason: rewrite.ReasonRows}

// sent goes on when the server has answered.
func (t *insertTask) sent(err error, d rewrite.Decision, size int) error {
	s := t.s
	e := pgerr.As(err)
	switch {
	case err == nil:
		s.srv.metrics.count(rewrite.KindInsert, d)
		return t.succeed(size)
	case e == nil || s.ctx.Err() != nil:
		return err
	case isWaitError(e):
		return t.cancelled(e, size)
	}
	return t.replay(e, size)
}

// decide takes what the INSERT before has left, or inspects.
func (t *insertTask) decide() (rewrite.Decision, error) {
	s := t.s
	caps := rewrite.Caps{InBlock: t.inBlock, Params: t.batch != nil, Several: t.several || t.batch != nil && t.batch.binds > 1}
	if l := s.last; t.inBlock && l != nil && l.fits(t.stmt) {
		t.insp = l.insp
		if !t.stmt.Reusable(t.insp) {
			s.last = nil // after this one, nothing is sure
		}
		return rewrite.ClassifyInsert(t.stmt, t.insp, caps), nil
	}
	s.last = nil
	insp, err := t.opening().run()
	if e := pgerr.As(err); e != nil && t.batch == nil && e.Code() != pgerr.QueryCanceled {
		// The server waits for the lock while it analyzes the statement.
		err = e.With('P', strconv.Itoa(t.stmt.NamePosition()))
	}
	if err != nil || insp == nil {
		return rewrite.Decision{Way: rewrite.Pass, Reason: rewrite.ReasonInspectFailed}, err
	}
	t.insp, t.opened = insp, true
	s.coal.learn(insp.Coalesces())
	if insp.Routing != nil {
		if err := t.enter(); err == nil && t.several && t.refused != nil && s.txStatus() == 'E' {
			return rewrite.Decision{}, t.refused
		} else if err != nil || t.routed() {
			return rewrite.Decision{Way: rewrite.Pass, Reason: rewrite.ReasonRouted}, err
		}
	}
	d := rewrite.ClassifyInsert(t.stmt, t.insp, caps)
	if t.inBlock && d.Way != rewrite.Pass && t.stmt.Reusable(insp) {
		s.last = &lastInsert{schema: t.stmt.Schema, table: t.stmt.Table, columns: t.stmt.Columns, insp: insp}
	}
	return d, nil
}

func (t *insertTask) opening() *opening {
	return &opening{s: t.s, schema: t.stmt.Schema, table: t.stmt.Table, inspect: t.stmt.InspectSQL(t.s.dialect()), inBlock: t.inBlock}
}

// pass relays the client's statement after an inspection.
func (t *insertTask) pass(reason rewrite.Reason, size int) error {
	if t.opened {
		if err := t.opening().undo(); err != nil {
			return err
		}
	}
	return t.relay(reason, size)
}

// relay lets the client's own messages go to the server.
func (t *insertTask) relay(reason rewrite.Reason, size int) error {
	if t.batch == nil {
		return t.s.passInsert(reason)
	}
	t.s.last = nil
	if err := t.s.restoreUnnamed(); err != nil {
		return err
	}
	return t.s.passBatch(reason, size)
}

// replay undoes the statement that failed, and lets the client's own say why.
func (t *insertTask) replay(e *pgerr.Error, size int) error {
	s := t.s
	s.log.Debug("rewritten INSERT failed, running it natively", "sqlstate", e.Code(), "error", e.Get('M'))
	s.noteReplay()
	if err := s.sendHidden(t.undoSQL()); err != nil {
		return err
	}
	return t.relay(rewrite.ReasonNativeReplay, size)
}

// undoSQL undoes a statement that failed.
func (t *insertTask) undoSQL() string {
	if t.inBlock {
		return t.s.leave(rollbackInsert)
	}
	return "ROLLBACK"
}

// After replaysInARow INSERTs that ran twice, the next ones pass at once.
const (
	replaysInARow = 3
	insertRest    = 100
)

func (s *session) noteReplay() {
	if s.replays++; s.replays >= replaysInARow {
		s.replays, s.insertRest = 0, insertRest
	}
}

// succeed answers the client.
func (t *insertTask) succeed(size int) error {
	out := t.reply(size)
	err := t.s.writeClient(out)
	if t.batch != nil {
		t.s.giveBuffer(out)
	}
	return err
}

// reply ends the statement, and returns what the client gets.
func (t *insertTask) reply(size int) []byte {
	s := t.s
	s.replays, s.coal.usual = 0, false
	out := t.kept
	if t.batch == nil && t.tag != "" {
		out = frame.AppendString(out, 'C', t.tag)
	}
	if t.batch != nil {
		out = t.batch.appendReplies(s.takeBuffer(), s.cr.Buffered(), t.rowDescription, t.kept, t.tag)
		s.unsynced, s.executed = false, false
	}
	s.cr.Discard(size)
	if t.batch != nil && t.batch.cut {
		s.unsynced, s.executed, s.pipe = true, true, pipeline{block: true, ran: true}
		return out
	}
	out = append(out, s.takePending()...)
	return readyFrame(out, s.txStatus())
}

// cancelled ends a statement whose end is the client's: a cancel, a timeout, a
// deadlock. Inside a block that has failed, as it would have natively.
func (t *insertTask) cancelled(e *pgerr.Error, size int) error {
	if !t.inBlock {
		in := t.s.inject()
		_, err := in.Exec(t.s.ctx, "ROLLBACK")
		in.release()
		if err != nil {
			return err
		}
	}
	if t.batch != nil {
		t.kept = t.batch.appendBound(nil, t.batch.firstDescribed(t.s.cr.Buffered()), nil)
	}
	return t.fail(e.With('W', withoutCopy(e.Get('W'))).With('P', ""), size)
}

// withoutCopy drops the lines of a CONTEXT that tell of our COPY.
func withoutCopy(context string) string { return withoutLines(context, "COPY ") }

// withoutLines takes the lines with a prefix out of a CONTEXT.
func withoutLines(context, prefix string) string {
	if !strings.Contains(context, prefix) {
		return context
	}
	lines := strings.Split(context, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, prefix) }), "\n")
}

// fail answers the client with an error.
func (t *insertTask) fail(e *pgerr.Error, size int) error {
	s := t.s
	s.last, s.coal.usual = nil, false
	s.cr.Discard(size)
	var out []byte
	if t.batch != nil {
		out = t.kept
		s.unsynced, s.executed = false, false
		if err := s.restoreUnnamed(); err != nil {
			return err
		}
	}
	out = errorFrame(out, e)
	if t.batch != nil && t.batch.cut {
		s.unsynced = true
		if err := s.writeClient(out); err != nil {
			return err
		}
		return s.discardToSync()
	}
	return s.writeClient(readyFrame(append(out, s.takePending()...), s.txStatus()))
}
