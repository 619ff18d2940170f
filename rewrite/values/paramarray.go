package values

import (
	"bytes"
	"encoding/binary"
)

// elements has the type of the elements of each array that is read in binary.
var elements = map[uint32]uint32{
	1000: oidBool, 1005: oidInt2, 1007: oidInt4, 1016: oidInt8, 1028: oidOID, 1021: oidFloat4, 1022: oidFloat8, 1231: oidNumeric,
	oidTextArray: oidText, oidVarcharArray: oidVarchar, 1014: oidBPChar, 1001: oidBytea, oidJSONArray: oidJSON, 3807: oidJSONB, 2951: oidUUID,
	1182: oidDate, 1183: oidTime, 1115: oidTimestamp, 1185: oidTimestamptz, 1187: oidInterval,
	1041: oidInet, 651: oidCIDR, 1040: oidMacaddr, 775: oidMacaddr8,
}

// maxGrowth bounds how much longer than its binary form an array's text may be.
// That of a numeric can be a hundred times as long.
const maxGrowth = 16

// arrayReader returns the converter for arrays of one dimension that begins at
// 1. NULL elements are not taken: what NULL means in text is a setting.
func arrayReader(element uint32) converter {
	read := readers[element]
	return func(dst, data []byte) ([]byte, bool) {
		most := len(dst) + maxGrowth*len(data)
		count, data, ok := arrayHeader(data, element)
		if !ok {
			return dst, false
		}
		dst = append(dst, '{')
		for i := range count {
			if len(data) < 4 {
				return dst, false
			}
			n := int64(binary.BigEndian.Uint32(data))
			if data = data[4:]; n > int64(len(data)) {
				return dst, false // NULL is 2^32-1, more than a message has
			}
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, ok = appendElement(dst, data[:n], element, read); !ok || len(dst) > most {
				return dst, false
			}
			data = data[n:]
		}
		return append(dst, '}'), len(data) == 0
	}
}

// arrayHeader returns the number of elements and what follows the header.
func arrayHeader(data []byte, element uint32) (count uint32, rest []byte, ok bool) {
	if len(data) < 12 {
		return 0, nil, false
	}
	dimensions, flags := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
	if flags > 1 || binary.BigEndian.Uint32(data[8:]) != element {
		return 0, nil, false
	}
	switch rest = data[12:]; {
	case dimensions == 0:
		return 0, rest, true
	case dimensions > 1 || len(rest) < 8 || binary.BigEndian.Uint32(rest[4:]) != 1:
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(rest), rest[8:], true
}

// appendElement appends an element in quotes. Only text of the client's has
// anything to escape, and bytea its one backslash.
func appendElement(dst, data []byte, element uint32, read converter) ([]byte, bool) {
	switch {
	case read == nil:
		return appendQuoted(dst, data), true
	case element == oidJSONB:
		if len(data) == 0 || data[0] != 1 {
			return dst, false
		}
		return appendQuoted(dst, data[1:]), true
	case element == oidBytea:
		dst = append(dst, `"\`...)
	default:
		dst = append(dst, '"')
	}
	dst, ok := read(dst, data)
	return append(dst, '"'), ok
}

// appendQuoted appends an element as array_in reads it.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for {
		n := bytes.IndexAny(text, `"\\`)
		if n < 0 {
			dst = append(dst, text...)
			return append(dst, '"')
		}
		dst = append(append(dst, text[:n]...), '\\', text[n])
		text = text[n+1:]
	}
}
