package wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// endHeld ends a COPY that never reached the threshold. err is errReplay when
// the data has ended, or why receiving ended.
func (t *copyTask) endHeld(d rewrite.Decision, err error) error {
	if errors.Is(err, frame.ErrLength) {
		err = errReplay // the server says what it thinks of it
	}
	if t.refused {
		return t.failBegin(err)
	}
	if t.bracketed() && (errors.Is(err, errReplay) || errors.Is(err, errCancelHeld)) {
		return t.loadHeld(d, errors.Is(err, errCancelHeld))
	}
	if errors.Is(err, errReplay) {
		reason := rewrite.ReasonSmall
		switch {
		case t.full:
			reason = rewrite.ReasonMemory
		case t.limited:
			reason = rewrite.ReasonLimit
		}
		t.s.srv.metrics.pass(rewrite.KindCopy, reason)
		t.rememberCopy(reason)
		return t.replay()
	}
	switch {
	case errors.Is(err, errHeldTimeout):
		return t.timeOutHeld()
	case errors.Is(err, errCancelHeld):
		// The server gets the statement, the data so far, and the cancel: it
		// takes effect when the server next looks at data, as natively.
		t.s.srv.metrics.pass(rewrite.KindCopy, rewrite.ReasonSmall)
		return t.cancelHeld()
	}
	return err
}

// lockPatience is how long a statement that does not begin may take to be on its
// way: after that it waits for something, and a cancel ends that.
const lockPatience = 500 * time.Millisecond

// cancelHeld replays a held COPY and sends the cancel when the server has begun
// it: a cancel that comes before the statement is ignored.
func (t *copyTask) cancelHeld() error {
	began := make(chan struct{})
	t.s.mu.Lock()
	t.s.copyWait = began
	t.s.mu.Unlock()
	if err := t.replay(); err != nil {
		return err
	}
	patience := time.NewTimer(lockPatience)
	defer patience.Stop()
	select {
	case <-began:
	case <-patience.C: // it waits for a lock that another session took meanwhile
	case <-t.s.ctx.Done():
		return context.Cause(t.s.ctx)
	}
	t.s.srv.forwardCancel(t.s.ctx, t.s.est)
	return nil
}

