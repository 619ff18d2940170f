package rows

import (
	"bytes"
	"encoding/binary"
)

// Column says which value of each row is wanted, and how it is written.
type Column struct {
	Options
	// Delimiter and Null are those of text and csv.
	Delimiter byte
	Null      string
	// At is the column, counted from 0.
	At int
}

// Values calls take with what each row of complete data has in the column, in
// order: nil is NULL, and the bytes are valid until take returns. Of binary data
// they are as they stand there.
//
// ErrIrregular says that only the server can tell, or would refuse the data; take
// may have been called by then. Where the server takes the data of which Values
// returns nil, it has read the same values.
func (c *Column) Values(data []byte, take func(value []byte) error) error {
	return c.Rows(data, func([]byte) error { return nil }, func(value, _ []byte) error { return take(value) })
}

// Rows is Values that gives the bytes of each row, too, with the end of its line, and
// those of what comes before the rows to head: header lines, one by one, or the header
// of binary data.
func (c *Column) Rows(data []byte, head func(line []byte) error, take func(value, row []byte) error) error {
	r := &columnReader{Column: c, p: data, head: head, take: take}
	switch {
	case c.At < 0:
		return ErrIrregular
	case c.Format == "binary":
		return r.binary()
	case c.Delimiter == 0 || c.Delimiter >= 0x80 || bytes.ContainsAny([]byte{c.Delimiter}, "\\\r\n"):
		return ErrIrregular
	case c.Format == "text":
		return r.lines(r.textLine)
	case c.Format == "csv":
		if r.quote = c.Quote; r.quote == 0 {
			r.quote = '"'
		}
		if r.escape = c.Escape; r.escape == 0 {
			r.escape = r.quote
		}
		return r.lines(r.csvLine)
	}
	return ErrIrregular
}

// columnReader reads one column of p.
type columnReader struct {
	*Column
	p             []byte
	i             int // where it stands
	quote, escape byte
	eol           eolKind
	value         []byte // of the line at hand, in buf where it is not in p
	found         bool
	buf           []byte
	head          func([]byte) error
	take          func(value, row []byte) error
}

// lines reads text and csv, whose lines line reads up to the end of each.
func (r *columnReader) lines(line func() bool) error {
	for n := 0; r.i < len(r.p); n++ {
		if bytes.HasPrefix(r.p[r.i:], []byte(`\.`)) {
			if r.Format == "text" && r.isMarker() {
				return nil
			}
			return ErrIrregular
		}
		r.value, r.found = nil, false
		start := r.i
		if !line() {
			return ErrIrregular
		}
		if n < r.HeaderLines {
			if err := r.head(r.p[start:r.i]); err != nil {
				return err
			}
			continue
		}
		if !r.found {
			return ErrIrregular
		}
		if err := r.take(r.value, r.p[start:r.i]); err != nil {
			return err
		}
	}
	return nil
}

// isMarker says whether the line that begins with `\.` ends the data for sure.
func (r *columnReader) isMarker() bool {
	r.i += 2
	return r.i < len(r.p) && r.endLine()
}

// endLine goes behind the \n or \r\n that it stands at, if all lines end so.
func (r *columnReader) endLine() bool {
	eol := eolLF
	switch {
	case bytes.HasPrefix(r.p[r.i:], []byte("\r\n")):
		eol = eolCRLF
		r.i++
	case r.p[r.i] != '\n':
		return false
	}
	r.i++
	ok := r.eol == eolUnknown || r.eol == eol
	r.eol = eol
	return ok
}

// textLine reads a line of text format.
func (r *columnReader) textLine() bool {
	field, start := 0, r.i
	for ; r.i < len(r.p); r.i++ {
		switch b := r.p[r.i]; b {
		case r.Delimiter:
			if !r.endText(field, start) {
				return false
			}
			field, start = field+1, r.i+1
		case '\\':
			if r.i++; r.i == len(r.p) || r.p[r.i] == '.' {
				return false
			}
		case '\n', '\r':
			return r.endText(field, start) && r.endLine()
		}
	}
	return r.endText(field, start)
}

// endText takes a field from start on, if it is the wanted one.
func (r *columnReader) endText(field, start int) bool {
	if field != r.At {
		return true
	}
	raw := r.p[start:r.i]
	r.found = true
	switch {
	case string(raw) == r.Null:
		return true
	case bytes.IndexByte(raw, '\\') < 0:
		r.value = raw[:len(raw):len(raw)]
		return true
	}
	return r.unescape(raw)
}

