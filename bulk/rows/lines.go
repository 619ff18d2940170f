package rows

import (
	"bytes"
	"math/bits"
)

// eolKind is the line end of the data; the first one fixes it.
type eolKind uint8

const (
	eolUnknown eolKind = iota
	eolLF
	eolCR
	eolCRLF
)

// markState is how much of an end-of-copy marker was seen at a line's start.
type markState uint8

const (
	markNone  markState = iota
	markSlash           // csv: a backslash; text keeps it as an open escape
	markDot             // `\.`: a line end must follow
	markDotCR           // `\.` and \r where line ends are \r\n
)

// blockSize is the number of bytes that fit one bit mask.
const blockSize = 64

// pieceSize is how far the scanner looks for specials at once. Large enough
// that the searches run at their full speed, small enough that one special
// byte takes the fast way from few others.
const pieceSize = 4096

// needs says which bytes a piece holds that its blocks must look for.
type needs struct{ cr, escape, slash bool }

// lines is what text and csv share: line ends, marker, positions.
//
//	state       event              next
//	unknown     \n                 LF, line ends
//	unknown     \r                 cr pending
//	cr pending  \n                 CRLF, line ends
//	cr pending  other              CR, line ended before it (irregular if CRLF)
//	LF          \n                 line ends
//	CR          \r                 line ends
//	CRLF        \r                 cr pending
//	LF          \r                 irregular
//	CR, CRLF    \n                 irregular
type lines struct {
	eol    eolKind
	mark   markState
	cr     bool // a \r whose meaning the next byte decides
	done   bool
	bad    bool
	header int      // header lines still to come
	start  int64    // offset in the data at which the current line starts
	base   int64    // offset in the data of the current chunk
	pos    Position // at start
	at     Position // at the last reported cut
	quoted int64    // line ends inside quotes since start
}

// steady says that blocks may be counted by masks.
func (l *lines) steady() bool {
	return l.eol != eolUnknown && l.header == 0 && l.mark == markNone
}

// endLine ends the current line just before offset next.
func (l *lines) endLine(next int64) {
	l.start = next
	l.pos.Lines += 1 + l.quoted
	l.quoted = 0
	if l.header > 0 {
		l.header--
		return
	}
	l.pos.Rows++
}

// lineEnd takes an unescaped, unquoted \r or \n at offset at; false if it is
// not the line end of this data.
func (l *lines) lineEnd(c byte, at int64) bool {
	switch {
	case c == '\n' && (l.eol == eolUnknown || l.eol == eolLF):
		l.eol = eolLF
		l.endLine(at + 1)
	case c == '\r' && l.eol == eolCR:
		l.endLine(at + 1)
	case c == '\r' && (l.eol == eolUnknown || l.eol == eolCRLF):
		l.cr = true
	default:
		return false
	}
	return true
}

// afterCR settles a pending \r by the byte c at offset at; false if irregular.
// Only a \n belongs to the line end, any other byte is still to be taken.
func (l *lines) afterCR(c byte, at int64) bool {
	l.cr = false
	if c == '\n' {
		l.eol = eolCRLF
		l.endLine(at + 1)
		return true
	}
	if l.eol == eolCRLF {
		return false
	}
	l.eol = eolCR
	l.endLine(at)
	return true
}

// endMark takes the byte after `\.`; false if that isn't a marker's line end.
func (l *lines) endMark(c byte) bool {
	switch {
	case l.mark == markDot && l.eol == eolCRLF:
		l.mark = markDotCR
		return c == '\r'
	case l.mark == markDotCR:
		l.done = c == '\n'
	case c == '\n':
		l.done = l.eol != eolCR
	case c == '\r':
		// With the line end unknown a \n may follow; the server ignores it,
		// like all that comes behind the marker.
		l.done = l.eol != eolLF
	}
	return l.done
}

// ends turns the unescaped, unquoted \n and \r of a block of n bytes into the
// mask of last bytes of line ends and the pending \r behind the block. Not ok
// where they are mixed.
func (l *lines) ends(lf, cr uint64, n int) (ends uint64, pending, ok bool) {
	switch l.eol {
	case eolLF:
		return lf, false, cr == 0
	case eolCR:
		return cr, false, lf == 0
	}
	want := cr << 1
	if l.cr {
		want |= 1
	}
	want &= ^uint64(0) >> (blockSize - uint(n))
	return lf, cr>>(uint(n)-1)&1 != 0, lf == want
}

// count takes bytes of which only line ends are special; false, and nothing is
// changed, if they are not all of the right kind or one is cut.
func (l *lines) count(p []byte, at int64) bool {
	var n int
	last := byte('\n')
	switch {
	case l.cr:
		return false
	case l.eol == eolLF:
		if bytes.IndexByte(p, '\r') >= 0 {
			return false
		}
		n = bytes.Count(p, []byte{'\n'})
	case l.eol == eolCR:
		if bytes.IndexByte(p, '\n') >= 0 {
			return false
		}
		last = '\r'
		n = bytes.Count(p, []byte{'\r'})
	default:
		n = bytes.Count(p, []byte{'\n'})
		if bytes.Count(p, []byte{'\r'}) != n || bytes.Count(p, []byte{'\r', '\n'}) != n {
			return false
		}
	}
	if n > 0 {
		l.pos.Rows += int64(n)
		l.pos.Lines += int64(n) + l.quoted
		l.quoted = 0
		l.start = at + int64(bytes.LastIndexByte(p, last)) + 1
	}
	return true
}

// addRows counts the line ends and the quoted line ends of a block at offset at.
func (l *lines) addRows(ends, quoted uint64, at int64) {
	if ends != 0 {
		k := int64(bits.OnesCount64(ends))
		top := bits.Len64(ends)
		before := quoted & (^uint64(0) >> uint(blockSize-top))
		l.pos.Rows += k
		l.pos.Lines += k + l.quoted + int64(bits.OnesCount64(before))
		l.quoted = 0
		quoted ^= before
		l.start = at + int64(top)
	}
	l.quoted += int64(bits.OnesCount64(quoted))
}

// irregular makes this and all later calls return ErrIrregular.
func (l *lines) irregular() (Result, error) {
	l.bad = true
	return Result{}, ErrIrregular
}

// result closes a chunk of n bytes.
func (l *lines) result(n int) Result {
	r := Result{Done: l.done}
	switch cut := l.start - l.base; {
	case l.done:
		r.Cut, r.Back = int(max(cut, 0)), int(max(-cut, 0))
		l.at = l.pos
	case cut > 0 && l.pos.Rows > 0:
		r.Cut = int(cut)
		l.at = l.pos
	}
	r.At = l.at
	l.base += int64(n)
	return r
}

// end counts the last line where it has no line end.
func (l *lines) end() (Position, error) {
	if l.cr && l.eol == eolCRLF {
		l.bad = true
	}
	if l.bad {
		return Position{}, ErrIrregular
	}
	if l.done {
		return l.pos, nil
	}
	if l.cr {
		l.cr, l.eol = false, eolCR
	}
	if l.start < l.base {
		l.endLine(l.base)
	}
	return l.pos, nil
}
