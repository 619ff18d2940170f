package gpfdist

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
			return seg.refuse(st.err())
		default:
		}
		select {
		case b, more := <-st.blocks:
			if !more {
				return seg.send(appendFrame(nil, frameData, 0))
			}
			if err := st.sendBlock(seg, b); err != nil {
				return err
			}
		case <-st.over:
			return seg.refuse(st.err())
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

// send writes and flushes.
func (seg *segment) send(p []byte) error {
	if _, err := seg.w.Write(p); err != nil {
		return err
	}
	return seg.ctrl.Flush()
}

// refuse tells a segment why the stream is over, as far as it listens.
func (seg *segment) refuse(cause error) error {
	_ = seg.send(appendError(nil, cause.Error()))
	return cause
}

// sendBlock writes one block. From its first byte on the block is the segment's.
func (st *Stream) sendBlock(seg *segment, b Block) error {
	at := st.give(seg, b)
	if _, err := seg.w.Write(appendHead(nil, st.name, at, b)); err != nil {
		return fmt.Errorf("write head of block: %w", err)
	}
	n, err := b.Data.WriteTo(seg.w)
	if err != nil {
		return fmt.Errorf("write block: %w", err)
	}
	if n != b.Size {
		return errShort
	}
	return seg.ctrl.Flush()
}
