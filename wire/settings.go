package wire

import (
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// A COPY that passes without an inspection is looked at here: it is refused where
// the session's settings ask for what the server doesn't do. Where the session is
// at rest they are asked for; in the middle of a pipeline a guard goes ahead of
// the COPY, a query that fails if they do.

// passCopy relays the Query at the front of the buffer, which for a reason is not
// taken over, unless settings would be ignored by a COPY in it. Of a text that is
// too long nothing but the names of tables is looked at, as far as it has come.
func (s *session) passCopy(sql []byte, reason rewrite.Reason) error {
	text := string(sql) // the buffer goes on
	copies, alone := rewrite.CopiesIn(text, reason)
	if reason == rewrite.ReasonTooLong {
		copies, alone = true, false
	}
	if s.srv.loader == nil || !copies {
		return s.passQuery(reason)
	}
	head := sql
	if head == nil {
		head = s.cr.Buffered()[frame.HeaderLen:] // what has come of a text that is too long
	}
	routed := s.copiesRouted(head)
	if s.unsynced {
		if err := s.guard(reason, routed); err != nil {
			return err
		}
		return s.passQuery(reason)
	}
	if ok, err := s.waitIdle(); err != nil {
		return err
	} else if !ok || s.txStatus() == 'E' {
		return s.passQuery(reason)
	}
	var refusal *rewrite.Refusal
	switch {
	case routed:
		refusal = rewrite.RefuseRouted(reason)
	case reason == rewrite.ReasonMultiStatement:
		refusal = rewrite.RefuseNamed(text)
	}
	if refusal == nil {
		var err error
		if refusal, err = s.askSettings(reason); err != nil {
			return err
		}
	}
	if refusal == nil {
		return s.passQuery(reason)
	}
	if err := s.dropFrame(); err != nil {
		return err
	}
	if alone && refusal.Answer == nil {
		refusal.Native = text
	}
	t := &copyTask{s: s, inBlock: s.txStatus() == 'T'}
	return t.refuse(refusal, reason)
}

// onSeveral relays a Query that does not start with COPY, but may have one.
func (s *session) onSeveral(sql []byte) error {
	if _, copies := rewrite.Inner(sql); copies {
		if in, _ := rewrite.CopiesIn(string(sql), rewrite.ReasonMultiStatement); in {
			return s.passCopy(sql, rewrite.ReasonMultiStatement)
		}
	}
	return s.relayOne(entQuery)
}

// passLong relays a Query that is too long to be held.
func (s *session) passLong() error {
	head := s.cr.Buffered()[frame.HeaderLen:]
	if kind, _ := rewrite.PrefilterHead(head, false); kind != rewrite.KindCopy {
		return s.relayOne(entQuery)
	}
	return s.passCopy(nil, rewrite.ReasonTooLong)
}

// passGuarded notes that a COPY of the extended protocol passes, and sends the
// guard ahead.
func (s *session) passGuarded(reason rewrite.Reason, routed bool) error {
	s.srv.metrics.pass(rewrite.KindCopy, reason)
	if reason == rewrite.ReasonFailedTransaction {
		return nil
	}
	return s.guard(reason, routed)
}

// passBind relays the Bind of a COPY at the front of the buffer.
func (s *session) passBind(reason rewrite.Reason, routed bool) error {
	if err := s.passGuarded(reason, routed); err != nil {
		return err
	}
	return s.relayOne(entBind)
}

// copiesRouted says whether a COPY which passes by its text alone may be into a
// routed table.
func (s *session) copiesRouted(text []byte) bool {
	if s.known == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judge().Copies(text)
}

// boundRouted is copiesRouted of a prepared COPY.
func (s *session) boundRouted(st *prepared) bool {
	return st != nil && (st.routed || st.copy != nil && s.copiesRouted([]byte(st.copy.SQL)))
}

// askSettings asks the session, which is at rest, for its settings.
func (s *session) askSettings(reason rewrite.Reason) (*rewrite.Refusal, error) {
	in := s.inject()
	defer in.release()
	d := s.dialect()
	results, err := in.Exec(s.ctx, s.declaring(d)+rewrite.SettingsSQL(d))
	s.declared = err == nil
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		return &rewrite.Refusal{Answer: e.With('P', "")}, nil // a cancel, a timeout: the block has failed
	}
	if err != nil || len(results) == 0 || len(results[len(results)-1].Rows) != 1 {
		return nil, err
	}
	return rewrite.RefuseSettings(results[len(results)-1].Rows[0], reason), nil
}

// guardName is that of a statement and a portal of ours. They are closed again.
const guardName = "pgbulkproxy_guard"

// guard sends the guard ahead of what is written next. Where it fails, the server
// skips that, as after any error in a pipeline. routed: it has to fail.
func (s *session) guard(reason rewrite.Reason, routed bool) error {
	s.mu.Lock()
	if s.queue.lost {
		s.mu.Unlock()
		return nil
	}
	s.guardReason = reason
	d := rewrite.DialectOf(s.params["server_version"])
	declare := !s.declared && d.DeclareSQL() != ""
	if declare {
		for _, e := range []entry{entClose, entParse, entBind, entExecute, entClose, entClose} {
			s.queue.push(e | hideReplies)
		}
	}
	for _, e := range []entry{entClose, entParse, entBind, entGuard, entClose, entClose} {
		s.queue.push(e | hideReplies)
	}
	s.unsynced, s.executed, s.pipe = true, true, pipeline{}
	s.mu.Unlock()
	sql := rewrite.GuardSQL(d)
	if routed {
		sql = rewrite.RoutedGuardSQL()
	}
	var out []byte
	if declare {
		out = appendGuard(out, d.DeclareSQL())
	}
	return s.writeServer(appendGuard(out, sql))
}

// appendGuard appends what runs a statement of ours in a pipeline.
func appendGuard(out []byte, sql string) []byte {
	const z = "\x00"
	statement, portal := []byte("S"+guardName+z), []byte("P"+guardName+z)
	out = frame.Append(out, 'C', statement) // left where a guard has failed
	out = frame.Append(out, 'P', []byte(guardName+z+sql+z+z+z))
	out = frame.Append(out, 'B', []byte(guardName+z+guardName+z+z+z+z+z+z+z))
	out = frame.Append(out, 'E', []byte(guardName+z+z+z+z+z))
	out = frame.Append(out, 'C', portal)
	return frame.Append(out, 'C', statement)
}

// guarded returns the frame that the client gets in place of a guard's error. It
// holds s.mu.
func (s *session) guarded(typ byte, body []byte) []byte {
	if typ != 'E' || s.queue.lost || s.queue.first()&entKind != entGuard {
		return nil
	}
	e := pgerr.Parse(body)
	refusal := rewrite.RefuseGuarded(e.Code(), e.Get('M'), s.guardReason)
	if refusal == nil {
		return nil
	}
	s.srv.metrics.count(rewrite.KindCopy, rewrite.Decision{Way: rewrite.Refuse, Reason: s.guardReason})
	return errorFrame(nil, refusal.ErrorResponse())
}
