package wire

import (
	"fmt"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// coalesced is the decision on the INSERTs of a run.
var coalesced = rewrite.Decision{Way: rewrite.Stream, Method: rewrite.MethodRows, Reason: rewrite.ReasonCoalesced}

// endRun sends the rows, before the message at the front of the buffer is looked
// at: that gets their error, if there is one. A ROLLBACK, and a client that leaves,
// need no rows.
func (s *session) endRun() error {
	r := s.inserts
	s.inserts = nil
	defer r.drop()
	s.coal.ended(r.inserts)
	typ, exit, err := s.exitAtFront()
	if err != nil {
		return err
	}
	if typ == 'X' || typ == 'Q' && exit == rewrite.ExitRollback {
		return nil
	}
	failed, err := r.flush()
	if err != nil || failed == nil {
		return err
	}
	s.coal.tire(nil)
	if typ == 'P' && exit == rewrite.ExitRollback {
		return nil // the server takes it in a failed transaction
	}
	if exit == rewrite.ExitCommit {
		in := s.inject()
		_, err := in.Exec(s.ctx, "ROLLBACK")
		in.release()
		if err != nil {
			return err
		}
	}
	return s.failAtFront(failed)
}

// dropRun forgets a run whose session ends.
func (s *session) dropRun() {
	if s.inserts != nil {
		s.inserts.drop()
		s.inserts = nil
	}
}

// drop gives the run's memory back.
func (r *run) drop() {
	r.s.srv.loader.Memory().Return(r.reserved)
	r.reserved, r.kept = 0, nil
	if r.out != nil {
		r.s.giveBuffer(r.out)
		r.out = nil
	}
}

// maxExit is how far into a statement its words are looked for.
const maxExit = 256

// exitAtFront says what message stands at the front of the buffer, and whether its
// statement ends the transaction.
func (s *session) exitAtFront() (typ byte, exit rewrite.Exit, err error) {
	if err := s.cr.Need(frame.HeaderLen); err != nil {
		return 0, exit, err
	}
	typ, n, err := frame.Head(s.cr.Buffered())
	if err != nil || typ != 'Q' && typ != 'P' {
		return typ, exit, nil
	}
	n = min(n, maxExit)
	if err := s.cr.Need(frame.HeaderLen + n); err != nil {
		return typ, exit, err
	}
	text := s.cr.Buffered()[frame.HeaderLen : frame.HeaderLen+n]
	if typ == 'P' {
		_, text, _ = frame.CString(text)
	}
	sql, _, complete := frame.CString(text)
	if !complete {
		sql = text
	}
	return typ, rewrite.ExitOf(sql, complete), nil
}

// flush sends the rows. failed is the error that the INSERTs have natively, or that
// of a cancel; the client's transaction block has failed then.
func (r *run) flush() (failed *pgerr.Error, err error) {
	s := r.s
	frame.SetLen(r.out[r.data:])
	stmt := *r.stmt
	stmt.Rows = r.rows
	t := &insertTask{s: s, stmt: &stmt, insp: r.insp, inBlock: true, batch: &batch{binds: 1}, ready: 1, main: 1}
	t.out = t.appendReparse(frame.Append(r.out, 'c', nil))
	r.out = nil // it is given back when it is sent
	err = t.send()
	e := pgerr.As(err)
	switch {
	case err == nil:
		s.srv.metrics.add(rewrite.KindInsert, coalesced, r.inserts)
		if len(t.kept) > 0 {
			err = s.writeClient(t.kept)
		}
		return nil, err
	case e == nil || s.ctx.Err() != nil:
		return nil, err
	}
	s.last = nil
	s.srv.metrics.add(rewrite.KindInsert, rewrite.Decision{Way: rewrite.Pass, Reason: rewrite.ReasonNativeReplay}, r.inserts)
	if isWaitError(e) {
		return e.With('W', withoutCopy(e.Get('W'))).With('P', ""), nil
	}
	s.log.Debug("coalesced INSERTs failed, running them natively", "sqlstate", e.Code(), "error", e.Get('M'))
	return r.replay()
}

// replayed is how many INSERTs are sent natively at a time: their answers must not
// fill what lies between the server and us while we write.
const replayed = 16

// replay runs the client's own messages, up to the first error. Its position is
// dropped, since the message that gets it is another one.
func (r *run) replay() (failed *pgerr.Error, err error) {
	s := r.s
	in := s.inject()
	defer in.release()
	if _, err := in.Exec(s.ctx, s.leave(rollbackInsert)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	out := s.statements.reparse()
	s.mu.Unlock()
	for left := r.kept; len(left) > 0 && failed == nil; out = out[:0] {
		ready := 0
		for ; ready < replayed && len(left) > 0; ready++ {
			n := r.insertSize(left)
			out, left = append(out, left[:n]...), left[n:]
		}
		if r.batch != nil {
			out, ready = frame.Append(out, 'S', nil), 1
		}
		if err := s.writeServer(out); err != nil {
			return nil, fmt.Errorf("write to server: %w", err)
		}
		if failed, err = r.outcome(in, ready); err != nil {
			return nil, err
		}
	}
	return failed, nil
}

// insertSize returns the length of the messages of the first INSERT that was kept.
func (r *run) insertSize(kept []byte) int {
	f, _ := frameAt(kept)
	n := len(f.raw())
	if r.batch != nil {
		f, _ = frameAt(kept[n:])
		n += len(f.raw())
	}
	return n
}

// outcome reads as many ReadyForQuerys, and returns the first error before them.
func (r *run) outcome(in *injector, ready int) (failed *pgerr.Error, err error) {
	s := r.s
	for ready > 0 {
		f, err := in.next(s.ctx)
		if err != nil {
			return nil, err
		}
		switch f.typ {
		case 'E':
			if failed == nil {
				failed = pgerr.Parse(f.body).With('P', "")
			}
		case 'N':
			if err := s.writeClient(frame.Append(nil, 'N', f.body)); err != nil {
				return nil, err
			}
		case 'Z':
			s.ready(f.body)
			ready--
		}
	}
	return failed, nil
}

// failAtFront answers the message at the front of the buffer with an error, as the
// server would.
func (s *session) failAtFront(e *pgerr.Error) error {
	s.last = nil
	if err := s.cr.Need(frame.HeaderLen); err != nil {
		return err
	}
	typ, n, err := frame.Head(s.cr.Buffered())
	if err != nil {
		return s.relayRaw()
	}
	out := append(errorFrame(nil, e), s.takePending()...)
	switch typ {
	case 'Q', 'F':
		if typ == 'Q' {
			s.mu.Lock()
			s.statements.forget(nil) // a Query drops the unnamed statement
			s.mu.Unlock()
		}
		s.cr.Discard(frame.HeaderLen)
		if err := s.copyBody(n, nil); err != nil {
			return err
		}
		return s.writeClient(readyFrame(out, s.txStatus()))
	case 'P', 'B', 'D', 'E', 'C':
		if err := s.writeClient(out); err != nil {
			return err
		}
		return s.discardToSync()
	}
	return s.writeClient(out) // nothing that the server would answer
}
