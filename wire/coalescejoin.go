package wire

import (
	"bytes"
	"strconv"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// maxRun bounds the rows of a run that are not sent and the messages that brought
// them. 10,000 rows make what a COPY costs by itself no matter.
const maxRun = 1 << 20

// maxJoined bounds the messages that are read on the loop, where others wait.
const maxJoined = maxFlight

// run is INSERTs that were answered and whose end the server has not confirmed. It
// belongs to whoever reads the client: the client pump, or the event loop.
type run struct {
	s    *session
	stmt *rewrite.InsertStatement // the first
	insp *rewrite.Inspection
	opts values.Options
	// shape and lexer are for the simple protocol, batch for the extended.
	shape *rewrite.InsertShape
	lexer *values.Lexer
	cells []values.Cell
	batch *batch

	encoder *values.Encoder
	sql     string // of the Query with the COPY
	// out is the Query with the COPY and its data so far; the CopyData that is still
	// open begins at data.
	out  []byte
	data int
	// kept are the client's messages that brought the rows.
	kept []byte
	// rows and inserts are how many there are in out and kept.
	rows, inserts int
	replies       []byte
	// sent is what went to the server and is not answered yet; nil is nothing.
	sent *sentRows

	opened   bool // the table was inspected for it
	reserved int64
	starved  bool // there is no more memory for it
	began    time.Time
	// idle is the server's patience with a silent client in a transaction, or 0.
	idle time.Duration
}

// join takes what belongs to the run off the front of p, and puts the answers in
// replies. ended says that what follows does not belong to it.
func (r *run) join(p []byte) (n int, ended bool) {
	r.replies = r.replies[:0]
	for {
		size, state := r.next(p[n:])
		n += size
		if state != batchTake {
			return n, state == batchRelay
		}
	}
}

// next takes one message, or a Bind with its Execute: batchTake where it has,
// batchUndecided where more of it must come, batchRelay where it is no part.
func (r *run) next(p []byte) (size int, state lookedAhead) {
	if len(p) < frame.HeaderLen {
		return 0, batchUndecided
	}
	typ, n, err := frame.Head(p)
	if err != nil || n > maxJoined {
		return 0, batchRelay
	}
	f := clientFrame{typ: typ, size: n, ahead: p}
	switch {
	case typ == 'S' && f.whole():
		r.s.unsynced, r.s.executed = false, false
		r.replies = readyFrame(r.replies, 'T')
		return len(f.raw()), batchTake
	case typ == 'H' && f.whole(): // they have their answers
		return len(f.raw()), batchTake
	case typ == 'B' && r.batch != nil:
		return r.bind(f)
	case typ == 'Q' && r.shape != nil || typ == 'P' && r.batch != nil:
		if !f.whole() {
			return 0, batchUndecided
		}
		if typ == 'P' && r.parseAgain(f.raw()) || typ == 'Q' && r.query(f) {
			return len(f.raw()), batchTake
		}
	}
	return 0, batchRelay
}

// full says that the rows should be sent before more come. A tenth of the server's
// patience is left out of what the client may use of it.
func (r *run) full() bool {
	return len(r.out)+len(r.kept) >= maxRun || r.starved || r.idle > 0 && time.Since(r.began) > r.idle/10
}

// query takes a Query of the run's shape.
func (r *run) query(f clientFrame) bool {
	s := r.s
	sql, rest, ok := frame.CString(f.body())
	if !ok || len(rest) > 0 || s.unsynced || r.full() || !r.sameOptions() {
		return false
	}
	r.makeRoom(f.size)
	was := r.mark()
	n, ok := r.shape.ReadRows(sql, r.lexer, &r.cells, r.row)
	if !ok {
		r.reset(was)
		return false
	}
	s.mu.Lock()
	s.statements.forget(nil) // a Query drops the unnamed statement
	s.mu.Unlock()
	r.kept = append(r.kept, f.raw()...)
	r.took(n)
	r.replies = readyFrame(r.replies, 'T')
	return true
}

// sameOptions says whether the session's strings are still read as the run's are.
func (r *run) sameOptions() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	opts, ok := r.s.insertOptions()
	return ok && opts == r.opts
}

// unit is a Bind to the unnamed portal, perhaps a Describe, and its Execute.
type unit struct {
	state         lookedAhead
	size, execute int // of all; and where the Execute begins
	described     bool
}

