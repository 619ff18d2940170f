package wire

import (
	"encoding/binary"
	"errors"
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
//	run      CopyInResponse to the client; a statement with extensions goes to
//	         stage at once
//	hold     keep the data until it ends or reaches the threshold
//	         → replay: the client's statement goes to the server, the data kept
//	           so far behind it, and relaying goes on
//	stage    the data goes to a bulk.Load
//	finish   the load's outcome becomes the reply
type copyTask struct {
	s       *session
	stmt    *rewrite.CopyStatement
	insp    *rewrite.Inspection
	inBlock bool      // the client is inside a transaction block of its own
	held    *heldBind // nil in the simple protocol
	bound   bool      // held is answered
	native  nativeRun
	began   time.Time
	alive   time.Time // when the session last ran a statement
	// passed: natively it would have been relayed; large: it has reached the
	// threshold; refused: its load could not begin, and it is not to be relayed. For
	// routed tables (copyrouted.go), and where the client's block has failed.
	passed, large, refused bool
	// full: the memory budget had no room to hold it.
	full bool
	// limited: as many loads run as may.
	limited bool

	hold     []byte
	reserved int64      // of the memory budget, for hold
	load     *bulk.Load // guarded by s.mu where Cancel reads it
	in       *injector  // the load's
	// beginning: the load is not there yet, but may wait for something; early: a
	// cancel came meanwhile. Guarded by s.mu.
	beginning, early bool
}

func (t *copyTask) extended() bool { return t.held != nil }

// decide inspects the table and classifies. Where the decision is not to stage,
// the session is as it was, but for an undo that goes out with the next write.
// An error of type *pgerr.Error is one that the client's statement must fail
// with.
func (t *copyTask) decide() (rewrite.Decision, error) {
	t.began = time.Now()
	t.inBlock = t.s.txStatus() == 'T'
	o := t.opening()
	insp, err := o.run()
	t.alive = time.Now()
	if err != nil {
		return rewrite.Decision{}, err
	}
	if insp == nil {
		return t.uninspected(o)
	}
	if t.insp, err = t.detail(insp); err != nil {
		return rewrite.Decision{}, err
	}
	if err := t.enter(); err != nil {
		return rewrite.Decision{}, err
	}
	d := t.s.srv.loader.Decide(t.s.ctx, t.stmt, t.insp, t.inBlock)
	switch {
	case d.Way != rewrite.Pass:
		return d, nil
	case t.bracketed():
		return t.passBracketed(d)
	}
	return d, o.undo()
}

// uninspected decides where the inspection has found nothing, or has failed.
func (t *copyTask) uninspected(o *opening) (rewrite.Decision, error) {
	d := t.stmt.RefuseAsked(rewrite.ReasonInspectFailed)
	if d.Refusal != nil && o.failed != nil {
		d.Refusal.Answer = o.failed.With('P', "") // a position in our text
	}
	if d.Way != rewrite.Pass {
		return d, nil
	}
	if o.failed != nil && o.failed.Code() == pgerr.InsufficientPrivilege {
		if insp, err := t.s.routedUnlocked(o.inspect); err != nil || insp != nil {
			return t.stmt.Refused(rewrite.RefuseRouted(rewrite.ReasonColumnPrivileges), rewrite.ReasonColumnPrivileges), err
		}
	}
	refusal, err := t.s.askSettings(d.Reason)
	if err != nil || refusal == nil {
		return d, err
	}
	return t.stmt.Refused(refusal, d.Reason), nil
}

func (t *copyTask) opening() *opening {
	return &opening{
		s: t.s, schema: t.stmt.Schema, table: t.stmt.Table, inspect: t.stmt.InspectSQL(t.s.dialect()), inBlock: t.inBlock,
		alone: t.stmt.Ext.LocksFirst(t.s.dialect()), freeze: t.stmt.Freeze,
	}
}

// detail inspects once more where a setting asks for it.
func (t *copyTask) detail(insp *rewrite.Inspection) (*rewrite.Inspection, error) {
	sql := t.stmt.DetailSQL(insp)
	if sql == "" {
		return insp, nil
	}
	alone := insp.Dialect() != rewrite.Current
	if alone {
		sql = bulk.OpenAgain(bulk.LockAlone(t.stmt.Schema, t.stmt.Table), sql, t.inBlock)
	}
	in := t.s.inject()
	defer in.release()
	results, err := in.Exec(t.s.ctx, sql)
	if e := pgerr.As(err); e != nil && alone && !e.IsFatal() {
		if !t.inBlock { // else the client's block has failed
			if _, uerr := in.Exec(t.s.ctx, bulk.UndoFailedOpen(false, "")); uerr != nil {
				return nil, uerr
			}
		}
		return nil, e.With('P', "") // a position in our text
	}
	if err != nil {
		return nil, err
	}
	row := ""
	for _, r := range results {
		if len(r.Rows) == 1 && len(r.Rows[0]) == 1 {
			row = string(r.Rows[0][0])
		}
	}
	if row == "" {
		return nil, errNoInspection
	}
	if insp, err = rewrite.ParseInspection(row); err != nil {
		return nil, err
	}
	return insp, t.s.inspectRouting(in, insp)
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

// run takes the statement over; d is stage or refuse.
func (t *copyTask) run(d rewrite.Decision) error {
	if d.Way == rewrite.Refuse {
		return t.refuse(d.Refusal, d.Reason)
	}
	if d.Ext.Asked() {
		// It never goes to the server as it is, so there is nothing to hold. Until
		// the load has begun a cancel is for the server.
		if err := t.begin(d); err != nil {
			return t.failBegin(err)
		}
	}
	t.s.setLoad(t) // before the client knows that there is something to cancel
	defer t.s.clearLoad()
	defer t.letGo()
	if err := t.s.writeClient(t.copyInResponse(len(d.Ext.DataColumns(t.insp)))); err != nil {
		if t.load != nil {
			return t.endLoad(bulk.Frame{}, err)
		}
		return err
	}
	end, err := t.receive(d)
	if t.load == nil {
		return t.endHeld(d, err)
	}
	return t.endLoad(end, err)
}

// copyInResponse is what the client gets to hear at once: in the extended
// protocol also the answers to its Bind and Describe.
func (t *copyTask) copyInResponse(columns int) []byte {
	out := t.bindReplies(nil)
	var format byte
	if t.stmt.Format == rewrite.FormatBinary {
		format = 1
	}
	body := []byte{format}
	body = binary.BigEndian.AppendUint16(body, uint16(columns))
	for range columns {
		body = append(body, 0, format)
	}
	return frame.Append(out, 'G', body)
}

// bindReplies appends the answers to a held Bind and Describe, once.
func (t *copyTask) bindReplies(out []byte) []byte {
	if !t.extended() || t.bound {
		return out
	}
	t.bound = true
	out = frame.Append(out, '2', nil)
	if len(t.held.kinds) > 1 {
		out = frame.Append(out, 'n', nil)
	}
	return out
}

// data takes a piece of COPY data: held first, staged from the threshold on.
func (t *copyTask) data(p []byte, d rewrite.Decision) error {
	if t.load != nil {
		return t.load.Write(p)
	}
	if int64(len(t.hold)+len(p)) < t.s.srv.cfg.StageMinBytes {
		return t.keep(p)
	}
	t.large = true
	if err := t.begin(d); err != nil {
		t.hold = append(t.hold, p...)
		return err
	}
	err := t.load.Write(t.hold)
	t.letGo()
	if err != nil {
		return err
	}
	return t.load.Write(p)
}

// begin starts the load. Where it can't be started nothing has changed on the
// session, and errReplay is returned; a statement with extensions gets an error.
func (t *copyTask) begin(d rewrite.Decision) error {
	t.s.usual.forget(t.stmt.SQL)
	in := t.s.inject()
	t.setBeginning(true)
	load, err := t.s.srv.loader.Begin(t.s.ctx, t.spec(d), in)
	t.setBeginning(false)
	if err != nil {
		in.release()
		t.refused = t.bracketed() || errors.Is(err, bulk.ErrBlockFailed)
		if t.s.ctx.Err() != nil || d.Ext.Asked() || t.refused {
			return err
		}
		if t.canceledEarly() {
			return errCancelHeld
		}
		if t.limited = errors.Is(err, bulk.ErrLimited); t.limited {
			return errReplay
		}
		t.s.log.Info("load was not begun, relaying", "error", err)
		return errReplay
	}
	t.s.mu.Lock()
	t.load, t.in = load, in
	t.s.mu.Unlock()
	if t.canceledEarly() {
		load.Cancel()
	}
	t.s.srv.metrics.count(rewrite.KindCopy, d)
	return nil
}

// setBeginning says whether Begin runs, which may wait for locks: a cancel is then
// the server's.
func (t *copyTask) setBeginning(on bool) {
	t.s.mu.Lock()
	t.beginning = on
	t.s.mu.Unlock()
}

// canceledEarly says whether a cancel came while the load began, once. The server
// got it, but does nothing about one that comes between two statements of ours.
func (t *copyTask) canceledEarly() bool {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	early := t.early
	t.early = false
	return early
}

// owner is whose the session's loads are.
func (s *session) owner() bulk.Owner {
	return bulk.Owner{Role: s.est.User, Database: s.database}
}

func (t *copyTask) spec(d rewrite.Decision) bulk.Spec {
	return bulk.Spec{
		Statement: t.stmt, Inspection: t.insp, Decision: d,
		Started: t.began, InBlock: t.inBlock, CommitLater: t.extended() && !t.inBlock,
		Owner: t.s.owner(), Relayable: !d.Ext.Ours() && !t.bracketed(),
		Unstaged: t.bracketed() && (t.passed || !t.large && !d.Ext.Asked()), Session: t.s.id, Interrupt: func(e *pgerr.Error) { t.s.interrupt(t, e) },
	}
}
