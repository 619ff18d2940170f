package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// The rewritten statement stands between these: inside the client's block
// behind a savepoint, else in the block that the inspection began.
const (
	setInsert      = "SAVEPOINT pgbulkproxy_insert"
	releaseInsert  = "RELEASE SAVEPOINT pgbulkproxy_insert"
	beforeInsert   = setInsert + "; "
	afterInsert    = "; " + releaseInsert
	rollbackInsert = "ROLLBACK TO SAVEPOINT pgbulkproxy_insert; RELEASE SAVEPOINT pgbulkproxy_insert"
	commitInsert   = "; COMMIT"
)

// encode makes the bytes that go to the server. A values.Pass as error means
// that a cell cannot go this way.
func (t *insertTask) encode(method rewrite.Method) error {
	before, after := t.brackets()
	t.out, t.main = t.s.takeBuffer(), 1
	var err error
	if method == rewrite.MethodRows {
		err = t.encodeRows(before, after)
	} else {
		err = t.encodeArrays(before, after)
	}
	t.ready = t.main
	if err == nil && t.batch != nil {
		t.out = t.appendReparse(t.out)
	}
	return err
}

// brackets is what stands before and behind the statement in its Query.
func (t *insertTask) brackets() (before, after string) {
	before, after = "", commitInsert
	if t.inBlock {
		before, after = t.s.savepoint(), t.s.leave(afterInsert)
	}
	if !t.opened {
		before += t.stmt.GuardSQL(t.insp) + "; "
	}
	return before, after
}

// savepoint is what stands before a statement in the client's block. The inspection
// or the INSERT before, behind which nothing came, has left a savepoint that stays.
func (s *session) savepoint() string {
	if s.spread {
		return bulk.Unstay + beforeInsert
	}
	return beforeInsert
}

// appendReparse appends the Parse of the unnamed statement, which a Query drops.
func (t *insertTask) appendReparse(out []byte) []byte {
	t.s.mu.Lock()
	parse := t.s.statements.reparse()
	t.s.mu.Unlock()
	if parse == nil {
		return out
	}
	t.ready++
	return frame.Append(append(out, parse...), 'S', nil)
}

// eachRow calls f with the constants of each row.
func (t *insertTask) eachRow(f func(cells []values.Cell) error) error {
	s := t.s
	s.mu.Lock()
	opts, _ := s.insertOptions()
	s.mu.Unlock()
	if t.batch != nil {
		return t.batch.rows(s.cr.Buffered(), opts, t.insp.Types, f)
	}
	return eachRow(t.stmt.Lexer(opts), throughSource(t.stmt, f))
}

// throughSource calls f with the cells of the table's columns.
func throughSource(stmt *rewrite.InsertStatement, f func([]values.Cell) error) func([]values.Cell) error {
	source := stmt.SourceRows()
	if source == nil {
		return f
	}
	return func(cells []values.Cell) error {
		cells, err := source.Row(cells)
		if err != nil {
			return err
		}
		return f(cells)
	}
}

