package wire

import (
	"errors"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// errReplay ends receive when the statement goes to the server natively.
var errReplay = errors.New("replay natively")

// maxEnd bounds the frame that ends the data: a CopyFail may have 10000 bytes.
const maxEnd = 64 << 10

// receive takes the client's messages until the COPY data ends. It returns the
// frame that ended it, consumed from the buffer; in the holding phase that
// frame is left there and errReplay returned.
func (t *copyTask) receive(d rewrite.Decision) (bulk.Frame, error) {
	s := t.s
	for {
		data, used, other, bad := gather(s.cr.Buffered(), &s.clientSkip)
		s.cr.Discard(used) // data stays valid until the next fill
		if len(data) > 0 {
			if err := t.data(data, d); err != nil {
				return bulk.Frame{}, err
			}
		}
		if bad != nil {
			return t.unreadable(bad)
		}
		if !other {
			if err := t.fill(); err != nil {
				return bulk.Frame{}, err
			}
			continue
		}
		typ, n, err := frame.Head(s.cr.Buffered())
		switch {
		case err == nil && (typ == 'H' || typ == 'S'):
			// The server ignores both in copy-in mode.
			if err := s.dropFrame(); err != nil {
				return bulk.Frame{}, err
			}
			continue
		case t.load == nil:
			return bulk.Frame{}, errReplay
		case err != nil || n > maxEnd || typ != 'c' && typ != 'f' && t.insp.Version >= 140000:
			return t.unreadable(errTooLong) // the server refuses it by its header alone
		}
		for len(s.cr.Buffered()) < frame.HeaderLen+n {
			if err := t.fill(); err != nil { // a failed load interrupts this read, too
				return bulk.Frame{}, err
			}
		}
		body := s.cr.Buffered()[frame.HeaderLen : frame.HeaderLen+n]
		end := bulk.Frame{Type: typ, Body: append([]byte(nil), body...)}
		s.cr.Discard(frame.HeaderLen + n)
		return end, nil
	}
}

// unreadable ends the data at a header that can't be right: the server gets to
// see it, and says what it thinks of it.
func (t *copyTask) unreadable(bad error) (bulk.Frame, error) {
	if t.load == nil {
		return bulk.Frame{}, bad
	}
	raw := t.s.cr.Buffered()
	end := bulk.Frame{Raw: append([]byte(nil), raw[:frame.HeaderLen]...)}
	t.s.cr.Discard(frame.HeaderLen)
	return end, nil
}

// gather moves the bodies of the CopyData frames at the start of p together, in
// place, so that many small messages become one piece of data. It returns the
// data, the bytes of p that are done with, and whether a frame of another kind
// stands behind them. skip carries a body that goes on in later bytes.
func gather(p []byte, skip *int) (data []byte, used int, other bool, err error) {
	w, i := 0, 0
	for i < len(p) {
		if *skip == 0 {
			if len(p)-i < frame.HeaderLen {
				break
			}
			if p[i] != 'd' {
				return p[:w], i, true, nil
			}
			_, n, err := frame.Head(p[i:])
			if err != nil {
				return p[:w], i, false, err
			}
			*skip = n
			i += frame.HeaderLen
		}
		n := min(*skip, len(p)-i)
		if w != i {
			copy(p[w:], p[i:i+n])
		}
		w += n
		i += n
		*skip -= n
	}
	return p[:w], i, false, nil
}

// dropFrame consumes the frame at the front of the client's buffer.
func (s *session) dropFrame() error {
	_, n, err := frame.Head(s.cr.Buffered())
	if err != nil {
		return err
	}
	s.cr.Discard(frame.HeaderLen)
	return s.copyBody(n, nil)
}
