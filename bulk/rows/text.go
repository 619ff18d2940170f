package rows

import (
	"bytes"
	"math/bits"
)

const (
	patLF    = pattern('\n' * every1)
	patCR    = pattern('\r' * every1)
	patSlash = pattern('\\' * every1)
	patDot   = pattern('.' * every1)
)

// textScanner scans text format: a backslash takes the next byte with it, be
// that a line end or another backslash; `\.` is the end-of-copy marker.
type textScanner struct {
	lines
	esc bool // the last byte was a backslash that escapes the next
}

// Scan implements Scanner.
func (t *textScanner) Scan(p []byte) (Result, error) {
	if t.bad {
		return Result{}, ErrIrregular
	}
	if t.done {
		return Result{At: t.pos, Done: true}, nil
	}
	for i := 0; i < len(p) && !t.done; {
		if !t.steady() {
			if !t.step(p[i], t.base+int64(i)) {
				return t.irregular()
			}
			i++
			continue
		}
		n := min(len(p)-i, pieceSize)
		k, ok := t.piece(p[i:i+n], t.base+int64(i))
		if !ok {
			return t.irregular()
		}
		i += k
	}
	return t.result(len(p)), nil
}

// End implements Scanner.
func (t *textScanner) End() (Position, error) {
	if t.mark != markNone && !t.done {
		t.bad = true
	}
	return t.end()
}

// step takes the byte c at offset at; false if the data is irregular.
func (t *textScanner) step(c byte, at int64) bool {
	if t.mark != markNone {
		return t.endMark(c)
	}
	if t.esc {
		t.esc = false
		if c != '.' {
			return true
		}
		t.mark = markDot
		return t.start == at-1
	}
	if t.cr {
		if !t.afterCR(c, at) {
			return false
		}
		if c == '\n' {
			return true
		}
	}
	switch c {
	case '\\':
		t.esc = true
	case '\n', '\r':
		return t.lineEnd(c, at)
	}
	return true
}

// piece takes a piece of a chunk in the steady state and returns how many bytes
// it took: fewer where the state is steady no more.
func (t *textScanner) piece(p []byte, at int64) (int, bool) {
	hasCR := t.cr || bytes.IndexByte(p, '\r') >= 0
	if !hasCR && !t.esc && t.eol == eolLF && bytes.IndexByte(p, '\\') < 0 {
		t.count(p, at)
		return len(p), true
	}
	needCR := hasCR || t.eol != eolLF
	for i := 0; i < len(p); {
		n := min(len(p)-i, blockSize)
		if !t.block(p[i:i+n], at+int64(i), needCR) {
			for _, c := range p[i : i+n] {
				if !t.step(c, at+int64(i)) {
					return 0, false
				}
				i++
				if t.done {
					return i, true
				}
			}
			if !t.steady() {
				return i, true
			}
			continue
		}
		i += n
	}
	return len(p), true
}

// count takes bytes of which only \n is special.
func (l *lines) count(p []byte, at int64) {
	n := int64(bytes.Count(p, []byte{'\n'}))
	if n == 0 {
		return
	}
	l.pos.Rows += n
	l.pos.Lines += n + l.quoted
	l.quoted = 0
	l.start = at + int64(bytes.LastIndexByte(p, '\n')) + 1
}

// block takes up to 64 bytes by masks; false, and nothing is changed, if they
// hold anything but data, escapes and line ends of the right kind.
func (t *textScanner) block(p []byte, at int64, needCR bool) bool {
	n := len(p)
	var pad block
	b := &pad
	if n == blockSize {
		b = (*block)(p)
	} else {
		copy(pad[:], p)
	}
	lf, slash := b.mask2(patLF, patSlash)
	var cr, escaped, last uint64
	if needCR {
		cr = b.mask(patCR)
	}
	if t.esc {
		escaped = 1
	}
	for active := slash &^ escaped; active != 0; active &= active - 1 {
		last = active & -active
		escaped |= last << 1
		active &^= last << 1
	}
	if escaped != 0 {
		if escaped&b.mask(patDot) != 0 {
			return false
		}
		lf &^= escaped
		cr &^= escaped
	}
	ends, pending, ok := t.ends(lf, cr, n)
	if !ok {
		return false
	}
	t.cr = pending
	t.esc = last>>(uint(n)-1)&1 != 0
	if ends != 0 {
		k := int64(bits.OnesCount64(ends))
		t.pos.Rows += k
		t.pos.Lines += k
		t.start = at + int64(bits.Len64(ends))
	}
	return true
}
