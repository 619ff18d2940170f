package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// fill reads from the client. A load that has failed, or a cancel, interrupts
// the read; then the reason is returned. While data is held, the session idles
// inside a transaction block: it is kept alive where a timeout would end it.
func (t *copyTask) fill() error {
	for {
		if t.load == nil {
			t.s.armKeepAlive(t)
		}
		err := t.s.cr.Fill()
		if err == nil {
			return nil
		}
		if t.s.ctx.Err() != nil {
			return context.Cause(t.s.ctx)
		}
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			switch e := t.s.interruption(); {
			case errors.Is(e, errCancelHeld) && t.load != nil:
				t.load.Cancel() // it came just before the load began
				continue
			case e != nil:
				return e
			}
			if err := t.keepAlive(); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
}

// keepAlive runs an empty statement, and ends the held COPY when its
// statement_timeout has passed.
func (t *copyTask) keepAlive() error {
	if t.load != nil {
		t.s.disarm() // set while data was held
		return nil
	}
	if limit := t.insp.StatementTimeout; limit > 0 && time.Since(t.began) >= limit {
		return errHeldTimeout
	}
	in := t.s.inject()
	defer in.release()
	_, err := in.Exec(t.s.ctx, "")
	t.alive = time.Now()
	return err
}

// errHeldTimeout: statement_timeout passed while data was held.
var errHeldTimeout = errors.New("statement timeout")

// nextAlive returns when the client's read has to be interrupted: a third of
// the shortest idle timeout from its last statement, or when statement_timeout will have
// passed; zero where neither is set.
func (t *copyTask) nextAlive() time.Time {
	var at time.Time
	for _, d := range []time.Duration{t.insp.IdleInTransactionTimeout, t.insp.IdleSessionTimeout} {
		if d > 0 {
			at = earlier(at, t.alive.Add(max(d/3, time.Millisecond)))
		}
	}
	if d := t.insp.StatementTimeout; d > 0 {
		at = earlier(at, t.began.Add(d))
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// holdStep is the unit in which held data is taken from the memory budget.
const holdStep = 64 << 10

// keep holds a piece of data. When the memory budget is used up the COPY goes
// on natively, which needs none.
func (t *copyTask) keep(p []byte) error {
	t.hold = append(t.hold, p...)
	want := (int64(len(t.hold)) + holdStep - 1) / holdStep * holdStep
	if want <= t.reserved {
		return nil
	}
	if !t.s.srv.loader.Memory().Reserve(want - t.reserved) {
		t.large, t.full = true, true
		return errReplay
	}
	t.reserved = want
	return nil
}

// letGo frees the held data.
func (t *copyTask) letGo() {
	t.hold = nil
	t.s.srv.loader.Memory().Return(t.reserved)
	t.reserved = 0
}