// encoder returns an encoder for the statement's columns. A values.Pass as error
// means that the casts of its source are not to the columns' own types.
func (t *insertTask) encoder() (*values.Encoder, error) {
	e := values.NewEncoder(t.insp.Types[:t.stmt.Targets()])
	if source := t.stmt.SourceRows(); source != nil {
		if _, err := e.AppendRow(nil, source.Probe()); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// encodeRows makes a Query with the COPY, and its data.
func (t *insertTask) encodeRows(before, after string) error {
	if c := t.binaryCopy(); c != nil {
		if t.encodeBinary(c, before, after) {
			return nil
		}
		t.batch.st.textOnly, t.batch.encoded, t.out = true, 0, t.out[:0]
	}
	encoder, err := t.encoder()
	if err != nil {
		return err
	}
	turner := t.turner()
	if turner != nil && !t.encodeTurned(turner, encoder, before, after, t.eachRow) {
		turner = nil
		t.unturn()
	}
	if turner == nil {
		out := frame.AppendString(t.out, 'Q', before+t.stmt.RowsSQL(t.insp)+after)
		t.out, err = appendRows(out, encoder, t.eachRow)
	}
	if l := t.s.last; l != nil && t.batch == nil && t.stmt.Source == nil && t.s.shape.HasHead(t.stmt.SQL) {
		l.shape, l.opts, l.encoder, l.turner = t.s.shape, t.s.shapeOpts, encoder, turner
	}
	return err
}

// appendRows appends rows as CopyData, and CopyDone.
func appendRows(out []byte, encoder *values.Encoder, each func(func([]values.Cell) error) error) ([]byte, error) {
	out, err := appendData(out, encoder, each)
	return frame.Append(out, 'c', nil), err
}

// appendData appends rows as CopyData of about maxCopyData each.
func appendData(out []byte, encoder *values.Encoder, each func(func([]values.Cell) error) error) ([]byte, error) {
	start := len(out)
	out = frame.AppendHead(out, 'd', 0)
	err := each(func(cells []values.Cell) (err error) {
		if len(out)-start > maxCopyData {
			frame.SetLen(out[start:])
			start = len(out)
			out = frame.AppendHead(out, 'd', 0)
		}
		out, err = encoder.AppendRow(out, cells)
		return err
	})
	frame.SetLen(out[start:])
	return out, err
}

// encodeArrays makes a Query with the INSERT. Where the client wants results
// that are not text, the extended protocol gives them.
func (t *insertTask) encodeArrays(before, after string) error {
	encoder, err := t.encoder()
	if err != nil {
		return err
	}
	arrays := make([][]byte, t.stmt.Targets())
	err = t.eachRow(func(cells []values.Cell) error { return encoder.AppendElements(arrays, cells) })
	if err != nil {
		return err
	}
	out := t.out
	extended := t.batch != nil && t.stmt.Returning != "" && t.batch.resultFormats()
	if extended && before != "" {
		out = frame.AppendString(out, 'Q', strings.TrimSuffix(before, "; "))
		t.main++
	}
	start := len(out)
	if extended {
		out = append(frame.AppendHead(out, 'P', 0), 0)
		out = append(t.stmt.AppendArraysSQL(out, t.insp, arrays), 0, 0, 0)
		frame.SetLen(out[start:])
		out = frame.Append(out, 'B', append([]byte{0, 0, 0, 0, 0, 0}, t.batch.results...))
		out = frame.Append(out, 'D', []byte{'P', 0})
		out = frame.Append(frame.Append(out, 'E', make([]byte, 5)), 'S', nil)
		t.out = frame.AppendString(out, 'Q', strings.TrimPrefix(after, "; "))
		t.main++
		return nil
	}
	out = append(frame.AppendHead(out, 'Q', 0), before...)
	out = t.stmt.AppendArraysSQL(out, t.insp, arrays)
	t.out = append(append(out, after...), 0)
	frame.SetLen(t.out[start:])
	return nil
}

func eachRow(lexer *values.Lexer, f func(cells []values.Cell) error) error {
	var cells []values.Cell
	for {
		var err error
		cells, err = lexer.Row(cells)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(cells)
		}
		if err != nil {
			return err
		}
	}
}

// send runs the statement, and keeps what the client is to see. An error of type
// *pgerr.Error is the server's: the client has seen nothing then.
func (t *insertTask) send() error {
	s := t.s
	in := s.inject()
	defer in.release()
	err := s.writeServer(t.out)
	s.giveBuffer(t.out)
	t.out = nil
	if err != nil {
		return fmt.Errorf("write to server: %w", err)
	}
	return t.collect(in)
}

// collect takes the answers to what was written.
func (t *insertTask) collect(in *injector) error {
	for t.ready > 0 {
		f, err := in.next(t.s.ctx)
		if err != nil {
			return err
		}
		t.note(f.typ, f.body)
	}
	return t.check()
}

// note takes one message of the server.
func (t *insertTask) note(typ byte, body []byte) {
	switch typ {
	case 'C':
		t.complete(body)
	case 'E':
		if t.failed == nil && t.main > 0 {
			t.failed = pgerr.Parse(body)
		}
	case 'T':
		t.rowDescription = frame.Append(nil, 'T', body)
		if t.batch == nil {
			t.kept = append(t.kept, t.rowDescription...)
		}
	case 'D':
		t.kept = frame.Append(t.kept, typ, body)
	case 'N':
		// Its position is one in our statement.
		t.kept = frame.Append(t.kept, typ, pgerr.Parse(body).With('P', "").AppendBody(nil))
	case 'Z':
		t.s.ready(body)
		t.ready--
		t.main--
	}
}

// complete notes the tag that is the client's: of the COPY, or of the INSERT. The
// rows may go in several COPYs.
func (t *insertTask) complete(body []byte) {
	tag, _, _ := frame.CString(body)
	switch {
	case bytes.HasPrefix(tag, []byte("COPY ")):
		t.setTag(t.rows + tagCount(string(tag)))
	case bytes.HasPrefix(tag, []byte("INSERT ")):
		t.setTag(tagCount(string(tag)))
	case bytes.HasPrefix(tag, []byte("SELECT ")): // the guard's, which comes first
		t.kept, t.rowDescription = nil, nil
	}
}

func (t *insertTask) setTag(rows int64) {
	t.rows, t.tag = rows, "INSERT 0 "+strconv.FormatInt(rows, 10)
}

// errCount: the server says that it took another number of rows than it was
// given. No error of its own tells us, so the session cannot go on.
var errCount = errors.New("the server inserted another number of rows than it was sent")

func (t *insertTask) check() error {
	if t.failed != nil {
		return t.failed
	}
	rows := t.stmt.Rows
	if t.batch != nil {
		rows *= t.batch.binds
	}
	if t.stmt.Conflict == rewrite.ConflictError && t.rows != int64(rows) {
		return fmt.Errorf("%w: %s for %d", errCount, t.tag, rows)
	}
	return nil
}

// maxKeptBuffer bounds the buffer that a session keeps for its next INSERT.
const maxKeptBuffer = 512 << 10

func (s *session) takeBuffer() []byte {
	b := s.buffer[:0]
	s.buffer = nil
	return b
}

func (s *session) giveBuffer(b []byte) {
	switch {
	case b == nil:
	case cap(b) <= maxKeptBuffer:
		s.buffer = b
	default:
		s.srv.buffers.Give(b)
	}
}
