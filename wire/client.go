package wire

import (
	"errors"
	"fmt"
	"math"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// action is what the walk over the client's frames stopped for.
type action byte

const (
	// actFill: nothing more can be said without more bytes.
	actFill action = iota
	// actQuery, actParse: a statement that may be ours stands at the stop.
	actQuery
	actParse
	// actBind: a Bind of a statement that is ours.
	actBind
	// actCommit: a Sync or Query, and a transaction block of ours is open.
	actCommit
	// actInsert: a Query with many rows to insert.
	actInsert
	// actBatch: Binds of an INSERT that bring many rows.
	actBatch
	// actCoalesce: an INSERT with which a run of them may begin.
	actCoalesce
	// actRouted, actRoutedBind: a Query or Bind that may insert into a routed table.
	actRouted
	actRoutedBind
	// actRelay: nothing keeps the frame from being relayed.
	actRelay
	// actRead, actReadParse: a statement that may read or change a routed table.
	actRead
	actReadParse
	// actChangeBind, actChangeExecute: of a prepared UPDATE or DELETE of one.
	actChangeBind
	actChangeExecute
	// actRaw: the stream can't be followed; relay bytes from here on.
	actRaw
)

// maxHead is how far into a statement the prefilter looks.
const maxHead = 4 << 10

// clientLoop is the client pump. Frames that are not ours are written to the
// server as they came, as many in one write as one read brought.
func (s *session) clientLoop() error {
	for {
		if s.inserts != nil {
			err := s.goOnRun()
			if err == nil && s.inserts != nil {
				err = s.awaitClient()
			}
			if err != nil {
				return err
			}
			continue
		}
		n, act := s.walkClient(s.cr.Buffered())
		if n > 0 {
			if err := s.writeServer(s.cr.Buffered()[:n]); err != nil {
				return fmt.Errorf("write to server: %w", err)
			}
			s.cr.Discard(n)
			s.plain, s.cleared = max(0, s.plain-n), max(0, s.cleared-n)
		}
		var err error
		if act != actFill {
			s.drive()
		}
		switch act {
		case actFill:
			err = s.awaitClient()
		case actQuery:
			err = s.onQuery()
		case actParse:
			err = s.onParse()
		case actBind:
			err = s.onBind()
		case actInsert:
			err = s.onInsert()
		case actBatch:
			err = s.onBatch()
		case actCoalesce:
			err = s.onCoalesce()
		case actCommit:
			err = s.onCommitPoint()
		case actRouted:
			err = s.onRoutedQuery()
		case actRoutedBind:
			err = s.onRoutedBind()
		case actRead, actReadParse, actChangeBind, actChangeExecute:
			err = s.onReads(act)
		case actRaw:
			err = s.relayRaw()
		}
		if err != nil {
			return err
		}
	}
}

// walkClient follows the frames in p, pushes what the server will owe, and
// returns how many bytes can be relayed and why it stopped there.
func (s *session) walkClient(p []byte) (n int, act action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := 0
	for i < len(p) {
		if s.clientSkip > 0 {
			k := min(s.clientSkip, len(p)-i)
			s.clientSkip -= k
			i += k
			continue
		}
		if len(p)-i < frame.HeaderLen {
			return i, actFill
		}
		typ, size, err := frame.Head(p[i:])
		if err != nil {
			return i, actRaw
		}
		end := i + frame.HeaderLen + size
		act, relay := s.clientFrame(clientFrame{typ: typ, size: size, at: i, ahead: p[i:]})
		if !relay {
			return i, act
		}
		s.keepInsert(typ)
		if !s.keepHead {
			s.lastHead = s.lastHead[:0]
		}
		s.keepHead = false
		if end > len(p) {
			s.clientSkip = end - len(p)
			end = len(p)
		}
		i = end
	}
	return i, actFill
}

// keepInsert drops what the INSERT before has left, unless the frame that is
// relayed runs nothing: else it may change the table or the session.
func (s *session) keepInsert(typ byte) {
	s.coal.relayed(typ, s.parsedInsert)
	switch {
	case typ == 'D' || typ == 'C' || typ == 'S' || typ == 'H':
	case typ == 'P' && s.parsedInsert:
	case (typ == 'B' || typ == 'E') && s.boundSame:
	default:
		s.last = nil
	}
	s.parsedInsert = false
}

// clientFrame is a frame that the walk has come to.
type clientFrame struct {
	typ   byte
	size  int    // of the body
	at    int    // in the client's buffer
	ahead []byte // from its header on, all that is buffered
}

func (f *clientFrame) whole() bool { return len(f.ahead) >= frame.HeaderLen+f.size }

// raw is the frame, or what is there of it; body is that without the header.
func (f *clientFrame) raw() []byte  { return f.ahead[:min(frame.HeaderLen+f.size, len(f.ahead))] }
func (f *clientFrame) body() []byte { return f.raw()[frame.HeaderLen:] }

// open says that more bytes may make the begin of the frame readable.
func (f *clientFrame) open() bool { return !f.whole() && len(f.ahead) < maxHead+frame.HeaderLen }

// clientFrame notes one frame that is to be relayed, or says why it is not. It
// holds s.mu.
func (s *session) clientFrame(f clientFrame) (act action, relay bool) {
	s.coal.isInsert = false
	switch f.typ {
	case 'Q':
		return s.queryFrame(f)
	case 'P':
		return s.parseFrame(f)
	case 'B':
		if act, relay := s.bindFrame(f); !relay {
			return act, false
		}
		s.pushPipelined(entBind)
		s.pipe.bound(s.bound)
		s.executed = true
	case 'E':
		if len(s.reads.portals) > 0 {
			if !f.whole() {
				return actFill, false
			} else if s.changeExecuted(f.body()) {
				return actChangeExecute, false
			}
		}
		s.ranExecuting(f.body())
		unnamed := f.whole() && runsUnnamedPortal(f.body())
		s.boundSame = s.boundSame && unnamed
		s.pushPipelined(entExecute)
		s.pipe.runs(unnamed)
		s.executed = true
	case 'D':
		s.pushExtended(entDescribe, false)
	case 'C':
		if body := f.body(); f.whole() && len(body) > 1 && body[0] == 'S' {
			s.statements.forget(body[1 : len(body)-1])
			delete(s.reads.changes, string(body[1:len(body)-1]))
		} else if f.open() {
			return actFill, false
		}
		s.pushExtended(entClose, false)
	case 'S':
		if s.commitSync {
			return actCommit, false
		}
		s.unsynced, s.executed = false, false
		s.queue.push(entSync)
	case 'F':
		if s.commitSync {
			return actCommit, false
		}
		s.queue.push(entQuery)
	case 'd':
		s.usual.data(f.size, s.srv.cfg.StageMinBytes)
	case 'c', 'f':
		s.queue.push(entCopyEnd)
	}
	return actFill, true
}

func (s *session) queryFrame(f clientFrame) (act action, relay bool) {
	if s.commitSync {
		return actCommit, false
	}
	s.notePrepares(f)
	s.lastBatch = nil
	body := f.body()
	kind, decided := rewrite.PrefilterHead(body[:min(len(body), maxHead)], f.whole() && len(body) <= maxHead)
	if !decided && f.open() {
		return actFill, false
	}
	switch kind {
	case rewrite.KindCopy:
		if !s.relaysUsual(&f) {
			return actQuery, false
		}
	case rewrite.KindInsert:
		if s.insertAhead && f.at == 0 {
			return actInsert, false // it was counted before
		}
		if s.coalesceQuery(f, trimZero(body)) {
			if !f.whole() {
				return actFill, false
			}
			return actCoalesce, false
		}
		many, decided := s.manyRows(trimZero(body), f.whole())
		if !decided {
			return actFill, false
		}
		if many {
			s.insertAhead = true
			return actInsert, false
		}
		if f.whole() && s.looksInsertRead(trimZero(body)) {
			return actRead, false
		}
		if s.routeSmall && s.judge().Insert(trimZero(body)) {
			return actRouted, false
		}
		if act := s.several(f, trimZero(body)); act != actRelay {
			return act, false
		}
		s.srv.metrics.pass(kind, rewrite.ReasonSmall)
	default:
		if act, relay := s.routedLater(f); !relay {
			return act, false
		}
		if act, relay := s.readFrame(f, actRead, trimZero(body)); !relay {
			return act, false
		}
		s.coal.look(body)
		if act := s.several(f, trimZero(body)); act != actRelay {
			return act, false
		}
	}
	s.dropUnnamed()
	s.queue.push(entQuery)
	return actFill, true
}

// several says what becomes of a Query that may hold a COPY behind other
// statements. The server begins none of it before it is whole, so waiting costs
// little, up to a length.
func (s *session) several(f clientFrame, sql []byte) action {
	if s.srv.loader == nil {
		return actRelay
	}
	if _, copies := rewrite.Inner(sql); copies {
		return actQuery
	}
	switch {
	case f.whole() || f.size > s.srv.cfg.MaxStatement:
		return actRelay
	case f.size <= maxUndecided:
		return actFill
	}
	return actQuery
}

func (s *session) parseFrame(f clientFrame) (act action, relay bool) {
	name, sql, ok := frame.CString(f.body())
	if !ok {
		if f.open() {
			return actFill, false
		}
		s.pushExtended(entParse, false)
		return actFill, true
	}
	complete := f.whole() && len(sql) <= maxHead
	kind, decided := rewrite.PrefilterHead(sql[:min(len(sql), maxHead)], complete)
	if !decided && f.open() {
		return actFill, false
	}
	inserts := kind == rewrite.KindInsert || kind == rewrite.KindNone && s.wrapsInsert(sql, f.whole())
	if kind == rewrite.KindNone {
		if act, relay := s.readFrame(f, actReadParse, sql); !relay {
			return act, false
		}
	}
	switch {
	case kind == rewrite.KindCopy:
		return actParse, false
	case inserts && !f.whole() && f.size <= s.srv.cfg.MaxStatement:
		return actFill, false
	case kind == rewrite.KindInsert && f.whole() && s.looksInsertRead(sql):
		return actReadParse, false
	case kind == rewrite.KindNone:
		s.coal.look(sql)
	}
	if !s.queue.skipping { // else the server ignores it
		s.statements.parsing(name, f.raw(), f.whole())
		s.reads.parsedAnew(name)
		if inserts && f.whole() {
			s.rememberInsert(name, sql)
			s.parsedInsert = kind == rewrite.KindInsert
		} else if inserts {
			s.statements.missed(name)
		} else if kind == rewrite.KindNone && complete && isBegin(sql) {
			s.statements.add(string(name), &prepared{begin: true})
		}
	}
	s.pushExtended(entParse, false)
	return actFill, true
}

// bindFrame stops at a Bind that is a COPY's, or brings rows to insert.
func (s *session) bindFrame(f clientFrame) (act action, relay bool) {
	s.bound, s.boundSame = nil, false
	if s.reads.known != nil {
		if f.open() {
			return actFill, false
		} else if s.changeBound(f.body()) {
			return actChangeBind, false
		}
	}
	if s.statements.count() == 0 && !s.statements.forgot && !s.statements.lostInsert {
		return actFill, true
	}
	name, ok := bindStatement(f.body())
	if !ok {
		return actFill, !f.open()
	}
	st := s.statements.find(name)
	if bindsUnnamedPortal(f.body(), name) {
		s.bound = s.statements.known(name)
	}
	routed := f.at >= s.cleared && s.routedBind(name)
	if !routed {
		s.noteExecuting(f.body(), name)
	}
	switch {
	case routed && (st == nil || f.at < s.plain):
		return actRoutedBind, false
	case st == nil:
	case st.insert == nil:
		s.judge()
		return actBind, false
	case f.at < s.plain:
		s.coalesceBind(f, name, st.insert)
	default:
		switch s.coalesceBind(f, name, st.insert) {
		case batchUndecided:
			return actFill, false
		case batchTake:
			return actCoalesce, false
		}
		switch s.lookAhead(f, name, st.insert) {
		case batchUndecided:
			return actFill, false
		case batchTake:
			return actBatch, false
		}
		if routed {
			return actRoutedBind, false
		}
	}
	s.boundSame = s.bound != nil && s.bound.insert != nil && s.last.lasts(s.bound.insert.stmt)
	return actFill, true
}

// bindStatement returns the name of the statement that a Bind binds.
func bindStatement(body []byte) (name []byte, ok bool) {
	_, rest, ok := frame.CString(body)
	if !ok {
		return nil, false
	}
	name, _, ok = frame.CString(rest)
	return name, ok
}

// relayRaw copies bytes both ways without looking at them any more.
func (s *session) relayRaw() error {
	s.clientSkip = math.MaxInt // the queue keeps what is known to be under way: some of it may be hidden
	for {
		p := s.cr.Buffered()
		if err := s.writeServer(p); err != nil {
			return fmt.Errorf("write to server: %w", err)
		}
		s.cr.Discard(len(p))
		if err := s.cr.Fill(); err != nil {
			return err
		}
	}
}

// errTooLong says that a frame is longer than the proxy wants to hold.
var errTooLong = errors.New("message too long")

// peekFrame returns the whole frame at the front of the client's buffer, which
// it fills as needed, without discarding it. Frames longer than limit are left
// and give errTooLong; an unreadable header gives frame.ErrLength.
func (s *session) peekFrame(limit int) (typ byte, body, raw []byte, err error) {
	if err := s.cr.Need(frame.HeaderLen); err != nil {
		return 0, nil, nil, err
	}
	typ, n, err := frame.Head(s.cr.Buffered())
	if err != nil {
		return typ, nil, nil, err
	}
	if n > limit {
		return typ, nil, nil, errTooLong
	}
	if err := s.cr.Need(frame.HeaderLen + n); err != nil {
		return typ, nil, nil, err
	}
	raw = s.cr.Buffered()[:frame.HeaderLen+n]
	return typ, raw[frame.HeaderLen:], raw, nil
}

// relayOne passes the frame at the front of the buffer on as it is: the walk
// goes over it with the given entry already pushed.
func (s *session) relayOne(e entry) error {
	if err := s.cr.Need(frame.HeaderLen); err != nil {
		return err
	}
	_, n, err := frame.Head(s.cr.Buffered())
	if err != nil {
		return s.relayRaw()
	}
	s.mu.Lock()
	if e == entQuery {
		s.queue.push(e)
	} else {
		s.pushExtended(e, e == entBind || e == entExecute)
	}
	s.mu.Unlock()
	p := s.cr.Buffered()
	k := min(len(p), frame.HeaderLen+n)
	if err := s.writeServer(p[:k]); err != nil {
		return fmt.Errorf("write to server: %w", err)
	}
	s.cr.Discard(k)
	s.clientSkip = frame.HeaderLen + n - k
	return nil
}
