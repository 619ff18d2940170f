package wire

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// The rewritten statement stands between these: inside the client's block
// behind a savepoint, else in the block that the inspection began.
const (
	beforeInsert   = "SAVEPOINT pgbulkproxy_insert; "
	afterInsert    = "; RELEASE SAVEPOINT pgbulkproxy_insert"
	rollbackInsert = "ROLLBACK TO SAVEPOINT pgbulkproxy_insert; RELEASE SAVEPOINT pgbulkproxy_insert"
	commitInsert   = "; COMMIT"
)

// encode makes the bytes that go to the server. A values.Pass as error means
// that a cell cannot go this way.
func (t *insertTask) encode(method rewrite.Method) error {
	before, after := "", commitInsert
	if t.inBlock {
		before, after = beforeInsert, afterInsert
	}
	s := t.s
	s.mu.Lock()
	opts, _ := s.insertOptions()
	s.mu.Unlock()
	lexer := t.stmt.Lexer(opts)
	encoder := values.NewEncoder(t.insp.Types[:t.stmt.Width])
	out := s.takeBuffer()
	if method == rewrite.MethodRows {
		out = frame.AppendString(out, 'Q', before+t.stmt.RowsSQL(t.insp)+after)
		out, err := appendCopyRows(out, lexer, encoder)
		t.out = out
		return err
	}
	arrays := make([][]byte, t.stmt.Width)
	if err := eachRow(lexer, func(cells []values.Cell) error { return encoder.AppendElements(arrays, cells) }); err != nil {
		return err
	}
	start := len(out)
	out = append(frame.AppendHead(out, 'Q', 0), before...)
	out = t.stmt.AppendArraysSQL(out, t.insp, arrays)
	out = append(append(out, after...), 0)
	frame.SetLen(out[start:])
	t.out = out
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

// appendCopyRows appends the rows as CopyData of about maxCopyData each, and
// CopyDone.
func appendCopyRows(out []byte, lexer *values.Lexer, encoder *values.Encoder) ([]byte, error) {
	start := len(out)
	out = frame.AppendHead(out, 'd', 0)
	err := eachRow(lexer, func(cells []values.Cell) (err error) {
		if len(out)-start > maxCopyData {
			frame.SetLen(out[start:])
			start = len(out)
			out = frame.AppendHead(out, 'd', 0)
		}
		out, err = encoder.AppendRow(out, cells)
		return err
	})
	frame.SetLen(out[start:])
	return frame.Append(out, 'c', nil), err
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
	var failed error
	for {
		f, err := in.next(s.ctx)
		if err != nil {
			return err
		}
		switch f.typ {
		case 'C':
			t.complete(f.body)
		case 'E':
			failed = pgerr.Parse(f.body)
		case 'G':
		case 'Z':
			in.ready(f.body)
			return t.check(failed)
		default:
			t.kept = frame.Append(t.kept, f.typ, f.body)
		}
	}
}

// complete notes the tag that is the client's: of the COPY, or of the INSERT.
func (t *insertTask) complete(body []byte) {
	tag, _, _ := frame.CString(body)
	text := string(tag)
	if rows, ok := strings.CutPrefix(text, "COPY "); ok {
		text = "INSERT 0 " + rows
	}
	if strings.HasPrefix(text, "INSERT ") {
		t.tag = text
		t.kept = frame.AppendString(t.kept, 'C', text)
	}
}

// errCount: the server says that it took another number of rows than it was
// given. No error of its own tells us, so the session cannot go on.
var errCount = errors.New("the server inserted another number of rows than it was sent")

func (t *insertTask) check(failed error) error {
	if failed != nil {
		return failed
	}
	if t.stmt.Conflict == rewrite.ConflictError && t.tag != fmt.Sprintf("INSERT 0 %d", t.stmt.Rows) {
		return fmt.Errorf("%w: %s for %d", errCount, t.tag, t.stmt.Rows)
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
	if cap(b) <= maxKeptBuffer {
		s.buffer = b
	}
}
