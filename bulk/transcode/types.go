package transcode

// The types with rules of their own, by oid.
const (
	oidBool        = 16
	oidBytea       = 17
	oidName        = 19
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOID         = 26
	oidJSON        = 114
	oidCIDR        = 650
	oidFloat4      = 700
	oidFloat8      = 701
	oidMacaddr     = 829
	oidInet        = 869
	oidBPChar      = 1042
	oidVarchar     = 1043
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestamptz = 1184
	oidInterval    = 1186
	oidNumeric     = 1700
	oidUUID        = 2950
	oidJSONB       = 3802
)

// elements are those of the arrays of known types.
var elements = map[uint32]uint32{
	1000: oidBool, 1001: oidBytea, 1003: oidName, 1016: oidInt8, 1005: oidInt2, 1007: oidInt4, 1009: oidText, 1028: oidOID, 199: oidJSON,
	651: oidCIDR, 1021: oidFloat4, 1022: oidFloat8, 1040: oidMacaddr, 1041: oidInet, 1014: oidBPChar, 1015: oidVarchar, 1182: oidDate,
	1183: oidTime, 1115: oidTimestamp, 1185: oidTimestamptz, 1187: oidInterval, 1231: oidNumeric, 2951: oidUUID, 3807: oidJSONB,
}

// writers are those that depend on nothing else. The receive function of a
// string takes the bytes that its input function takes.
var writers = map[uint32]writer{
	oidText: nil, oidVarchar: nil, oidBPChar: nil, oidJSON: nil,
	oidName: appendName, oidJSONB: appendJSONB,
	oidBool: appendBool, oidInt2: appendInt2, oidInt4: appendInt4, oidInt8: appendInt8, oidOID: appendOID,
	oidFloat4: appendFloat4, oidFloat8: appendFloat8, oidNumeric: appendNumeric,
	oidUUID: appendUUID, oidDate: appendDate, oidTime: appendTime,
	oidInet: appendInet, oidCIDR: appendCIDR, oidMacaddr: appendMacaddr,
}

// writerOf returns the way of a column.
func writerOf(c *Column, s *Settings) (write writer, ok bool) {
	switch c.Base {
	case oidBytea:
		return byteaWriter(s), true
	case oidTimestamp:
		return zoneOf(s).appendTimestamp, true
	case oidTimestamptz:
		return zoneOf(s).appendTimestamptz, true
	case oidInterval:
		// The modifier of interval hour says what '1' means. In style sql_standard
		// a minus at the beginning is that of all fields.
		return appendInterval, c.Typmod < 0 && (s.IntervalStyle == "postgres" || s.IntervalStyle == "postgres_verbose" || s.IntervalStyle == "iso_8601")
	}
	if write, ok := writers[c.Base]; ok {
		return write, true
	}
	if c.Enum {
		return nil, true // the label
	}
	element, oid := c.Element, c.ElementOID
	if element == nil {
		if oid = elements[c.Base]; oid == 0 {
			return nil, false
		}
		element = &Column{Base: oid, Typmod: c.Typmod}
	}
	return newArray(element, oid, s)
}

// trim takes the white space away that C's isspace knows.
func trim(p []byte) []byte {
	for len(p) > 0 && isSpace(p[0]) {
		p = p[1:]
	}
	for len(p) > 0 && isSpace(p[len(p)-1]) {
		p = p[:len(p)-1]
	}
	return p
}

func isSpace(c byte) bool { return c == ' ' || c-'\t' < 5 }

// fold says whether p is word, which is in lower case, in any case.
func fold(p []byte, word string) bool {
	if len(p) != len(word) {
		return false
	}
	for i := range p {
		if lower(p[i]) != word[i] {
			return false
		}
	}
	return true
}

// lower is for letters alone.
func lower(c byte) byte {
	if c-'A' < 26 {
		c |= 0x20
	}
	return c
}
