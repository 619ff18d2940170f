package rows

import (
	"bytes"
	"errors"
)

// csvScanner scans csv format: line ends inside quotes are data; the escape,
// where it isn't the quote, takes the next byte with it inside quotes only.
type csvScanner struct {
	lines
	quote, escape byte // escape is 0 where it is the quote
	patQuote      pattern
	patEscape     pattern
	marker        bool
	inQuote       bool
	esc           bool // inside quotes, the last byte was an escape
}

func newCSV(o Options) (Scanner, error) {
	c := &csvScanner{lines: lines{header: o.HeaderLines}, quote: o.Quote, escape: o.Escape, marker: o.CSVMarker}
	if c.quote == 0 {
		c.quote = '"'
	}
	for _, b := range [...]byte{c.quote, c.escape} {
		if b == '\n' || b == '\r' {
			return nil, errors.New("scan copy data: csv quote or escape is a line end")
		}
	}
	if c.escape == c.quote {
		c.escape = 0
	}
	c.patQuote, c.patEscape = patternOf(c.quote), patternOf(c.escape)
	return c, nil
}

// Scan implements Scanner.
func (c *csvScanner) Scan(p []byte) (Result, error) {
	if c.bad {
		return Result{}, ErrIrregular
	}
	if c.done {
		return Result{At: c.pos, Done: true}, nil
	}
	for i := 0; i < len(p) && !c.done; {
		if !c.steady() {
			if !c.step(p[i], c.base+int64(i)) {
				return c.irregular()
			}
			i++
			continue
		}
		n := min(len(p)-i, pieceSize)
		k, ok := c.piece(p[i:i+n], c.base+int64(i))
		if !ok {
			return c.irregular()
		}
		i += k
	}
	return c.result(len(p)), nil
}

// End implements Scanner.
func (c *csvScanner) End() (Position, error) {
	if !c.done && !c.bad && (!c.unmark(c.base) || c.inQuote) {
		c.bad = true
	}
	return c.end()
}

// step takes the byte b at offset at; false if the data is irregular.
func (c *csvScanner) step(b byte, at int64) bool {
	switch c.mark {
	case markSlash:
		c.mark = markNone
		if b == '.' {
			c.mark = markDot
			// A server whose quote is the backslash takes it again whenever it
			// must read on to see what follows, so its buffers decide.
			return c.quote != '\\'
		}
	case markDot, markDotCR:
		m := c.mark
		if c.endMark(b) {
			return true
		}
		if m == markDot && c.eol != eolCRLF && (b == '\r' || b == '\n') {
			return false
		}
		c.mark = m
		if !c.unmark(at) {
			return false
		}
	}
	return c.data(b, at)
}

// unmark takes the bytes of a marker that turned out to be none, which end just
// before offset at, as data. The backslash was taken when it came.
func (c *csvScanner) unmark(at int64) bool {
	m := c.mark
	c.mark = markNone
	switch m {
	case markDot:
		return c.data('.', at-1)
	case markDotCR:
		return c.data('.', at-2) && c.data('\r', at-1)
	}
	return true
}

// data takes a byte that is not part of a marker.
func (c *csvScanner) data(b byte, at int64) bool {
	if c.cr {
		if !c.afterCR(b, at) {
			return false
		}
		if b == '\n' {
			return true
		}
	}
	if b == '\\' && c.marker && c.start == at {
		c.mark = markSlash
	}
	switch {
	case c.esc:
		c.esc = false
	case b == c.quote:
		c.inQuote = !c.inQuote
	case c.inQuote && b == c.escape && c.escape != 0:
		c.esc = true
	}
	switch {
	case !c.inQuote && (b == '\r' || b == '\n'):
		return c.lineEnd(b, at)
	case c.inQuote && b == c.lineChar():
		c.quoted++
	}
	return true
}

// lineChar is the byte that the server counts as a line inside quotes; while
// the line end is unknown that is \r.
func (c *csvScanner) lineChar() byte {
	if c.eol == eolLF {
		return '\n'
	}
	return '\r'
}

// piece takes a piece of a chunk in the steady state and returns how many bytes
// it took: fewer where the state is steady no more.
func (c *csvScanner) piece(p []byte, at int64) (int, bool) {
	slash := c.marker && bytes.IndexByte(p, '\\') >= 0
	if !slash && !c.inQuote && bytes.IndexByte(p, c.quote) < 0 && c.count(p, at) {
		return len(p), true
	}
	need := needs{
		cr:     c.eol != eolLF || bytes.IndexByte(p, '\r') >= 0,
		escape: c.esc || c.escape != 0 && bytes.IndexByte(p, c.escape) >= 0,
		slash:  slash,
	}
	for i := 0; i < len(p); {
		n := min(len(p)-i, blockSize)
		if c.block(p[i:i+n], at+int64(i), need) {
			i += n
			continue
		}
		for _, b := range p[i : i+n] {
			if !c.step(b, at+int64(i)) {
				return 0, false
			}
			i++
			if c.done {
				return i, true
			}
		}
		if !c.steady() {
			return i, true
		}
	}
	return len(p), true
}

// block takes up to 64 bytes by masks; false, and nothing is changed, if they
// hold anything but data and line ends of the right kind.
func (c *csvScanner) block(p []byte, at int64, need needs) bool {
	n := len(p)
	var pad block
	b := &pad
	if n == blockSize {
		b = (*block)(p)
	} else {
		copy(pad[:], p)
	}
	lf, quotes := b.mask(patLF), b.mask(c.patQuote)
	var cr uint64
	if need.cr {
		cr = b.mask(patCR)
	}
	esc := false
	if need.escape {
		quotes, esc = c.unescaped(quotes, b.mask(c.patEscape), n)
	}
	in := prefixXor(quotes)
	if c.inQuote {
		in = ^in
	}
	ends, pending, ok := c.ends(lf&^in, cr&^in, n)
	if !ok {
		return false
	}
	if need.slash {
		first := ends << 1
		if c.start == at {
			first |= 1
		}
		if first&b.mask(patSlash) != 0 {
			return false
		}
	}
	c.cr, c.esc, c.inQuote = pending, esc, in>>(blockSize-1) != 0
	quoted := lf & in
	if c.eol != eolLF {
		quoted = cr & in
	}
	c.addRows(ends, quoted, at)
	return true
}

// unescaped drops the quotes that an escape takes with it, and says whether the
// last of n bytes is such an escape.
func (c *csvScanner) unescaped(quotes, escapes uint64, n int) (uint64, bool) {
	in, esc := c.inQuote, false
	if c.esc {
		quotes &^= 1
		escapes &^= 1
	}
	toggles := uint64(0)
	for special := quotes | escapes; special != 0; special &= special - 1 {
		bit := special & -special
		switch {
		case bit&quotes != 0:
			toggles |= bit
			in = !in
		case in:
			special &^= bit << 1
			esc = bit>>(uint(n)-1) != 0
		}
	}
	return toggles, esc
}
