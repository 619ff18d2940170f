package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync/atomic"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// maxCaptured bounds one reply to a statement of ours. They are small: tags,
// one row of an inspection, errors.
const maxCaptured = 4 << 20

// captured is one frame of the server that answers a statement of ours.
type captured struct {
	typ  byte
	body []byte
}

// capture is the hand-over of frames from the server pump to whoever runs
// statements of ours. It exists only while the reply queue is idle.
type capture struct {
	frames chan captured
	// notices says that NoticeResponses go to the client, as in a native COPY.
	// They must then not wait in frames: whoever runs the COPY may be writing.
	notices atomic.Bool
}

// serverLoop is the server pump: it relays what the server sends until the
// connection ends, and returns why it ended; or until an event loop goes on with
// it. It is the only reader of the server's connection, so that the server can
// always write.
func (s *session) serverLoop() (aloft bool, err error) {
	for {
		s.mu.Lock()
		c := s.capture
		s.mu.Unlock()
		if c != nil {
			err = s.captureFrames(c)
		} else {
			err = s.relayFrames()
		}
		if err == nil {
			err = s.sr.Fill()
		}
		switch {
		case err == nil:
		case s.ctx.Err() != nil || !errors.Is(err, errParking) && !errors.Is(err, os.ErrDeadlineExceeded):
			return false, err
		case s.boards():
			return true, nil
		}
	}
}

// errParking says that the client pump wants an event loop to go on.
var errParking = errors.New("the session is to be relayed by an event loop")

// relayFrames writes the buffered frames to the client, but for the hidden
// ones. It leaves a frame whose body it must see and which is not complete.
func (s *session) relayFrames() error {
	p := s.sr.Buffered()
	s.mu.Lock()
	if s.parking && s.ctx.Err() == nil {
		s.mu.Unlock()
		return errParking
	}
	w := s.walkServer(p)
	s.writing = true
	s.mu.Unlock()

	var err error
	for _, part := range w.show {
		if part.before != nil {
			err = s.writeClient(part.before)
		}
		if err == nil {
			err = s.writeClient(p[part.from:part.to])
		}
		if err != nil {
			break
		}
	}
	settleAll(s.relayed(w.seen))
	return err
}

// relayed notes that the client has what it was to see of seen bytes. It
// returns the loads whose transaction has ended.
func (s *session) relayed(seen int) (ended []*bulk.Load) {
	s.sr.Discard(seen)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	s.notifyIdle()
	if s.queue.idle() {
		s.congested = false
		if len(s.unsettled) > 0 && s.status == 'I' {
			ended, s.unsettled = s.unsettled, nil
		}
	}
	return ended
}

// span is a part of the buffer that goes to the client, behind before.
type span struct {
	from, to int
	before   []byte
}

// walked is what walkServer found: seen bytes are done with, and the spans of
// show go to the client.
type walked struct {
	seen int
	show []span
}

// walkServer follows the frames in p through the reply queue. It holds s.mu.
func (s *session) walkServer(p []byte) walked {
	from, i := 0, 0
	var before []byte
	show := s.spans[:0]
	cut := func() { // what is behind from goes to the client, up to i
		if i > from || before != nil {
			show, before = append(show, span{from: from, to: i, before: before}), nil
		}
	}
	for i < len(p) {
		if s.serverSkip > 0 {
			n := min(s.serverSkip, len(p)-i)
			s.serverSkip -= n
			i += n
			continue
		}
		if len(p)-i < frame.HeaderLen {
			break
		}
		typ, n, err := frame.Head(p[i:])
		if err != nil {
			// Not a frame: from here on this server is beyond understanding.
			s.queue = replyQueue{lost: true}
			s.serverSkip = int(^uint(0) >> 1)
			continue
		}
		end := i + frame.HeaderLen + n
		if end > len(p) && (n <= maxHidden && s.mustSee(typ)) {
			break
		}
		body := p[i+frame.HeaderLen : min(end, len(p))]
		instead := s.guarded(typ, body)
		if s.reads.rewritten && end <= len(p) && instead == nil {
			instead = s.readReply(typ, body)
		}
		hide := s.serverFrame(typ, body)
		if s.holding && typ == 'C' {
			instead, hide = s.hold(p[i:end]), true
		}
		if (instead != nil || hide) && end <= len(p) {
			cut()
			from, before = end, instead
		} else if typ == 'Z' && len(s.pending) > 0 {
			cut()
			from, before, s.pending = i, s.pending, nil
		} else if s.held != nil && typ != 'Z' && !hide {
			cut()
			from, before, s.held = i, s.held, nil
		}
		if end > len(p) {
			s.serverSkip = end - len(p)
			end = len(p)
		}
		i = end
	}
	cut()
	s.spans = show
	return walked{seen: i, show: show}
}

// hold keeps a tag back, and returns the one before.
func (s *session) hold(tag []byte) (before []byte) {
	before, s.held = s.held, append([]byte(nil), tag...)
	return before
}

// maxHidden bounds the frames that mustSee may hold back until they are whole.
const maxHidden = 64 << 10

// mustSee says whether a frame has to be complete before it is passed on: its
// body is needed, or it may have to be hidden.
func (s *session) mustSee(typ byte) bool {
	switch typ {
	case 'D', 'd':
		return false
	case 'A':
		return s.queue.first()&hideReady != 0
	}
	return true
}

