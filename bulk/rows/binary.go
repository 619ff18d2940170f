package rows

import "encoding/binary"

const (
	signature = "PGCOPY\n\xff\r\n\x00"
	// headerLen is the signature, the flags and the length of the extension.
	headerLen = len(signature) + 4 + 4
	// maxExtension bounds a header that no known writer makes at all.
	maxExtension = 1 << 20
	// maxField is the server's limit for one value (MaxAllocSize).
	maxField = 1<<30 - 1
	// maxColumns is the most that a tuple's count can say.
	maxColumns = 1<<15 - 1
)

// binaryState says what the next bytes are. A state that reads a number waits
// in scratch for its bytes.
//
//	header → extension → count → length → value → length … → count
//	                     count -1 → trailer
type binaryState uint8

const (
	inHeader binaryState = iota
	inExtension
	inCount
	inLength
	inValue
	inTrailer
)

// binaryScanner scans binary format by hopping from length to length.
type binaryScanner struct {
	state   binaryState
	bad     bool
	have    int             // bytes in scratch
	scratch [headerLen]byte // a number or header cut by a chunk's end
	columns int
	fields  int   // still to come in this tuple
	left    int   // bytes of the extension or value still to come
	start   int64 // offset in the data just behind the last tuple or the header
	base    int64 // offset in the data of the current chunk
	rows    int64 // at start
}

// Scan implements Scanner.
func (s *binaryScanner) Scan(p []byte) (Result, error) {
	if s.bad || s.state == inTrailer && len(p) > 0 {
		return s.irregular()
	}
	if s.state == inTrailer {
		return Result{At: s.position(), Done: true}, nil
	}
	i, skip := s.skipHeader(p)
	if !s.tuples(p, i) {
		return s.irregular()
	}
	r := Result{Skip: skip, At: s.position(), Done: s.state == inTrailer}
	switch cut := s.start - s.base; {
	case cut > int64(skip):
		r.Cut = int(cut)
	case s.state == inTrailer && cut < 0:
		r.Back = int(-cut)
	default:
		r.Cut = skip
	}
	s.base += int64(len(p))
	return r, nil
}

// End implements Scanner.
func (s *binaryScanner) End() (Position, error) {
	whole := s.state == inTrailer || s.state == inCount && s.have == 0
	if s.bad || !whole {
		s.bad = true
		return Position{}, ErrIrregular
	}
	return s.position(), nil
}

func (s *binaryScanner) position() Position { return Position{Rows: s.rows, Lines: s.rows} }

func (s *binaryScanner) irregular() (Result, error) {
	s.bad = true
	return Result{}, ErrIrregular
}

// gather returns the next n bytes from p[i:], together with those that waited,
// and the offset behind them; nil where they are not complete.
func (s *binaryScanner) gather(p []byte, i, n int) ([]byte, int) {
	if s.have == 0 && len(p)-i >= n {
		return p[i : i+n], i + n
	}
	k := copy(s.scratch[s.have:n], p[i:])
	s.have += k
	if s.have < n {
		return nil, i + k
	}
	s.have = 0
	return s.scratch[:n], i + k
}

// skipHeader takes what p holds of the file header. Both results are the offset
// behind it, but the second is 0 where the header ended in an earlier chunk.
func (s *binaryScanner) skipHeader(p []byte) (i, skip int) {
	if s.state > inExtension {
		return 0, 0
	}
	if s.state == inHeader {
		var b []byte
		if b, i = s.gather(p, 0, headerLen); b == nil {
			return i, i
		}
		flags := binary.BigEndian.Uint32(b[len(signature):])
		ext := binary.BigEndian.Uint32(b[len(signature)+4:])
		if string(b[:len(signature)]) != signature || flags != 0 || ext > maxExtension {
			s.bad = true
			return i, i
		}
		s.state, s.left = inExtension, int(ext)
	}
	k := min(s.left, len(p)-i)
	s.left -= k
	i += k
	s.start = s.base + int64(i)
	if s.left == 0 {
		s.state = inCount
	}
	return i, i
}

// tuples takes p[i:], which lies behind the header; false if irregular.
func (s *binaryScanner) tuples(p []byte, i int) bool {
	for i < len(p) && !s.bad {
		switch s.state {
		case inCount:
			b, next := s.gather(p, i, 2)
			i = next
			if b != nil && !s.count(int16(binary.BigEndian.Uint16(b)), i) {
				return false
			}
		case inLength:
			if s.have == 0 {
				if i = s.values(p, i); s.state != inLength || i == len(p) {
					continue
				}
			}
			b, next := s.gather(p, i, 4)
			i = next
			if b != nil && !s.length(int32(binary.BigEndian.Uint32(b)), i) {
				return false
			}
		case inValue:
			k := min(s.left, len(p)-i)
			s.left -= k
			i += k
			if s.left == 0 {
				s.endField(i)
			}
		case inTrailer:
			return false
		}
	}
	return !s.bad
}

// values takes the fields of the current tuple that lie wholly in p[i:] and
// look right; the others are left for the slower way.
func (s *binaryScanner) values(p []byte, i int) int {
	fields := s.fields
	for fields > 0 && len(p)-i >= 4 {
		n := int(int32(binary.BigEndian.Uint32(p[i:])))
		if n == -1 {
			n = 0
		}
		if n < 0 || n > maxField || n > len(p)-i-4 {
			break
		}
		i += 4 + n
		fields--
	}
	if s.fields = fields; fields == 0 {
		s.endTuple(i)
	}
	return i
}

// count takes a tuple's field count, which ends at offset i of the chunk.
func (s *binaryScanner) count(n int16, i int) bool {
	switch {
	case n == -1:
		s.state = inTrailer
	case n < 0 || s.columns > 0 && int(n) != s.columns:
		return false
	case n == 0:
		s.endTuple(i)
	default:
		s.state, s.fields = inLength, int(n)
	}
	return true
}

// length takes a field's length, which ends at offset i of the chunk.
func (s *binaryScanner) length(n int32, i int) bool {
	switch {
	case n == -1 || n == 0:
		s.endField(i)
	case n < 0 || n > maxField:
		return false
	default:
		s.state, s.left = inValue, int(n)
	}
	return true
}

// endField ends a field at offset i of the chunk.
func (s *binaryScanner) endField(i int) {
	s.state = inLength
	if s.fields--; s.fields == 0 {
		s.endTuple(i)
	}
}

// endTuple ends a tuple at offset i of the chunk.
func (s *binaryScanner) endTuple(i int) {
	s.state = inCount
	s.start = s.base + int64(i)
	s.rows++
}
