package gpfdist

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// segment is one request under way.
type segment struct {
	id   int
	w    http.ResponseWriter
	ctrl *http.ResponseController

	// The rest is guarded by the stream's mutex.
	here        bool
	rows, bytes int64
}

// lastWord is how long a segment has to take what was written already and the
// reason of a failure, before its connection is cut.
const lastWord = 2 * time.Second

// hurry bounds what is written from now on. It is called once, from another
// goroutine, when the stream is over.
func (seg *segment) hurry() {
	_ = seg.ctrl.SetWriteDeadline(time.Now().Add(lastWord)) // where it can't be set the connection is gone
}

var (
	errGone  = errors.New("the connection was closed")
	errShort = errors.New("a block has another size than was said")
)

// serve gives a segment blocks until there are none left. It returns nil when the
// segment has been told the end.
func (st *Stream) serve(ctx context.Context, seg *segment) error {
	if err := seg.begin(); err != nil {
		return err
	}
	for {
		select {
		case <-st.over:
			return seg.refuse(st.Err())
		default:
		}
		select {
		case b, more := <-st.blocks:
			if !more {
				return st.send(seg, appendFrame(nil, frameData, 0))
			}
			if err := st.sendBlock(seg, b); err != nil {
				return err
			}
		case <-st.over:
			return seg.refuse(st.Err())
		case <-ctx.Done():
			return errGone
		}
	}
}

// begin sends the head of the answer: the segment waits for it.
func (seg *segment) begin() error {
	h := seg.w.Header()
	h.Set("Content-Type", "text/plain")
	h.Set("Cache-Control", "no-cache")
	h["X-GP-PROTO"] = []string{"1"}        // segments look for this spelling
	h.Set("Transfer-Encoding", "identity") // frames say where the end is
	seg.w.WriteHeader(http.StatusOK)
	return seg.ctrl.Flush()
}

// refuse tells a segment why the stream is over, as far as it listens.
func (seg *segment) refuse(cause error) error {
	if _, err := seg.w.Write(appendError(nil, cause.Error())); err == nil {
		_ = seg.ctrl.Flush()
	}
	return cause
}

// pushed writes to a segment that has the server's patience to take each piece. It
// is no longer than a piece of a block in memory, so that a slow way is no stall.
type pushed struct {
	st  *Stream
	seg *segment
}

// Write implements io.Writer.
func (w pushed) Write(p []byte) (int, error) {
	w.until(time.Now().Add(w.st.srv.cfg.Patience))
	n, err := w.seg.w.Write(p)
	return n, w.after(err)
}

func (w pushed) flush() error {
	w.until(time.Now().Add(w.st.srv.cfg.Patience))
	return w.after(w.seg.ctrl.Flush())
}

// after takes the deadline away, so that none is over when the next piece comes.
func (w pushed) after(err error) error {
	if err == nil {
		w.until(time.Time{})
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && w.st.Err() == nil {
		return ErrStalled
	}
	return err
}

// until sets the deadline, unless the stream is over: then hurry has.
func (w pushed) until(at time.Time) {
	w.st.mu.Lock()
	defer w.st.mu.Unlock()
	w.st.moved = time.Now()
	if w.st.cause == nil {
		_ = w.seg.ctrl.SetWriteDeadline(at) // where it can't be set the connection is gone
	}
}

// send writes and flushes.
func (st *Stream) send(seg *segment, p []byte) error {
	w := pushed{st, seg}
	if _, err := w.Write(p); err != nil {
		return err
	}
	return w.flush()
}

// sendBlock writes one block. From its first byte on the block is the segment's.
func (st *Stream) sendBlock(seg *segment, b Block) error {
	w := pushed{st, seg}
	at := st.give(seg, b)
	if _, err := w.Write(appendHead(nil, st.name, at, b)); err != nil {
		return fmt.Errorf("write head of block: %w", err)
	}
	n, err := b.Data.WriteTo(w)
	if err != nil {
		return fmt.Errorf("write block: %w", err)
	}
	if n != b.Size {
		return errShort
	}
	return w.flush()
}
