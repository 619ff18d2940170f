package transcode

import "encoding/binary"

// zones says what a timestamp may hold of a zone.
type zones struct {
	// utc: a timestamp without a zone is one of UTC.
	utc bool
	// z: the letter Z is UTC, as in the abbreviations that a server comes with.
	z bool
}

// zoneOf asks the names that mean UTC in every edition of the zones' data.
func zoneOf(s *Settings) *zones {
	z := &zones{z: s.Abbreviations == "Default"}
	switch s.TimeZone {
	case "UTC", "GMT", "Etc/UTC", "Etc/GMT":
		z.utc = true
	}
	return z
}

// offset reads ±hh, ±hhmm, ±hh:mm, ±hh:mm:ss or Z, as microseconds east.
func (z *zones) offset(p []byte) (micros int64, ok bool) {
	if len(p) == 1 {
		return 0, z.z && (p[0] == 'Z' || p[0] == 'z')
	}
	if len(p) < 3 || p[0] != '+' && p[0] != '-' {
		return 0, false
	}
	hour, bad := two(p[1:], 0)
	bad |= 15 - hour
	minute, second := 0, 0
	switch rest := p[3:]; {
	case len(rest) == 0:
	case len(rest) == 2:
		minute, bad = two(rest, bad)
	case len(rest) == 3 && rest[0] == ':':
		minute, bad = two(rest[1:], bad)
	case len(rest) == 6 && rest[0] == ':' && rest[3] == ':':
		minute, bad = two(rest[1:], bad)
		second, bad = two(rest[4:], bad)
	default:
		return 0, false
	}
	bad |= (59 - minute) | (59 - second)
	micros = int64((hour*60+minute)*60+second) * microsPerSecond
	if p[0] == '-' {
		micros = -micros
	}
	return micros, bad >= 0
}

// appendTimestamp: a zone is read and forgotten.
func (z *zones) appendTimestamp(dst, text []byte) ([]byte, bool) {
	micros, zone, ok := readTimestamp(text)
	if !ok {
		return appendInfinite(dst, text)
	}
	if len(zone) > 0 {
		_, ok = z.offset(zone)
	}
	return binary.BigEndian.AppendUint64(dst, uint64(micros)), ok
}

func (z *zones) appendTimestamptz(dst, text []byte) ([]byte, bool) {
	micros, zone, ok := readTimestamp(text)
	if !ok {
		return appendInfinite(dst, text)
	}
	var east int64
	if len(zone) == 0 {
		ok = z.utc
	} else {
		east, ok = z.offset(zone)
	}
	return binary.BigEndian.AppendUint64(dst, uint64(micros-east)), ok
}

func appendInfinite(dst, text []byte) ([]byte, bool) {
	sign := infinite(text)
	return binary.BigEndian.AppendUint64(dst, uint64(sign*infinity8+(sign-1)/2)), sign != 0
}
