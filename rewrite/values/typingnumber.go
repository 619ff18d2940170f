package values

// maxNumber bounds the digits and the exponent of a number. Far above it lie
// the limits of numeric, beyond which INSERT fails and COPY into a float may
// not.
const maxNumber = 1000

// number is a numeric constant taken apart: its value is digits × 10^-len(digits)
// × 10^point, the digits being head and tail in a row.
type number struct {
	negative   bool
	head, tail []byte // before and behind the point as written
	point      int    // where the point is once the exponent is applied
}

// parseNumber reads digits with an optional sign, point and exponent.
func parseNumber(text []byte) (n number, ok bool) {
	if len(text) == 0 || len(text) > maxNumber {
		return n, false
	}
	if text[0] == '-' {
		n.negative, text = true, text[1:]
	}
	n.head = text[:digitRun(text)]
	text = text[len(n.head):]
	if len(text) > 0 && text[0] == '.' {
		text = text[1:]
		n.tail = text[:digitRun(text)]
		text = text[len(n.tail):]
	}
	n.point = len(n.head)
	if len(text) == 0 {
		return n, len(n.head)+len(n.tail) > 0
	}
	if text[0] != 'e' && text[0] != 'E' || len(n.head)+len(n.tail) == 0 {
		return n, false
	}
	exponent, ok := parseExponent(text[1:])
	n.point += exponent
	return n, ok
}

func parseExponent(text []byte) (exponent int, ok bool) {
	sign := 1
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		if text[0] == '-' {
			sign = -1
		}
		text = text[1:]
	}
	if len(text) == 0 || digitRun(text) != len(text) {
		return 0, false
	}
	for _, c := range text {
		if exponent = exponent*10 + int(c-'0'); exponent > maxNumber {
			return 0, false
		}
	}
	return sign * exponent, true
}

func digitRun(text []byte) int {
	i := 0
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	return i
}

// digit is the one at i, counted from the first that is written; beyond them
// there are zeros.
func (n *number) digit(i int) byte {
	switch {
	case i < 0 || i >= len(n.head)+len(n.tail):
		return '0'
	case i < len(n.head):
		return n.head[i]
	}
	return n.tail[i-len(n.head)]
}

func (n *number) zero() bool {
	for i := range len(n.head) + len(n.tail) {
		if n.digit(i) != '0' {
			return false
		}
	}
	return true
}

// appendWhole appends the sign and the digits before the point, without leading
// zeros.
func (n *number) appendWhole(dst []byte) []byte {
	if n.negative && !n.zero() {
		dst = append(dst, '-')
	}
	i := 0
	for i < n.point-1 && n.digit(i) == '0' {
		i++
	}
	if n.point <= 0 {
		return append(dst, '0')
	}
	for ; i < n.point; i++ {
		dst = append(dst, n.digit(i))
	}
	return dst
}

// appendPlain appends the number as numeric prints it: no exponent, a digit
// before the point, and as many behind it as the exponent left there.
func (n *number) appendPlain(dst []byte) []byte {
	dst = n.appendWhole(dst)
	scale := len(n.head) + len(n.tail) - n.point
	if scale > 0 {
		dst = append(dst, '.')
	}
	for i := range scale {
		dst = append(dst, n.digit(n.point+i))
	}
	return dst
}

// appendRounded appends the nearest integer; a half goes away from zero.
func (n *number) appendRounded(dst []byte) []byte {
	start := len(dst)
	dst = n.appendWhole(dst)
	if n.digit(n.point) < '5' {
		return dst
	}
	i := len(dst) - 1
	for ; i >= start && dst[i] == '9'; i-- {
		dst[i] = '0'
	}
	if i >= start && dst[i] != '-' {
		dst[i]++
		return dst
	}
	// All nines: 99.5 has become 00.
	dst = append(dst, '0')
	dst[i+1] = '1'
	return dst
}

// asWritten says that appendNumber would append a number as it is. It may say no
// where it would, too.
func asWritten(text []byte, w way) bool {
	switch n := digitRun(text); {
	case n == 0 || len(text) > maxPlainNumeric:
		return false
	case w == asDigits:
		return n == len(text) && text[0] != '0'
	case w != asNumber && w != asFloat || n == len(text) || text[n] != '.':
		return false
	default:
		return n+1+digitRun(text[n+1:]) == len(text)
	}
}

// appendNumber appends an Integer or a Decimal.
func appendNumber(dst, text []byte, w way) ([]byte, error) {
	if w == refuse {
		return dst, PassConstant
	}
	if asWritten(text, w) {
		return append(dst, text...), nil // most are like this
	}
	n, ok := parseNumber(text)
	if !ok {
		return dst, PassNumber
	}
	switch w {
	case asDigits:
		return n.appendWhole(dst), nil
	case asUnsigned:
		if n.negative {
			return dst, PassConstant
		}
		return n.appendWhole(dst), nil
	case asShort:
		// 2^53 has 16: up to 15 a double is exact, and float4 rounds once even
		// where its input function reads a double.
		if len(n.head) > 15 {
			return dst, PassConstant
		}
		return n.appendWhole(dst), nil
	case asFloat:
		if n.negative && n.zero() {
			return append(dst, '0'), nil
		}
		return append(dst, text...), nil
	case asNumber:
		return append(dst, text...), nil
	case asInteger:
		return n.appendRounded(dst), nil
	case asPlain:
		return n.appendPlain(dst), nil
	}
	return dst, PassConstant
}
