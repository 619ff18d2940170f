package bulk

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// blockBytes is the least size of a block that a segment is given: small enough
// that segments share even a short file, large enough that its frame and system
// calls are no matter.
const blockBytes = 256 << 10

// turnedChunk is about how much of a file is turned at once: enough that handing it
// from one goroutine to the next does not count. Its rows end where a part of the data
// that the cutter was given did.
const (
	turnedChunk = 64 << 10
	takenAtOnce = turnedChunk / 4
	leastTurned = turnedChunk - takenAtOnce
)

// blockSize is the least size of a load's blocks.
func (ld *Load) blockSize() int64 {
	switch {
	case ld.spec.Decision.Method == rewrite.MethodPull:
		return blockBytes
	case ld.transcodes():
		return leastTurned
	}
	return 0
}

// blockEnd is a row boundary in a file: an offset and the position in the data.
type blockEnd struct {
	off int64
	at  rows.Position
}

// mark notes the row boundary at the end of what the current file has, where the
// block before it is long enough.
func (c *cutter) mark() {
	if c.blocks == 0 {
		return
	}
	last, size := int64(0), c.cur.held.Size()
	if n := len(c.cur.blocks); n > 0 {
		last = c.cur.blocks[n-1].off
	}
	if size-last >= c.blocks {
		c.cur.blocks = append(c.cur.blocks, blockEnd{size, c.at})
	}
}

// lastMark ends the last block with the file.
func (c *cutter) lastMark(f *file) {
	if c.blocks == 0 {
		return
	}
	f.reading = new(atomic.Int64)
	end := blockEnd{f.held.Size(), c.at}
	if n := len(f.blocks); n > 0 && f.blocks[n-1].off == end.off {
		f.blocks[n-1] = end
		return
	}
	f.blocks = append(f.blocks, end)
}

// piece is a block's rows: a part of a file that is held until it is read.
type piece struct {
	f        *file
	from, to int64
}

// WriteTo implements io.WriterTo.
func (p *piece) WriteTo(w io.Writer) (n int64, err error) {
	defer p.f.reading.Add(-1)
	err = p.f.held.each(p.from, p.to, func(b []byte) error {
		m, err := w.Write(b)
		n += int64(m)
		return err
	})
	return n, err
}

// errHeader says that the header line is longer than anybody's.
var errHeader = errors.New("find the end of the header line")

// maxHeader bounds a header line.
const maxHeader = 1 << 20

// headerEnd returns where the header line of the first file ends: offset -1 where
// it does not. It is looked for byte by byte, since a scanner tells only the last
// end of a row in what it is given.
func (ld *Load) headerEnd(f *file) (int64, rows.Position) {
	o := ld.spec.scanOptions()
	o.HeaderLines = 0
	scan, err := rows.New(o)
	if err != nil {
		return -1, rows.Position{}
	}
	b := make([]byte, 1)
	for off := int64(0); off < min(f.held.Size(), maxHeader); off++ {
		if _, err := f.held.ReadAt(b, off); err != nil {
			return -1, rows.Position{}
		}
		res, err := scan.Scan(b)
		if err != nil || res.Done {
			return -1, rows.Position{}
		}
		if res.Cut > 0 {
			return off + 1, rows.Position{Lines: res.At.Lines}
		}
	}
	return -1, rows.Position{}
}
