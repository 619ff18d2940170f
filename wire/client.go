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
	// actRaw: the stream can't be followed; relay bytes from here on.
	actRaw
)

// maxHead is how far into a statement the prefilter looks.
const maxHead = 4 << 10

// clientLoop is the client pump. Frames that are not ours are written to the
// server as they came, as many in one write as one read brought.
func (s *session) clientLoop() error {
	for {
		n, act := s.walkClient(s.cr.Buffered())
		if n > 0 {
			if err := s.writeServer(s.cr.Buffered()[:n]); err != nil {
				return fmt.Errorf("write to server: %w", err)
			}
			s.cr.Discard(n)
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
		case actCommit:
			err = s.onCommitPoint()
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
		body := p[i+frame.HeaderLen : min(end, len(p))]
		act, relay := s.clientFrame(typ, body, end <= len(p))
		if !relay {
			return i, act
		}
		s.last = nil // whatever it is, it may change the table or the session
		if end > len(p) {
			s.clientSkip = end - len(p)
			end = len(p)
		}
		i = end
	}
	return i, actFill
}

// clientFrame notes one frame that is to be relayed, or says why it is not. It
// holds s.mu.
func (s *session) clientFrame(typ byte, body []byte, whole bool) (act action, relay bool) {
	switch typ {
	case 'Q':
		return s.queryFrame(body, whole)
	case 'P':
		return s.parseFrame(body, whole)
	case 'B':
		if s.statements.count() > 0 {
			if name, ok := bindStatement(body); !ok && !whole && len(body) < maxHead {
				return actFill, false
			} else if ok && s.statements.get(name) != nil {
				return actBind, false
			}
		}
		s.pushExtended(entBind, true)
	case 'E':
		s.pushExtended(entExecute, true)
	case 'D':
		s.pushExtended(entDescribe, false)
	case 'C':
		if whole && len(body) > 1 && body[0] == 'S' {
			s.statements.forget(body[1 : len(body)-1])
		} else if !whole && len(body) < maxHead {
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
	case 'c', 'f':
		s.queue.push(entCopyEnd)
	}
	return actFill, true
}

func (s *session) pushExtended(e entry, executes bool) {
	s.unsynced = true
	s.executed = s.executed || executes
	s.queue.push(e)
}

func (s *session) queryFrame(body []byte, whole bool) (act action, relay bool) {
	if s.commitSync {
		return actCommit, false
	}
	kind, decided := rewrite.PrefilterHead(body[:min(len(body), maxHead)], whole && len(body) <= maxHead)
	if !decided && !whole && len(body) < maxHead {
		return actFill, false
	}
	switch kind {
	case rewrite.KindCopy:
		return actQuery, false
	case rewrite.KindInsert:
		many, decided := s.manyRows(trimZero(body), whole)
		if !decided {
			return actFill, false
		}
		if many {
			return actInsert, false
		}
		s.srv.metrics.pass(kind, rewrite.ReasonSmall)
	}
	s.statements.forget(nil) // a Query drops the unnamed statement
	s.queue.push(entQuery)
	return actFill, true
}

func (s *session) parseFrame(body []byte, whole bool) (act action, relay bool) {
	name, sql, ok := frame.CString(body)
	if !ok {
		if !whole && len(body) < maxHead {
			return actFill, false
		}
		s.pushExtended(entParse, false)
		return actFill, true
	}
	complete := whole && len(sql) <= maxHead
	kind, decided := rewrite.PrefilterHead(sql[:min(len(sql), maxHead)], complete)
	if !decided && !whole && len(sql) < maxHead {
		return actFill, false
	}
	switch kind {
	case rewrite.KindCopy:
		return actParse, false
	case rewrite.KindInsert:
		s.srv.metrics.pass(kind, rewrite.ReasonExtended)
	}
	s.statements.forget(name)
	s.pushExtended(entParse, false)
	return actFill, true
}

// trimZero drops the zero byte at the end of a Query, if it is there already.
func trimZero(p []byte) []byte {
	if n := len(p); n > 0 && p[n-1] == 0 {
		return p[:n-1]
	}
	return p
}

// bindStatement returns the name of the statement that a Bind binds.
func bindStatement(body []byte) (string, bool) {
	_, rest, ok := frame.CString(body)
	if !ok {
		return "", false
	}
	name, _, ok := frame.CString(rest)
	return string(name), ok
}

// relayRaw copies bytes both ways without looking at them any more.
func (s *session) relayRaw() error {
	// The queue keeps what is known to be under way: some of it may be hidden.
	s.clientSkip = math.MaxInt
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
