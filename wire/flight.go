package wire

import (
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// flight is an INSERT like the one before, or a batch of them, which the event
// loop sends on and answers without landing: for a hundred rows, waking up two
// goroutines would cost as much as all the rest. What does not go well lands, and the client pump
// goes on from there.
type flight struct {
	t        *insertTask
	size     int // of the client's message, which is still in its buffer
	reserved int64
	rest     []byte // of what was not written yet
	// rows sends a batch whose Sync has not come yet (batchflight.go), and reason
	// says why it is none after all.
	rows   *rowStream
	reason rewrite.Reason
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
	return s.fly(fl)
}

// fly writes what a flight sends.
func (s *session) fly(fl *flight) bool {
	s.flight = fl
	return s.flyOn(fl)
}

func (s *session) flyOn(fl *flight) bool {
	n, err := s.on.server.TryWrite(fl.t.out)
	fl.rest = fl.t.out[n:]
	return err == nil
}

// loopBatch is loopInsert for the run of Binds at the front of the buffer. Where
// the run has not wholly come its begin is sent, or it waits for more.
func (s *session) loopBatch() bool {
	t := s.sameBatch()
	if t == nil {
		return false
	}
	size := t.batch.size
	if t.batch.expect != 0 {
		if t.batch.binds > 0 && t.waits() {
			return s.flyOpen(t)
		}
		return len(s.cr.Buffered()) < maxFlight && t.batch.binds < s.streamBinds()
	}
	fl := &flight{t: t, size: size, reserved: 2 * int64(size)}
	if !s.srv.loader.Memory().Reserve(fl.reserved) {
		return false
	}
	if t.encode(rewrite.MethodRows) != nil {
		s.srv.loader.Memory().Return(fl.reserved)
		t.giveMore()
		s.giveBuffer(t.out)
		return false
	}
	s.lastBatch = t.batch.st
	return s.fly(fl)
}

// sameBatch returns a task for a run that needs no inspection, or for what has
// come of it yet.
func (s *session) sameBatch() *insertTask {
	p := s.cr.Buffered()
	bind, _ := frameAt(p)
	name, ok := bindStatement(bind.body())
	s.mu.Lock()
	st := s.statements.find(name)
	idle := s.atRest() && s.status == 'T'
	s.mu.Unlock()
	if !ok || !idle || s.last == nil || s.unsynced || s.insertRest > 0 || st == nil || st.insert == nil {
		return nil
	}
	b := &batch{st: st.insert, name: append([]byte(nil), name...), expect: 'B', r: &s.resolver, block: true}
	for b.expect != 0 {
		f, whole := frameAt(p[b.size:])
		if b.size+frame.HeaderLen+f.size > maxFlight {
			return nil
		}
		if !whole {
			break
		}
		if b.take(&f) {
			b.size += len(f.raw())
			continue
		}
		state := b.cutAt(&f, p[b.size:])
		if state == batchUndecided {
			break
		} else if state == batchRelay {
			return nil
		}
	}
	if limit := s.srv.cfg.InsertStageBytes; limit >= 0 && int64(b.size) >= limit || b.size > s.srv.cfg.InsertMaxBytes {
		return nil
	}
	if s.judgeBatch(b) != rewrite.ReasonNone || !s.last.lasts(b.st.stmt) {
		return nil
	}
	t := &insertTask{s: s, stmt: b.st.stmt, batch: b, insp: s.last.insp, inBlock: true}
	if d := rewrite.ClassifyInsert(t.stmt, t.insp, rewrite.Caps{InBlock: true, Params: true, Several: b.binds > 1 || b.expect != 0}); d.Method != rewrite.MethodRows {
		return nil
	}
	return t
}

// flightDown takes the server's answers. It answers false to land.
func (s *session) flightDown() bool {
	done, ok := s.takeAnswers(func(typ byte, body []byte) bool {
		s.flight.t.note(typ, body)
		return s.flight.t.ready == 0 && !s.flight.open()
	})
	if done {
		return s.endFlight()
	}
	return ok
}

// endFlight answers the client, if all went well.
func (s *session) endFlight() bool {
	fl, o := s.flight, s.on
	if fl.t.check() != nil {
		return false
	}
	s.srv.metrics.count(rewrite.KindInsert, streamedRows)
	batch := fl.t.batch != nil
	size := fl.end()
	s.dropFlight()
	out := fl.t.reply(size)
	n, err := o.client.TryWrite(out)
	if err != nil {
		o.down, o.downSeen = out[n:], 0
		s.setCongested()
		return false
	}
	if batch {
		s.giveBuffer(out)
	}
	// What came behind the statement is for the walk.
	return len(s.cr.Buffered()) == 0 && len(s.sr.Buffered()) == 0
}

// dropFlight ends a flight.
func (s *session) dropFlight() {
	s.srv.loader.Memory().Return(s.flight.reserved)
	if b := s.flight.t.batch; b != nil {
		s.srv.loader.Memory().Return(b.reserved)
	}
	s.flight.t.giveMore()
	s.giveBuffer(s.flight.t.out)
	s.flight = nil
}

// finishFlight goes on with a flight on the client pump.
func (s *session) finishFlight() error {
	fl := s.flight
	t := fl.t
	in := s.inject()
	s.drive()
	_ = s.on.server.Flush() // what comes next meets the same error
	var err error
	reason := fl.reason
	switch {
	case fl.open() || reason != rewrite.ReasonNone:
		reason, err = t.streamOn(in, fl.rows, fl.rest, reason)
		t.out = nil // streamOn has given it back
	case len(fl.rest) > 0:
		err = s.writeServer(fl.rest)
		fallthrough
	default:
		if err == nil {
			err = t.collect(in)
		}
	}
	in.release()
	size := fl.end()
	s.dropFlight()
	t.out = nil
	if fl.rows != nil {
		return t.streamed(reason, err)
	}
	return t.sent(err, streamedRows, size)
}
