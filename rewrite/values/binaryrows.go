package values

import (
	"bytes"
	"encoding/binary"
)

// BinaryRows makes rows of COPY … FORMAT binary of the parameters of Bind
// messages. Both have the same form: a length, -1 for NULL, and the bytes that
// the receive function of the type reads. So most values go through as they are.
//
// It is for statements whose rows are $1, $2 and so on in this order, without
// casts. Like an Encoder it is for one statement and one goroutine.
type BinaryRows struct {
	columns []binaryColumn
	// formats are those of the last Bind that ways were chosen for.
	formats []byte
	ways    []fieldWay
	ready   bool
	// params and left are what was not read yet of the Bind at hand.
	params []byte
	left   int
}

// binaryColumn says how the values of a column go in each format.
type binaryColumn struct{ text, binary fieldWay }

// fieldWay is how a value becomes a field.
type fieldWay struct {
	known bool
	// write appends the field's bytes; nil where they are those of the value.
	write converter
}

// BinaryHead is what COPY … FORMAT binary begins with, and BinaryEnd its end.
const (
	BinaryHead = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	BinaryEnd  = "\xff\xff"
)

// NewBinaryRows returns what turns parameters into rows of these columns. oids
// are the types that Parse declares, in the parameters' order; zero, and what is
// missing at their end, is left to the server. It reports false where no value
// would surely be stored as natively.
func NewBinaryRows(columns []Column, oids []uint32) (*BinaryRows, bool) {
	width := len(columns)
	for i := width; i < len(oids); i++ {
		if oids[i] != oids[i-width] {
			return nil, false
		}
	}
	if n := len(oids); n > width && n%width != 0 && oids[n-1] != 0 {
		return nil, false // those that are missing are zero
	}
	b := &BinaryRows{columns: make([]binaryColumn, width), ways: make([]fieldWay, width)}
	for i := range columns {
		var oid uint32
		if i < len(oids) {
			oid = oids[i]
		}
		c := newBinaryColumn(&columns[i], oid)
		if !c.text.known && !c.binary.known {
			return nil, false
		}
		b.columns[i] = c
	}
	return b, true
}

func newBinaryColumn(col *Column, oid uint32) (c binaryColumn) {
	base := col.Base
	if oid == 0 || oid == oidUnknown {
		oid = base
	}
	if base == 0 || oid != base && !(isText(base) && (oid == oidText || oid == oidVarchar)) {
		return c
	}
	// Without a modifier Bind and COPY call the same receive function in the same
	// way. With one, COPY hands it over, and the INSERT applies it afterwards.
	c.binary.known = col.Typmod < 0 || receivesModifier(base)
	if !c.binary.known {
		return c
	}
	if c.text.write, c.text.known = textFields[base]; !c.text.known {
		// NULL has no format, but some types have no receive function.
		c.text.write = unread
		_, c.text.known = readers[base]
	}
	return c
}

func isText(base uint32) bool { return base == oidText || base == oidVarchar || base == oidBPChar }

// receivesModifier: these receive functions apply the modifier as the length
// coercion does.
func receivesModifier(base uint32) bool {
	switch base {
	case oidBPChar, oidVarchar, oidTime, oidTimestamp, oidTimestamptz, oidTimetz, oidInterval, oidBit, oidVarbit, oidNumeric:
		return true
	}
	return false
}

// choose sets the ways for a Bind's formats. params is how many there are.
func (b *BinaryRows) choose(formats []byte, params int) bool {
	if b.ready && bytes.Equal(formats, b.formats) {
		return true
	}
	b.ready = false
	width := len(b.columns)
	switch n := len(formats) / 2; {
	case n > 1 && n != params:
		return false
	case n > width && !bytes.Equal(formats[2*width:], formats[:2*(n-width)]):
		return false // other rows have other formats
	}
	for i := range b.columns {
		way := b.columns[i].text
		if n := len(formats); n > 0 {
			switch binary.BigEndian.Uint16(formats[min(2*i, n-2):]) {
			case 0:
			case 1:
				way = b.columns[i].binary
			default:
				return false
			}
		}
		b.ways[i] = way
	}
	b.formats, b.ready = append(b.formats[:0], formats...), true
	return true
}

// Bind takes the parameters of a Bind message: params is what stands in it behind
// the number of them, which is count, and formats are their format codes. It
// reports false where they are not those of whole rows in known formats.
func (b *BinaryRows) Bind(formats, params []byte, count int) bool {
	width := len(b.columns)
	b.params, b.left = params, count/width
	return count%width == 0 && b.choose(formats, count)
}

// Left returns how many rows of the Bind are still to come.
func (b *BinaryRows) Left() int { return b.left }

// Rest returns what stands in the message behind the last row that was appended,
// and forgets the message.
func (b *BinaryRows) Rest() []byte {
	rest := b.params
	b.params = nil
	return rest
}

// AppendRow appends the next row. False means that a value has no surely equal
// binary form, or that the message is not as it should be; dst is then of no
// more use. Values that go as they are, are copied together.
func (b *BinaryRows) AppendRow(dst []byte) (out []byte, ok bool) {
	params := b.params
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(b.ways)))
	at, copied := 0, 0
	for i := range b.ways {
		if len(params)-at < 4 {
			return dst, false
		}
		size := int(int32(binary.BigEndian.Uint32(params[at:])))
		value := at + 4
		if at = value; size > 0 {
			at += size
		}
		if size < -1 || at > len(params) {
			return dst, false
		}
		switch way := &b.ways[i]; {
		case !way.known:
			return dst, false
		case size < 0:
		case way.write != nil:
			dst = append(dst, params[copied:value]...)
			start := len(dst)
			if dst, ok = way.write(dst, params[value:at]); !ok {
				return dst, false
			}
			binary.BigEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
			copied = at
		}
	}
	b.params, b.left = params[at:], b.left-1
	return append(dst, params[copied:at]...), true
}
