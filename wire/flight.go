package wire

import (
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// flight is an INSERT like the one before, which the event loop sends on and
// answers without landing: for a hundred rows, waking up two goroutines would
// cost as much as all the rest. What does not go well lands, and the client pump
// goes on from there.
type flight struct {
	t        *insertTask
	size     int // of the client's message, which is still in its buffer
	reserved int64
	rest     []byte // of what was not written yet
}

// maxFlight bounds the messages that are encoded on the loop, where others wait.
const maxFlight = 256 << 10

// loopInsert begins a flight with the INSERT at the front of the client's buffer.
// It answers false where the client pump has to look at it. It holds onLoop.mu.
func (s *session) loopInsert() bool {
	f, whole := frameAt(s.cr.Buffered())
	if !whole || f.typ != 'Q' || f.size > maxFlight || s.last == nil || s.last.shape == nil {
		return false
	}
	fl := &flight{size: frame.HeaderLen + f.size, reserved: 2 * int64(f.size)}
	if !s.srv.loader.Memory().Reserve(fl.reserved) {
		return false
	}
	if fl.t = s.sameInsert(f.body()); fl.t == nil {
		s.srv.loader.Memory().Return(fl.reserved)
		return false
	}
	s.insertAhead = false
	s.flight = fl
	n, err := s.on.server.TryWrite(fl.t.out)
	fl.rest = fl.t.out[n:]
	return err == nil
}

// flightDown takes the server's answers. It answers false to land.
func (s *session) flightDown() bool {
	for {
		f, whole := frameAt(s.sr.Buffered())
		switch {
		case !whole:
			return len(s.sr.Buffered()) < maxCaptured
		case len(f.raw()) < frame.HeaderLen || f.typ == 'E' && pgerr.Parse(f.body()).IsFatal():
			return false // the server pump says what to do with it
		case f.typ == 'S' || f.typ == 'A':
			if f.typ == 'S' {
				s.mu.Lock()
				s.noteParameter(f.body())
				s.mu.Unlock()
			}
			if s.later(f.raw()) != nil {
				return false
			}
		default:
			s.flight.t.note(f.typ, f.body())
		}
		s.sr.Discard(len(f.raw()))
		if s.flight.t.ready == 0 {
			return s.endFlight()
		}
	}
}

// endFlight answers the client, if all went well.
func (s *session) endFlight() bool {
	fl, o := s.flight, s.on
	if fl.t.check() != nil {
		return false
	}
	s.srv.metrics.count(rewrite.KindInsert, streamedRows)
	out := fl.t.reply(fl.size)
	s.dropFlight()
	n, err := o.client.TryWrite(out)
	if err != nil {
		o.down, o.downSeen = out[n:], 0
		s.setCongested()
		return false
	}
	// What came behind the statement is for the walk.
	return len(s.cr.Buffered()) == 0 && len(s.sr.Buffered()) == 0
}

// dropFlight ends a flight.
func (s *session) dropFlight() {
	s.srv.loader.Memory().Return(s.flight.reserved)
	s.giveBuffer(s.flight.t.out)
	s.flight = nil
}

// finishFlight goes on with a flight on the client pump.
func (s *session) finishFlight() error {
	fl := s.flight
	t := fl.t
	in := s.inject()
	s.drive()
	var err error
	if len(fl.rest) > 0 {
		err = s.writeServer(fl.rest)
	}
	if err == nil {
		err = t.collect(in)
	}
	in.release()
	s.dropFlight()
	t.out = nil
	return t.sent(err, streamedRows, fl.size)
}
