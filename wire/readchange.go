package wire

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// An UPDATE or DELETE of a routed table goes to the server as a chain of extended
// messages without a Sync in between: Bind of the statement on the main table, which
// locks the table, as everybody does first; the advisory locks; its Execute; the
// same statement on the auxiliary table. Outside a transaction block that is one
// transaction. Execute takes the snapshot, so what others did before they gave the
// locks back is seen. The client gets the rows of both, and one tag with the sum.

// preparedChange is a prepared UPDATE or DELETE. Its twin and its locks are
// prepared under names that go with the client's.
type preparedChange struct {
	name  string
	locks int
	sql   string // of the client's own statement, as it was sent
	// unsure: its name was parsed anew, which the server refuses if it is there.
	unsure bool
}

// sendChange sends the chain for a simple Query.
func (t *readTask) sendChange() error {
	s := t.s
	const lock = "pgbulkproxy"
	out := appendBind(appendParse(nil, "", t.plan.Main.SQL, nil), "", "")
	entries := []entry{entParse | hideReplies, entBind | hideReplies}
	for _, l := range t.plan.Locks {
		out = appendBind(appendParse(out, "", l, nil), lock, "")
		out = appendClose(appendExecute(out, lock), 'P', lock)
		entries = append(entries, entParse|hideReplies, entBind|hideReplies, entExecute|hideReplies, entClose|hideReplies)
	}
	if t.plan.Returning {
		out = frame.Append(out, 'D', []byte{'P', 0})
		entries = append(entries, entDescribe)
	}
	out = appendBind(appendParse(appendExecute(out, ""), "", t.plan.Aux.SQL, nil), "", "")
	out = frame.Append(appendExecute(out, ""), 'S', nil)
	entries = append(entries, entAdd, entParse|hideReplies, entBind|hideReplies, entSum)
	s.mu.Lock()
	for _, e := range entries {
		s.queue.push(e)
	}
	s.queue.push(entSync)
	s.reads.sent(&t.plan.Main, &t.plan.Aux)
	s.mu.Unlock()
	return s.writeServer(out)
}

// prepareChange has the server parse the client's statement, its twin and its
// locks, and answers the client's Parse.
func (t *readTask) prepareChange(name string, size int) error {
	s := t.s
	ch := &preparedChange{name: name, locks: len(t.plan.Locks), sql: t.plan.Main.SQL}
	main := appendParse(nil, name, t.plan.Main.SQL, t.params)
	// First the client's: where its name is taken, the twin has to stay.
	out := appendClose(append([]byte(nil), main...), 'S', auxName(name))
	out = appendParse(out, auxName(name), t.plan.Aux.SQL, t.params)
	for i, l := range t.plan.Locks {
		out = appendParse(appendClose(out, 'S', lockName(i, name)), lockName(i, name), l, nil)
	}
	out = frame.Append(out, 'H', nil)
	in := s.inject()
	e, err := in.collect(s.ctx, out, '1', 2+ch.locks)
	in.release()
	if err != nil {
		return err
	}
	if e != nil {
		if p, err := strconv.Atoi(e.Get('P')); err == nil {
			e = e.With('P', strconv.Itoa(t.plan.Main.Position(p)))
		}
		return s.failParse(e, []byte(name), size)
	}
	s.forgetRead('P', []byte(name))
	s.mu.Lock()
	s.statements.parsing([]byte(name), main, true)
	s.statements.unnamedConfirmed = s.statements.unnamedConfirmed || name == ""
	s.mu.Unlock()
	if s.reads.changes == nil {
		s.reads.changes, s.reads.portals = map[string]*preparedChange{}, map[string]*preparedChange{}
	}
	s.reads.changes[name] = ch
	s.unsynced, s.pipe = true, pipeline{}
	s.cr.Discard(size)
	return s.writeClient(frame.Append(nil, '1', nil))
}

// changeBound says whether a Bind is one of a prepared UPDATE or DELETE.
func (s *session) changeBound(body []byte) bool {
	portal, rest, _ := frame.CString(body)
	name, _, ok := frame.CString(rest)
	if ok && (s.reads.changes[string(name)] != nil || s.oldChange(name)) {
		return true
	}
	delete(s.reads.portals, string(portal))
	return false
}

// changeExecuted says whether an Execute is one.
func (s *session) changeExecuted(body []byte) bool {
	portal, _, ok := frame.CString(body)
	return ok && s.reads.portals[string(portal)] != nil
}

// onChangeBind handles the Bind of a prepared UPDATE or DELETE.
func (s *session) onChangeBind() error {
	_, body, raw, err := s.peekFrame(s.srv.cfg.InsertMaxBytes)
	if errors.Is(err, errTooLong) {
		s.countRead(rewrite.Decision{Way: rewrite.Pass, Reason: rewrite.ReasonTooLong})
		return s.relayOne(entBind)
	}
	if err != nil {
		return err
	}
	portal, rest, _ := frame.CString(body)
	name, params, _ := frame.CString(rest)
	ch := s.reads.changes[string(name)]
	if ch == nil || ch.unsure {
		if ch, err = s.askChange(name, len(raw)); ch == nil || err != nil {
			return err
		}
		_, body, raw, _ = s.peekFrame(s.srv.cfg.InsertMaxBytes)
		portal, rest, _ = frame.CString(body)
		_, params, _ = frame.CString(rest)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepInsert('B')
	out := append([]byte(nil), raw...)
	s.pushExtended(entBind, true)
	const lock = "pgbulkproxy"
	for i := range ch.locks {
		out = appendBind(out, lock, lockName(i, ch.name))
		out = appendClose(appendExecute(out, lock), 'P', lock)
		for _, e := range []entry{entBind, entExecute, entClose} {
			s.pushExtended(e|hideReplies, true)
		}
	}
	aux := auxName(string(portal))
	out = appendClose(out, 'P', aux)
	s.pushExtended(entClose|hideReplies, true)
	twin := bytes.Join([][]byte{[]byte(aux), []byte(auxName(ch.name)), params}, []byte{0})
	out = frame.Append(out, 'B', twin)
	s.pushExtended(entBind|hideReplies, true)
	s.reads.portals[string(portal)] = ch
	s.cr.Discard(len(raw))
	return s.writeServer(out)
}

// onChangeExecute handles its Execute. It is for all rows: of two tables, nobody
// could go on in the middle.
func (s *session) onChangeExecute() error {
	_, body, raw, err := s.peekFrame(maxHeldFrames)
	if err != nil {
		return err
	}
	portal := cString(body)
	aux := auxName(portal)
	out := appendClose(appendExecute(appendExecute(nil, portal), aux), 'P', aux)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushExtended(entAdd, true)
	s.pushExtended(entSum, true)
	s.pushExtended(entClose|hideReplies, true)
	s.reads.rewritten = true
	delete(s.reads.portals, portal)
	s.cr.Discard(len(raw))
	return s.writeServer(out)
}
