package wire

import (
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// A run like the one before is sent on by the event loop while it still comes, so
// that the server works at the same time as the client. Until the run has ended
// nothing the server says matters, and the loop does not wait for it: each COPY
// would wake it up twice.

// open says that the end of the run has not come yet.
func (fl *flight) open() bool { return fl.rows != nil && fl.t.batch.expect != 0 }

// end is where the client's message, or run of them, ends in its buffer.
func (fl *flight) end() int {
	if fl.rows != nil {
		return fl.t.batch.size
	}
	return fl.size
}

// lasts says whether what was left is still true when the statement has run as
// the client sent it.
func (l *lastInsert) lasts(stmt *rewrite.InsertStatement) bool {
	return l != nil && stmt != nil && l.fits(stmt) && stmt.Reusable(l.insp)
}

// flyOpen begins a flight with what has come of a run. It answers false to land.
func (s *session) flyOpen(t *insertTask) bool {
	rows, err := t.newRowStream()
	if err != nil || !s.reserve(t.batch, t.batch.size) {
		s.srv.loader.Memory().Return(t.batch.reserved)
		return false
	}
	s.lastBatch = t.batch.st
	t.out = rows.begin(s.takeBuffer())
	s.flight = &flight{t: t, rows: rows}
	return s.on.server.Watch(false, false) == nil && s.flyRows()
}

// flightUp takes what the client has sent since. It answers false to land.
func (s *session) flightUp() bool {
	if !s.flight.open() {
		return false
	}
	if err := take(s.on.client, s.cr); err != nil && !s.loopFailed(err) {
		return false
	}
	if s.flight.reason = s.gatherBuffered(s.flight.t.batch); s.flight.reason != rewrite.ReasonNone {
		return false
	}
	return s.flyRows()
}

// gatherBuffered is gather for what is there.
func (s *session) gatherBuffered(b *batch) rewrite.Reason {
	for b.expect != 0 {
		p := s.cr.Buffered()[b.size:]
		f, whole := frameAt(p)
		end := b.size + frame.HeaderLen + f.size
		switch {
		case len(p) < frame.HeaderLen:
			return rewrite.ReasonNone
		case whole && !f.whole():
			return rewrite.ReasonParseError
		case end > s.srv.cfg.InsertMaxBytes:
			return rewrite.ReasonTooLong
		case !s.reserve(b, end):
			return rewrite.ReasonMemory
		case !whole:
			return rewrite.ReasonNone
		}
		if b.take(&f) {
			b.size = end
			continue
		}
		switch b.cutAt(&f, p) {
		case batchRelay:
			return rewrite.ReasonInPipeline
		case batchUndecided:
			return rewrite.ReasonNone
		}
	}
	return rewrite.ReasonNone
}

// flyRows sends the rows that came since.
func (s *session) flyRows() bool {
	fl := s.flight
	t, whole := fl.t, len(fl.t.out)
	if fl.open() && t.batch.encoded == t.batch.size {
		return true
	}
	out, err := fl.rows.append(t.out)
	if err != nil {
		fl.reason, fl.rest = passReason(err), out[:whole]
		return false
	}
	t.out = out
	if t.batch.expect == 0 {
		t.out = fl.rows.end(out)
		if s.on.server.Watch(true, false) != nil {
			fl.rest = t.out
			return false
		}
	}
	if !s.flyOn(fl) {
		return false
	}
	if fl.open() {
		t.out = t.out[:0]
	}
	return true
}
