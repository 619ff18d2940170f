package wire

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/wire/evloop"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// onLoop is what a session needs to be relayed by an event loop. A session is
// either aloft: the loop relays both directions, and the client pump waits; or
// on the ground: both pumps run as goroutines. It takes off when the client pump
// has nothing to do but relay, and lands when something has to be done that is
// not relaying, or that would block.
type onLoop struct {
	client, server evloop.Stream
	// wake tells the client pump that the session has landed.
	wake chan struct{}

	// mu is held by the loop while it works for this session, and by whoever
	// changes what follows.
	mu    sync.Mutex
	aloft bool
	// ended: one side has ended, or failed.
	ended bool
	// pump: the server pump's goroutine runs, or has ended for good.
	pump bool
	// owed is how many bytes at the front of the client's buffer are noted in
	// the reply queue, but not written.
	owed int
	// down is what the client was not given yet of downSeen bytes at the front
	// of the server's buffer, which are noted too. It may be empty where TLS has
	// kept the rest.
	down     []byte
	downSeen int
	joined   []byte // down's memory where it is not the buffer itself
}

// adopt moves the session's connections to a loop, if they are of a kind that
// can be. It is called before anything else runs.
func (s *session) adopt(loop *evloop.Loop) {
	if loop == nil || s.clientSkip > 0 {
		return
	}
	client, err := loop.Adopt(s.client)
	if err != nil {
		return
	}
	s.client = client
	s.cr.SetSource(client)
	server, err := loop.Adopt(s.server)
	if err != nil {
		return
	}
	s.server = server
	s.sr.SetSource(server)
	s.on = &onLoop{client: client, server: server, wake: make(chan struct{}, 1)}
}

// awaitClient returns when the client pump has something to look at: without a
// loop when bytes came, else when the loop met what it can't do.
func (s *session) awaitClient() error {
	if !s.park() {
		s.drive()
		return s.cr.Fill()
	}
	o := s.on
	o.mu.Lock()
	if o.pump {
		_ = o.server.SetReadDeadline(time.Unix(1, 0)) // it takes off when it wakes up
	} else {
		s.mu.Lock()
		s.parking = false
		s.mu.Unlock()
		s.takeOff()
	}
	o.mu.Unlock()
	var err error
	select {
	case <-o.wake:
	case <-s.ctx.Done():
		err = context.Cause(s.ctx)
	}
	if err == nil && s.flight != nil {
		return s.finishFlight()
	}
	if err == nil && s.asking != nil {
		return s.finishAsk(s.asking)
	}
	s.drive()
	if s.flight != nil {
		s.dropFlight() // the session ends
	}
	if err == nil {
		err = o.server.Flush()
	}
	if err == nil && o.owed > 0 {
		err = s.writeServer(s.cr.Buffered()[:o.owed])
		s.cr.Discard(o.owed)
		o.owed = 0
	}
	return err
}

