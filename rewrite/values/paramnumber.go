package values

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
)

// integerAssignment: casts between integers fail where the value has no room,
// and so do their input functions.
func integerAssignment(oid, base uint32, binary bool) (converter, bool) {
	var inRange converter // nil in binary, where it is by construction
	switch {
	case binary:
	case oid == oidInt2:
		inRange = integer16
	case oid == oidInt4:
		inRange = integer32
	default:
		inRange = integer64
	}
	switch base {
	case oidInt2:
		return nil, true // the column's range is the narrower one
	case oidInt4:
		if oid == oidInt8 {
			return nil, true
		}
		return inRange, true
	case oidInt8, oidNumeric, oidFloat8:
		return inRange, true
	case oidFloat4:
		if oid == oidInt8 {
			inRange = integerShort
		}
		return inRange, true
	}
	return nil, false
}

func integer16(dst, text []byte) ([]byte, bool) {
	return appendInteger(dst, text, math.MinInt16, math.MaxInt16)
}

func integer32(dst, text []byte) ([]byte, bool) {
	return appendInteger(dst, text, math.MinInt32, math.MaxInt32)
}

func integer64(dst, text []byte) ([]byte, bool) {
	return appendInteger(dst, text, math.MinInt64, math.MaxInt64)
}

// integerShort is for float4, as asShort is.
func integerShort(dst, text []byte) ([]byte, bool) {
	return appendInteger(dst, text, -1e15+1, 1e15-1)
}

// appendInteger appends plain digits with an optional minus, if their value is
// in the range.
func appendInteger(dst, text []byte, low, high int64) ([]byte, bool) {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || digitRun(digits) != len(digits) {
		return dst, false
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < low || n > high {
		return dst, false
	}
	return strconv.AppendInt(dst, n, 10), true
}

// modestNumber takes what is surely not too long for a numeric without a
// modifier.
func modestNumber(dst, text []byte) ([]byte, bool) {
	ok := len(text) <= maxNumber
	if bytes.ContainsAny(text, "eE") {
		_, ok = parseNumber(text)
	}
	return append(dst, text...), ok
}

func numericToInteger(dst, text []byte) ([]byte, bool) {
	dst, err := appendNumber(dst, text, asInteger)
	return dst, err == nil
}

func numericToFloat(dst, text []byte) ([]byte, bool) {
	dst, err := appendNumber(dst, text, asFloat)
	return dst, err == nil
}

func floatAssignment(oid, base uint32) (converter, bool) {
	switch {
	case oid == oidFloat4 && base == oidFloat8:
		return widenFloat, true
	case oid == oidFloat4 && base == oidNumeric:
		return float4ToNumeric, true
	case oid == oidFloat8 && base == oidFloat4:
		return narrowFloat, true
	case oid == oidFloat8 && base == oidNumeric:
		return float8ToNumeric, true
	}
	return nil, false
}

// parseFloat reads a plain number as the input functions do, which fail where
// it becomes infinite or zero.
func parseFloat(text []byte, bits int) (float64, bool) {
	n, ok := parseNumber(text)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(text), bits)
	return v, err == nil && (v != 0 || n.zero())
}

func widenFloat(dst, text []byte) ([]byte, bool) {
	v, ok := parseFloat(text, 32)
	return strconv.AppendFloat(dst, v, 'g', -1, 64), ok
}

func narrowFloat(dst, text []byte) ([]byte, bool) {
	v, ok := parseFloat(text, 64)
	narrow := float32(v)
	if math.IsInf(float64(narrow), 0) || narrow == 0 && v != 0 {
		ok = false // natively out of range
	}
	return strconv.AppendFloat(dst, float64(narrow), 'g', -1, 32), ok
}

// float8ToNumeric: the cast keeps as many digits as are surely the number's.
func float8ToNumeric(dst, text []byte) ([]byte, bool) {
	v, ok := parseFloat(text, 64)
	return strconv.AppendFloat(dst, v, 'g', 15, 64), ok
}

