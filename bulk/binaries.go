package bulk

import (
	"context"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/transcode"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// binaries is what a load knows whose files the server reads from the store as COPY
// binary. The client's own bytes are held until the file is loaded, for the native
// COPY that follows where it can't be. A file that does not fit is stored as it is,
// and so are all behind two in a row.
type binaries struct {
	// turns is nil where files are stored as they are. It is set before
	// Load.described is closed.
	turns *transcode.Transcoder
	// one file is turned at a time: their memory is that of one.
	one *semaphore.Weighted
	// misfits are files that did not fit, since the last one that did.
	misfits atomic.Int32
}

// storesBinary says that files may be in the store in other bytes than the client's:
// the server is the only one that reads them, one by one, while the load lasts.
// Files that are read back, imported later or kept are the client's own.
func (ld *Load) storesBinary() bool {
	caps := ld.engine.Caps()
	return slices.Contains(caps.Formats, rewrite.FormatBinary) && !caps.Parallel && !ld.acknowledges() && !ld.l.cfg.KeepAll
}

// encode makes COPY binary of a file, if its rows have a surely equal form; else it
// returns nil. The caller releases what it gets.
func (ld *Load) encode(f *file) *held {
	if f.raw || ld.spec.Decision.Method != rewrite.MethodExternal || !ld.transcodes() {
		return nil
	}
	select {
	case <-ld.described:
	case <-ld.ctx.Done():
		return nil
	}
	b := &ld.binaries
	if b.turns == nil || b.misfits.Load() >= maxMisfits || b.one.Acquire(ld.ctx, 1) != nil {
		return nil
	}
	defer b.one.Release(1)
	memory := ld.l.turning.Memory
	if !ld.l.mem.Overdraw(memory) {
		ld.log.Debug("not transcoded", "file", f.number, "error", ErrNoMemory)
		return nil
	}
	defer ld.l.mem.Return(memory)
	object := newHeld(ld.cutter.mem, 1)
	if err := ld.turnInto(object, f); err != nil {
		object.release()
		if ld.ctx.Err() == nil {
			b.misfits.Add(1)
			ld.l.metrics.transcodedFile(false)
			ld.log.Debug("file not transcoded", "file", f.number, "error", err)
		}
		return nil
	}
	b.misfits.Store(0)
	ld.l.metrics.transcodedFile(true)
	f.binary = object.Size()
	return object
}

// turnInto appends the rows of a file as a binary file.
func (ld *Load) turnInto(object *held, f *file) error {
	p := ld.pieces(f)
	if err := object.Append([]byte(transcode.Header)); err != nil {
		return err
	}
	var rows int64
	err := transcode.Ordered(ld.ctx, ld.binaries.turns, ld.turningLimits(), p.next, func(_ context.Context, b transcode.Block) error {
		rows += int64(b.Rows)
		return p.sent(b.Chunk, object.Append(b.Data))
	})
	if err == nil && rows != f.rows {
		err = errMisfit // it can't be told where rows end
	}
	if err != nil {
		return err
	}
	return object.Append([]byte(transcode.Trailer))
}
