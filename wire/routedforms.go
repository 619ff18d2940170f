package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// pieceReply is the server's answer to one piece.
type pieceReply struct {
	description []byte
	rows        [][]byte // the bodies of DataRows
	count       int64
}

// tryForm tries one form: a piece for each table; or, where that shows the order
// of the rows otherwise than one statement would have, a piece for each run of
// rows of one table. By runs, the first error is also the one of the first row
// that is in error.
func (r *routedInsert) tryForm(form routedForm) (failed *pgerr.Error, err error) {
	if form == formStage {
		return r.try(form, nil)
	}
	byTable, runs := rewrite.RoutedByTable(r.aux), rewrite.RoutedByRuns(r.aux)
	if !r.ordered || len(byTable) < 2 {
		failed, err = r.try(form, byTable)
		switch {
		case err != nil || failed != nil && (r.isFinal(failed) || form < formText || len(byTable) < 2):
			return failed, err
		case failed == nil && r.inOrder():
			return nil, nil
		}
		if err := r.undo(); err != nil {
			return nil, err
		}
	}
	if form == formTemp && len(runs) > maxTempRuns && failed != nil {
		return failed, nil
	}
	if reason := r.runsReason(form, len(runs)); reason != rewrite.ReasonNone {
		return r.t.insp.Routing.Refuse(r.t.insp, reason).ErrorResponse(), nil
	}
	again, err := r.try(form, runs)
	switch {
	case failed == nil || err != nil:
	case again == nil, again.Code() == foreignKey && failed.Code() != foreignKey:
		// The pieces disturb each other in one statement only; and one statement
		// looks at foreign keys when all rows are in.
		return failed, nil
	}
	return again, err
}

const foreignKey = "23503"

// runsReason says why rows may not go in so many runs.
func (r *routedInsert) runsReason(form routedForm, runs int) rewrite.Reason {
	switch {
	case r.t.insp.StatementTriggers:
		return rewrite.ReasonStatementTriggers
	case form == formTemp && runs > maxTempRuns:
		return rewrite.ReasonRoutedOrder
	}
	return rewrite.ReasonNone
}

// inOrder says whether the rows of RETURNING can be put in the order of the
// client's.
func (r *routedInsert) inOrder() bool {
	if len(r.pieces) < 2 || r.t.stmt.Returning == "" {
		return true
	}
	for i, p := range r.pieces {
		if len(r.replies[i].rows) != r.size(p) {
			return false
		}
	}
	return true
}

// size is the number of rows of a piece.
func (r *routedInsert) size(p rewrite.RoutedPiece) int {
	n := 0
	for _, a := range r.aux[p.From:p.To] {
		if a == p.Aux {
			n++
		}
	}
	return n
}

// try sends the pieces in a form. After an error the transaction has failed.
func (r *routedInsert) try(form routedForm, pieces []rewrite.RoutedPiece) (failed *pgerr.Error, err error) {
	r.pieces, r.replies, r.kept, r.raw = pieces, nil, r.kept[:r.filled], false
	switch form {
	case formStage:
		pieces = []rewrite.RoutedPiece{{}} // its reply is one
		failed, err = r.tryStage()
	case formRows:
		failed, err = r.tryRows(pieces)
	case formArrays:
		failed, err = r.tryArrays(pieces)
	case formText:
		failed, err = r.tryText(pieces)
	case formTemp:
		failed, err = r.temp.insert(r, pieces)
	}
	var pass values.Pass
	switch {
	case errors.As(err, &pass): // a cell that can't go this way: nothing was sent
		return pgerr.New(pgerr.FeatureNotSupported, "%s", string(pass)), nil
	case failed != nil || err != nil || r.raw:
		return failed, err
	case len(r.replies) != len(pieces) || form <= formRows && r.total() != int64(len(r.aux)):
		return pgerr.New(pgerr.InternalError, "pgbulkproxy: %s", errCount.Error()), nil
	}
	return nil, nil
}

func (r *routedInsert) total() (n int64) {
	for i := range r.replies {
		n += r.replies[i].count
	}
	return n
}

// distribute calls f with the cells of each row and the piece that it is in. The
// pieces are by table, or runs in order.
func (r *routedInsert) distribute(pieces []rewrite.RoutedPiece, f func(piece int, cells []values.Cell) error) error {
	i, at := 0, 0
	return r.t.eachRow(func(cells []values.Cell) error {
		for at < len(pieces)-1 && (i >= pieces[at].To || pieces[at].Aux != r.aux[i]) {
			at++
		}
		for at > 0 && (i < pieces[at].From || pieces[at].Aux != r.aux[i]) {
			at--
		}
		i++
		return f(at, cells)
	})
}

