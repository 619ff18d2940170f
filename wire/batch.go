package wire

import (
	"bytes"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// A batch is what clients send to insert many rows by the extended protocol: a
// run of Bind, perhaps Describe, and Execute of one INSERT, and a Sync. Either
// one Bind brings all rows, or each brings one. The client can't expect an answer
// before the Sync, so the run is held in its buffer until that is there, and then
// goes to the server in another form, or as it is.

// lookedAhead says what a Bind of an INSERT begins.
type lookedAhead byte

const (
	// batchRelay: too few rows, or not a run.
	batchRelay lookedAhead = iota
	// batchUndecided: more bytes are needed to tell.
	batchUndecided
	// batchTake: enough rows.
	batchTake
)

// rememberInsert notes a Parse of an INSERT; rest is what stands behind its
// name. One inside of another statement is only noted for its table. It holds s.mu.
func (s *session) rememberInsert(name, rest []byte) {
	opts, ok := s.insertOptions()
	if !ok && !s.routeSmall {
		return
	}
	st := newPreparedInsert(rest)
	if st == nil {
		return
	}
	ok = ok && rewrite.Prefilter(st.sql) == rewrite.KindInsert
	st.executes = rewrite.Executes(st.sql, false)
	if st.unread = !ok; ok {
		cfg := &s.srv.cfg
		n := cfg.InsertMinRowsBind
		if st.all = n <= cfg.InsertMinRows; n > 0 && (st.all || endsWithRows(st.sql)) {
			st.many, _ = rewrite.ManyRows(st.sql, true, max(n, cfg.InsertMinRows), opts)
		}
		if st.many {
			// A row gains less than one of literals: the inspection takes more of them.
			alone := max(cfg.InsertMinRowsAlone-cfg.InsertMinRows, 0)
			st.enough, _ = rewrite.ManyRows(st.sql, true, max(n, cfg.InsertMinRows)+2*alone, opts)
		}
		st.several, _ = rewrite.ManyRows(st.sql, true, 2, opts)
	}
	s.statements.add(string(name), &prepared{insert: st})
}

// endsWithRows says whether nothing stands behind the last parameter. With ON
// CONFLICT or RETURNING rows would go as arrays, which costs more than Bind.
func endsWithRows(sql []byte) bool {
	last := sql[bytes.LastIndexByte(sql, '$')+1:]
	return len(bytes.Trim(last, "0123456789 \t\r\n);")) == 0
}

// A statement whose runs were long is sent on from rowsAhead rows on, before the
// end of the run is there; and no more when shortRunsInARow were short.
const (
	rowsAhead       = 24
	shortRunsInARow = 2
)

// lookAhead looks at a Bind and at what follows it.
func (s *session) lookAhead(bind clientFrame, name []byte, st *preparedInsert) lookedAhead {
	p := bind.ahead
	switch {
	case st.parsed && st.stmt == nil, st.many && st.textOnly && !st.all:
		return batchRelay
	case st.enough:
		return batchTake
	}
	again := s.last != nil || s.lastBatch != nil && bytes.Equal(s.lastBatch.sql, st.sql)
	if st.many && again && s.inBlock() {
		return batchTake
	}
	enough, rows := max(s.enoughRows(again), s.srv.cfg.InsertMinRowsBatch), 0
	runs, per := 0, 1 // Executes, and the rows of each
	ahead := st.long && s.last != nil && s.on != nil && s.status == 'T' && !s.unsynced
	for at := 0; ; {
		f, ok := frameAt(p[at:])
		if !ok {
			if ahead && rows >= rowsAhead {
				return batchTake
			}
			// To wait for the rest keeps the server from working on the begin: not
			// where the run before was too short.
			if len(p) >= maxUndecided || st.short >= shortRunsInARow {
				return batchRelay
			}
			return batchUndecided
		}
		at += len(f.raw())
		switch body := f.body(); {
		case f.typ == 'B' && bindsUnnamedPortal(body, name):
		case f.typ == 'D' && isPortal(body, ""):
		case f.typ == 'E' && runsUnnamedPortal(body):
			if runs++; runs == 2 && st.several {
				per = st.rows(s)
			}
			if rows = runs * per; rows >= enough {
				st.short, st.long = 0, true
				return batchTake
			}
		default:
			if rows > 1 || st.many {
				s.srv.metrics.pass(rewrite.KindInsert, rewrite.ReasonSmall)
			}
			s.lastBatch = nil
			if st.short++; st.short >= shortRunsInARow {
				st.long = false
			}
			s.plain = bind.at + at - len(f.raw()) // none of them is looked at again
			if (st.many || rows >= s.srv.cfg.InsertMinRows) && s.inBlock() {
				s.lastBatch = st
			}
			return batchRelay
		}
	}
}

// trimZero drops the zero byte at the end of a Query, if it is there already.
func trimZero(p []byte) []byte {
	if n := len(p); n > 0 && p[n-1] == 0 {
		return p[:n-1]
	}
	return p
}

// frameAt returns the frame at the front of p, if it is whole.
func frameAt(p []byte) (f clientFrame, whole bool) {
	if len(p) < frame.HeaderLen {
		return f, false
	}
	typ, size, err := frame.Head(p)
	if err != nil {
		return clientFrame{ahead: p}, true // whatever it is
	}
	f = clientFrame{typ: typ, size: size, ahead: p}
	return f, f.whole()
}

func bindsUnnamedPortal(body, name []byte) bool {
	return len(body) > 0 && body[0] == 0 && bytes.HasPrefix(body[1:], name) &&
		len(body) > 1+len(name) && body[1+len(name)] == 0
}

// runsUnnamedPortal says whether an Execute runs the unnamed portal, with a row
// limit or without. pgjdbc always sends one.
func runsUnnamedPortal(body []byte) bool { return len(body) == 5 && body[0] == 0 }

// batch is a run at the front of the client's buffer.
type batch struct {
	st   *preparedInsert
	name []byte // of the statement
	// expect is what may come next: a Bind (or the Sync), an Execute (or a
	// Describe), or 0 for nothing.
	expect byte
	block  bool // it comes in a block of the client's
	cut    bool // what comes next is not its Sync, but another statement
	// binds is how many Binds there are, and described how many of them a Describe
	// follows.
	binds, described int
	describes        bool // the last one
	// encoded is up to where Binds were turned into rows.
	encoded  int
	size     int // of all messages, with the Sync
	reserved int64
	r        *resolver
	limited  bool   // an Execute has a row limit, which says nothing where no rows come
	results  []byte // the formats that the last Bind wants, with their count
}

// gather reads to the Sync, or until the run has so many Binds. It leaves all in
// the buffer.
func (s *session) gather(b *batch, binds int) (rewrite.Reason, error) {
	for b.expect != 0 && (b.binds < binds || b.expect != 'B') {
		if reason, err := s.gatherNext(b); err != nil || reason != rewrite.ReasonNone {
			return reason, err
		}
	}
	return rewrite.ReasonNone, nil
}

// gatherNext takes one frame.
func (s *session) gatherNext(b *batch) (rewrite.Reason, error) {
	f, whole := frameAt(s.cr.Buffered()[b.size:])
	if !whole {
		if reason, err := s.needNext(b); err != nil || reason != rewrite.ReasonNone {
			return reason, err
		}
		f, _ = frameAt(s.cr.Buffered()[b.size:])
	}
	if !f.whole() {
		return rewrite.ReasonParseError, nil
	}
	end := b.size + frame.HeaderLen + f.size
	if end > s.srv.cfg.InsertMaxBytes {
		return rewrite.ReasonTooLong, nil
	}
	if !s.reserve(b, end) {
		return rewrite.ReasonMemory, nil
	}
	if b.take(&f) {
		b.size = end
		return rewrite.ReasonNone, nil
	}
	switch b.cutAt(&f, s.cr.Buffered()[b.size:]) {
	case batchTake:
		return rewrite.ReasonNone, nil
	case batchUndecided:
		return rewrite.ReasonNone, s.cr.Need(end + frame.HeaderLen + 1) // and again
	}
	return rewrite.ReasonInPipeline, nil
}

// needNext reads the next frame of a run into the buffer.
func (s *session) needNext(b *batch) (rewrite.Reason, error) {
	if err := s.cr.Need(b.size + frame.HeaderLen); err != nil {
		return rewrite.ReasonInPipeline, err
	}
	_, size, err := frame.Head(s.cr.Buffered()[b.size:])
	if err != nil {
		return rewrite.ReasonParseError, nil
	}
	end := b.size + frame.HeaderLen + size
	switch {
	case end > s.srv.cfg.InsertMaxBytes:
		return rewrite.ReasonTooLong, nil
	case !s.reserve(b, end):
		return rewrite.ReasonMemory, nil
	}
	return rewrite.ReasonNone, s.cr.Need(end)
}

// reserve takes memory for size bytes of a run, and what is made of them.
func (s *session) reserve(b *batch, size int) bool {
	want := 2 * int64(size)
	if want <= b.reserved {
		return true
	}
	step := max(want-b.reserved, 4*holdStep)
	if !s.srv.loader.Memory().Reserve(step) {
		return false
	}
	b.reserved += step
	return true
}

// take says whether a frame may come next in the run.
func (b *batch) take(f *clientFrame) bool {
	switch body := f.body(); {
	case f.typ == 'B' && b.expect == 'B' && bindsUnnamedPortal(body, b.name):
		b.binds, b.describes, b.expect = b.binds+1, false, 'E'
	case f.typ == 'D' && b.expect == 'E' && isPortal(body, "") && !b.describes:
		b.described, b.describes = b.described+1, true
	case f.typ == 'E' && b.expect == 'E' && runsUnnamedPortal(body):
		b.limited = b.limited || !isExecute(body, "")
		b.expect = 'B'
	case f.typ == 'S' && b.expect == 'B':
		b.expect = 0
	default:
		return false
	}
	return true
}

// frames calls f with the messages of the run from an offset on.
func (b *batch) frames(buffered []byte, from int, f func(clientFrame) error) error {
	for at := from; at < b.size; {
		next, _ := frameAt(buffered[at:])
		if err := f(next); err != nil {
			return err
		}
		at += len(next.raw())
	}
	return nil
}
