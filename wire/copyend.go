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
func (t *copyTask) endHeld(err error) error {
	if errors.Is(err, frame.ErrLength) {
		err = errReplay // the server says what it thinks of it
	}
	if errors.Is(err, errReplay) {
		t.s.srv.metrics.pass(rewrite.KindCopy, rewrite.ReasonSmall)
		return t.replay()
	}
	if e := pgerr.As(err); e != nil && t.s.ctx.Err() == nil {
		return t.cancelHeld(e)
	}
	return err
}

// replay sends the client's statement and the data held so far to the server.
// What follows is relayed: the server ignores COPY messages after an error.
func (t *copyTask) replay() error {
	s := t.s
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
	}
	t.hold = nil
	if n := s.clientSkip; n > 0 {
		// A CopyData is cut: what is still to come of it needs a header.
		out = frame.AppendHead(out, 'd', n)
	}
	return s.writeServer(out)
}

// cancelHeld ends a COPY whose data is still held with an error of the proxy's
// own, such as a cancel: the transaction, if there is one, must fail with it.
func (t *copyTask) cancelHeld(e *pgerr.Error) error {
	if t.s.txStatus() == 'T' {
		in := t.s.inject()
		err := bulk.FailTransaction(t.s.ctx, in)
		in.release()
		if err != nil {
			return err
		}
	}
	return t.replyError(e)
}

// endLoad ends a COPY that was staged. err is nil when the client's data ended
// with a frame, else why receiving ended.
func (t *copyTask) endLoad(end bulk.Frame, err error) error {
	s := t.s
	if s.ctx.Err() != nil || (err != nil && pgerr.As(err) == nil) {
		// The client or the server is gone: the server rolls back.
		t.load.Abort()
		t.in.release()
		if err == nil {
			err = context.Cause(s.ctx)
		}
		return err
	}
	var rows int64
	if err == nil {
		rows, err = t.load.Finish(s.ctx, end)
	} else {
		err = t.load.Fail(s.ctx, err)
	}
	t.in.release()
	if err != nil {
		e := pgerr.As(err)
		if e == nil {
			return err
		}
		if t.load.Pending() {
			s.keepUnsettled(t.load)
		}
		return t.replyError(e)
	}
	s.keepUnsettled(t.load)
	return t.replySuccess(rows)
}

func (t *copyTask) replySuccess(rows int64) error {
	out := frame.AppendString(nil, 'C', fmt.Sprintf("COPY %d", rows))
	if t.extended() {
		t.s.unsynced, t.s.executed = true, true
		t.s.commitSync = t.s.txStatus() == 'T' && t.load.CommitLater()
		return t.s.writeClient(out)
	}
	return t.s.writeClient(readyFrame(out, t.s.txStatus()))
}

// replyError answers with an error. In the extended protocol the client's
// messages up to its Sync are then skipped, as the server would.
func (t *copyTask) replyError(e *pgerr.Error) error {
	out := errorFrame(nil, e)
	if !t.extended() {
		out = readyFrame(out, t.s.txStatus())
	}
	if err := t.s.writeClient(out); err != nil {
		return err
	}
	t.s.clearLoad()
	if err := t.s.skipBody(); err != nil || !t.extended() {
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

// setLoad makes the task known to CancelRequests.
func (s *session) setLoad(t *copyTask) {
	s.mu.Lock()
	s.load = t
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

// interrupt makes the client pump stop reading and end the load with e. It may
// be called from any goroutine, and does nothing when t is over.
func (s *session) interrupt(t *copyTask, e *pgerr.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load != cancelable(t) {
		return // it is over, and another may have begun
	}
	if s.interrupted == nil {
		s.interrupted = e
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
	_ = s.client.SetReadDeadline(time.Time{})
	return s.interrupted
}

// Cancel implements cancelable: a CancelRequest came.
func (t *copyTask) Cancel(cause *pgerr.Error) {
	t.s.mu.Lock()
	l := t.load
	t.s.mu.Unlock()
	if l != nil {
		l.Cancel(cause)
		return
	}
	t.s.interrupt(t, cause)
}

func (s *session) keepUnsettled(l *bulk.Load) {
	if !l.Pending() {
		return
	}
	s.mu.Lock()
	s.unsettled = append(s.unsettled, l)
	s.mu.Unlock()
}
