package wire

import (
	"errors"
	"math"
	"strings"
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

// bindsOf is how many Binds bring so many rows.
func (b *batch) bindsOf(rows int) int {
	if b.st.stmt == nil {
		return rows
	}
	return max(1, rows/b.st.stmt.Rows)
}

// streams says whether the batch may go as a COPY before its end is known.
func (b *batch) streams() bool {
	return b.expect != 0 && b.st.stmt.Conflict == rewrite.ConflictError && b.st.stmt.Returning == ""
}

// stream takes over a run whose end has not come yet.
func (t *insertTask) stream() error {
	s, b := t.s, t.batch
	t.began = time.Now()
	d, err := t.decide()
	if err == nil && (d.Way != rewrite.Stream || d.Method != rewrite.MethodRows || !t.waits()) {
		var reason rewrite.Reason
		if reason, err = s.gather(b, math.MaxInt); err == nil && reason != rewrite.ReasonNone {
			return t.pass(reason, b.size)
		}
	}
	if err != nil || b.expect == 0 {
		return t.runDecided(d, err, b.size)
	}
	rows, err := t.newRowStream()
	if err != nil {
		return t.pass(passReason(err), b.size)
	}
	reason, err := t.streamRows(rows)
	return t.streamed(reason, err)
}

// streamed goes on when the server has answered to what was streamed.
func (t *insertTask) streamed(reason rewrite.Reason, err error) error {
	if reason != rewrite.ReasonNone {
		return t.giveUp(reason)
	}
	if err != nil && pgerr.As(err) == nil {
		return err
	}
	return t.sent(err, streamedRows, t.batch.size)
}

// waits says whether a COPY may wait for the client. Natively no statement of a
// run lasts while the client is silent, so that statement_timeout would not hit it.
func (t *insertTask) waits() bool { return t.insp.StatementTimeout == 0 }

// rowStream sends the rows of a run as they come: as COPYs of a few rows in
// binary, or as one in text.
type rowStream struct {
	t       *insertTask
	copy    *binaryCopy // nil for text
	encoder *values.Encoder
}

// newRowStream returns a values.Pass as error where the rows can't be encoded.
func (t *insertTask) newRowStream() (*rowStream, error) {
	if c := t.binaryCopy(); c != nil {
		if t.splits() {
			c.per, c.sql = rowsPerCopy, t.stmt.BinarySQL(t.insp)
		}
		return &rowStream{t: t, copy: c}, nil
	}
	encoder, err := t.encoder()
	return &rowStream{t: t, encoder: encoder}, err
}

// begin appends the Query that the rows are the data of.
func (r *rowStream) begin(out []byte) []byte {
	t := r.t
	t.main, t.ready = 1, 1
	before, _ := t.brackets()
	if r.copy == nil {
		return frame.AppendString(out, 'Q', before+t.stmt.RowsSQL(t.insp))
	}
	return r.copy.close(r.copy.begin(frame.AppendString(out, 'Q', before+t.stmt.BinarySQL(t.insp))))
}

// append appends the rows that came since. After an error nothing of out but
// what it held before may be sent.
func (r *rowStream) append(out []byte) ([]byte, error) {
	c, t := r.copy, r.t
	if c == nil {
		return appendData(out, r.encoder, t.eachRow)
	}
	queries := c.queries
	out, ok := t.batch.appendBinary(c.open(out), c, t.s.cr.Buffered())
	if !ok {
		t.batch.st.textOnly = true // from the next run on
		return out, values.PassParamType
	}
	t.main, t.ready = t.main+c.queries-queries, t.ready+c.queries-queries
	return c.close(out), nil
}

// end appends what follows the last row.
func (r *rowStream) end(out []byte) []byte {
	t := r.t
	if r.copy != nil {
		out = frame.Append(out, 'd', []byte(values.BinaryEnd))
	}
	_, after := t.brackets()
	out = frame.AppendString(frame.Append(out, 'c', nil), 'Q', strings.TrimPrefix(after, "; "))
	t.main, t.ready = t.main+1, t.ready+1
	return t.appendReparse(out)
}

// streamRows sends the COPY, and the rows as they come. A reason says that the
// run is not what it seemed; the COPY has then failed.
func (t *insertTask) streamRows(rows *rowStream) (rewrite.Reason, error) {
	in := t.s.inject()
	defer in.release()
	return t.streamOn(in, rows, rows.begin(t.s.takeBuffer()), rewrite.ReasonNone)
}

// streamOn is what is left of streamRows where out is still to be written. With
// a reason it only ends the COPY.
func (t *insertTask) streamOn(in *injector, rows *rowStream, out []byte, reason rewrite.Reason) (rewrite.Reason, error) {
	s, b := t.s, t.batch
	for more := true; reason == rewrite.ReasonNone && more; {
		whole := len(out)
		var err error
		if out, err = rows.append(out); err != nil {
			reason, out = passReason(err), out[:whole]
			break
		}
		if more = b.expect != 0; !more {
			break
		}
		if err := s.writeServer(out); err != nil {
			return rewrite.ReasonNone, err
		}
		out = out[:0]
		if reason, err = s.gather(b, b.binds+b.bindsOf(s.streamBinds()/4)); err != nil {
			return rewrite.ReasonNone, err
		}
	}
	if reason != rewrite.ReasonNone {
		out = frame.AppendString(out, 'f', "the batch goes on as it is")
	} else {
		out = rows.end(out)
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
