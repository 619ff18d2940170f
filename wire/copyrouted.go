package wire

import (
	"errors"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// enter takes the lock of a routed table, and looks at its routes. An error of
// type *pgerr.Error is one that the client's statement must fail with; the
// transaction has failed then, or is undone.
func (t *copyTask) enter() error {
	routing := t.insp.Routing
	if routing == nil {
		return nil
	}
	e := routing.Err()
	if e == nil {
		found, err := t.s.enterRoutes(t.insp)
		if err != nil && pgerr.As(err) == nil {
			return err
		}
		if e = pgerr.As(err); e == nil {
			routing.Found = found
			e = found.Err(t.insp)
		}
	}
	switch {
	case e == nil:
		return nil
	case e.IsFatal():
		return e
	}
	if err := t.leave(); err != nil {
		return err
	}
	return e.With('P', "") // a position in our text
}

// enterRoutes takes the lock of a routed table, and looks at its routes.
func (s *session) enterRoutes(insp *rewrite.Inspection) (*rewrite.Routes, error) {
	in := s.inject()
	defer in.release()
	results, err := in.Exec(s.ctx, insp.Routing.EnterSQL(insp))
	if err != nil {
		return nil, err
	}
	if len(results) == 0 {
		return nil, errNoRoutes
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 || len(last.Rows[0]) != 1 {
		return nil, errNoRoutes
	}
	return rewrite.ParseRoutes(insp, string(last.Rows[0][0]))
}

var errNoRoutes = errors.New("the routes of a table were not counted")

// bracketed says that the statement can't be relayed as it is: its table has an
// auxiliary one, and some rows may belong there, or the lock that says that none
// does ends with a transaction that is ours.
func (t *copyTask) bracketed() bool {
	return t.insp != nil && t.insp.Routing != nil && (t.insp.Routed() || !t.inBlock)
}

// passBracketed has a statement that would be relayed, and whose rows are all the
// main table's, run as it is in the transaction that holds the lock. What the
// server has against it it says before the client is asked for its data.
func (t *copyTask) passBracketed(d rewrite.Decision) (rewrite.Decision, error) {
	if t.insp.Routed() {
		return t.stmt.Refused(rewrite.RefuseRouted(d.Reason), d.Reason), nil
	}
	e, err := t.probe(t.stmt.SQL)
	if err != nil {
		return d, err
	}
	if err := t.leave(); err != nil {
		return d, err
	}
	if e != nil {
		return d, e
	}
	o := t.opening()
	insp, err := o.run()
	if err != nil {
		return d, err
	}
	if insp == nil {
		return t.stmt.RefuseAsked(rewrite.ReasonInspectFailed), nil
	}
	t.insp = insp
	if err := t.enter(); err != nil {
		return d, err
	}
	d = t.s.srv.loader.Decide(t.s.ctx, t.stmt, t.insp, t.inBlock)
	switch {
	case d.Way != rewrite.Pass:
		return d, nil // it was routed, or the settings changed, just now
	case t.insp.Routed():
		return t.stmt.Refused(rewrite.RefuseRouted(d.Reason), d.Reason), nil
	case !t.bracketed():
		return d, o.undo()
	}
	t.passed = true
	return rewrite.Decision{Way: rewrite.Stage, Method: rewrite.MethodCopy, Reason: d.Reason}, nil
}

// loadHeld loads what was held of a statement that can't be relayed, or can be
// only now that it is known where its rows go.
func (t *copyTask) loadHeld(d rewrite.Decision, canceled bool) error {
	main, err := t.allMain(d, canceled)
	switch {
	case err != nil:
		return t.failBegin(err)
	case main && t.inBlock:
		t.s.srv.metrics.pass(rewrite.KindCopy, rewrite.ReasonSmall)
		if t.canceledEarly() {
			return t.cancelHeld()
		}
		return t.replay()
	case main:
		d = rewrite.Decision{Way: rewrite.Stage, Method: rewrite.MethodCopy, Reason: d.Reason}
	}
	err = t.begin(d)
	if err != nil {
		return t.failBegin(err)
	}
	err = t.load.Write(t.hold)
	t.letGo()
	if canceled {
		t.load.Cancel()
	}
	var end bulk.Frame
	if err == nil {
		end, err = t.receive(d)
	}
	return t.endLoad(end, err)
}

// allMain says whether all rows of a small COPY are the main table's, as far as
// the data tells: the server is asked about the groups that it has, behind waiting
// for those that move. What it says stays true, since the lock is held. Where it
// does not understand the question, it will say of the data what is wrong.
func (t *copyTask) allMain(d rewrite.Decision, canceled bool) (bool, error) {
	if canceled || t.large || d.Ext.Asked() || !t.insp.Routed() {
		return false, nil
	}
	if typ, _, err := frame.Head(t.s.cr.Buffered()); err != nil || typ != 'c' {
		return false, nil
	}
	memory, most := t.s.srv.loader.Memory(), 2*int64(len(t.hold))
	if !memory.Reserve(most) {
		return false, nil
	}
	defer memory.Return(most)
	keys := bulk.RoutedKeys(t.stmt, t.insp, t.hold)
	if keys == nil || len(keys.Elements) == 0 {
		return keys != nil, nil
	}
	routing := t.insp.Routing
	sql := setAsking + "; "
	if wait := routing.WaitKeysSQL(t.insp, routing.Found.Moving, keys); wait != "" {
		sql += wait + "; "
	}
	in := t.s.inject()
	defer in.release()
	t.setBeginning(true)
	defer t.setBeginning(false)
	results, err := in.Exec(t.s.ctx, sql+routing.AuxKeysSQL(t.insp, keys)+"; "+t.s.asked())
	switch e := pgerr.As(err); {
	case err == nil && len(results) >= 2:
		return len(results[len(results)-2].Rows) == 0, nil
	case err == nil:
		return false, errNoRoutes
	case e == nil || isFinal(e):
		return false, err
	}
	_, err = in.Exec(t.s.ctx, t.s.leave(undoAsking+"; "+endAsking))
	return false, err
}

// leave ends a transaction of ours, or has the client's block fail.
func (t *copyTask) leave() error {
	in := t.s.inject()
	defer in.release()
	var err error
	switch status := t.s.txStatus(); {
	case t.inBlock && status == 'T':
		err = bulk.FailTransaction(t.s.ctx, in)
	case !t.inBlock && status != 'I':
		_, err = in.Exec(t.s.ctx, bulk.UndoOpen(false))
	}
	return err
}
