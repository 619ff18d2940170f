package wire

import (
	"errors"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// onQuery handles a simple Query that starts with COPY, or may have one behind
// other statements: it stands whole or in part at the front of the client's
// buffer, and nothing of it is relayed yet.
func (s *session) onQuery() error {
	s.last = nil
	_, body, _, err := s.peekFrame(s.srv.cfg.MaxStatement)
	switch {
	case errors.Is(err, errTooLong):
		return s.passLong()
	case err != nil:
		return err
	}
	if a := s.newAsking(); a != nil {
		return s.finishAsk(a)
	}
	s.mu.Lock()
	s.statements.forget(nil) // a Query drops the unnamed statement
	s.mu.Unlock()
	sql, rest, ok := frame.CString(body)
	if !ok || len(rest) > 0 {
		return s.passQuery(rewrite.ReasonParseError)
	}
	if rewrite.Prefilter(sql) != rewrite.KindCopy {
		return s.onSeveral(sql)
	}
	stmt, reason, refusal := s.parseCopy(sql)
	if refusal == nil && stmt == nil {
		if s.looksCopyRead(sql, reason) {
			return s.onRead()
		}
		return s.passCopy(sql, reason)
	}
	if s.unsynced {
		return s.passCopy(sql, rewrite.ReasonInPipeline)
	}
	if ok, err := s.waitIdle(); err != nil {
		return err
	} else if !ok {
		return s.passQuery(rewrite.ReasonInPipeline)
	}
	if s.txStatus() == 'E' {
		return s.passQuery(rewrite.ReasonFailedTransaction)
	}
	t := &copyTask{s: s, stmt: stmt, native: simpleNative(stmt), inBlock: s.txStatus() == 'T'}
	if refusal != nil {
		s.cr.Discard(frame.HeaderLen + len(body))
		return t.refuse(refusal, rewrite.ReasonUnsupportedOption)
	}
	d, err := t.decide()
	switch {
	case err != nil:
		return t.failDecision(err, frame.HeaderLen+len(body))
	case d.Way == rewrite.Pass:
		t.rememberCopy(d.Reason)
		return s.passQuery(d.Reason)
	}
	s.cr.Discard(frame.HeaderLen + len(body))
	return t.run(d)
}

// parseCopy parses a statement, and checks what the session's parameters allow.
func (s *session) parseCopy(sql []byte) (*rewrite.CopyStatement, rewrite.Reason, *rewrite.Refusal) {
	if s.srv.loader == nil {
		return nil, rewrite.ReasonModeOff, nil
	}
	stmt, reason, refusal := rewrite.ParseCopy(string(sql), s.srv.cfg.MaxStatement)
	if stmt == nil {
		return nil, reason, refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if reason := stmt.Inspectable(func(name string) string { return s.params[name] }); reason != rewrite.ReasonNone {
		return nil, reason, nil
	}
	return stmt, rewrite.ReasonNone, nil
}

// passQuery relays the Query at the front of the buffer, for a reason.
func (s *session) passQuery(reason rewrite.Reason) error {
	s.srv.metrics.pass(rewrite.KindCopy, reason)
	s.log.Debug("pass", "stmt", rewrite.KindCopy, "reason", reason)
	return s.relayOne(entQuery)
}

// onParse handles a Parse whose text starts with COPY. The Parse itself is
// always relayed, so that the server checks it; only its name is remembered.
func (s *session) onParse() error {
	_, body, raw, err := s.peekFrame(s.srv.cfg.MaxStatement)
	if errors.Is(err, errTooLong) {
		s.srv.metrics.pass(rewrite.KindCopy, rewrite.ReasonTooLong)
		return s.relayOne(entParse)
	}
	if err != nil {
		return err
	}
	name, rest, _ := frame.CString(body)
	sql, _, ok := frame.CString(rest)
	if !ok {
		return s.relayOne(entParse)
	}
	stmt, reason, _ := s.parseCopy(sql)
	if s.looksCopyRead(sql, reason) {
		return s.onReadParse()
	}
	s.mu.Lock()
	if !s.queue.skipping { // else the server ignores it
		s.statements.parsing(name, raw, true)
		if copies, _ := rewrite.CopiesIn(string(sql), reason); stmt != nil || copies {
			s.statements.add(string(name), &prepared{copy: stmt, passes: reason, routed: stmt == nil && s.known != nil && s.judge().Copies(sql)})
		}
	}
	s.mu.Unlock()
	if stmt == nil {
		s.srv.metrics.pass(rewrite.KindCopy, reason)
	}
	return s.relayOne(entParse)
}

// heldBind is a Bind of a COPY, and the Describe after it, which are held back
// until the Execute comes: they go to the server only if the COPY runs natively.
type heldBind struct {
	portal string
	frames []byte // whole frames, as sent
	kinds  []entry
	// reparse is the Parse of the statement if it is the unnamed one, else nil. A
	// simple Query drops that, and the proxy's own are simple; where the COPY is a
	// named statement, the unnamed one is brought back by restoreUnnamed.
	reparse []byte
}

// maxHeldFrames bounds the Bind and Describe messages that are held.
const maxHeldFrames = 64 << 10

// onBind handles a Bind of a prepared COPY at the front of the buffer.
func (s *session) onBind() error {
	s.last = nil
	_, body, raw, err := s.peekFrame(maxHeldFrames)
	if errors.Is(err, errTooLong) {
		return s.passBind(rewrite.ReasonTooLong, false) // no COPY has parameters: the server refuses it
	}
	if err != nil {
		return err
	}
	name, ok := plainBind(body)
	if !ok {
		_, rest, _ := frame.CString(body)
		named, _, _ := frame.CString(rest)
		s.mu.Lock()
		st := s.statements.find(named)
		s.mu.Unlock()
		return s.passBind(rewrite.ReasonPortal, s.boundRouted(st))
	}
	s.mu.Lock()
	st := s.statements.find([]byte(name))
	var parse []byte
	if name == "" {
		parse = s.statements.reparse()
	}
	lost := s.statements.lost || name == "" && parse == nil
	s.mu.Unlock()
	switch {
	case st == nil:
		return s.relayOne(entBind)
	case st.copy == nil:
		return s.passBind(st.passes, st.routed)
	case lost: // queries of ours would drop the unnamed statement
		return s.passBind(rewrite.ReasonTooLong, s.boundRouted(st))
	}
	stmt := st.copy
	h := &heldBind{frames: append([]byte(nil), raw...), kinds: []entry{entBind}, reparse: parse}
	s.cr.Discard(len(raw))
	for {
		typ, body, raw, err := s.peekFrame(maxHeldFrames)
		if err != nil && !errors.Is(err, errTooLong) && !errors.Is(err, frame.ErrLength) {
			_ = s.releaseHeld(h) // the session ends with err
			return err
		}
		switch {
		case err == nil && typ == 'D' && len(h.kinds) == 1 && isPortal(body, h.portal):
			h.frames = append(h.frames, raw...)
			h.kinds = append(h.kinds, entDescribe)
			s.cr.Discard(len(raw))
		case err == nil && typ == 'E' && isExecute(body, h.portal):
			return s.onExecute(stmt, h)
		default:
			if err := s.passGuarded(rewrite.ReasonPortal, s.boundRouted(st)); err != nil {
				return err
			}
			return s.releaseHeld(h)
		}
	}
}

// plainBind returns the statement of a Bind to the unnamed portal without
// parameters. A named portal could be used again after its COPY.
func plainBind(body []byte) (statement string, ok bool) {
	portal, rest, ok := frame.CString(body)
	if !ok || len(portal) > 0 {
		return "", false
	}
	name, rest, ok := frame.CString(rest)
	return string(name), ok && len(rest) >= 4 && rest[0]|rest[1]|rest[2]|rest[3] == 0
}

func isPortal(body []byte, portal string) bool {
	return len(body) == len(portal)+2 && body[0] == 'P' && string(body[1:1+len(portal)]) == portal
}

// isExecute says whether an Execute runs that portal without a row limit.
func isExecute(body []byte, portal string) bool {
	name, rest, ok := frame.CString(body)
	return ok && string(name) == portal && len(rest) == 4 && rest[0]|rest[1]|rest[2]|rest[3] == 0
}

// releaseHeld relays what was held back.
func (s *session) releaseHeld(h *heldBind) error {
	s.mu.Lock()
	for _, k := range h.kinds {
		s.pushExtended(k, k == entBind)
	}
	s.mu.Unlock()
	return s.writeServer(h.frames)
}

// releaseParsed is releaseHeld after queries of ours: the unnamed statement has
// to be parsed again.
func (s *session) releaseParsed(h *heldBind) error {
	if h.reparse == nil {
		if err := s.restoreUnnamed(); err != nil {
			return err
		}
	} else {
		s.mu.Lock()
		s.queue.push(entParse | hideReplies)
		s.mu.Unlock()
		if err := s.writeServer(h.reparse); err != nil {
			return err
		}
	}
	return s.releaseHeld(h)
}

// onExecute handles the Execute of a held COPY, which stands at the front of
// the buffer.
func (s *session) onExecute(stmt *rewrite.CopyStatement, h *heldBind) error {
	pass := func(reason rewrite.Reason) error {
		if err := s.passGuarded(reason, s.copiesRouted([]byte(stmt.SQL))); err != nil {
			return err
		}
		return s.releaseHeld(h) // the walk goes on at the Execute
	}
	idle, err := s.syncAhead()
	switch {
	case errors.Is(err, errSkipping):
		// A message before this one failed: the server would skip to the Sync.
		return s.discardToSync()
	case err != nil:
		return err
	case !idle:
		return pass(rewrite.ReasonInPipeline)
	case s.txStatus() == 'E':
		return pass(rewrite.ReasonFailedTransaction)
	}
	_, body, raw, err := s.peekFrame(maxHeldFrames)
	if err != nil {
		return err
	}
	t := &copyTask{s: s, stmt: stmt, held: h, native: extendedNative(h, raw)}
	d, err := t.decide()
	switch {
	case err != nil:
		return t.failDecision(err, frame.HeaderLen+len(body))
	case d.Way == rewrite.Pass:
		s.srv.metrics.pass(rewrite.KindCopy, d.Reason)
		return s.releaseParsed(h)
	}
	s.cr.Discard(frame.HeaderLen + len(body))
	return t.run(d)
}

// errSkipping says that the server reported an error for an extended message
// before the one at hand.
var errSkipping = errors.New("skipping to Sync")

// syncAhead brings the session to rest in the middle of extended messages: if
// some came since the last Sync it sends a Sync of the proxy's own. That is harmless
// where nothing was bound or executed since the last Sync; else it answers
// false.
func (s *session) syncAhead() (ok bool, err error) { return s.syncWhere(!s.executed) }

// syncWhere is syncAhead for who says whether that is harmless.
func (s *session) syncWhere(harmless bool) (ok bool, err error) {
	if s.unsynced {
		if !harmless {
			return false, nil
		}
		s.mu.Lock()
		s.queue.push(entSync | hideReady)
		s.mu.Unlock()
		if err := s.writeServer(frame.Append(nil, 'S', nil)); err != nil {
			return false, err
		}
	}
	idle, err := s.waitIdle()
	if err != nil || !idle {
		return false, err
	}
	s.mu.Lock()
	failed := s.unsynced && s.extError
	s.mu.Unlock()
	if failed {
		return false, errSkipping
	}
	return true, nil
}

// discardToSync drops the client's messages up to the next Sync, as a server
// does after an error in the extended protocol, and relays that Sync. A
// Terminate is relayed too.
func (s *session) discardToSync() error {
	for {
		if err := s.cr.Need(frame.HeaderLen); err != nil {
			return err
		}
		typ, n, err := frame.Head(s.cr.Buffered())
		if err != nil {
			return s.relayRaw()
		}
		if typ == 'S' || typ == 'X' {
			s.commitSync = false
			return nil // the walk relays it
		}
		s.cr.Discard(frame.HeaderLen)
		if err := s.copyBody(n, nil); err != nil {
			return err
		}
	}
}

// copyBody takes the next n bytes of the client, in pieces as they come.
func (s *session) copyBody(n int, sink func([]byte) error) error {
	for n > 0 {
		p := s.cr.Buffered()
		if len(p) == 0 {
			if err := s.cr.Fill(); err != nil {
				return err
			}
			continue
		}
		p = p[:min(len(p), n)]
		if sink != nil {
			if err := sink(p); err != nil {
				return err
			}
		}
		n -= len(p)
		s.cr.Discard(len(p))
	}
	return nil
}

// onCommitPoint handles the Sync or Query that ends a run of extended messages
// in which a COPY was loaded outside a transaction block. The server sees the
// block that we opened for it; where it would have committed by itself, we
// commit. An error of that COMMIT is the client's, as it would be natively.
func (s *session) onCommitPoint() error {
	typ, _, raw, err := s.peekFrame(s.srv.cfg.MaxStatement)
	if err != nil && !errors.Is(err, errTooLong) {
		return err
	}
	var out []byte
	s.mu.Lock()
	s.commitSync = false
	if typ == 'S' {
		s.queue.push(entSync | hideReady)
		s.queue.push(entQuery | hideReplies)
		s.unsynced, s.executed = false, false
		out = append(out, raw...)
	} else {
		s.queue.push(entQuery | hideReplies | hideReady)
	}
	out = frame.AppendString(out, 'Q', "COMMIT")
	if s.reparse != nil && typ == 'S' {
		s.queue.push(entParse | hideReplies | hideError)
		s.queue.push(entSync | hideReady)
		out = frame.Append(append(out, s.reparse...), 'S', nil)
	}
	s.reparse = nil
	s.mu.Unlock()
	if typ == 'S' {
		s.cr.Discard(len(raw))
	}
	return s.writeServer(out)
}

// simpleNative returns the frames that run the client's own statement by the
// simple protocol, and what the client must not see of the replies.
func simpleNative(stmt *rewrite.CopyStatement) nativeRun {
	if stmt == nil {
		return nativeRun{}
	}
	return nativeRun{
		frames:  frame.AppendString(nil, 'Q', stmt.SQL),
		entries: []entry{entQuery | hideCopyIn},
	}
}

// extendedNative is simpleNative for a held Bind, Describe and Execute.
func extendedNative(h *heldBind, execute []byte) nativeRun {
	n := nativeRun{frames: append(append(append([]byte(nil), h.reparse...), h.frames...), execute...)}
	if h.reparse != nil {
		n.entries = append(n.entries, entParse|hideReplies)
	}
	for _, k := range h.kinds {
		n.entries = append(n.entries, k|hideReplies)
	}
	n.entries = append(n.entries, entExecute|hideCopyIn)
	return n
}

// nativeRun is the client's statement as it goes to the server when it is not
// staged after all, although the client has its CopyInResponse already.
type nativeRun struct {
	frames  []byte
	entries []entry
}

// errorFrame is an ErrorResponse.
func errorFrame(dst []byte, e *pgerr.Error) []byte {
	return frame.Append(dst, 'E', e.AppendBody(nil))
}

// readyFrame is a ReadyForQuery.
func readyFrame(dst []byte, status byte) []byte { return frame.Append(dst, 'Z', []byte{status}) }

var _ bulk.Session = (*injector)(nil)