// keepBack keeps a notification or changed parameter for the next
// ReadyForQuery that the client sees, if the server sends it for a statement of
// ours. It holds s.mu.
func (s *session) keepBack(typ byte, body []byte) (hide bool) {
	if s.queue.first()&hideReady == 0 || len(s.pending) > maxPending {
		return false
	}
	s.pending = frame.Append(s.pending, typ, body)
	return true
}

// copyStarted wakes who waits for a COPY that was replayed to begin, or to
// fail. It holds s.mu.
func (s *session) copyStarted() {
	if s.copyWait != nil && s.queue.first()&hideReady == 0 {
		close(s.copyWait)
		s.copyWait = nil
	}
}

// serverFrame notes one frame of the server. It holds s.mu.
func (s *session) serverFrame(typ byte, body []byte) (hide bool) {
	switch typ {
	case 'Z':
		if len(body) == 1 {
			s.statusBefore, s.status = s.status, body[0]
		}
		s.pipelined, s.pipelineEnd = pipelinedNothing, s.pipelined
		hide := s.queue.reply(typ)
		if s.queue.idle() {
			s.statements.confirm() // no Parse is unanswered
		}
		s.extError = s.extError && hide
		return hide
	case 'E':
		s.copyStarted()
		s.queryFailed = true
		if k := s.queue.first() & entKind; k != entQuery {
			s.extError = true
			s.auxFor = nil
			s.statements.dropUnconfirmed()
		}
	case 'S':
		s.noteParameter(body)
		return s.keepBack(typ, body)
	case 'A':
		return s.keepBack(typ, body)
	case 'G':
		s.copyStarted()
	case 'C':
		if s.statements.count() > 0 {
			s.statements.completed(body)
		}
		if s.auxFor != nil && (bytes.HasPrefix(body, []byte("DEALLOCATE")) || bytes.HasPrefix(body, []byte("DISCARD"))) {
			s.auxFor = nil
		}
		if s.routeSmall && s.queue.first()&hideReplies == 0 {
			s.noteTag(body)
		}
	case 'W':
		// CopyBoth: replication or the like; nothing of it is ours.
		s.queue = replyQueue{lost: true}
	}
	return s.queue.reply(typ)
}

// maxParams bounds how many parameters a server can make us remember.
const maxParams = 256

// noteParameter notes a ParameterStatus. It holds s.mu.
func (s *session) noteParameter(body []byte) {
	name, rest, ok := frame.CString(body)
	if !ok {
		return
	}
	value, _, ok := frame.CString(rest)
	if _, known := s.params[string(name)]; ok && (known || len(s.params) < maxParams) {
		s.params[string(name)] = string(value)
	}
}

// notifyIdle wakes whoever waits for the queue to become idle. It holds s.mu.
func (s *session) notifyIdle() {
	if s.idleWait != nil && (s.atRest() || s.queue.lost || s.flushed && s.owesNothing()) {
		close(s.idleWait)
		s.idleWait = nil
	}
}

// captureFrames hands the buffered frames to the one who captures. Messages
// that belong to no statement go to the client as always.
func (s *session) captureFrames(c *capture) error {
	for {
		p := s.sr.Buffered()
		if len(p) < frame.HeaderLen {
			return nil
		}
		typ, n, err := frame.Head(p)
		if err != nil {
			return err
		}
		if n > maxCaptured {
			return errors.New("reply of the server is too long")
		}
		if len(p) < frame.HeaderLen+n {
			return nil
		}
		whole := p[:frame.HeaderLen+n]
		if err := s.captureFrame(c, typ, whole); err != nil {
			return err
		}
		s.sr.Discard(len(whole))
		s.mu.Lock()
		again := s.capture == c
		s.mu.Unlock()
		if !again {
			return s.relayFrames()
		}
	}
}

func (s *session) captureFrame(c *capture, typ byte, whole []byte) error {
	body := whole[frame.HeaderLen:]
	switch typ {
	case 'S':
		s.mu.Lock()
		s.noteParameter(body)
		s.mu.Unlock()
		return s.later(whole)
	case 'A':
		return s.later(whole)
	case 'N':
		if c.notices.Load() {
			return s.writeClient(whole)
		}
	case 'E':
		if e := pgerr.Parse(body); e.IsFatal() {
			// The session is over, whatever was being done. The client is told
			// in the server's own words, behind what it is told before; but for
			// those on where in a statement of ours it was.
			if !c.notices.Load() {
				for _, t := range []byte("WqpP") {
					e = e.With(t, "")
				}
				e = bulk.MaskError(e) // the statement may have held a credential
			}
			e = e.With('W', withoutLines(e.Get('W'), "COPY pgbulkproxy_")) // a temporary table of ours
			s.mu.Lock()
			s.fatal = errorFrame(nil, e)
			s.mu.Unlock()
			s.end(e)
			return io.EOF
		}
	}
	select {
	case c.frames <- captured{typ, append([]byte(nil), body...)}:
		return nil
	case <-s.ctx.Done():
		return io.EOF
	}
}

// maxPending bounds what is kept back for the next ReadyForQuery.
const maxPending = 1 << 20

// later keeps a message for the next ReadyForQuery: the server sends
// notifications and changed parameters only there, and a statement of ours is
// not the client's.
func (s *session) later(whole []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) > maxPending {
		return errors.New("the server sends too many notifications during a load")
	}
	s.pending = append(s.pending, whole...)
	return nil
}

// takePending returns what was kept back.
func (s *session) takePending() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending
	s.pending = nil
	return p
}
