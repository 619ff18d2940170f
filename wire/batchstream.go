package wire

import (
	"errors"
	"math"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// A long batch does not wait for its Sync: the server takes the first rows while
// the client still sends. All messages stay in the client's buffer, so that they
// can go to the server after all.

// streamBinds is the number of Binds from which a batch is streamed; a quarter of
// it is turned into rows at a time.
func (s *session) streamBinds() int { return 20 * s.srv.cfg.InsertMinRows }

// streams says whether the batch may go as a COPY before its end is known.
func (b *batch) streams() bool {
	return b.expect != 0 && b.st.stmt.Conflict == rewrite.ConflictError && b.st.stmt.Returning == ""
}

// stream takes over a run whose end has not come yet.
func (t *insertTask) stream() error {
	s, b := t.s, t.batch
	t.began = time.Now()
	d, err := t.decide()
	if err == nil && (d.Way != rewrite.Stream || d.Method != rewrite.MethodRows) {
		var reason rewrite.Reason
		if reason, err = s.gather(b, math.MaxInt); err == nil && reason != rewrite.ReasonNone {
			return t.pass(reason, b.size)
		}
	}
	if err != nil || b.expect == 0 {
		return t.runDecided(d, err, b.size)
	}
	rows, err := t.rowStream()
	if err != nil {
		return t.pass(passReason(err), b.size)
	}
	reason, err := t.streamRows(rows)
	if reason != rewrite.ReasonNone {
		return t.giveUp(reason)
	}
	if err != nil && pgerr.As(err) == nil {
		return err
	}
	return t.sent(err, d, b.size)
}

// rowStream is how the rows of a streamed run are written.
type rowStream struct {
	sql string
	// begin and end are the data before and behind the rows.
	begin, end []byte
	// append appends CopyData with the rows that came since.
	append func(out []byte) ([]byte, error)
}

func (t *insertTask) rowStream() (*rowStream, error) {
	b := t.batch
	if c := t.binaryCopy(); c != nil {
		return &rowStream{
			sql: t.stmt.BinarySQL(t.insp), begin: c.close(c.begin(nil)), end: frame.Append(nil, 'd', []byte(values.BinaryEnd)),
			append: func(out []byte) ([]byte, error) {
				out, ok := b.appendBinary(c.open(out), c, t.s.cr.Buffered())
				if !ok {
					b.st.textOnly = true // from the next run on
					return out, values.PassParamType
				}
				return c.close(out), nil
			},
		}, nil
	}
	encoder, err := t.encoder()
	return &rowStream{
		sql:    t.stmt.RowsSQL(t.insp),
		append: func(out []byte) ([]byte, error) { return appendData(out, encoder, t.eachRow) },
	}, err
}

// streamRows sends the COPY, and the rows as they come. A reason says that the
// run is not what it seemed; the COPY has then failed.
func (t *insertTask) streamRows(rows *rowStream) (rewrite.Reason, error) {
	s, b := t.s, t.batch
	before, after := t.brackets()
	in := s.inject()
	defer in.release()
	t.main, t.ready = 1, 1
	out := append(frame.AppendString(s.takeBuffer(), 'Q', before+rows.sql+after), rows.begin...)
	reason := rewrite.ReasonNone
	for {
		whole := len(out)
		var err error
		if out, err = rows.append(out); err != nil {
			reason, out = passReason(err), out[:whole]
		}
		if err := s.writeServer(out); err != nil {
			return rewrite.ReasonNone, err
		}
		out = out[:0]
		if reason != rewrite.ReasonNone || b.expect == 0 {
			break
		}
		if reason, err = s.gather(b, b.binds+s.streamBinds()/4); err != nil {
			return rewrite.ReasonNone, err
		}
	}
	if reason != rewrite.ReasonNone {
		out = frame.AppendString(out, 'f', "the batch goes on as it is")
	} else {
		out = t.appendReparse(frame.Append(append(out, rows.end...), 'c', nil))
	}
	err := s.writeServer(out)
	s.giveBuffer(out)
	if err == nil {
		err = t.collect(in)
	}
	if reason != rewrite.ReasonNone && err != nil && pgerr.As(err) == nil {
		return rewrite.ReasonNone, err // the session is lost
	}
	return reason, err
}

// passReason is that of a values.Pass.
func passReason(err error) rewrite.Reason {
	var pass values.Pass
	if errors.As(err, &pass) {
		return rewrite.Reason(pass)
	}
	return rewrite.ReasonParseError
}

// giveUp undoes a COPY that was ended in the middle, and relays the run.
func (t *insertTask) giveUp(reason rewrite.Reason) error {
	if err := t.s.sendHidden(t.undoSQL()); err != nil {
		return err
	}
	return t.relay(reason, t.batch.size)
}