// park says whether the session may take off, and keeps the server pump from
// beginning to write, where it could block.
func (s *session) park() bool {
	if s.on == nil || s.on.ended {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing || s.congested || s.queue.lost || s.capture != nil || len(s.unsettled) > 0 || s.ctx.Err() != nil {
		return false
	}
	s.parking = true
	return true
}

// drive brings the session to the ground: the server pump runs, and the client
// pump may block. Without a loop it starts the server pump.
func (s *session) drive() {
	if s.on == nil {
		if !s.started {
			s.started = true
			go s.serverPump()
		}
		return
	}
	o := s.on
	o.mu.Lock()
	defer o.mu.Unlock()
	s.mu.Lock()
	s.parking = false
	s.mu.Unlock()
	if o.aloft {
		o.aloft = false
		o.client.Detach()
		o.server.Detach()
	}
	select {
	case <-o.wake:
	default:
	}
	_ = o.server.SetReadDeadline(time.Time{})
	if !o.pump {
		o.pump = true
		go s.serverPump()
	}
}

// takeOff gives both directions to the loop. It holds o.mu.
func (s *session) takeOff() {
	o := s.on
	o.pump, o.aloft = false, true
	if o.client.Attach(s) != nil || o.server.Attach(s) != nil {
		o.ended = true
		s.land()
		return
	}
	// What is left over in a buffer would wait for more.
	if !s.relayDown() || o.client.More() && !s.loopUp() || o.server.More() && !s.loopDown() {
		s.land()
		return
	}
	s.rest()
}

// land ends what the loop does for the session. It holds o.mu.
func (s *session) land() {
	s.on.aloft = false
	s.on.client.Detach()
	s.on.server.Detach()
	s.on.wake <- struct{}{} // never full: drive empties it
}

// Ready implements evloop.Handler.
func (s *session) Ready(c evloop.Stream, readable, _ bool) {
	o := s.on
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.aloft || !readable {
		return
	}
	var ok bool
	switch {
	case c == o.client && s.flight != nil:
		ok = s.flightUp()
	case c == o.client && s.asking != nil: // it does not wait to be asked for data, or hangs up
	case c == o.client:
		ok = s.loopUp()
	default:
		ok = s.loopDown()
	}
	if !ok {
		s.land()
		return
	}
	s.rest()
}

// rest leaves the buffers to others, for as long as nothing is in them.
func (s *session) rest() {
	s.cr.Rest()
	s.sr.Rest()
}

// take reads what is there into a buffer.
func take(c evloop.Stream, r *frame.Reader) error {
	for {
		n, err := c.TryRead(r.Room())
		r.Took(n)
		if err != nil || !c.More() {
			return err
		}
	}
}

// loopUp relays what the client has sent. It answers false where the client
// pump has to go on. It holds o.mu.
func (s *session) loopUp() bool {
	o := s.on
	had := len(s.cr.Buffered())
	if err := take(o.client, s.cr); err != nil && !s.loopFailed(err) {
		return false
	} else if len(s.cr.Buffered()) == had {
		return true
	}
	if s.inserts != nil {
		return s.loopRun()
	}
	return s.relayUp()
}

// relayUp is loopUp for what is buffered.
func (s *session) relayUp() bool {
	o := s.on
	n, act := s.walkClient(s.cr.Buffered())
	if n > 0 {
		done, err := o.server.TryWrite(s.cr.Buffered()[:n])
		s.cr.Discard(done)
		s.plain, s.cleared = max(0, s.plain-done), max(0, s.cleared-done)
		if err != nil {
			o.owed = n - done
			s.setCongested()
			return false
		}
	}
	return act == actFill || act == actInsert && s.loopInsert() || act == actBatch && s.loopBatch() || act == actQuery && s.loopAsk()
}

// loopDown is loopUp for what the server has sent.
func (s *session) loopDown() bool {
	had := len(s.sr.Buffered())
	if err := take(s.on.server, s.sr); err != nil && !s.loopFailed(err) {
		return false
	} else if len(s.sr.Buffered()) == had {
		return true
	}
	switch {
	case s.flight != nil:
		return s.flightDown()
	case s.asking != nil:
		return s.askDown()
	}
	return s.relayDown()
}

// loopFailed says whether a read has found nothing. After any other error the
// session stays on the ground, where the pump meets it, too.
func (s *session) loopFailed(err error) bool {
	if errors.Is(err, evloop.ErrWouldBlock) {
		return true
	}
	s.on.ended = true
	return false
}

// relayDown gives the client what is buffered.
func (s *session) relayDown() bool {
	o := s.on
	p := s.sr.Buffered()
	s.mu.Lock()
	w := s.walkServer(p)
	s.writing = true
	s.mu.Unlock()
	out := w.join(p, &o.joined)
	done, err := o.client.TryWrite(out)
	if err != nil {
		o.down, o.downSeen = out[done:], w.seen
		s.setCongested()
		return false
	}
	s.relayed(w.seen)
	return true
}

// setCongested keeps the session on the ground until the server has answered
// what it was asked: a stream that fills the sockets' buffers would land and
// take off at every step.
func (s *session) setCongested() {
	s.mu.Lock()
	s.congested = true
	s.mu.Unlock()
}

// join returns the spans as one piece: of the buffer itself where it can.
func (w *walked) join(p []byte, memory *[]byte) []byte {
	if len(w.show) == 0 {
		return nil
	}
	if first := w.show[0]; len(w.show) == 1 && first.before == nil {
		return p[first.from:first.to]
	}
	out := (*memory)[:0]
	for _, part := range w.show {
		out = append(append(out, part.before...), p[part.from:part.to]...)
	}
	*memory = out
	return out
}

// finishDown writes what the loop could not.
func (s *session) finishDown() error {
	o := s.on
	if o == nil {
		return nil
	}
	err := o.client.Flush()
	if err != nil || o.downSeen == 0 && o.down == nil {
		return err
	}
	err = s.writeClient(o.down)
	seen := o.downSeen
	o.down, o.downSeen = nil, 0
	settleAll(s.relayed(seen))
	return err
}

// boards says whether the server pump ends because the loop goes on with its
// work.
func (s *session) boards() (aloft bool) {
	if s.on == nil {
		return false
	}
	s.on.mu.Lock()
	defer s.on.mu.Unlock()
	s.mu.Lock()
	aloft = s.parking && s.ctx.Err() == nil
	s.parking = false
	s.mu.Unlock()
	if aloft {
		_ = s.on.server.SetReadDeadline(time.Time{})
		s.takeOff()
	}
	return aloft
}

func settleAll(loads []*bulk.Load) {
	for _, l := range loads {
		l.Settle()
	}
}

// takeAnswers gives note what the server has sent to statements of ours, until it says
// that this was all. Not ok: the session has to land. It holds onLoop.mu.
func (s *session) takeAnswers(note func(typ byte, body []byte) bool) (done, ok bool) {
	for !done {
		f, whole := frameAt(s.sr.Buffered())
		switch {
		case !whole:
			return false, len(s.sr.Buffered()) < maxCaptured
		case len(f.raw()) < frame.HeaderLen || f.typ == 'E' && pgerr.Parse(f.body()).IsFatal():
			return false, false // the server pump says what to do with it
		case f.typ == 'S' || f.typ == 'A':
			if f.typ == 'S' {
				s.mu.Lock()
				s.noteParameter(f.body())
				s.mu.Unlock()
			}
			if s.later(f.raw()) != nil {
				return false, false
			}
		default:
			done = note(f.typ, f.body())
		}
		s.sr.Discard(len(f.raw()))
	}
	return true, true
}
