package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// copyTask is one COPY … FROM STDIN that the proxy takes over. It runs on the
// client pump, step by step:
//
//	decide   inspect and classify, nothing is answered yet
//	run      CopyInResponse to the client
//	hold     keep the data until it ends or reaches the threshold
//	         → replay: the client's statement goes to the server, the data kept
//	           so far behind it, and relaying goes on
//	stage    the data goes to a bulk.Load
//	finish   the load's outcome becomes the reply
type copyTask struct {
	s      *session
	stmt   *rewrite.CopyStatement
	insp   *rewrite.Inspection
	row    string    // that insp was read from
	held   *heldBind // nil in the simple protocol
	native nativeRun
	began  time.Time

	hold []byte
	load *bulk.Load // guarded by s.mu where Cancel reads it
	in   *injector  // the load's
}

func (t *copyTask) extended() bool { return t.held != nil }

// decide runs the inspection on the client's session and classifies. An error
// of type *pgerr.Error is one that the client's statement must fail with.
func (t *copyTask) decide() (rewrite.Decision, error) {
	t.began = time.Now()
	in := t.s.inject()
	defer in.release()
	row, err := t.inspect(in)
	if err != nil {
		return rewrite.Decision{}, err
	}
	if row == "" {
		return rewrite.Decision{Way: rewrite.Pass, Reason: rewrite.ReasonInspectFailed}, nil
	}
	t.insp, err = rewrite.ParseInspection(row)
	if err != nil {
		t.s.log.Warn("inspection is unreadable, relaying", "error", err)
		return rewrite.Decision{Way: rewrite.Pass, Reason: rewrite.ReasonInspectFailed}, nil
	}
	t.row = row
	return t.s.srv.loader.Decide(t.s.ctx, t.stmt, t.insp, t.s.txStatus() == 'T'), nil
}