func float4ToNumeric(dst, text []byte) ([]byte, bool) {
	v, ok := parseFloat(text, 32)
	return strconv.AppendFloat(dst, v, 'g', 6, 64), ok
}

func readInt2(dst, data []byte) ([]byte, bool) {
	if len(data) != 2 {
		return dst, false
	}
	return strconv.AppendInt(dst, int64(int16(binary.BigEndian.Uint16(data))), 10), true
}

func readInt4(dst, data []byte) ([]byte, bool) {
	if len(data) != 4 {
		return dst, false
	}
	return strconv.AppendInt(dst, int64(int32(binary.BigEndian.Uint32(data))), 10), true
}

func readInt8(dst, data []byte) ([]byte, bool) {
	if len(data) != 8 {
		return dst, false
	}
	return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(data)), 10), true
}

func readOID(dst, data []byte) ([]byte, bool) {
	if len(data) != 4 {
		return dst, false
	}
	return strconv.AppendUint(dst, uint64(binary.BigEndian.Uint32(data)), 10), true
}

func readFloat4(dst, data []byte) ([]byte, bool) {
	if len(data) != 4 {
		return dst, false
	}
	bits := binary.BigEndian.Uint32(data)
	v := math.Float32frombits(bits)
	if v != v && bits != 0x7fc00000 {
		return dst, false
	}
	return appendFloat(dst, float64(v), 32), true
}

// readFloat8 knows one NaN, that of the input function; the server would store
// the bits of others.
func readFloat8(dst, data []byte) ([]byte, bool) {
	if len(data) != 8 {
		return dst, false
	}
	bits := binary.BigEndian.Uint64(data)
	v := math.Float64frombits(bits)
	if v != v && bits != 0x7ff8000000000000 {
		return dst, false
	}
	return appendFloat(dst, v, 64), true
}

func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case v != v:
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(v, -1):
		return append(dst, "-Infinity"...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

// numericEnd bounds the groups of four digits before and behind the point, as
// maxNumber does the digits.
const numericEnd = maxNumber / 4

// readNumeric: a count of groups of four digits, the exponent of the first, a
// sign, and how many digits stand behind the point; any beyond them are cut.
func readNumeric(dst, data []byte) ([]byte, bool) {
	if len(data) < 8 {
		return dst, false
	}
	count := int(binary.BigEndian.Uint16(data))
	weight := int(int16(binary.BigEndian.Uint16(data[2:])))
	sign, scale := binary.BigEndian.Uint16(data[4:]), int(binary.BigEndian.Uint16(data[6:]))
	groups := data[8:]
	if len(groups) != 2*count || weight >= numericEnd || weight < -numericEnd || scale > maxNumber {
		return dst, false
	}
	for i := range count {
		if binary.BigEndian.Uint16(groups[2*i:]) > 9999 {
			return dst, false
		}
	}
	switch sign {
	case 0:
	case 0x4000:
		dst = append(dst, '-')
	case 0xc000:
		return append(dst, "NaN"...), true
	case 0xd000:
		return append(dst, "Infinity"...), true
	case 0xf000:
		return append(dst, "-Infinity"...), true
	default:
		return dst, false
	}
	group := func(exponent int) int {
		if i := weight - exponent; 0 <= i && i < count {
			return int(binary.BigEndian.Uint16(groups[2*i:]))
		}
		return 0
	}
	dst = strconv.AppendInt(dst, int64(group(max(weight, 0))), 10)
	for e := weight - 1; e >= 0; e-- {
		dst = appendFour(dst, group(e))
	}
	if scale == 0 {
		return dst, true
	}
	dst = append(dst, '.')
	end := len(dst) + scale
	for e := -1; len(dst) < end; e-- {
		dst = appendFour(dst, group(e))
	}
	return dst[:end], true
}

// appendFour and appendTwo append a number below 10,000 or 100 in so many
// digits.
func appendFour(dst []byte, n int) []byte { return appendTwo(appendTwo(dst, n/100), n%100) }

func appendTwo(dst []byte, n int) []byte { return append(dst, '0'+byte(n/10), '0'+byte(n%10)) }
