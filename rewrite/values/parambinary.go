package values

import (
	"encoding/binary"
	encodinghex "encoding/hex"
	"strconv"
)

// The types that only parameters have rules for, by oid.
const (
	oidBytea        = 17
	oidTextArray    = 1009
	oidVarcharArray = 1015
	oidName         = 19
	oidCIDR         = 650
	oidUnknown      = 705
	oidMacaddr8     = 774
	oidMacaddr      = 829
	oidInet         = 869
	oidDate         = 1082
	oidUUID         = 2950
	oidJSONB        = 3802
)

// readers make text of binary formats. Each refuses what the type's receive
// function refuses, or writes a text that its input function refuses.
var readers = map[uint32]converter{
	oidBool: readBool, oidInt2: readInt2, oidInt4: readInt4, oidInt8: readInt8, oidOID: readOID,
	oidFloat4: readFloat4, oidFloat8: readFloat8, oidNumeric: readNumeric,
	oidText: nil, oidVarchar: nil, oidBPChar: nil, oidJSON: nil, // the bytes are the text
	oidName: readName, oidJSONB: readJSONB, oidBytea: readBytea, oidUUID: readUUID,
	oidDate: readDate, oidTime: readTime, oidTimestamp: readTimestamp, oidTimestamptz: readTimestamptz, oidInterval: readInterval,
	oidInet: readInet, oidCIDR: readInet, oidMacaddr: readMacaddr, oidMacaddr8: readMacaddr,
}

// reader returns the converter for the binary format of type oid, which is that
// of the column unless there is an assignment. It reports false where the type
// may have no such format, in which then not even NULL can be sent.
func reader(oid uint32, col *Column) (read converter, ok bool) {
	if read, ok := readers[oid]; ok {
		return read, true
	}
	if element, ok := elements[oid]; ok {
		return arrayReader(element), true
	}
	switch {
	case oid != col.Base:
		return nil, false
	case col.Category == "E":
		return nil, true
	}
	return unread, col.Category == "A" || col.Category == "C" || col.Category == "R"
}

func readBool(dst, data []byte) ([]byte, bool) {
	switch {
	case len(data) != 1:
		return dst, false
	case data[0] == 0:
		return append(dst, 'f'), true
	}
	return append(dst, 't'), true
}

// readName: a name that is too long is cut in text and refused in binary.
func readName(dst, data []byte) ([]byte, bool) {
	if len(data) > 63 {
		return dst, false
	}
	for _, c := range data {
		if c >= 0x80 {
			return dst, false // may be longer in the server's encoding
		}
	}
	return append(dst, data...), true
}

func readJSONB(dst, data []byte) ([]byte, bool) {
	if len(data) == 0 || data[0] != 1 {
		return dst, false // another version
	}
	return append(dst, data[1:]...), true
}

func readBytea(dst, data []byte) ([]byte, bool) {
	return encodinghex.AppendEncode(append(dst, '\\', 'x'), data), true
}

func readUUID(dst, data []byte) ([]byte, bool) {
	if len(data) != 16 {
		return dst, false
	}
	return encodinghex.AppendEncode(dst, data), true
}

func readMacaddr(dst, data []byte) ([]byte, bool) {
	if len(data) != 6 && len(data) != 8 {
		return dst, false
	}
	return encodinghex.AppendEncode(dst, data), true
}

// readInet: the family, the bits of the network, a byte that the server
// ignores, the length, the address.
func readInet(dst, data []byte) ([]byte, bool) {
	const v4, v6 = 2, 3
	if len(data) < 4 || len(data) != 4+int(data[3]) {
		return dst, false
	}
	address := data[4:]
	switch {
	case data[0] == v4 && len(address) == 4:
		for i, c := range address {
			if i > 0 {
				dst = append(dst, '.')
			}
			dst = strconv.AppendUint(dst, uint64(c), 10)
		}
	case data[0] == v6 && len(address) == 16:
		for i := 0; i < len(address); i += 2 {
			if i > 0 {
				dst = append(dst, ':')
			}
			dst = strconv.AppendUint(dst, uint64(binary.BigEndian.Uint16(address[i:])), 16)
		}
	default:
		return dst, false
	}
	return strconv.AppendUint(append(dst, '/'), uint64(data[1]), 10), true
}
