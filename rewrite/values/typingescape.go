package values

import (
	"encoding/binary"
	"math/bits"
)

// forbidden marks NUL in escapes.
const forbidden = 0xff

// escapes has the letter that stands behind the backslash for each byte that
// COPY text cannot hold as it is, else zero.
var escapes = [256]byte{
	0: forbidden, '\b': 'b', '\t': 't', '\n': 'n', '\v': 'v', '\f': 'f', '\r': 'r', '\\': '\\',
}

// appendEscaped appends text as COPY's text format has it. No text becomes \N,
// which means NULL, or \., which means the end: their backslashes are doubled.
func appendEscaped(dst, text []byte) ([]byte, error) {
	for {
		n := plainRun(text)
		dst = append(dst, text[:n]...)
		if n == len(text) {
			return dst, nil
		}
		letter := escapes[text[n]]
		if letter == forbidden {
			return dst, PassNUL
		}
		dst = append(dst, '\\', letter)
		text = text[n+1:]
	}
}

const (
	everyByte = 0x0101010101010101
	highBits  = 0x8080808080808080
)

// plainRun returns how many bytes at the beginning need no escape. It looks at
// eight at a time for a control character or a backslash.
func plainRun(text []byte) int {
	i := 0
	for i+8 <= len(text) {
		w := binary.LittleEndian.Uint64(text[i:])
		backslash := w ^ everyByte*'\\'
		found := ((w-everyByte*' ')&^w | (backslash-everyByte)&^backslash) & highBits
		if found == 0 {
			i += 8
			continue
		}
		// The lowest bit is never a false alarm: borrows run upwards.
		i += bits.TrailingZeros64(found) / 8
		if escapes[text[i]] != 0 {
			return i
		}
		i++
	}
	for i < len(text) && escapes[text[i]] == 0 {
		i++
	}
	return i
}
