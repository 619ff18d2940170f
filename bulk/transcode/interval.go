package transcode

import (
	"bytes"
	"encoding/binary"
)

// units are those of an interval, in the order in which they may stand.
var units = [...]struct {
	one, many string
	months    bool
	factor    int64
}{
	{"year", "years", true, 12}, {"mon", "mons", true, 1}, {"day", "days", false, 1},
}

// maxUnit keeps all that is made of a number in range.
const maxUnit = 9_999_999

// appendInterval reads what a server writes in style postgres: each unit at most
// once, in order, then a time, all with signs of their own.
func appendInterval(dst, text []byte) ([]byte, bool) {
	var months, days, micros int64
	next, some := 0, false
	for len(text) > 0 {
		word := text
		text = nil
		if i := bytes.IndexByte(word, ' '); i >= 0 {
			word, text = word[:i], word[i+1:]
			if len(text) == 0 {
				return dst, false
			}
		}
		if bytes.IndexByte(word, ':') >= 0 {
			var ok bool
			micros, ok = readHours(word)
			if !ok || len(text) > 0 {
				return dst, false
			}
			some = true
			break
		}
		n, ok := unitCount(word)
		if !ok {
			return dst, false
		}
		var name []byte
		if name, text, _ = bytes.Cut(text, []byte{' '}); len(name) == 0 {
			return dst, false
		}
		for next < len(units) && string(name) != units[next].one && string(name) != units[next].many {
			next++
		}
		if next == len(units) {
			return dst, false
		}
		if u := &units[next]; u.months {
			months += n * u.factor
		} else {
			days = n
		}
		next, some = next+1, true
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(micros))
	dst = binary.BigEndian.AppendUint32(dst, uint32(days))
	return binary.BigEndian.AppendUint32(dst, uint32(months)), some
}

// unitCount reads a number that begins with a digit or a sign.
func unitCount(word []byte) (n int64, ok bool) {
	if len(word) == 0 || isSpace(word[0]) || isSpace(word[len(word)-1]) {
		return 0, false
	}
	n, ok = integer(word)
	return n, ok && n <= maxUnit && n >= -maxUnit
}

// readHours reads a time with a sign and any number of hours.
func readHours(p []byte) (micros int64, ok bool) {
	negative := len(p) > 0 && p[0] == '-'
	if len(p) > 0 && (p[0] == '-' || p[0] == '+') {
		p = p[1:]
	}
	colon := bytes.IndexByte(p, ':')
	if colon < 2 || len(p) < colon+6 || p[0]-'0' > 9 {
		return 0, false
	}
	hours, ok := unitCount(p[:colon])
	if !ok {
		return 0, false
	}
	// The rest is what stands behind the hours of a time of the day.
	var clock [16]byte
	n := copy(clock[:], "00")
	if len(p)-colon > len(clock)-n {
		return 0, false
	}
	n += copy(clock[n:], p[colon:])
	rest, tail, ok := readClock(clock[:n])
	if micros = hours*3600*microsPerSecond + rest; negative {
		micros = -micros
	}
	return micros, ok && len(tail) == 0
}
