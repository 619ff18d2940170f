package wire

import (
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// A COPY by a simple Query whose text was that of several before, all small, is most
// likely small, too. It is not inspected: a short question makes sure that it asks for
// nothing of ours (rewrite.UsualSQL), and it is relayed. Mostly the event loop does all
// of that, since landing costs as much as the COPY. One that turns out to be large has
// gone natively; the next ones are inspected.

// usualAfter is how many COPYs of a text have to be small before the next one is taken
// to be so: programs that send small and large ones in turn have these staged.
const usualAfter = 3

// usualTexts and usualText bound what a session remembers.
const (
	usualTexts = 16
	usualText  = 4 << 10
)

// usualCopy is what is remembered of the COPYs of a text.
type usualCopy struct {
	sql   string
	table string
	ask   []byte // the question, as a frame
	small int    // of them in a row, with the last one
	size  int64  // of the last one, as far as it has come
}

// usualCopies are those of a session. They are the client pump's own.
type usualCopies struct {
	byText  map[string]*usualCopy
	last    *usualCopy
	cleared bool // the COPY at the front of the client's buffer is to be relayed
}

// relayed notes a COPY that is relayed natively behind an inspection, with as much of
// its data as was held.
func (c *usualCopies) relayed(stmt *rewrite.CopyStatement, insp *rewrite.Inspection, held int) {
	u := c.byText[stmt.SQL]
	if u == nil {
		if c.byText == nil || len(c.byText) == usualTexts {
			c.byText = make(map[string]*usualCopy, 1)
		}
		u = &usualCopy{sql: stmt.SQL, table: stmt.Table}
	}
	u.ask = frame.AppendString(nil, 'Q', stmt.UsualSQL(insp))
	c.byText[u.sql] = u
	c.begin(u)
	u.size = int64(held)
}

func (c *usualCopies) begin(u *usualCopy) { u.small, u.size, c.last = u.small+1, 0, u }

// forget is for a COPY that was not small, or is none that can be relayed so.
func (c *usualCopies) forget(sql string) {
	delete(c.byText, sql)
	c.last = nil
}

// data notes that a CopyData is relayed.
func (c *usualCopies) data(size int, limit int64) {
	if c.last == nil {
		return
	}
	if c.last.size += int64(size); c.last.size >= limit {
		c.forget(c.last.sql)
	}
}

// find returns what is remembered of a text, if the next one of it may be relayed.
func (c *usualCopies) find(sql []byte) *usualCopy {
	if u := c.byText[string(sql)]; u != nil && u.small >= usualAfter {
		return u
	}
	return nil
}

// rememberCopy notes a COPY that goes to the server as it is, behind an inspection.
func (t *copyTask) rememberCopy(reason rewrite.Reason) {
	s := t.s
	usual := t.insp != nil && !t.extended() && !t.large && len(t.stmt.SQL) <= usualText && t.stmt.Usual(t.insp) &&
		s.srv.cfg.StageMinBytes > 0 && !s.srv.loader.KeepsAll()
	if !usual || reason == rewrite.ReasonMemory || reason == rewrite.ReasonLimit {
		s.usual.forget(t.stmt.SQL)
		return
	}
	s.usual.relayed(t.stmt, t.insp, len(t.hold)+s.clientSkip)
}

// asking is the question about a usual COPY, which waits at the front of the client's
// buffer. A cancel goes to the server, as for all that is relayed.
type asking struct {
	u      *usualCopy
	size   int    // of the COPY's frame
	rest   []byte // of the question, what was not written yet
	row    [][]byte
	failed *pgerr.Error
	done   bool
}

// note takes a frame of the answer.
func (a *asking) note(typ byte, body []byte) {
	switch typ {
	case 'D':
		a.row = dataRow(append([]byte(nil), body...))
	case 'E':
		a.failed = pgerr.Parse(append([]byte(nil), body...))
	case 'Z':
		a.done = true
	}
}

// newAsking returns the question about the COPY at the front of the buffer, nil where
// it has to be inspected. The session is at rest, or it is none.
func (s *session) newAsking() *asking {
	f, whole := frameAt(s.cr.Buffered())
	if !whole || f.typ != 'Q' || s.unsynced {
		return nil
	}
	u := s.usual.find(trimZero(f.body()))
	if u == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.atRest() || s.status == 'E' || s.namesRouted(u.table) {
		return nil
	}
	return &asking{u: u, size: frame.HeaderLen + f.size, rest: u.ask}
}

// namesRouted says whether a table of that name is known to be routed. It holds s.mu.
func (s *session) namesRouted(table string) bool {
	if s.known == nil {
		return false
	}
	set := s.judge()
	return set != nil && set.Has(table)
}

// loopAsk asks about the COPY at the front of the client's buffer. It answers false
// where the client pump has to look at it. It holds onLoop.mu.
func (s *session) loopAsk() bool {
	a := s.newAsking()
	if a == nil {
		return false
	}
	s.asking = a
	n, err := s.on.server.TryWrite(a.rest)
	a.rest = a.rest[n:]
	return err == nil
}

// askDown takes the server's answer. It answers false to land.
func (s *session) askDown() bool {
	a := s.asking
	done, ok := s.takeAnswers(func(typ byte, body []byte) bool {
		if a.note(typ, body); a.done {
			s.ready(body)
		}
		return a.done
	})
	if !done {
		return ok
	}
	if a.failed != nil || len(s.sr.Buffered()) > 0 {
		return false
	}
	s.asking = nil
	s.answered(a)
	return s.relayUp()
}

// answered has the walk relay the COPY, or inspect it.
func (s *session) answered(a *asking) {
	s.usual.cleared = rewrite.StillUsual(a.row)
	if !s.usual.cleared {
		s.usual.forget(a.u.sql)
		return
	}
	s.srv.metrics.pass(rewrite.KindCopy, rewrite.ReasonUsual)
	s.log.Debug("pass", "stmt", rewrite.KindCopy, "reason", rewrite.ReasonUsual)
}

// finishAsk goes on with a question on the client pump.
func (s *session) finishAsk(a *asking) error {
	s.asking = nil
	in := s.inject()
	s.drive()
	var err error
	if s.on != nil {
		err = s.on.server.Flush()
	}
	if err == nil && len(a.rest) > 0 {
		err = s.writeServer(a.rest)
	}
	for err == nil && !a.done {
		var f captured
		if f, err = in.next(s.ctx); err == nil {
			if a.note(f.typ, f.body); a.done {
				in.ready(f.body)
			}
		}
	}
	in.release()
	switch {
	case err != nil:
		return err
	case a.failed == nil:
		s.answered(a)
		return nil
	case s.txStatus() != 'E' && !isWaitError(a.failed):
		s.usual.forget(a.u.sql)
		return nil
	}
	// It was canceled, or has taken the client's block with it.
	s.cr.Discard(a.size)
	s.last = nil
	s.mu.Lock()
	s.dropUnnamed()
	s.mu.Unlock()
	out := append(errorFrame(nil, a.failed.With('P', "")), s.takePending()...)
	return s.writeClient(readyFrame(out, s.txStatus()))
}

// relaysUsual says whether the COPY that the walk has come to is to be relayed, and
// notes that it is. It holds s.mu.
func (s *session) relaysUsual(f *clientFrame) bool {
	s.judge()
	c := &s.usual
	c.last = nil
	if !c.cleared {
		return false
	}
	c.cleared = false
	u := c.find(trimZero(f.body()))
	if u == nil || s.namesRouted(u.table) {
		return false
	}
	c.begin(u)
	return true
}
