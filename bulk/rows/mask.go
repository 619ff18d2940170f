package rows

import "encoding/binary"

const (
	low7   = 0x7f7f7f7f7f7f7f7f
	high1  = 0x8080808080808080
	every1 = 0x0101010101010101
	// gather moves the top bits of eight bytes into the top byte, in order: bit
	// 7+8k times bit 49-7k lands on 56+k, and no two products meet.
	gather = 0x0002040810204081
)

// block is what masks are made of. Bytes behind a chunk's end are zero, which
// is never special.
type block [blockSize]byte

// pattern is a byte repeated, ready to be searched for.
type pattern uint64

func patternOf(c byte) pattern { return pattern(uint64(c) * every1) }

// miss returns eight bits that say which bytes of w are not the pattern's.
func (p pattern) miss(w uint64) uint64 {
	x := w ^ uint64(p)
	// The top bit of a byte of the sum is set where any low bit of x is: no
	// carry leaves a byte, so unlike with (x-1)&^x every bit is exact.
	return ((x&low7 + low7 | x) & high1) * gather >> 56
}

// mask returns a bit for each byte of b that is a. Written out, for a loop takes
// half as long again.
func (b *block) mask(a pattern) uint64 {
	le := binary.LittleEndian
	return ^(a.miss(le.Uint64(b[0:])) |
		a.miss(le.Uint64(b[8:]))<<8 |
		a.miss(le.Uint64(b[16:]))<<16 |
		a.miss(le.Uint64(b[24:]))<<24 |
		a.miss(le.Uint64(b[32:]))<<32 |
		a.miss(le.Uint64(b[40:]))<<40 |
		a.miss(le.Uint64(b[48:]))<<48 |
		a.miss(le.Uint64(b[56:]))<<56)
}

// prefixXor sets each bit to the parity of the bits up to and including it.
func prefixXor(m uint64) uint64 {
	m ^= m << 1
	m ^= m << 2
	m ^= m << 4
	m ^= m << 8
	m ^= m << 16
	m ^= m << 32
	return m
}