// replay sends the client's statement and the data held so far to the server.
// What follows is relayed: the server ignores COPY messages after an error.
func (t *copyTask) replay() error {
	s := t.s
	if err := t.opening().undo(); err != nil {
		return err
	}
	if t.extended() && t.held.reparse == nil {
		if err := s.restoreUnnamed(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	for _, e := range t.native.entries {
		if t.extended() {
			s.pushExtended(e, true)
		} else {
			s.queue.push(e)
		}
	}
	s.mu.Unlock()
	out := t.native.frames
	for p := t.hold; len(p) > 0; {
		n := min(len(p), maxCopyData)
		out = frame.Append(out, 'd', p[:n])
		p = p[n:]
		if len(out) >= maxCopyData {
			if err := s.writeServer(out); err != nil {
				return err
			}
			out = out[:0]
		}
	}
	t.letGo()
	if n := s.clientSkip; n > 0 {
		// A CopyData is cut: what is still to come of it needs a header.
		out = frame.AppendHead(out, 'd', n)
	}
	if len(out) == 0 {
		return nil
	}
	return s.writeServer(out)
}

// timeOutHeld ends a COPY whose data is still held when its statement_timeout
// has passed.
func (t *copyTask) timeOutHeld() error {
	in := t.s.inject()
	err := bulk.TimeOut(t.s.ctx, in)
	e := pgerr.As(err)
	if e != nil && !e.IsFatal() && !t.inBlock {
		_, err = in.Exec(t.s.ctx, bulk.UndoOpen(false))
	}
	in.release()
	if e == nil || t.s.ctx.Err() != nil {
		return err
	}
	return t.replyError(e)
}

// endLoad ends a COPY that was staged. err is nil when the client's data ended
// with a frame, else why receiving ended.
func (t *copyTask) endLoad(end bulk.Frame, err error) error {
	s := t.s
	var rows int64
	switch {
	case err == nil && s.ctx.Err() == nil:
		rows, err = t.load.Finish(s.ctx, end)
	case err != nil && s.ctx.Err() == nil && pgerr.As(err) != nil:
		err = t.load.Fail(s.ctx, err)
	default:
		// The client or the server is gone: the server rolls back. What it
		// still answers to statements of ours is nobody's.
		t.load.Abort()
		s.end(err)
	}
	s.clearLoad()
	t.in.release()
	if err == nil {
		s.keepUnsettled(t.load)
	}
	e := pgerr.As(err)
	switch {
	case s.ctx.Err() != nil || errors.Is(err, bulk.ErrSessionLost):
		if e != nil && !e.IsFatal() {
			_ = s.writeClient(errorFrame(nil, e)) // the last words before the server's
		}
		return errors.Join(context.Cause(s.ctx), err)
	case e != nil:
		return t.replyError(e)
	case err != nil:
		return err
	}
	return t.replySuccess(rows)
}

func (t *copyTask) replySuccess(rows int64) error {
	out := frame.AppendString(nil, 'C', fmt.Sprintf("COPY %d", rows))
	if t.extended() {
		t.s.unsynced, t.s.executed, t.s.pipe = true, true, pipeline{}
		t.s.commitSync = t.load.CommitLater()
		if err := t.s.writeClient(out); err != nil {
			return err
		}
		return t.reparse(true)
	}
	out = append(out, t.s.takePending()...)
	return t.s.writeClient(readyFrame(out, t.s.txStatus()))
}

// reparse restores the unnamed prepared statement, which the proxy's own
// queries have replaced: the client may bind it again. unsynced says that the
// client's Sync is still to come.
func (t *copyTask) reparse(unsynced bool) error {
	s := t.s
	if s.txStatus() == 'E' {
		return nil
	}
	if t.held.reparse == nil { // the COPY is a named one
		s.mu.Lock()
		if unsynced && s.commitSync {
			s.reparse = s.statements.reparse()
		}
		s.mu.Unlock()
		return s.restoreUnnamed()
	}
	s.mu.Lock()
	s.queue.push(entParse | hideReplies)
	s.mu.Unlock()
	if unsynced && s.commitSync {
		s.reparse = t.held.reparse
	}
	return s.writeServer(t.held.reparse)
}

// replyError answers with an error. In the extended protocol the client's
// messages up to its Sync are then skipped, as the server would.
func (t *copyTask) replyError(e *pgerr.Error) error {
	out := errorFrame(t.bindReplies(nil), e)
	if !t.extended() {
		out = append(out, t.s.takePending()...)
		out = readyFrame(out, t.s.txStatus())
	}
	if err := t.s.writeClient(out); err != nil {
		return err
	}
	t.s.clearLoad()
	if err := t.s.skipBody(); err != nil || !t.extended() {
		return err
	}
	if err := t.reparse(false); err != nil {
		return err
	}
	return t.s.discardToSync()
}

// skipBody drops the rest of a CopyData frame whose header is consumed.
func (s *session) skipBody() error {
	n := s.clientSkip
	s.clientSkip = 0
	return s.copyBody(n, nil)
}

// setLoad makes a load known to CancelRequests.
func (s *session) setLoad(l cancelable) {
	s.mu.Lock()
	s.load = l
	s.interrupted = nil
	s.mu.Unlock()
}

func (s *session) clearLoad() {
	s.mu.Lock()
	s.load = nil
	s.interrupted = nil
	if s.ctx.Err() == nil {
		_ = s.client.SetReadDeadline(time.Time{})
	}
	s.mu.Unlock()
}

// armKeepAlive sets the read deadline for the next keep-alive, unless the load
// was interrupted already.
func (s *session) armKeepAlive(t *copyTask) {
	at := t.nextAlive()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !at.IsZero() && s.interrupted == nil && s.ctx.Err() == nil {
		_ = s.client.SetReadDeadline(at)
	}
}

// disarm clears a read deadline that armKeepAlive has set.
func (s *session) disarm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.interrupted == nil && s.ctx.Err() == nil {
		_ = s.client.SetReadDeadline(time.Time{})
	}
}

// errCancelHeld: a CancelRequest came while data was held.
var errCancelHeld = errors.New("canceled while data is held")

// interrupt makes the client pump stop reading and end the load with err. It
// may be called from any goroutine, and does nothing when t is over.
func (s *session) interrupt(t *copyTask, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load != cancelable(t) {
		return // it is over, and another may have begun
	}
	if s.interrupted == nil {
		s.interrupted = err
	}
	_ = s.client.SetReadDeadline(time.Unix(1, 0))
}

// interruption returns why the load was interrupted, or nil. It clears the
// read deadline, so that the client can be read further.
func (s *session) interruption() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.interrupted == nil {
		return nil
	}
	if s.ctx.Err() == nil {
		_ = s.client.SetReadDeadline(time.Time{})
	}
	err := s.interrupted
	s.interrupted = nil
	return err
}

// Cancel implements cancelable: a CancelRequest came.
func (t *copyTask) Cancel() {
	t.s.mu.Lock()
	l, beginning := t.load, t.beginning
	t.early = t.early || beginning
	t.s.mu.Unlock()
	switch {
	case l != nil:
		l.Cancel()
		return
	case beginning:
		t.s.srv.forwardCancel(t.s.ctx, t.s.est)
		return
	}
	t.s.interrupt(t, errCancelHeld)
}

func (s *session) keepUnsettled(l *bulk.Load) {
	if !l.Pending() {
		return
	}
	s.mu.Lock()
	s.unsettled = append(s.unsettled, l)
	s.mu.Unlock()
}
