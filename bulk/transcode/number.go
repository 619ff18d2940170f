package transcode

import (
	"encoding/binary"
	"math"
	"strconv"
	"unsafe"
)

// integer reads decimal digits with a sign, between white space, up to 18 digits
// or what goes into 64 bits.
func integer(p []byte) (n int64, ok bool) {
	if len(p) == 0 {
		return 0, false
	}
	if isSpace(p[0]) || isSpace(p[len(p)-1]) {
		p = trim(p)
	}
	digits := p
	if len(digits) > 0 && (digits[0] == '-' || digits[0] == '+') {
		digits = digits[1:]
	}
	if len(digits) == 0 {
		return 0, false
	}
	if len(digits) > 18 {
		n, err := strconv.ParseInt(unsafeString(p), 10, 64)
		return n, err == nil
	}
	for _, c := range digits {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	if p[0] == '-' {
		n = -n
	}
	return n, true
}

// unsafeString is for functions that keep nothing of it.
func unsafeString(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

func appendInt2(dst, text []byte) ([]byte, bool) {
	n, ok := integer(text)
	return binary.BigEndian.AppendUint16(dst, uint16(n)), ok && n == int64(int16(n))
}

func appendInt4(dst, text []byte) ([]byte, bool) {
	n, ok := integer(text)
	return binary.BigEndian.AppendUint32(dst, uint32(n)), ok && n == int64(int32(n))
}

func appendInt8(dst, text []byte) ([]byte, bool) {
	n, ok := integer(text)
	return binary.BigEndian.AppendUint64(dst, uint64(n)), ok
}

// appendOID leaves signs to the server, which takes some negative numbers.
func appendOID(dst, text []byte) ([]byte, bool) {
	n, ok := integer(text)
	ok = ok && n == int64(uint32(n)) && text[0] != '-' && text[0] != '+' && !isSpace(text[0])
	return binary.BigEndian.AppendUint32(dst, uint32(n)), ok
}

// exactPowers are the powers of ten that a float64 holds exactly.
var exactPowers = [...]float64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// plainFloat reads a sign, digits and a point that make one division of two exact
// numbers, which rounds as it should.
func plainFloat(p []byte) (v float64, ok bool) {
	negative := len(p) > 0 && p[0] == '-'
	if negative {
		p = p[1:]
	}
	if len(p) == 0 || len(p) > 17 {
		return 0, false
	}
	n, point := uint64(0), -1
	for i, c := range p {
		if c -= '0'; c <= 9 {
			n = n*10 + uint64(c)
			continue
		}
		if c+'0' != '.' || point >= 0 {
			return 0, false
		}
		point = i
	}
	v = float64(n)
	if point >= 0 {
		if len(p) == 1 {
			return 0, false
		}
		v /= exactPowers[len(p)-1-point]
	}
	if negative {
		v = -v
	}
	return v, n < 1<<53
}

// float reads what strtod reads, but for hexadecimal numbers and numbers that are
// out of range or nearly so, which may be errors.
func float(p []byte, size int) (v float64, ok bool) {
	if p = trim(p); len(p) == 0 {
		return 0, false
	}
	if c := p[len(p)-1]; c != '.' && c-'0' > 9 {
		return special(p)
	}
	zero := true
	for _, c := range p {
		switch {
		case c-'0' <= 9:
			zero = zero && c == '0'
		case c == 'e' || c == 'E':
			return floatOf(p, size, zero)
		case c != '.' && c != '-' && c != '+':
			return 0, false
		}
	}
	return floatOf(p, size, zero)
}

// floatOf is for numbers; zero says that no digit of the fraction is another.
func floatOf(p []byte, size int, zero bool) (v float64, ok bool) {
	for _, c := range p {
		if c == '_' || c == 'x' || c == 'X' {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(unsafeString(p), size)
	least := 0x1p-1022
	if size == 32 {
		least = 0x1p-126
	}
	return v, err == nil && (zero || math.Abs(v) >= least)
}

// special reads the words for what is no number.
func special(p []byte) (v float64, ok bool) {
	if fold(p, "nan") {
		return math.NaN(), true
	}
	sign := 1
	if p[0] == '-' || p[0] == '+' {
		if p[0] == '-' {
			sign = -1
		}
		p = p[1:]
	}
	return math.Inf(sign), fold(p, "infinity") || fold(p, "inf")
}

// The bits of a server's NaN.
const (
	nan8 = 0x7ff8000000000000
	nan4 = 0x7fc00000
)

func appendFloat8(dst, text []byte) ([]byte, bool) {
	v, ok := plainFloat(text)
	if !ok {
		v, ok = float(text, 64)
	}
	bits := math.Float64bits(v)
	if v != v {
		bits = nan8
	}
	return binary.BigEndian.AppendUint64(dst, bits), ok
}

func appendFloat4(dst, text []byte) ([]byte, bool) {
	v, ok := float(text, 32)
	bits := math.Float32bits(float32(v))
	if v != v {
		bits = nan4
	}
	return binary.BigEndian.AppendUint32(dst, bits), ok
}
