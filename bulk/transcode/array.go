package transcode

import (
	"bytes"
	"encoding/binary"
)

// maxDimensions is a server's bound.
const maxDimensions = 6

// array writes arrays of one type.
type array struct {
	element column
	oid     uint32
	nulls   bool
	valid   func([]byte) bool
	scratch []byte
}

func newArray(element *Column, oid uint32, s *Settings) (writer, bool) {
	if elements[element.Base] != 0 || element.Element != nil || oid == 0 {
		return nil, false
	}
	write, ok := writerOf(element, s)
	if !ok {
		return nil, false
	}
	a := &array{element: column{write: write}, oid: oid, nulls: s.ArrayNulls, valid: s.valid()}
	return a.append, true
}

// append reads braces, commas and elements. Bounds, empty arrays within others
// and whatever else is unusual are left to the server.
func (a *array) append(dst, text []byte) ([]byte, bool) {
	if string(text) == "{}" {
		dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
		return binary.BigEndian.AppendUint32(dst, a.oid), true
	}
	depth := 0
	for depth < len(text) && text[depth] == '{' {
		depth++
	}
	if depth == 0 || depth > maxDimensions {
		return dst, false
	}
	head := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(depth))
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, a.oid)
	for range depth {
		dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 1)
	}
	r := arrayReader{array: a, text: text[depth:], depth: depth, level: depth}
	dst, ok := r.read(dst)
	if r.null {
		dst[head+7] = 1
	}
	for i := range depth {
		binary.BigEndian.PutUint32(dst[head+12+8*i:], r.sizes[i])
	}
	return dst, ok
}

// arrayReader is the place in one array: behind the braces that begin it.
type arrayReader struct {
	*array
	text         []byte
	depth, level int
	// sizes are those of the dimensions, as their first arrays have; counts those
	// of the arrays at hand.
	sizes, counts [maxDimensions]uint32
	null          bool
}

// read reads elements and braces up to the end.
func (r *arrayReader) read(dst []byte) ([]byte, bool) {
	for {
		if r.level < r.depth {
			if len(r.text) == 0 || r.text[0] != '{' {
				return dst, false
			}
			r.text = r.text[1:]
			r.level++
			continue
		}
		var ok bool
		if dst, ok = r.value(dst); !ok {
			return dst, false
		}
		r.counts[r.level-1]++
		for more := false; !more; {
			if len(r.text) == 0 {
				return dst, false
			}
			c := r.text[0]
			r.text = r.text[1:]
			switch c {
			case ',':
				more = true
			case '}':
				if !r.close() {
					return dst, false
				}
				if r.level == 0 {
					return dst, len(r.text) == 0
				}
			default:
				return dst, false
			}
		}
	}
}

// close ends an array within another, which has to be as long as the others.
func (r *arrayReader) close() bool {
	r.level--
	i := r.level
	if r.sizes[i] == 0 {
		r.sizes[i] = r.counts[i]
	}
	same := r.sizes[i] == r.counts[i]
	r.counts[i] = 0
	if i > 0 {
		r.counts[i-1]++
	}
	return same
}

// value reads one element, with the white space around it.
func (r *arrayReader) value(dst []byte) ([]byte, bool) {
	p := r.text
	for len(p) > 0 && isSpace(p[0]) {
		p = p[1:]
	}
	if len(p) > 0 && p[0] == '"' {
		return r.quoted(dst, p[1:])
	}
	end := 0
	for ; end < len(p) && p[end] != ',' && p[end] != '}'; end++ {
		if p[end] == '{' || p[end] == '"' || p[end] == '\\' {
			return dst, false
		}
	}
	value := p[:end]
	r.text = p[end:]
	for len(value) > 0 && isSpace(value[len(value)-1]) {
		value = value[:len(value)-1]
	}
	if fold(value, "null") {
		r.null = true
		return appendNull(dst), r.nulls
	}
	if len(value) == 0 {
		return dst, false
	}
	return r.element.append(dst, value)
}

// quoted reads an element behind its first quote.
func (r *arrayReader) quoted(dst, p []byte) ([]byte, bool) {
	end := bytes.IndexByte(p, '"')
	if end < 0 {
		return dst, false
	}
	value := p[:end]
	if bytes.IndexByte(value, '\\') >= 0 {
		r.scratch = r.scratch[:0]
		for end = 0; end < len(p) && p[end] != '"'; end++ {
			if p[end] == '\\' {
				if end++; end == len(p) {
					return dst, false
				}
			}
			r.scratch = append(r.scratch, p[end])
		}
		if end == len(p) || !r.valid(p[:end]) {
			return dst, false
		}
		value = r.scratch
	}
	r.text = p[end+1:]
	for len(r.text) > 0 && isSpace(r.text[0]) {
		r.text = r.text[1:]
	}
	return r.element.append(dst, value)
}