// maxCopyReplies bounds what the server answers while we still send: it must not
// fill the buffers in between.
const maxCopyReplies = 32 << 10

// tryRows sends each piece as a COPY.
func (r *routedInsert) tryRows(pieces []rewrite.RoutedPiece) (failed *pgerr.Error, err error) {
	encoder, err := r.t.encoder()
	if err != nil {
		return nil, err
	}
	data := make([][]byte, len(pieces))
	err = r.distribute(pieces, func(k int, cells []values.Cell) (err error) {
		data[k], err = encoder.AppendRow(data[k], cells)
		return err
	})
	if err != nil {
		return nil, err
	}
	most := max(1, maxCopyReplies/(100+2*r.t.stmt.Targets()))
	for len(pieces) > 0 && failed == nil && err == nil {
		n := min(most, len(pieces))
		failed, err = r.query(r.appendCopies(nil, pieces[:n], data[:n]))
		pieces, data = pieces[n:], data[n:]
	}
	return failed, err
}

func (r *routedInsert) appendCopies(out []byte, pieces []rewrite.RoutedPiece, data [][]byte) []byte {
	sql := ""
	for _, p := range pieces {
		t := r.table(p)
		sql += t.Statement.RowsSQL(t.In) + "; "
	}
	out = frame.AppendString(out, 'Q', sql)
	for _, rows := range data {
		for piece := range slices.Chunk(rows, maxCopyData) {
			out = frame.Append(out, 'd', piece)
		}
		out = frame.Append(out, 'c', nil)
	}
	return out
}

// tryArrays sends each piece as an INSERT of arrays.
func (r *routedInsert) tryArrays(pieces []rewrite.RoutedPiece) (failed *pgerr.Error, err error) {
	encoder, err := r.t.encoder()
	if err != nil {
		return nil, err
	}
	arrays := make([][][]byte, len(pieces))
	err = r.distribute(pieces, func(k int, cells []values.Cell) error {
		if arrays[k] == nil {
			arrays[k] = make([][]byte, r.t.stmt.Targets())
		}
		return encoder.AppendElements(arrays[k], cells)
	})
	if err != nil {
		return nil, err
	}
	out := frame.AppendHead(nil, 'Q', 0)
	for k, p := range pieces {
		t := r.table(p)
		out = append(t.Statement.AppendArraysSQL(out, t.In, arrays[k]), "; "...)
	}
	return r.query(endQuery(out))
}

// endQuery ends a message that is a Query from its head on.
func endQuery(out []byte) []byte {
	out = append(out, 0)
	frame.SetLen(out)
	return out
}

// tryText sends the client's own text, cut into pieces. The server first sees the
// whole, so that what it has against the text is said of it.
func (r *routedInsert) tryText(pieces []rewrite.RoutedPiece) (failed *pgerr.Error, err error) {
	sql := r.t.stmt.SQL
	if len(pieces) == 1 && !pieces[0].Aux {
		r.raw = true
		return r.query(endQuery(append(frame.AppendHead(nil, 'Q', 0), sql...)))
	}
	if failed, err := r.explain(sql); failed != nil || err != nil {
		return failed, err
	}
	if r.spans == nil {
		r.t.s.mu.Lock()
		opts, _ := r.t.s.insertOptions()
		r.t.s.mu.Unlock()
		if r.spans, err = r.t.stmt.RowTexts(opts); err != nil {
			return nil, err
		}
	}
	out := frame.AppendHead(nil, 'Q', 0)
	var rows [][2]int
	for _, p := range pieces {
		rows = rows[:0]
		for i := p.From; i < p.To; i++ {
			if r.aux[i] == p.Aux {
				rows = append(rows, r.spans[i])
			}
		}
		out = append(r.table(p).AppendText(out, sql, rows), "; "...)
	}
	failed, err = r.query(endQuery(out))
	if failed != nil {
		failed = r.ofClause(failed.With('P', ""))
	}
	return failed, err
}

// ofClause says that a clause, against which the server has nothing in the main
// table, cannot be used in the auxiliary one.
func (r *routedInsert) ofClause(e *pgerr.Error) *pgerr.Error {
	if e.Class() != "42" || e.Code() == pgerr.InsufficientPrivilege {
		return e
	}
	in := r.t.insp
	return in.Routing.Refuse(in, rewrite.ReasonRoutedClause).ErrorResponse().With('H', e.Get('M'))
}

