package transcode

import "encoding/binary"

// The signs of a numeric in binary.
const (
	numericNegative = 0x4000
	numericNaN      = 0xc000
	numericInf      = 0xd000
	numericMinusInf = 0xf000
)

const (
	// maxNumeric is a length at which nothing is out of numeric's range.
	maxNumeric  = 400
	maxExponent = 400
)

// decimal is a number as it is written.
type decimal struct {
	negative bool
	// digits may hold a point.
	digits []byte
	// point is how many digits stand before the point, moved by the exponent.
	point int
	// scale is how many stand behind it.
	scale int
}

// parseDecimal reads a sign, digits, a point and an exponent.
func parseDecimal(p []byte) (d decimal, ok bool) {
	if len(p) > 0 && (p[0] == '-' || p[0] == '+') {
		d.negative = p[0] == '-'
		p = p[1:]
	}
	n, point, i := 0, -1, 0
	for ; i < len(p); i++ {
		if p[i]-'0' <= 9 {
			n++
		} else if p[i] == '.' && point < 0 {
			point = n
		} else {
			break
		}
	}
	d.digits = p[:i]
	if n == 0 || n > maxNumeric {
		return d, false
	}
	if d.point = point; point < 0 {
		d.point = n
	}
	d.scale = n - d.point
	if i == len(p) {
		return d, true
	}
	if lower(p[i]) != 'e' || i+1 == len(p) || isSpace(p[i+1]) {
		return d, false
	}
	e, ok := integer(p[i+1:])
	if !ok || e > maxExponent || e < -maxExponent {
		return d, false
	}
	d.point += int(e)
	d.scale = max(0, d.scale-int(e))
	return d, true
}

// appendNumeric leaves it to the receive function to apply the modifier, as the
// input function does.
func appendNumeric(dst, text []byte) ([]byte, bool) {
	text = trim(text)
	d, ok := parseDecimal(text)
	if !ok {
		return appendNotNumber(dst, text)
	}
	for len(d.digits) > 0 && (d.digits[0] == '0' || d.digits[0] == '.') {
		if d.digits[0] == '0' {
			d.point--
		}
		d.digits = d.digits[1:]
	}
	head := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, byte(d.scale>>8), byte(d.scale))
	if len(d.digits) == 0 {
		return dst, true
	}
	// The first digit stands for so many powers of ten, and each digit of the
	// numeric for four of them. The shifts round down.
	power := d.point - 1
	weight, place := power>>2, power&3
	group := 0
	for _, c := range d.digits {
		if c == '.' {
			continue
		}
		group = group*10 + int(c-'0')
		if place--; place < 0 {
			dst = binary.BigEndian.AppendUint16(dst, uint16(group))
			group, place = 0, 3
		}
	}
	if place != 3 {
		for ; place >= 0; place-- {
			group *= 10
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(group))
	}
	for dst[len(dst)-1] == 0 && dst[len(dst)-2] == 0 {
		dst = dst[:len(dst)-2] // ends: the first group isn't zero
	}
	binary.BigEndian.PutUint16(dst[head:], uint16((len(dst)-head-8)/2))
	binary.BigEndian.PutUint16(dst[head+2:], uint16(weight))
	if d.negative {
		binary.BigEndian.PutUint16(dst[head+4:], numericNegative)
	}
	return dst, true
}

// appendNotNumber reads the words for what is no number.
func appendNotNumber(dst, text []byte) ([]byte, bool) {
	if len(text) == 0 {
		return dst, false
	}
	v, ok := special(text)
	sign := uint16(numericInf)
	switch {
	case v != v:
		sign = numericNaN
	case v < 0:
		sign = numericMinusInf
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(binary.BigEndian.AppendUint16(dst, sign), 0, 0), ok
}
