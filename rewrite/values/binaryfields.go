package values

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgdate"
)

// textFields make what the receive function reads of the text format, for the
// types that drivers send as text. A value that is not written in the plain form
// is not taken: the input function reads many more.
var textFields = map[uint32]converter{
	oidText: nil, oidVarchar: nil, oidBPChar: nil, oidJSON: nil, // the same bytes
	oidJSONB: jsonbField,
	oidBool:  boolField,
	oidInt2:  int2Field, oidInt4: int4Field, oidInt8: int8Field,
	oidFloat8: float8Field,
	oidDate:   dateField, oidTimestamp: timestampField, oidTimestamptz: timestamptzField,
}

// jsonbField: the version of the format comes first.
func jsonbField(dst, text []byte) ([]byte, bool) { return append(append(dst, 1), text...), true }

func boolField(dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "t", "true", "TRUE", "1":
		return append(dst, 1), true
	case "f", "false", "FALSE", "0":
		return append(dst, 0), true
	}
	return dst, false
}

// plainInteger reads digits with an optional minus, at most 18 of them.
func plainInteger(text []byte) (n int64, ok bool) {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 18 || digitRun(digits) != len(digits) {
		return 0, false
	}
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	if len(digits) < len(text) {
		n = -n
	}
	return n, true
}

func int2Field(dst, text []byte) ([]byte, bool) {
	n, ok := plainInteger(text)
	return binary.BigEndian.AppendUint16(dst, uint16(n)), ok && n == int64(int16(n))
}

func int4Field(dst, text []byte) ([]byte, bool) {
	n, ok := plainInteger(text)
	return binary.BigEndian.AppendUint32(dst, uint32(n)), ok && n == int64(int32(n))
}

func int8Field(dst, text []byte) ([]byte, bool) {
	n, ok := plainInteger(text)
	return binary.BigEndian.AppendUint64(dst, uint64(n)), ok
}

// float8Field: both sides round to the nearest. A number that becomes zero or
// infinite may be an error.
func float8Field(dst, text []byte) ([]byte, bool) {
	n, ok := parseNumber(text)
	if !ok {
		return dst, false
	}
	v, err := strconv.ParseFloat(string(text), 64)
	plain := err == nil && (math.Abs(v) >= 0x1p-1022 || n.zero())
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v)), plain
}

func dateField(dst, text []byte) ([]byte, bool) {
	days, ok := isoDays(text)
	return binary.BigEndian.AppendUint32(dst, uint32(days)), ok && len(text) == isoDateLen
}

func timestampField(dst, text []byte) ([]byte, bool) {
	micros, zone, ok := isoMicros(text)
	return binary.BigEndian.AppendUint64(dst, uint64(micros)), ok && len(zone) == 0
}

// timestamptzField takes a timestamp whose offset is written: without one it
// would be that of the session's zone.
func timestamptzField(dst, text []byte) ([]byte, bool) {
	micros, zone, ok := isoMicros(text)
	if !ok {
		return dst, false
	}
	minutes, ok := isoZone(zone)
	return binary.BigEndian.AppendUint64(dst, uint64(micros-minutes*60*microsPerSecond)), ok
}

// isoZone reads ±hh or ±hh:mm, up to 14 hours.
func isoZone(zone []byte) (minutes int64, ok bool) {
	switch {
	case len(zone) == 3 && shaped(zone[1:], "00"):
	case len(zone) == 6 && shaped(zone[1:], "00:00") && zone[4] <= '5':
		minutes = int64(two(zone[4:]))
	default:
		return 0, false
	}
	if minutes += 60 * int64(two(zone[1:])); minutes > 14*60 {
		return 0, false
	}
	switch zone[0] {
	case '+':
		return minutes, true
	case '-':
		return -minutes, true
	}
	return 0, false
}

const isoDateLen = 10

// isoMicros reads YYYY-MM-DD hh:mm:ss, perhaps with up to six digits behind the
// point, as microseconds since 2000; zone is what follows.
func isoMicros(text []byte) (micros int64, zone []byte, ok bool) {
	const whole = isoDateLen + 9
	if len(text) < whole || text[isoDateLen] != ' ' && text[isoDateLen] != 'T' {
		return 0, nil, false
	}
	days, ok := isoDays(text)
	clock := text[isoDateLen+1:]
	if !ok || !isoTime(clock[:8]) {
		return 0, nil, false
	}
	seconds := (int64(two(clock))*60+int64(two(clock[3:])))*60 + int64(two(clock[6:]))
	rest := clock[8:]
	var fraction int64
	if len(rest) > 0 && rest[0] == '.' {
		n := digitRun(rest[1:])
		if n == 0 || n > 6 {
			return 0, nil, false
		}
		for i := range 6 {
			fraction *= 10
			if i < n {
				fraction += int64(rest[1+i] - '0')
			}
		}
		rest = rest[1+n:]
	}
	return days*microsPerDay + seconds*microsPerSecond + fraction, rest, true
}

// isoDays reads YYYY-MM-DD as days since 2000.
func isoDays(text []byte) (days int64, ok bool) {
	if isoDate(text) == 0 {
		return 0, false
	}
	year, month, day := 100*two(text)+two(text[2:]), two(text[5:]), two(text[8:])
	if year == 0 {
		return 0, false // neither AD nor BC
	}
	return pgdate.Days(year, month, day)
}

// two reads two digits.
func two(p []byte) int { return 10*int(p[0]-'0') + int(p[1]-'0') }
