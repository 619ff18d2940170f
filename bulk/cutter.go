package bulk

import (
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
)

// binaryHeader is what every binary file of ours starts with: the signature,
// no flags, no extension ("Binary Format" in PostgreSQL's COPY documentation).
const binaryHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// binaryTrailer ends a binary file.
const binaryTrailer = "\xff\xff"

// firstFile is the size of a load's first file. Each file, or group of files, may
// be twice as large as the one before, up to the limit.
const firstFile = 2 << 20

// maxRow is the longest row that is staged. A longer one is put before the
// server while it comes, who most likely refuses it: no row can have 1 GB, but
// a csv quote that is never closed makes one. Disk space for it is bounded so.
const maxRow = 256 << 20

// cutter makes files out of the client's data. It is pure but for the memory
// that files are kept in. It belongs to the producer.
type cutter struct {
	scan   rows.Scanner
	binary bool
	mem    *Memory
	// limit is the most that a file has, just now.
	limit func() int64
	// blocks is the least size of the blocks of rows whose ends are noted; 0 for none.
	blocks int64
	// groups: files that are read at once are of one size.
	groups grouping

	cur    *file
	number int
	at     rows.Position // at the last row boundary
	// header is the client's binary header.
	header []byte
	// eol is how lines end, as the last cut showed.
	eol string
	// open is how many bytes there are of the row that has not ended.
	open int64
	// raw: where rows end can't be told any more; bytes only.
	raw bool
	// done: the data ended by a marker; what follows is ignored.
	done bool
	// err is why the current file could not be begun.
	err error
}

// take looks at p, appends some of it to the current file, and returns how much
// of p it took and the file that was cut, if any.
func (c *cutter) take(p []byte) (n int, cut *file, err error) {
	if c.cur == nil {
		c.next()
	}
	if c.err != nil {
		return 0, nil, c.err
	}
	if c.done {
		return c.afterEnd(p)
	}
	if c.raw {
		return c.takeRaw(p)
	}
	res, err := c.scan.Scan(p)
	if err != nil {
		c.raw, c.cur.raw = true, true
		return c.takeRaw(p)
	}
	c.header = append(c.header, p[:res.Skip]...)
	rest := p[res.Skip:]
	at := res.Cut - res.Skip
	if res.Done {
		return len(p), nil, c.ended(rest, at, res)
	}
	if res.Cut == 0 || at < 0 {
		c.open += int64(len(rest))
		if c.open > maxRow {
			c.raw, c.cur.raw = true, true
		}
		return len(p), nil, c.cur.held.Append(rest)
	}
	c.open = int64(len(rest) - at)
	if err := c.cur.held.Append(rest[:at]); err != nil {
		return 0, nil, err
	}
	c.at = res.At
	c.mark()
	if c.cur.held.Size() >= c.fileLimit() && c.at.Rows > c.cur.before.Rows {
		cut = c.seal()
		c.next()
	}
	if err := c.cur.held.Append(rest[at:]); err != nil {
		if cut != nil {
			cut.free()
		}
		return 0, nil, err
	}
	return len(p), cut, nil
}

// ended handles a marker that ends the data. What was kept of it is dropped.
func (c *cutter) ended(rest []byte, at int, res rows.Result) error {
	c.done = true
	c.at = res.At
	if res.Cut == 0 {
		c.cur.held.Truncate(c.cur.held.Size() - int64(res.Back))
		return nil
	}
	return c.cur.held.Append(rest[:at])
}

// afterEnd handles data behind the end marker. Text and csv ignore it; in
// binary the server refuses it, and therefore gets to see it.
func (c *cutter) afterEnd(p []byte) (int, *file, error) {
	if _, err := c.scan.Scan(p); err == nil {
		return len(p), nil, nil
	}
	c.done, c.raw, c.cur.raw = false, true, true
	if c.binary {
		if err := c.cur.held.Append([]byte(binaryTrailer)); err != nil {
			return 0, nil, err
		}
	}
	return c.takeRaw(p)
}

func (c *cutter) takeRaw(p []byte) (int, *file, error) {
	if err := c.cur.held.Append(p); err != nil {
		return 0, nil, err
	}
	if c.cur.held.Size() < c.fileLimit() {
		return len(p), nil, nil
	}
	cut := c.seal()
	c.next()
	c.cur.raw = true
	return len(p), cut, nil
}

func (c *cutter) fileLimit() int64 {
	n := c.groups.of(c.number)
	if n > 16 {
		return c.limit()
	}
	return min(c.limit(), firstFile<<(n-1))
}

// next begins a file.
func (c *cutter) next() {
	c.number++
	c.cur = &file{number: c.number, held: newHeld(c.mem, 2), before: c.at, eol: c.eol, uploaded: make(chan struct{})}
	if c.binary {
		// Without its header the file is worthless, even if there is memory
		// for its rows later.
		c.err = c.cur.held.Append([]byte(binaryHeader))
		c.cur.head = len(binaryHeader)
	}
}

// seal completes the current file at the last row boundary.
func (c *cutter) seal() *file {
	f := c.cur
	c.cur = nil
	f.rows = c.at.Rows - f.before.Rows
	c.lastMark(f)
	if c.binary && !f.raw && f.held.Append([]byte(binaryTrailer)) == nil {
		f.tail = len(binaryTrailer)
	}
	f.binaryHeader = c.header
	c.eol = lineEnd(f.held)
	return f
}

// lineEnd returns how the last line of a file ends.
func lineEnd(h *held) string { return lineEndAt(h, h.size) }

// lineEndAt returns how the line before an offset ends.
func lineEndAt(h *held, off int64) string {
	tail := make([]byte, min(2, off))
	if _, err := h.ReadAt(tail, off-int64(len(tail))); err != nil {
		return "\n" // the file cannot be read: its load will fail
	}
	switch {
	case strings.HasSuffix(string(tail), "\r\n"):
		return "\r\n"
	case strings.HasSuffix(string(tail), "\r"):
		return "\r"
	}
	return "\n"
}

// finish ends the data and returns the last file, or nil if there is none.
// Where the client did not end it in good order, the rest is for the server to
// judge.
func (c *cutter) finish(ok bool) *file {
	if c.cur == nil {
		if c.number > 0 && ok {
			return nil
		}
		c.next()
	}
	if !ok {
		c.cur.raw = true
	}
	if !c.raw && !c.done && ok {
		pos, err := c.scan.End()
		if err != nil {
			c.cur.raw = true
		} else {
			c.at = pos
		}
	}
	if c.cur.held.Size() == int64(c.cur.head) && !c.cur.raw && c.number > 1 {
		c.drop()
		return nil
	}
	return c.seal()
}

// drop frees the current file.
func (c *cutter) drop() {
	if c.cur != nil {
		c.cur.free()
		c.cur = nil
	}
}
