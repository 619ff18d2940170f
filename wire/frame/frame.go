// Package frame reads protocol v3 messages as raw frames: one type byte, a
// four-byte length that counts itself, and a body that nobody has to look at.
// It decodes nothing and allocates nothing per message; a length is checked
// before it is used.
package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// HeaderLen is the size of a message header: type byte and length word.
const HeaderLen = 5

// ErrLength says that a header's length word is below 4 or above MaxBody: the
// stream cannot be followed any further.
var ErrLength = errors.New("invalid message length")

// MaxBody is the largest body that PostgreSQL accepts: PQ_LARGE_MESSAGE_LIMIT
// in src/include/libpq/libpq.h is MaxAllocSize - 1, one byte below 1 GiB.
const MaxBody = 1<<30 - 2

// Head parses the header at the start of p, which holds HeaderLen bytes or
// more, and returns the type and the length of the body.
func Head(p []byte) (typ byte, body int, err error) {
	n := binary.BigEndian.Uint32(p[1:5])
	if n < 4 || n-4 > MaxBody {
		return p[0], 0, ErrLength
	}
	return p[0], int(n - 4), nil
}

// AppendHead appends a header for a body of n bytes.
func AppendHead(dst []byte, typ byte, n int) []byte {
	dst = append(dst, typ)
	return binary.BigEndian.AppendUint32(dst, uint32(n+4))
}

// SetLen writes the length word of the frame that p is, header and all.
func SetLen(p []byte) { binary.BigEndian.PutUint32(p[1:5], uint32(len(p)-1)) }

// Append appends a whole frame.
func Append(dst []byte, typ byte, body []byte) []byte {
	return append(AppendHead(dst, typ, len(body)), body...)
}

// AppendString appends a frame whose body is one zero-terminated string.
func AppendString(dst []byte, typ byte, s string) []byte {
	dst = AppendHead(dst, typ, len(s)+1)
	dst = append(dst, s...)
	return append(dst, 0)
}

// CString splits a zero-terminated string off the front of p.
func CString(p []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(p, 0)
	if i < 0 {
		return nil, nil, false
	}
	return p[:i], p[i+1:], true
}

// Reader is a window of buffered bytes over a connection. Its owner walks the
// frames in Buffered, and calls Fill when it needs more. It is not safe for
// concurrent use.
type Reader struct {
	src  io.Reader
	pool *Pool
	buf  []byte
	r, w int
	full int
}

// The buffer starts small, since most sessions are idle most of the time, and
// grows when reads keep filling it, so that a COPY moves in few system calls.
const (
	minBuffer = 8 << 10
	maxBuffer = 256 << 10
)

// NewReader returns a Reader over src that first yields the bytes of initial.
func NewReader(src io.Reader, initial []byte) *Reader {
	r := &Reader{src: src}
	if len(initial) > 0 {
		r.buf = make([]byte, max(minBuffer, len(initial)))
		r.w = copy(r.buf, initial)
	}
	return r
}

// SetPool makes pool where buffers come from, and go to.
func (r *Reader) SetPool(pool *Pool) { r.pool = pool }

// SetSource makes src what Fill reads from.
func (r *Reader) SetSource(src io.Reader) { r.src = src }

// Buffered returns the bytes read and not yet discarded. The slice is valid
// until the next Fill.
func (r *Reader) Buffered() []byte { return r.buf[r.r:r.w] }

// Discard drops the first n buffered bytes.
func (r *Reader) Discard(n int) { r.r += n }

// Fill reads once from the connection and appends to the buffer. It makes room
// by moving the unread bytes to the front, and grows the buffer if it is full.
func (r *Reader) Fill() error {
	n, err := r.src.Read(r.Room())
	r.Took(n)
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Room returns the free part of the buffer, which is never empty, for a caller
// that reads by itself. It is Fill's first half, Took the second.
func (r *Reader) Room() []byte {
	if r.r == r.w {
		r.r, r.w = 0, 0
		if len(r.buf) > maxBuffer { // it held one long frame, or run of them
			r.pool.put(r.buf)
			r.buf = nil
		}
		if r.buf == nil {
			r.buf = r.pool.least()
		}
	}
	r.grow()
	if r.r > 0 && len(r.buf)-r.w < len(r.buf)/4 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	return r.buf[r.w:]
}

// Rest gives a buffer that is empty, and of the least size, to the next Reader that
// needs one. What Buffered has returned before must not be used any more.
func (r *Reader) Rest() {
	if r.r == r.w && len(r.buf) == minBuffer && r.pool != nil {
		r.pool.small.Put((*[minBuffer]byte)(r.buf))
		r.r, r.w, r.buf = 0, 0, nil
	}
}

// Took says that n bytes were read into what Room returned.
func (r *Reader) Took(n int) {
	if r.w+n == len(r.buf) {
		r.full++
	} else {
		r.full = 0
	}
	r.w += n
}

// grow doubles the buffer when it is full of unread bytes, or after two reads
// in a row that filled it.
func (r *Reader) grow() {
	unread := r.w - r.r
	if unread < len(r.buf) && (r.full < 2 || len(r.buf) >= maxBuffer) {
		return
	}
	bigger := r.pool.get(len(r.buf) * 2)
	r.w = copy(bigger, r.buf[r.r:r.w])
	r.r, r.full = 0, 0
	r.buf = bigger
}

// Need fills until n bytes are buffered. The caller bounds n.
func (r *Reader) Need(n int) error {
	if n > maxBuffer && n > len(r.buf) {
		whole := r.pool.get(max(n, 2*len(r.buf))) // the caller may want more soon
		r.w = copy(whole, r.buf[r.r:r.w])
		r.r, r.full, r.buf = 0, 0, whole
	}
	for r.w-r.r < n {
		if err := r.Fill(); err != nil {
			if errors.Is(err, io.EOF) && r.w > r.r {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