// inspect returns the inspection's row, or "" where the server does not know
// how to answer it. Inside a transaction block a savepoint keeps such a failure
// from the client's transaction. A cancel is the client's own.
func (t *copyTask) inspect(in *injector) (string, error) {
	sql := t.stmt.InspectSQL()
	inBlock := t.s.txStatus() == 'T'
	if inBlock {
		sql = "SAVEPOINT pgbulkproxy_inspect; " + sql + "; RELEASE SAVEPOINT pgbulkproxy_inspect"
	}
	results, err := in.Exec(t.s.ctx, sql)
	if e := pgerr.As(err); e != nil {
		if e.Code() == pgerr.QueryCanceled {
			return "", e
		}
		t.s.log.Warn("inspection failed, relaying", "sqlstate", e.Code(), "error", e.Get('M'))
		if inBlock {
			_, err = in.Exec(t.s.ctx, "ROLLBACK TO SAVEPOINT pgbulkproxy_inspect; RELEASE SAVEPOINT pgbulkproxy_inspect")
			return "", err
		}
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for _, r := range results {
		if len(r.Rows) == 1 && len(r.Rows[0]) == 1 {
			return string(r.Rows[0][0]), nil
		}
	}
	return "", nil
}

// failDecision ends the statement with an error that came before its
// CopyInResponse. size is the length of the client's frame, which is consumed.
func (t *copyTask) failDecision(err error, size int) error {
	e := pgerr.As(err)
	if e == nil || t.s.ctx.Err() != nil {
		return err
	}
	t.s.cr.Discard(size)
	return t.replyError(e)
}

// refuse answers a statement that asks for something we don't have yet.
func (t *copyTask) refuse(refusal *rewrite.Refusal, reason rewrite.Reason) error {
	t.s.srv.metrics.count(rewrite.KindCopy, rewrite.Decision{Way: rewrite.Refuse, Reason: reason})
	if t.s.txStatus() == 'T' {
		in := t.s.inject()
		err := bulk.FailTransaction(t.s.ctx, in)
		in.release()
		if err != nil {
			return err
		}
	}
	return t.replyError(refusal.ErrorResponse())
}

// run takes the statement over; d is stage or refuse.
func (t *copyTask) run(d rewrite.Decision) error {
	if d.Way == rewrite.Refuse {
		return t.refuse(d.Refusal, d.Reason)
	}
	if err := t.s.writeClient(t.copyInResponse()); err != nil {
		return err
	}
	t.s.setLoad(t)
	defer t.s.clearLoad()
	end, err := t.receive(d)
	if t.load == nil {
		return t.endHeld(err)
	}
	return t.endLoad(end, err)
}

// copyInResponse is what the client gets to hear at once: in the extended
// protocol also the answers to its Bind and Describe.
func (t *copyTask) copyInResponse() []byte {
	var out []byte
	if t.extended() {
		out = frame.Append(out, '2', nil)
		if len(t.held.kinds) > 1 {
			out = frame.Append(out, 'n', nil)
		}
	}
	var format byte
	if t.stmt.Format == rewrite.FormatBinary {
		format = 1
	}
	body := []byte{format}
	body = binary.BigEndian.AppendUint16(body, uint16(len(t.insp.Columns)))
	for range t.insp.Columns {
		body = append(body, 0, format)
	}
	return frame.Append(out, 'G', body)
}

// errReplay ends receive when the statement goes to the server natively.
var errReplay = errors.New("replay natively")

// receive takes the client's messages until the COPY data ends. It returns the
// frame that ended it, consumed from the buffer; in the holding phase that
// frame is left there and errReplay returned.
func (t *copyTask) receive(d rewrite.Decision) (bulk.Frame, error) {
	s := t.s
	for {
		data, used, other, bad := gather(s.cr.Buffered(), &s.clientSkip)
		s.cr.Discard(used) // data stays valid until the next fill
		if len(data) > 0 {
			if err := t.data(data, d); err != nil {
				return bulk.Frame{}, err
			}
		}
		if bad != nil {
			return bulk.Frame{}, bad
		}
		if !other {
			if err := t.fill(); err != nil {
				return bulk.Frame{}, err
			}
			continue
		}
		typ := s.cr.Buffered()[0]
		if typ == 'H' || typ == 'S' {
			// The server ignores both in copy-in mode.
			if err := s.dropFrame(); err != nil {
				return bulk.Frame{}, err
			}
			continue
		}
		if t.load == nil {
			return bulk.Frame{}, errReplay
		}
		_, body, raw, err := s.peekFrame(s.srv.cfg.MaxStatement)
		if err != nil {
			return bulk.Frame{}, err
		}
		end := bulk.Frame{Type: typ, Body: append([]byte(nil), body...)}
		s.cr.Discard(len(raw))
		return end, nil
	}
}

// gather moves the bodies of the CopyData frames at the start of p together, in
// place, so that many small messages become one piece of data. It returns the
// data, the bytes of p that are done with, and whether a frame of another kind
// stands behind them. skip carries a body that goes on in later bytes.
func gather(p []byte, skip *int) (data []byte, used int, other bool, err error) {
	w, i := 0, 0
	for i < len(p) {
		if *skip == 0 {
			if len(p)-i < frame.HeaderLen {
				break
			}
			if p[i] != 'd' {
				return p[:w], i, true, nil
			}
			_, n, err := frame.Head(p[i:])
			if err != nil {
				return p[:w], i, false, err
			}
			*skip = n
			i += frame.HeaderLen
		}
		n := min(*skip, len(p)-i)
		if w != i {
			copy(p[w:], p[i:i+n])
		}
		w += n
		i += n
		*skip -= n
	}
	return p[:w], i, false, nil
}

// dropFrame consumes the frame at the front of the client's buffer.
func (s *session) dropFrame() error {
	_, n, err := frame.Head(s.cr.Buffered())
	if err != nil {
		return err
	}
	s.cr.Discard(frame.HeaderLen)
	return s.copyBody(n, nil)
}

// fill reads from the client. A load that failed or was cancelled interrupts
// the read; then the reason is returned.
func (t *copyTask) fill() error {
	err := t.s.cr.Fill()
	if err == nil {
		return nil
	}
	if t.s.ctx.Err() != nil {
		return context.Cause(t.s.ctx)
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		if e := t.s.interruption(); e != nil {
			return e
		}
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// data takes a piece of COPY data: held first, staged from the threshold on.
func (t *copyTask) data(p []byte, d rewrite.Decision) error {
	if t.load != nil {
		return t.load.Write(p)
	}
	if int64(len(t.hold)+len(p)) < t.s.srv.cfg.StageMinBytes {
		t.hold = append(t.hold, p...)
		return nil
	}
	if err := t.begin(d); err != nil {
		t.hold = append(t.hold, p...)
		return err
	}
	hold := t.hold
	t.hold = nil
	if err := t.load.Write(hold); err != nil {
		return err
	}
	return t.load.Write(p)
}

// begin starts the load. Where it can't be started nothing has changed on the
// session, and errReplay is returned.
func (t *copyTask) begin(d rewrite.Decision) error {
	in := t.s.inject()
	load, err := t.s.srv.loader.Begin(t.s.ctx, t.spec(d), in)
	if err != nil {
		in.release()
		if t.s.ctx.Err() != nil {
			return err
		}
		t.s.log.Info("load was not begun, relaying", "error", err)
		return errReplay
	}
	t.s.mu.Lock()
	t.load, t.in = load, in
	t.s.mu.Unlock()
	t.s.srv.metrics.count(rewrite.KindCopy, d)
	return nil
}

func (t *copyTask) spec(d rewrite.Decision) bulk.Spec {
	inBlock := t.s.txStatus() == 'T'
	return bulk.Spec{
		Statement: t.stmt, Inspection: t.insp, InspectionRow: t.row, Decision: d,
		Started: t.began, InBlock: inBlock, CommitLater: t.extended() && !inBlock,
		Session: t.s.id, Interrupt: func(e *pgerr.Error) { t.s.interrupt(t, e) },
	}
}
