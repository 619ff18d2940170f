package values

import (
	"encoding/binary"
	"math"
	"strconv"
)

const (
	microsPerSecond = 1_000_000
	microsPerDay    = 86400 * microsPerSecond
	// epoch is 2000-01-01 in days since 0000-03-01.
	epoch = 730425
	// firstDay and endDay are 0001-01-01 and 10000-01-01 in days since 2000.
	firstDay, endDay = -730119, 2921940
)

func readDate(dst, data []byte) ([]byte, bool) {
	if len(data) != 4 {
		return dst, false
	}
	switch days := int32(binary.BigEndian.Uint32(data)); days {
	case math.MaxInt32:
		return append(dst, "infinity"...), true
	case math.MinInt32:
		return append(dst, "-infinity"...), true
	default:
		return appendDate(dst, int64(days))
	}
}

func readTimestamp(dst, data []byte) ([]byte, bool) {
	if len(data) != 8 {
		return dst, false
	}
	micros := int64(binary.BigEndian.Uint64(data))
	switch micros {
	case math.MaxInt64:
		return append(dst, "infinity"...), true
	case math.MinInt64:
		return append(dst, "-infinity"...), true
	}
	days := micros / microsPerDay
	if micros %= microsPerDay; micros < 0 {
		micros += microsPerDay
		days--
	}
	dst, ok := appendDate(dst, days)
	if !ok {
		return dst, false
	}
	return appendTime(append(dst, ' '), micros), true
}

func readTimestamptz(dst, data []byte) ([]byte, bool) {
	start := len(dst)
	dst, ok := readTimestamp(dst, data)
	if ok && dst[start] != 'i' && dst[start] != '-' {
		dst = append(dst, "+00"...)
	}
	return dst, ok
}

func readTime(dst, data []byte) ([]byte, bool) {
	if len(data) != 8 {
		return dst, false
	}
	micros := binary.BigEndian.Uint64(data)
	if micros > microsPerDay {
		return dst, false
	}
	return appendTime(dst, int64(micros)), true
}

// appendDate appends a day since 2000 as ISO has it, which every DateStyle
// reads; the years are those of four digits.
func appendDate(dst []byte, days int64) ([]byte, bool) {
	if days < firstDay || days >= endDay {
		return dst, false
	}
	// Years begin in March, so that the leap day is their last.
	n := int(days) + epoch
	era := n / 146097
	n %= 146097
	year := (n - n/1460 + n/36524 - n/146096) / 365
	n -= 365*year + year/4 - year/100
	month := (5*n + 2) / 153
	day := n - (153*month+2)/5 + 1
	year += era * 400
	if month += 3; month > 12 {
		month -= 12
		year++
	}
	dst = appendFour(dst, year)
	dst = appendTwo(append(dst, '-'), month)
	return appendTwo(append(dst, '-'), day), true
}

// appendTime appends a time of day up to 24:00:00.
func appendTime(dst []byte, micros int64) []byte {
	seconds := int(micros / microsPerSecond)
	dst = appendTwo(dst, seconds/3600)
	dst = appendTwo(append(dst, ':'), seconds/60%60)
	dst = appendTwo(append(dst, ':'), seconds%60)
	fraction := int(micros % microsPerSecond)
	if fraction == 0 {
		return dst
	}
	dst = appendTwo(append(dst, '.'), fraction/10000)
	return appendFour(dst, fraction%10000)
}

// plainDate takes a date only as ISO writes it, and as readDate does: the
// input functions of date and of both timestamps read it alike.
func plainDate(dst, text []byte) ([]byte, bool) {
	if n := isoDate(text); n == 0 || n != len(text) {
		return appendInfinity(dst, text)
	}
	return append(dst, text...), true
}

// plainTimestamp takes a timestamp only as ISO writes it. A timestamp without a
// zone is one of the session's zone, whether it is assigned or read as such.
func plainTimestamp(dst, text []byte) ([]byte, bool) {
	n := isoDate(text)
	if n == 0 || len(text) > n && (text[n] != ' ' && text[n] != 'T' || !isoTime(text[n+1:])) {
		return appendInfinity(dst, text)
	}
	return append(dst, text...), true
}

func appendInfinity(dst, text []byte) ([]byte, bool) {
	if s := string(text); s != "infinity" && s != "-infinity" {
		return dst, false
	}
	return append(dst, text...), true
}

// isoDate returns the length of YYYY-MM-DD at the beginning, 0 if there is none.
func isoDate(text []byte) int {
	if len(text) < 10 || !shaped(text[:10], "0000-00-00") {
		return 0
	}
	return 10
}

// isoTime says whether text is hh:mm:ss with up to six digits behind, below
// 24:00:00.
func isoTime(text []byte) bool {
	if len(text) < 8 || !shaped(text[:8], "00:00:00") || string(text[:2]) > "23" || text[3] > '5' || text[6] > '5' {
		return false
	}
	fraction := text[8:]
	return len(fraction) == 0 || fraction[0] == '.' && 2 <= len(fraction) && len(fraction) <= 7 && digitRun(fraction[1:]) == len(fraction)-1
}

// shaped says whether text has digits where shape has, and its other bytes.
func shaped(text []byte, shape string) bool {
	for i, c := range text {
		if digit := '0' <= c && c <= '9'; digit != (shape[i] == '0') || !digit && c != shape[i] {
			return false
		}
	}
	return true
}

// readInterval signs every field, which then means the same in each
// IntervalStyle and under each modifier. The ends are infinite to some
// versions.
func readInterval(dst, data []byte) ([]byte, bool) {
	if len(data) != 16 {
		return dst, false
	}
	micros := int64(binary.BigEndian.Uint64(data))
	days, months := int32(binary.BigEndian.Uint32(data[8:])), int32(binary.BigEndian.Uint32(data[12:]))
	const most = int64(math.MaxInt32) * 3600 * microsPerSecond
	if micros > most || micros < -most || outermost(days) || outermost(months) {
		return dst, false
	}
	dst = appendSigned(dst, months, " mons ")
	dst = appendSigned(dst, days, " days ")
	sign := byte('+')
	if micros < 0 {
		sign, micros = '-', -micros
	}
	dst = append(dst, sign)
	hours := micros / (3600 * microsPerSecond)
	if hours < 10 {
		dst = append(dst, '0')
	}
	dst = strconv.AppendInt(dst, hours, 10)
	rest := len(dst)
	dst = appendTime(dst, micros%(3600*microsPerSecond))
	return append(dst[:rest], dst[rest+2:]...), true // its hours are 00
}

func outermost(n int32) bool { return n == math.MinInt32 || n == math.MaxInt32 }

func appendSigned(dst []byte, n int32, unit string) []byte {
	if n >= 0 {
		dst = append(dst, '+')
	}
	return append(strconv.AppendInt(dst, int64(n), 10), unit...)
}