// explain asks what the server has against a text of the client's.
func (r *routedInsert) explain(sql []byte) (failed *pgerr.Error, err error) {
	if r.explained {
		return r.verdict, nil
	}
	r.explained = true
	failed, err = r.exec(rewrite.ExplainText(sql))
	if failed == nil {
		return nil, err
	}
	if at, perr := strconv.Atoi(failed.Get('P')); perr == nil {
		failed = failed.With('P', strconv.Itoa(at-rewrite.ExplainShift))
	}
	r.verdict = failed
	return failed, err
}

// query sends a Query, with the data of its COPYs, and takes the answers.
func (r *routedInsert) query(out []byte) (failed *pgerr.Error, err error) {
	if err := r.t.s.writeServer(out); err != nil {
		return nil, fmt.Errorf("write to server: %w", err)
	}
	var now pieceReply
	for {
		f, err := r.in.next(r.t.s.ctx)
		if err != nil {
			return failed, err
		}
		switch {
		case f.typ == 'Z':
			r.t.s.ready(f.body)
			return failed, nil
		case f.typ == 'E' && failed == nil:
			failed = pgerr.Parse(f.body)
		case f.typ == 'N' && !r.raw:
			r.kept = frame.Append(r.kept, 'N', pgerr.Parse(f.body).With('P', "").AppendBody(nil))
		case r.raw && r.direct:
			if err := r.t.s.writeClient(frame.Append(nil, f.typ, f.body)); err != nil {
				return nil, err
			}
		case r.raw && f.typ != 'E':
			r.kept = frame.Append(r.kept, f.typ, f.body)
		default:
			r.note(&now, f)
		}
	}
}

// note takes one message of the answer to a piece.
func (r *routedInsert) note(now *pieceReply, f captured) {
	switch f.typ {
	case 'T':
		now.description = f.body
	case 'D':
		now.rows = append(now.rows, f.body)
	case 'C':
		tag, _, _ := frame.CString(f.body)
		if bytes.HasPrefix(tag, []byte("INSERT ")) || bytes.HasPrefix(tag, []byte("COPY ")) {
			now.count = tagCount(string(tag))
			r.replies = append(r.replies, *now)
		}
		*now = pieceReply{}
	}
}

// keepNotices keeps what the client is to see before its reply.
func (r *routedInsert) keepNotices(notices [][]byte) {
	for _, n := range notices {
		r.kept = frame.Append(r.kept, 'N', pgerr.Parse(n).With('P', "").AppendBody(nil))
	}
}

// reply is what the client gets, but for ReadyForQuery: the rows in the order of
// its own.
func (r *routedInsert) reply() []byte {
	if r.raw {
		return append(r.kept, r.tag...)
	}
	out := r.kept
	if r.t.stmt.Returning != "" {
		out = frame.Append(out, 'T', mainDescription(r.replies[0].description, r.t.insp))
		for _, row := range r.rows() {
			out = frame.Append(out, 'D', row)
		}
	}
	return frame.AppendString(out, 'C', "INSERT 0 "+strconv.FormatInt(r.total(), 10))
}

// rows are those of RETURNING in order: runs are, and of two tables each has as
// many as were sent.
func (r *routedInsert) rows() [][]byte {
	var out [][]byte
	if len(r.pieces) == 2 && r.pieces[0].From == r.pieces[1].From {
		left := [2][][]byte{r.replies[0].rows, r.replies[1].rows}
		for _, a := range r.aux {
			k := 0
			if a {
				k = 1
			}
			out, left[k] = append(out, left[k][0]), left[k][1:]
		}
		return out
	}
	for i := range r.replies {
		out = append(out, r.replies[i].rows...)
	}
	return out
}

// mainDescription is a RowDescription in which the auxiliary table's columns are
// those of the table that the client has named.
func mainDescription(body []byte, in *rewrite.Inspection) []byte {
	if len(body) < 2 {
		return body
	}
	route := in.Routing
	out := append([]byte(nil), body[:2]...)
	for rest := body[2:]; len(rest) > 0; {
		name, field, ok := frame.CString(rest)
		if !ok || len(field) < 18 {
			return body
		}
		oid := binary.BigEndian.Uint32(field)
		if oid == route.Aux.OID {
			oid = in.OID
			if string(name) == route.AuxColumn {
				name = []byte(route.Column)
			}
		}
		out = append(append(out, name...), 0)
		out = append(binary.BigEndian.AppendUint32(out, oid), field[4:18]...)
		rest = field[18:]
	}
	return out
}
