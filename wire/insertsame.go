package wire

import (
	"slices"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// lastInsert is what an INSERT leaves for the next one into the same table,
// while no other statement comes between and the transaction goes on.
type lastInsert struct {
	schema, table string
	columns       []string
	insp          *rewrite.Inspection
	// What the next one of the same shape, and in the same session's settings,
	// needs besides; shape is nil where there is none such.
	shape   *rewrite.InsertShape
	opts    values.Options
	encoder *values.Encoder
	turner  *turner // nil for rows that go as text
}

func (l *lastInsert) fits(stmt *rewrite.InsertStatement) bool {
	return l.schema == stmt.Schema && l.table == stmt.Table && (l.columns == nil) == (stmt.Columns == nil) && slices.Equal(l.columns, stmt.Columns)
}

// sameInsert returns a task for an INSERT that differs from the one before in its
// rows alone, and whose rows are encoded already; nil where it is not that.
func (s *session) sameInsert(body []byte) *insertTask {
	l := s.last
	sql, rest, ok := frame.CString(body)
	if l == nil || l.shape == nil || !ok || len(rest) > 0 || s.unsynced || s.insertRest > 0 {
		return nil
	}
	s.mu.Lock()
	idle := s.atRest() && s.status == 'T'
	opts, ok := s.insertOptions()
	s.mu.Unlock()
	limit := s.srv.cfg.InsertStageBytes
	if !idle || !ok || opts != l.opts || limit >= 0 && int64(len(sql)) >= limit {
		return nil
	}
	t := &insertTask{s: s, stmt: l.shape.Begin(sql), insp: l.insp, inBlock: true}
	if t.stmt == nil {
		return nil
	}
	if !t.encodeSame(l) {
		t.giveMore()
		return nil
	}
	return t
}

// encodeSame is encode for rows that go by COPY, and whose statement is known but
// for them. It leaves an encoder for the next one of its kind.
func (t *insertTask) encodeSame(l *lastInsert) bool {
	before, after := t.brackets()
	var lexer *values.Lexer
	rows := 0
	each := func(f func([]values.Cell) error) error {
		lexer, rows = t.stmt.Lexer(l.opts), 0
		return eachRow(lexer, func(cells []values.Cell) error { rows++; return f(cells) })
	}
	t.out, t.main, t.ready = t.s.takeBuffer(), 1, 1
	if l.turner != nil && (!l.turner.fits(t.s) || !t.encodeTurned(l.turner, l.encoder, before, after, each)) {
		l.turner = nil // for the rest of the transaction
	}
	var err error
	if l.turner == nil {
		t.out, err = appendRows(frame.AppendString(t.out, 'Q', before+t.stmt.RowsSQL(t.insp)+after), l.encoder, each)
	}
	if err != nil || !l.shape.Ended(t.stmt, lexer, rows) {
		t.s.giveBuffer(t.out)
		t.out = nil
		return false
	}
	return true
}
