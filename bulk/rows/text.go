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
	slash := t.esc || bytes.IndexByte(p, '\\') >= 0
	if !slash && t.count(p, at) {
		return len(p), true
	}
	need := needs{cr: t.eol != eolLF || bytes.IndexByte(p, '\r') >= 0, slash: slash}
	for i := 0; i < len(p); {
		n := min(len(p)-i, blockSize)
		if t.block(p[i:i+n], at+int64(i), need) {
			i += n
			continue
		}
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
	}
	return len(p), true
}

// block takes up to 64 bytes by masks; false, and nothing is changed, if they
// hold anything but data, escapes and line ends of the right kind.
func (t *textScanner) block(p []byte, at int64, need needs) bool {
	n := len(p)
	var pad block
	b := &pad
	if n == blockSize {
		b = (*block)(p)
	} else {
		copy(pad[:], p)
	}
	lf, cr := b.mask(patLF), uint64(0)
	if need.cr {
		cr = b.mask(patCR)
	}
	esc := false
	if need.slash {
		var escaped uint64
		escaped, esc = escapes(b.mask(patSlash), t.esc, n)
		if escaped != 0 && escaped&b.mask(patDot) != 0 {
			return false
		}
		lf &^= escaped
		cr &^= escaped
	}
	ends, pending, ok := t.ends(lf, cr, n)
	if !ok {
		return false
	}
	t.cr, t.esc = pending, esc
	t.addRows(ends, 0, at)
	return true
}

// escapes returns the bytes other than backslashes that a backslash escapes,
// and whether the last of n bytes escapes the one behind it. In a run of
// backslashes each even one escapes the next, so what follows the run is
// escaped where the run's length is odd: adding a run's first bit to the run
// carries into the bit behind it, and parities of first and end are compared.
func escapes(slash uint64, carry bool, n int) (escaped uint64, last bool) {
	const even = 0x5555555555555555
	if carry {
		escaped = 1
		slash &^= 1
	}
	if slash == 0 {
		return escaped, false
	}
	first := slash &^ (slash << 1)
	evenEnds, _ := bits.Add64(slash, first&even, 0)
	oddEnds, over := bits.Add64(slash, first&^even, 0)
	ends := (evenEnds&^even | oddEnds&even) &^ slash
	if n < blockSize {
		last = ends>>uint(n)&1 != 0
	} else {
		last = over != 0
	}
	return escaped | ends, last
}
