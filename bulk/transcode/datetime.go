package transcode

import (
	"encoding/binary"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgdate"
)

const (
	microsPerSecond = 1_000_000
	microsPerDay    = 86_400 * microsPerSecond

	// infinity in each width; its negative is one less.
	infinity8 = 1<<63 - 1
	infinity4 = 1<<31 - 1
)

// The years that are in range as a whole.
const (
	maxDateYear      = 5_874_896
	maxTimestampYear = 294_275
	maxYearBC        = 4712
)

// two reads two digits; bad is then negative, where it wasn't so before, if they
// are none.
func two(p []byte, bad int) (n, stillBad int) {
	_ = p[1]
	a, b := int(p[0]-'0'), int(p[1]-'0')
	return 10*a + b, bad | (9 - a) | (9 - b)
}

// calendar is a date as it is written, and what stands behind it.
type calendar struct {
	year, month, day int
	rest             []byte
}

// readDate reads YYYY-MM-DD; the year may have more digits. A year of less than
// four digits may be something else.
func readDate(p []byte) (c calendar, ok bool) {
	if len(p) < 10 {
		return c, false
	}
	century, bad := two(p, 0)
	rest, bad := two(p[2:], bad)
	year, at := century*100+rest, 4
	for ; p[at]-'0' <= 9; at++ {
		if year = year*10 + int(p[at]-'0'); at > 6 || len(p) < at+7 {
			return c, false
		}
	}
	month, bad := two(p[at+1:], bad)
	day, bad := two(p[at+4:], bad)
	ok = bad >= 0 && p[at] == '-' && p[at+3] == '-'
	return calendar{year, month, day, p[at+6:]}, ok
}

// era takes BC from the end and turns the year.
func (c *calendar) era(maxYear int) (ok bool) {
	if n := len(c.rest) - 3; n >= 0 && string(c.rest[n:]) == " BC" {
		c.rest = c.rest[:n]
		ok = c.year > 0 && c.year <= maxYearBC
		c.year = 1 - c.year
		return ok
	}
	return c.year > 0 && c.year <= maxYear
}

// infinite reads infinity and -infinity: 1, -1, or 0 for anything else.
func infinite(p []byte) int64 {
	switch {
	case len(p) < 8:
	case fold(p, "infinity"):
		return 1
	case fold(p, "-infinity"):
		return -1
	}
	return 0
}

func appendDate(dst, text []byte) ([]byte, bool) {
	c, ok := readDate(text)
	if !ok {
		sign := infinite(text)
		return binary.BigEndian.AppendUint32(dst, uint32(sign*infinity4+(sign-1)/2)), sign != 0
	}
	if len(c.rest) > 3 || !c.era(maxDateYear) || len(c.rest) > 0 {
		return dst, false
	}
	days, ok := pgdate.Days(c.year, c.month, c.day)
	return binary.BigEndian.AppendUint32(dst, uint32(days)), ok
}

// readClock reads hh:mm, hh:mm:ss, and up to six digits behind a point.
func readClock(p []byte) (micros int64, rest []byte, ok bool) {
	if len(p) < 5 || p[2] != ':' {
		return 0, nil, false
	}
	hour, bad := two(p, 0)
	minute, bad := two(p[3:], bad)
	bad |= (23 - hour) | (59 - minute)
	micros = int64(hour*60+minute) * 60 * microsPerSecond
	if p = p[5:]; len(p) < 3 || p[0] != ':' {
		return micros, p, bad >= 0 && (len(p) == 0 || p[0] != ':')
	}
	second, bad := two(p[1:], bad)
	bad |= 59 - second
	micros += int64(second) * microsPerSecond
	if p = p[3:]; len(p) > 0 && p[0] == '.' {
		var fraction int64
		n := 1
		for ; n < len(p) && p[n]-'0' <= 9; n++ {
			fraction = fraction*10 + int64(p[n]-'0')
			if n > 6 {
				return 0, nil, false
			}
		}
		if n == 1 {
			return 0, nil, false
		}
		micros += fraction * fractions[n]
		p = p[n:]
	}
	return micros, p, bad >= 0
}

// fractions are the microseconds of the last digit, by how many bytes there are
// with the point.
var fractions = [...]int64{2: 100_000, 10_000, 1000, 100, 10, 1}

func appendTime(dst, text []byte) ([]byte, bool) {
	micros, rest, ok := readClock(text)
	return binary.BigEndian.AppendUint64(dst, uint64(micros)), ok && len(rest) == 0
}

// readTimestamp reads a date, perhaps with a time behind it.
func readTimestamp(p []byte) (micros int64, zone []byte, ok bool) {
	c, ok := readDate(p)
	if !ok || !c.era(maxTimestampYear) {
		return 0, nil, false
	}
	days, ok := pgdate.Days(c.year, c.month, c.day)
	if micros = days * microsPerDay; len(c.rest) == 0 || !ok {
		return micros, nil, ok
	}
	if c.rest[0] != ' ' && c.rest[0] != 'T' {
		return 0, nil, false
	}
	clock, zone, ok := readClock(c.rest[1:])
	return micros + clock, zone, ok
}
