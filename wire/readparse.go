package wire

import (
	"encoding/binary"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// onReadParse handles a Parse whose text may read or change a routed table. What
// such a statement means is asked without a Sync, so that the client's pipeline
// stays one transaction.
func (s *session) onReadParse() error {
	_, body, raw, err := s.peekFrame(s.srv.cfg.MaxStatement)
	if err != nil {
		return err
	}
	name, rest, _ := frame.CString(body)
	p := newPreparedInsert(rest)
	if p == nil {
		return s.passReadParse(name, raw, rewrite.ReasonParseError)
	}
	t := &readTask{s: s, extended: true, params: p.oids}
	if reason := t.parse(p.sql); reason != rewrite.ReasonNone {
		return s.passReadParse(name, raw, reason)
	}
	switch ok, err := s.waitFlushed(); {
	case err != nil:
		return err
	case !ok: // the server ignores it, or nobody knows
		return s.passReadParse(name, raw, rewrite.ReasonInPipeline)
	case s.txStatus() == 'E':
		return s.passReadParse(name, raw, rewrite.ReasonFailedTransaction)
	}
	reason, err := t.decide()
	if e := pgerr.As(err); e != nil && s.ctx.Err() == nil {
		return s.failParse(e, name, len(raw))
	}
	if err != nil {
		return err
	}
	if reason != rewrite.ReasonNone {
		return s.passReadParse(name, raw, reason)
	}
	if t.plan.Aux.SQL != "" {
		return t.prepareChange(string(name), len(raw))
	}
	out := appendParse(nil, string(name), t.plan.Main.SQL, p.oids)
	s.forgetRead('P', name)
	s.mu.Lock()
	s.statements.parsing(name, out, true)
	s.pushExtended(entParse, false)
	s.reads.sent(&t.plan.Main)
	s.mu.Unlock()
	s.cr.Discard(len(raw))
	return s.writeServer(out)
}

// passReadParse relays the Parse at the front of the buffer, for a reason.
func (s *session) passReadParse(name, raw []byte, reason rewrite.Reason) error {
	s.countRead(rewrite.Decision{Way: rewrite.Pass, Reason: reason})
	s.mu.Lock()
	if skipping := s.queue.skipping; !skipping {
		s.mu.Unlock()
		s.forgetRead('P', name)
		s.mu.Lock()
		s.statements.parsing(name, raw, true)
		_, rest, _ := frame.CString(raw[frame.HeaderLen:])
		sql, _, _ := frame.CString(rest)
		if rewrite.Prefilter(sql) == rewrite.KindInsert || s.wrapsInsert(sql, true) {
			s.rememberInsert(name, rest) // it may insert into a routed table, too
		}
	}
	s.mu.Unlock()
	return s.relayOne(entParse)
}

// failParse answers a Parse with an error that the server has reported to us; it
// now ignores everything up to the client's Sync.
func (s *session) failParse(e *pgerr.Error, name []byte, size int) error {
	s.forgetRead('P', name)
	s.mu.Lock()
	s.queue.skipping, s.extError = true, true
	s.statements.dropUnconfirmed()
	s.mu.Unlock()
	s.unsynced, s.pipe = true, pipeline{}
	s.cr.Discard(size)
	return s.writeClient(errorFrame(nil, e))
}

// waitFlushed waits until the server has answered all that it was sent, in the
// middle of a pipeline, too. It returns false where the server ignores what comes
// next, or where nobody can tell.
func (s *session) waitFlushed() (ok bool, err error) {
	if s.unsynced {
		if err := s.writeServer(frame.Append(nil, 'H', nil)); err != nil {
			return false, err
		}
	}
	s.mu.Lock()
	s.flushed = true
	done := s.owesNothing() || s.queue.lost
	s.mu.Unlock()
	if !done {
		_, err = s.waitIdle()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushed = false
	return s.queue.idle() && s.atRest(), err
}

// owesNothing is atRest, or that the server ignores everything up to a Sync which
// has not come. It holds s.mu.
func (s *session) owesNothing() bool {
	return s.queue.size == 0 && !s.writing && s.serverSkip == 0
}

// appendParse and the functions below append messages of the extended protocol.
func appendParse(dst []byte, name, sql string, params []uint32) []byte {
	body := append(append([]byte(name), 0), sql...)
	body = binary.BigEndian.AppendUint16(append(body, 0), uint16(len(params)))
	for _, oid := range params {
		body = binary.BigEndian.AppendUint32(body, oid)
	}
	return frame.Append(dst, 'P', body)
}

// appendBind binds a statement without parameters, with results as text.
func appendBind(dst []byte, portal, statement string) []byte {
	body := append(append(append(append([]byte(portal), 0), statement...), 0), 0, 0, 0, 0, 0, 0)
	return frame.Append(dst, 'B', body)
}

// appendExecute asks for all rows.
func appendExecute(dst []byte, portal string) []byte {
	return frame.Append(dst, 'E', append([]byte(portal), 0, 0, 0, 0, 0))
}

// appendClose closes a statement (S) or portal (P); it may not be there.
func appendClose(dst []byte, what byte, name string) []byte {
	return frame.Append(dst, 'C', append(append([]byte{what}, name...), 0))
}

// auxName is the name of something of ours that goes with something of the
// client's.
func auxName(name string) string { return "pgbulkproxy_aux_" + name }

func lockName(i int, name string) string { return "pgbulkproxy_lock" + strconv.Itoa(i) + "_" + name }
