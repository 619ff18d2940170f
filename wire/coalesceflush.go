package wire

import (
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// coalesced is the decision on the INSERTs of a run.
var coalesced = rewrite.Decision{Way: rewrite.Stream, Method: rewrite.MethodRows, Reason: rewrite.ReasonCoalesced}

// sentRows are rows of a run that the server was sent and has not answered. The
// server pump hands its answers to in, so the session stays on the ground.
type sentRows struct {
	t  *insertTask
	in *injector
	// What is needed to run them natively.
	kept     []byte
	inserts  int
	reserved int64
}

// endRun sends the rows, before the message at the front of the buffer is looked
// at: that gets their error, if there is one. A ROLLBACK, and a client that leaves,
// need no rows.
func (s *session) endRun() error {
	r := s.inserts
	s.inserts = nil
	defer r.drop()
	typ, exit, err := s.exitAtFront()
	if err != nil {
		return err
	}
	if typ == 'X' || typ == 'Q' && exit == rewrite.ExitRollback {
		s.coal.ended(r.inserts)
		return r.await()
	}
	failed, err := r.settle()
	if err == nil && failed == nil && r.inserts > 0 {
		if err = r.send(); err == nil {
			failed, err = r.settle()
		}
	}
	if err != nil || failed == nil {
		return err
	}
	return s.failRun(failed, typ, exit)
}

// sendAhead sends the rows of a run that goes on. What was sent before must have
// arrived: the message at the front of the buffer gets its error.
func (s *session) sendAhead() error {
	r := s.inserts
	failed, err := r.settle()
	if err == nil && failed == nil {
		if err = r.send(); err == nil {
			r.begin()
		}
	}
	if err != nil || failed == nil {
		return err
	}
	s.inserts = nil
	defer r.drop()
	typ, exit, err := s.exitAtFront()
	if err != nil {
		return err
	}
	return s.failRun(failed, typ, exit)
}

// failRun answers the message at the front of the buffer with the run's error.
func (s *session) failRun(failed *pgerr.Error, typ byte, exit rewrite.Exit) error {
	s.coal.tire(nil)
	if exit == rewrite.ExitRollback && (typ == 'P' || typ == 'Q') {
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
	r.dropSent()
	r.s.srv.loader.Memory().Return(r.reserved)
	r.s.srv.buffers.Give(r.kept)
	r.reserved, r.kept = 0, nil
	if r.out != nil {
		r.s.giveBuffer(r.out)
		r.out = nil
	}
}

// dropSent gives back what sent rows hold. Their injector is released by who has
// seen all answers: else they would go to the client.
func (r *run) dropSent() {
	if w := r.sent; w != nil {
		r.s.srv.loader.Memory().Return(w.reserved)
		r.s.srv.buffers.Give(w.kept)
		r.sent = nil
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

// begin makes room for rows.
func (r *run) begin() {
	r.out = frame.AppendString(r.s.takeBuffer(), 'Q', r.sql)
	r.data = len(r.out)
	r.out = frame.AppendHead(r.out, 'd', 0)
	r.began = time.Now()
}

// send writes the rows to the server, and leaves the run without any.
func (r *run) send() error {
	s := r.s
	if r.inserts > 0 {
		s.coal.ended(r.inserts)
	}
	frame.SetLen(r.out[r.data:])
	stmt := *r.stmt
	stmt.Rows = r.rows
	t := &insertTask{s: s, stmt: &stmt, insp: r.insp, inBlock: true, batch: &batch{binds: 1}, ready: 1, main: 1}
	t.out = t.appendReparse(frame.Append(r.out, 'c', nil))
	r.sent = &sentRows{t: t, in: s.inject(), kept: r.kept, inserts: r.inserts, reserved: r.reserved}
	r.out, r.kept, r.rows, r.inserts, r.reserved = nil, nil, 0, 0, 0
	err := s.writeServer(t.out)
	s.giveBuffer(t.out)
	t.out = nil
	if err != nil {
		return fmt.Errorf("write to server: %w", err)
	}
	return nil
}

// poll takes the answers to sent rows that are there. Where all are and are good,
// the session may take off again; else settle goes on.
func (r *run) poll() error {
	for w := r.sent; w != nil && w.t.ready > 0; {
		select {
		case f := <-w.in.c.frames:
			w.t.note(f.typ, f.body)
		default:
			return nil
		}
	}
	if r.sent == nil || r.sent.t.check() != nil {
		return nil
	}
	_, err := r.settle()
	return err
}

// await waits for the answers to sent rows, whatever they are.
func (r *run) await() error {
	if r.sent == nil {
		return nil
	}
	err := r.sent.t.collect(r.sent.in)
	if err != nil && (pgerr.As(err) == nil || r.s.ctx.Err() != nil) {
		return err
	}
	r.sent.in.release()
	return nil
}

// settle waits for the answers to sent rows. failed is the error that the INSERTs
// have natively, or that of a cancel; the client's transaction block has failed then.
func (r *run) settle() (failed *pgerr.Error, err error) {
	w, s := r.sent, r.s
	if w == nil {
		return nil, nil
	}
	defer r.dropSent()
	err = w.t.collect(w.in)
	e := pgerr.As(err)
	if err != nil && (e == nil || s.ctx.Err() != nil) {
		return nil, err
	}
	w.in.release()
	if err == nil {
		s.srv.metrics.add(rewrite.KindInsert, coalesced, w.inserts)
		if len(w.t.kept) > 0 {
			err = s.writeClient(w.t.kept)
		}
		return nil, err
	}
	s.last = nil
	s.srv.metrics.add(rewrite.KindInsert, rewrite.Decision{Way: rewrite.Pass, Reason: rewrite.ReasonNativeReplay}, w.inserts)
	if isWaitError(e) {
		return e.With('W', withoutCopy(e.Get('W'))).With('P', ""), nil
	}
	s.log.Debug("coalesced INSERTs failed, running them natively", "sqlstate", e.Code(), "error", e.Get('M'))
	return r.replay(w.kept)
}

// replayed is how many INSERTs are sent natively at a time: their answers must not
// fill what lies between the server and us while we write.
const replayed = 16

// replay runs the client's own messages, up to the first error. Its position is
// dropped, since the message that gets it is another one.
func (r *run) replay(kept []byte) (failed *pgerr.Error, err error) {
	s := r.s
	in := s.inject()
	defer in.release()
	if _, err := in.Exec(s.ctx, s.leave(rollbackInsert)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	out := s.statements.reparse()
	s.mu.Unlock()
	for left := kept; len(left) > 0 && failed == nil; out = out[:0] {
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