// textEscapes are the letters that stand for another byte behind a backslash.
var textEscapes = map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// unescape makes the value of a field of text. A byte by its number that is no
// ASCII character is in the server's encoding, not in the client's.
func (r *columnReader) unescape(raw []byte) bool {
	out := r.buf[:0]
	for i := 0; i < len(raw); i++ {
		b := raw[i]
		if b != '\\' {
			out = append(out, b)
			continue
		}
		i++
		b = raw[i]
		n, digits := 0, 0
		switch {
		case b >= '0' && b <= '7':
			n, digits = number(raw[i:], 3, 8)
			i += digits - 1
		case b == 'x':
			n, digits = number(raw[i+1:], 2, 16)
			i += digits
		case textEscapes[b] != 0:
			b = textEscapes[b]
		}
		if digits > 0 {
			if n &= 0xff; n >= 0x80 {
				return false
			}
			b = byte(n)
		}
		out = append(out, b)
	}
	r.buf, r.value = out, out[:len(out):len(out)]
	return true
}

// number reads so many digits at most.
func number(p []byte, most, base int) (n, digits int) {
	for digits < len(p) && digits < most {
		d := 99
		switch b := p[digits]; {
		case b >= '0' && b <= '9':
			d = int(b - '0')
		case b|0x20 >= 'a' && b|0x20 <= 'f':
			d = int(b|0x20-'a') + 10
		}
		if d >= base {
			break
		}
		n, digits = n*base+d, digits+1
	}
	return n, digits
}

// csvLine reads a line of csv, with the line ends within its quotes.
func (r *columnReader) csvLine() bool {
	field, quoted, inside := 0, false, false
	r.buf = r.buf[:0]
	for ; r.i < len(r.p); r.i++ {
		b := r.p[r.i]
		switch {
		case inside && b == r.escape && r.i+1 < len(r.p) && (r.p[r.i+1] == r.escape || r.p[r.i+1] == r.quote):
			r.i++
			b = r.p[r.i]
		case inside && b == r.quote:
			inside = false
			continue
		case inside:
		case b == r.quote:
			quoted, inside = true, true
			continue
		case b == r.Delimiter:
			r.endCSV(field, quoted)
			field, quoted = field+1, false
			continue
		case b == '\n' || b == '\r':
			r.endCSV(field, quoted)
			return r.endLine()
		}
		if field == r.At {
			r.buf = append(r.buf, b)
		}
	}
	r.endCSV(field, quoted)
	return !inside
}

// endCSV takes the field in buf, if it is the wanted one.
func (r *columnReader) endCSV(field int, quoted bool) {
	if field != r.At {
		return
	}
	r.found = true
	if quoted || string(r.buf) != r.Null {
		r.value = append(r.buf, 0)[:len(r.buf):len(r.buf)] // never nil
	}
}

// binary reads binary format. The trailer may be missing.
func (r *columnReader) binary() error {
	if len(r.p) < headerLen || string(r.p[:len(signature)]) != signature || binary.BigEndian.Uint32(r.p[len(signature):]) != 0 {
		return ErrIrregular
	}
	extension := binary.BigEndian.Uint32(r.p[len(signature)+4:])
	if uint64(extension) > uint64(len(r.p)-headerLen) {
		return ErrIrregular
	}
	if err := r.head(r.p[:headerLen+int(extension)]); err != nil {
		return err
	}
	r.p = r.p[headerLen+int(extension):]
	for len(r.p) > 0 {
		row := r.p
		if len(r.p) < 2 {
			return ErrIrregular
		}
		n := int(int16(binary.BigEndian.Uint16(r.p)))
		r.p = r.p[2:]
		switch {
		case n == -1 && len(r.p) == 0:
			return nil
		case n <= r.At || r.Columns > 0 && n != r.Columns || !r.tuple(n):
			return ErrIrregular
		}
		if err := r.take(r.value, row[:len(row)-len(r.p)]); err != nil {
			return err
		}
	}
	return nil
}

// tuple reads the fields of a tuple.
func (r *columnReader) tuple(n int) bool {
	for field := range n {
		if len(r.p) < 4 {
			return false
		}
		size := int(int32(binary.BigEndian.Uint32(r.p)))
		r.p = r.p[4:]
		if size < -1 || size > len(r.p) {
			return false
		}
		if size == -1 {
			if field == r.At {
				r.value = nil
			}
			continue
		}
		if field == r.At {
			r.value = r.p[:size:size]
		}
		r.p = r.p[size:]
	}
	return true
}