// unitAt finds one at the front of p, of the statement of that name.
func unitAt(p, name []byte) unit {
	u := unit{state: batchUndecided}
	for at := 0; ; {
		f, whole := frameAt(p[at:])
		if !whole || len(f.raw()) < frame.HeaderLen {
			if len(p) > maxJoined {
				u.state = batchRelay
			}
			return u
		}
		switch body := f.body(); {
		case at == 0 && f.typ == 'B' && bindsUnnamedPortal(body, name):
		case at > 0 && f.typ == 'D' && !u.described && isPortal(body, ""):
			u.described = true
		case at > 0 && f.typ == 'E' && runsUnnamedPortal(body):
			u.state, u.execute, u.size = batchTake, at, at+len(f.raw())
			return u
		default:
			u.state = batchRelay
			return u
		}
		at += len(f.raw())
	}
}

// bind takes a Bind of the run's statement, and its Execute.
func (r *run) bind(f clientFrame) (size int, state lookedAhead) {
	b := r.batch
	u := unitAt(f.ahead, b.name)
	if u.state != batchTake {
		return 0, u.state
	}
	if r.full() || !r.sameOptions() {
		return 0, batchRelay
	}
	r.makeRoom(u.size)
	was, n := r.mark(), 0
	b.encoded, b.size = 0, u.size
	err := b.rows(f.ahead, r.opts, r.insp.Types, func(cells []values.Cell) error {
		n++
		return r.row(cells)
	})
	if err != nil {
		r.reset(was)
		return 0, batchRelay
	}
	r.s.unsynced, r.s.executed, r.s.pipe = true, true, pipeline{}
	r.kept = append(append(r.kept, f.raw()...), f.ahead[u.execute:u.size]...)
	r.replies = b.appendBound(r.replies, u.described, nil)
	r.took(n)
	return u.size, batchTake
}

// parseAgain answers a Parse of the unnamed statement that the run is of: the
// server has taken it before, and nothing has changed since.
func (r *run) parseAgain(raw []byte) bool {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(r.batch.name) > 0 || !s.statements.unnamedConfirmed || !bytes.Equal(raw, s.statements.unnamed) {
		return false
	}
	s.unsynced, s.pipe = true, pipeline{}
	r.replies = frame.Append(r.replies, '1', nil)
	return true
}

// makeRoom makes it for a message of that size: appending alone would leave several
// times as much to the garbage collector.
func (r *run) makeRoom(size int) {
	pool := &r.s.srv.buffers
	r.out, r.kept = pool.Grow(r.out, size), pool.Grow(r.kept, size+frame.HeaderLen)
}

// row encodes one row.
func (r *run) row(cells []values.Cell) (err error) {
	if len(r.out)-r.data > maxCopyData {
		frame.SetLen(r.out[r.data:])
		r.data = len(r.out)
		r.out = frame.AppendHead(r.out, 'd', 0)
	}
	r.out, err = r.encoder.AppendRow(r.out, cells)
	return err
}

// took counts an INSERT of n rows, and answers it.
func (r *run) took(n int) {
	r.rows += n
	r.inserts++
	start := len(r.replies)
	r.replies = append(frame.AppendHead(r.replies, 'C', 0), "INSERT 0 "...)
	r.replies = append(strconv.AppendInt(r.replies, int64(n), 10), 0)
	frame.SetLen(r.replies[start:])
	if want := int64(cap(r.out) + cap(r.kept)); want > r.reserved {
		if r.starved = !r.s.srv.loader.Memory().Reserve(want - r.reserved); !r.starved {
			r.reserved = want
		}
	}
}

// mark is a place to go back to.
type mark struct{ out, data int }

func (r *run) mark() mark { return mark{len(r.out), r.data} }

func (r *run) reset(m mark) { r.out, r.data = r.out[:m.out], m.data }

// loopRun goes on with a run on the event loop. It answers false to land. It holds
// onLoop.mu.
func (s *session) loopRun() bool {
	n, ended := s.inserts.join(s.cr.Buffered())
	s.cr.Discard(n)
	if out := s.inserts.replies; len(out) > 0 {
		done, err := s.on.client.TryWrite(out)
		if err != nil {
			// Who lands waits for this to be written.
			s.on.down, s.on.downSeen = out[done:], 0
			s.mu.Lock()
			s.writing, s.congested = true, true
			s.mu.Unlock()
			return false
		}
	}
	return !ended
}

// goOnRun is loopRun for the client pump; and what does not belong to the run ends
// it.
func (s *session) goOnRun() error {
	if len(s.cr.Buffered()) == 0 {
		return nil
	}
	if _, err := s.waitIdle(); err != nil {
		return err
	}
	for r := s.inserts; s.inserts != nil; {
		n, ended := r.join(s.cr.Buffered())
		s.cr.Discard(n)
		if len(r.replies) > 0 {
			if err := s.writeClient(r.replies); err != nil {
				return err
			}
		}
		if !ended {
			return r.poll()
		}
		end := s.endRun
		if r.full() && !r.starved {
			end = s.sendAhead
		}
		if err := end(); err != nil {
			return err
		}
	}
	return nil
}
