package gpfdist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Block is a run of whole rows that goes to one segment.
type Block struct {
	// Data writes the rows, exactly Size bytes, once. It has to stay valid until
	// the stream is closed.
	Data io.WriterTo
	Size int64
	Rows int64
	// Line is the number of the first row's line, counted from 1.
	Line int64
}

// Stream is one set of rows that one scan of the database's segments pulls. Add
// and Finish belong to one goroutine; Fail, Close and Stats to any.
type Stream struct {
	srv   *Server
	token string
	name  string

	// blocks has no buffer: a block that was added is a segment's.
	blocks chan Block
	// over is closed by Fail and Close; cause then says why.
	over chan struct{}
	// all are the requests under way.
	all sync.WaitGroup

	mu       sync.Mutex
	cause    error
	closed   bool
	finished bool
	scan     string
	segments map[int]*segment
	offset   int64
	stats    Stats
	// moved is when something happened last.
	moved time.Time
}

// Stats is what has become of a stream so far.
type Stats struct {
	// Rows and Bytes were given to segments.
	Rows, Bytes int64
	// Segments have asked for rows, Retries of them more than once.
	Segments, Retries int
}

// ErrStalled is the cause of a stream whose segments have taken nothing for the
// server's patience. They may wait for a lock, for each other, or be stopped.
var ErrStalled = errors.New("gpfdist: the segments take no rows")

// errClosed is the cause of a stream that was closed in good order.
var errClosed = errors.New("the load has ended")

// Add hands one block over. It waits until a segment takes it, and returns the
// error of a stream that has failed: then nobody can say which blocks have
// arrived.
func (st *Stream) Add(ctx context.Context, b Block) error {
	if b.Size <= 0 || b.Size > maxBlock {
		return fmt.Errorf("gpfdist: a block of %d bytes", b.Size)
	}
	select { // a stream that is over takes nothing, even if a segment waits
	case <-st.over:
		return st.Err()
	default:
	}
	st.move()
	patience := time.NewTimer(st.srv.cfg.Patience)
	defer patience.Stop()
	for {
		select {
		case st.blocks <- b:
			return nil
		case <-st.over:
			return st.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-patience.C:
			left := st.Left()
			if left <= 0 {
				st.Fail(ErrStalled)
				return st.Err()
			}
			patience.Reset(left)
		}
	}
}

// move notes that something has happened.
func (st *Stream) move() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.moved = time.Now()
}

// Left is what is left of the server's patience since the segments, or the one who
// adds blocks, have done something.
func (st *Stream) Left() time.Duration {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.srv.cfg.Patience - time.Since(st.moved)
}

// Finish says that there are no more blocks. It does not wait for the segments.
func (st *Stream) Finish() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.finished {
		st.finished, st.moved = true, time.Now()
		close(st.blocks)
	}
}

// Fail ends the stream with an error for the segments and for Add. The first
// cause stays.
func (st *Stream) Fail(cause error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.cause != nil {
		return
	}
	st.cause = cause
	close(st.over)
	for _, seg := range st.segments {
		if seg.here {
			seg.hurry()
		}
	}
}

// Close ends the stream and returns when no request for it is left. Blocks are
// not used any more.
func (st *Stream) Close() {
	st.mu.Lock()
	st.closed = true // nobody is let in from here on
	st.mu.Unlock()
	st.srv.forget(st)
	st.Fail(errClosed)
	st.all.Wait()
}

// Err is why the stream is over; nil while it is not.
func (st *Stream) Err() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.cause
}

// URL is what an external table's LOCATION has. Whoever knows it can pull the
// rows.
func (st *Stream) URL() string { return "gpfdist://" + st.srv.address + "/" + st.token }

// Stats returns what was given to whom.
func (st *Stream) Stats() Stats {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.stats
}

// attach lets a segment in, or says why not. The caller calls leave.
func (st *Stream) attach(req request, seg *segment) *httpError {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return errNoStream
	}
	if st.cause != nil {
		return &httpError{500, "the load has failed"}
	}
	if st.scan == "" {
		st.scan = req.scan
	}
	if st.scan != req.scan {
		return &httpError{409, "these rows are another scan's"}
	}
	before := st.segments[req.segment]
	switch {
	case before == nil:
		st.stats.Segments++
	case before.here || before.rows > 0:
		return &httpError{409, "this segment has read its rows before"}
	default:
		st.stats.Retries++ // it left with nothing
	}
	seg.here, st.moved = true, time.Now()
	st.segments[req.segment] = seg
	st.all.Add(1)
	return nil
}

// leave notes how a segment's request ended. The rows of one that was given some
// and has not heard the end may be lost, or not: nothing can be said of the whole.
func (st *Stream) leave(seg *segment, err error) {
	st.mu.Lock()
	seg.here, st.moved = false, time.Now()
	lost := err != nil && seg.rows > 0
	st.mu.Unlock()
	if lost {
		st.Fail(fmt.Errorf("gpfdist: segment %d left in the middle: %w", seg.id, err))
	}
	st.all.Done()
}

// give notes that a block is a segment's, and returns its offset among all.
func (st *Stream) give(seg *segment, b Block) int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	at := st.offset
	st.offset += b.Size
	seg.rows += b.Rows
	seg.bytes += b.Size
	st.stats.Rows += b.Rows
	st.stats.Bytes += b.Size
	return at
}
