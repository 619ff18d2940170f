package values

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// far is how many bytes of text common wants to have before it: what it reads
// by eights never reaches the end.
const far = 40

// The bits that make the first letters of eight bytes lower, and what leaves these
// bytes alone. Nothing else becomes a letter by its bit.
const (
	lower4 = 0x20202020
	lower5 = 0x2020202020
	mask4  = 0xffffffff
	mask5  = 0xffffffffff
)

var (
	wordTrue  = eight("true")
	wordNull  = eight("null")
	wordFalse = eight("false")
)

func eight(s string) uint64 {
	var b [8]byte
	copy(b[:], s)
	return binary.LittleEndian.Uint64(b[:])
}

// common reads the cells that nearly all are: a plain string, a number of few
// digits, and the words, with the comma or bracket directly behind. It returns the
// place of that; or 0, and has changed nothing but the kind and text of c, for any
// other cell, which then has to be read from its beginning again.
func (l *Lexer) common(i int, c *Cell) int {
	if len(l.sql)-i < far {
		return 0
	}
	switch b := l.sql[i]; {
	case b == '\'':
		n := bytes.IndexByte(l.sql[i+1:], '\'')
		end := i + n + 2
		if n < 0 || end >= len(l.sql) || !l.opts.StandardStrings || !ends(l.sql[end]) {
			return 0
		}
		c.Kind, c.Text = String, l.sql[i+1:end-1]
		return end
	case b == '-' || b-'0' <= 9:
		return l.commonNumber(i, c)
	default:
		return l.commonWord(i, c)
	}
}

// ends says whether a cell can end in front of b.
func ends(b byte) bool { return b == ',' || b == ')' }

// commonNumber reads a number of up to 16 digits without an exponent.
func (l *Lexer) commonNumber(i int, c *Cell) int {
	p := l.sql[i : i+far]
	first := 0
	if p[0] == '-' {
		first = 1
	}
	n := first + digits(p[first:])
	if n == first {
		return 0
	}
	c.Kind = Integer
	switch {
	case p[n] == '.':
		c.Kind = Decimal
		n++
		n += digits(p[n:])
	case p[first] == '0' && n > 1: // 007, -0: not as written
		return 0
	}
	if !ends(p[n]) {
		return 0
	}
	c.Text = p[:n:n]
	return i + n
}

// digits counts those that p begins with, up to 16. p has 16 bytes or more.
func digits(p []byte) int {
	if n := digits8(binary.LittleEndian.Uint64(p)); n < 8 {
		return n
	}
	return 8 + digits8(binary.LittleEndian.Uint64(p[8:]))
}

// digits8 counts the digits that w, eight bytes, begins with. A byte that is none
// gets its top bit; the carry out of one reaches only those behind it.
func digits8(w uint64) int {
	const every = 0x0101010101010101
	x := w ^ '0'*every
	return bits.TrailingZeros64((x+(0x80-10)*every|x)&(0x80*every)) / 8
}

// commonWord reads TRUE, FALSE and NULL.
func (l *Lexer) commonWord(i int, c *Cell) int {
	w := binary.LittleEndian.Uint64(l.sql[i:])
	end := i + 4
	switch {
	case (w|lower4)&mask4 == wordTrue:
		c.Kind = True
	case (w|lower4)&mask4 == wordNull:
		c.Kind = Null
	case (w|lower5)&mask5 == wordFalse:
		c.Kind = False
		end++
	default:
		return 0
	}
	if !ends(l.sql[end]) {
		return 0
	}
	return end
}
