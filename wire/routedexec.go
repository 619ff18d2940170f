package wire

import (
	"encoding/binary"
	"slices"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// auxStatement is the prepared statement that a session keeps for the auxiliary
// table: the one that was used last.
const auxStatement = "pgbulkproxy_aux\x00"

// route finds the tables that the rows go to, and sends them there.
func (r *routedBinds) route() (*pgerr.Error, error) {
	text := r.st.text
	if text.values == nil {
		return r.viaTemp(text.reason)
	}
	insp := r.t.insp
	cells, left, known := text.values.Keys(insp)
	switch {
	case insp.BadColumns:
		return nil, r.relay(rewrite.ReasonBadColumn) // the server has refused to parse it
	case !known:
		return r.viaTemp(rewrite.ReasonExpression)
	}
	if left {
		has, e, err := r.query(insp.Routing.DefaultSQL(insp))
		if e != nil || err != nil {
			return e, err
		}
		if has == "t" {
			return r.viaTemp(rewrite.ReasonDefaultCell)
		}
	}
	if cells == nil {
		return nil, r.relay(rewrite.ReasonRouted)
	}
	r.cells = cells
	if e, err := r.ask(); e != nil || err != nil {
		return e, err
	}
	return r.exec()
}

// query runs a statement of ours, and returns the first field of its first row.
func (r *routedBinds) query(sql string) (field string, e *pgerr.Error, err error) {
	in := r.s.inject()
	defer in.release()
	results, err := in.Exec(r.s.ctx, sql)
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		return "", e.With('P', ""), nil
	}
	if err != nil {
		return "", nil, err
	}
	return firstField(results[len(results)-1].Rows), nil, nil
}

// ask has the server compute which rows are the auxiliary table's, from the
// client's own parameters.
func (r *routedBinds) ask() (*pgerr.Error, error) {
	s, in := r.s, r.t.insp
	out := frame.AppendString(s.takeBuffer(), 'Q', setAsking)
	binds := 0
	for i, sql := range in.Routing.WaitCellsSQL(in, r.t.routes.Moving, r.cells) {
		if i > 0 {
			out = r.appendParse(out, "", sql, nil)
			out = append(frame.Append(out, 'B', make([]byte, 8)), execute...)
			binds++
			continue
		}
		out = r.appendAll(out, sql)
		binds += len(r.units)
	}
	out = r.appendAll(out, in.Routing.AuxCellsSQL(in, r.cells))
	out = frame.AppendString(frame.Append(out, 'S', nil), 'Q', s.asked())
	unit := -binds
	var unreadable *pgerr.Error
	failed, err := r.exchange(out, 3, func(f captured) {
		switch {
		case f.typ == '2':
			unit++
		case f.typ == 'D' && unit > 0:
			if e := markAux(r.units[unit-1].aux, dataRow(f.body)); e != nil {
				unreadable = e
			}
		}
	})
	s.giveBuffer(out)
	if failed != nil && err == nil {
		return r.nativeError(failed)
	}
	return unreadable, err
}

var execute = frame.Append(nil, 'E', make([]byte, 5))

// appendAll appends a query that is run with the parameters of each Bind.
func (r *routedBinds) appendAll(out []byte, sql string) []byte {
	out = r.appendParse(out, "", sql, r.st.text.types)
	for i := range r.units {
		u := &r.units[i]
		u.aux = make([]bool, len(r.cells))
		out = append(r.appendBind(out, u, "\x00", "\x00", false), execute...)
	}
	return out
}

func (r *routedBinds) appendParse(out []byte, name, sql string, types []uint32) []byte {
	start := len(out)
	out = append(append(frame.AppendHead(out, 'P', 0), name...), 0)
	out = append(append(out, sql...), 0)
	out = binary.BigEndian.AppendUint16(out, uint16(len(types)))
	for _, t := range types {
		out = binary.BigEndian.AppendUint32(out, t)
	}
	frame.SetLen(out[start:])
	return out
}

// appendBind appends the Bind of a unit to another portal and statement, whose
// names end in a zero byte; results says that the client's result formats are for
// it, too.
func (r *routedBinds) appendBind(out []byte, u *routedUnit, portal, statement string, results bool) []byte {
	body := r.message(u.bind).body()
	_, rest, _ := frame.CString(body)
	_, rest, _ = frame.CString(rest)
	start := len(out)
	out = append(append(frame.AppendHead(out, 'B', 0), portal...), statement...)
	if end := paramsEnd(body); !results && end > 0 {
		out = append(append(out, body[len(body)-len(rest):end]...), 0, 0)
	} else {
		out = append(out, rest...)
	}
	frame.SetLen(out[start:])
	return out
}

// paramsEnd is where the result formats of a Bind begin, or 0 where it is not as
// it should be: the server says so.
func paramsEnd(body []byte) int {
	_, rest, count, err := bindHead(body)
	if err != nil {
		return 0
	}
	for range count {
		if len(rest) < 4 {
			return 0
		}
		size := max(int(int32(binary.BigEndian.Uint32(rest))), 0)
		if len(rest) < 4+size {
			return 0
		}
		rest = rest[4+size:]
	}
	return len(body) - len(rest)
}

// message is the client's message at a place of its buffer.
func (r *routedBinds) message(at int) *clientFrame {
	f, _ := frameAt(r.s.cr.Buffered()[at:])
	return &f
}

// exchange sends messages, and calls f with the answers up to so many
// ReadyForQuery. It returns the server's first error.
func (r *routedBinds) exchange(out []byte, ready int, f func(captured)) (failed *pgerr.Error, err error) {
	in := r.s.inject()
	defer in.release()
	if err := r.s.writeServer(out); err != nil {
		return nil, err
	}
	for ready > 0 {
		c, err := in.next(r.s.ctx)
		if err != nil {
			return nil, err
		}
		switch {
		case c.typ == 'Z':
			in.ready(c.body)
			ready--
		case c.typ == 'E' && failed == nil:
			failed = pgerr.Parse(c.body)
		case failed == nil:
			f(c)
		}
	}
	return failed, nil
}

// nativeError returns what the server has against the client's own messages, where
// it could not be asked about their rows; else e.
func (r *routedBinds) nativeError(e *pgerr.Error) (*pgerr.Error, error) {
	e = e.With('P', "")
	if isFinal(e) && e.Code() != pgerr.ProtocolViolation {
		return e, nil
	}
	out := frame.AppendString(nil, 'Q', undoAsking)
	if len(r.name) == 0 {
		r.s.mu.Lock()
		out = append(out, r.s.statements.reparse()...)
		r.s.mu.Unlock()
	}
	for i := range r.units {
		out = append(r.appendBind(out, &r.units[i], "\x00", string(r.name)+"\x00", true), execute...)
	}
	out = frame.AppendString(frame.Append(out, 'S', nil), 'Q', undoAsking)
	native, err := r.exchange(out, 3, func(captured) {})
	if native == nil {
		native = e
	}
	return native, err
}

// exec sends the rows to their tables.
func (r *routedBinds) exec() (*pgerr.Error, error) {
	anyAux, mixed := false, false
	for i := range r.units {
		aux := r.units[i].aux
		anyAux = anyAux || slices.Contains(aux, true)
		mixed = mixed || slices.Contains(aux, true) && slices.Contains(aux, false)
	}
	if !anyAux {
		return nil, r.relay(rewrite.ReasonRouted)
	}
	if r.st.text.values.TakesOther(r.t.insp) {
		return r.refusal(rewrite.ReasonOtherDefault), nil
	}
	x := &routedExec{r: r, stmt: r.st.text.values.Statement}
	if e, err := x.targets(); e != nil || err != nil {
		return e, err
	}
	if mixed || x.stmt.Returning != "" {
		return x.runHere()
	}
	return nil, x.runThrough()
}

// routedExec sends a run of Binds some of whose rows are the auxiliary table's.
type routedExec struct {
	r       *routedBinds
	stmt    *rewrite.InsertStatement
	tables  [2]rewrite.InsertTarget
	out     []byte
	entries []entry
	current string // the text of the session's auxStatement
}

// targets makes the statements for the two tables.
func (x *routedExec) targets() (*pgerr.Error, error) {
	r, in := x.r, x.r.t.insp
	switch {
	case in.Rules:
		return r.refusal(rewrite.ReasonRules), nil
	case x.stmt.OverridesUser():
		return r.refusal(rewrite.ReasonOverridingUser), nil
	}
	constraint := ""
	if name := x.stmt.Constraint(); name != "" {
		row, e, err := r.query(in.Routing.ConstraintSQL(in, name))
		if e != nil || err != nil {
			return e, err
		}
		constraint = row
	}
	x.tables[0] = x.stmt.Main(in)
	var err error
	if x.tables[1], err = x.stmt.Aux(in, constraint); err != nil {
		return r.refusal(rewrite.ReasonRoutedClause), nil
	}
	return nil, nil
}

// text is the statement for a piece of a unit's rows.
func (x *routedExec) text(p rewrite.RoutedPiece, aux []bool) string {
	v := x.r.st.text.values
	k := 0
	if p.Aux {
		k = 1
	}
	return string(x.tables[k].AppendText(nil, v.SQL, v.Spans(p, aux)))
}

// parse appends the Parse of a statement under the session's auxStatement, unless
// it is that already.
func (x *routedExec) parse(sql string, hide entry) {
	if x.current == sql {
		return
	}
	x.current = sql
	x.add('C', []byte("S"+auxStatement), entClose|hide)
	x.out = x.r.appendParse(x.out, auxStatement[:len(auxStatement)-1], sql, x.r.st.text.types)
	x.entries = append(x.entries, entParse|hide)
}

func (x *routedExec) add(typ byte, body []byte, e entry) {
	x.out = frame.Append(x.out, typ, body)
	x.entries = append(x.entries, e)
}

// begin brings the client's unnamed statement back, and looks which statement the
// session has for the auxiliary table.
func (x *routedExec) begin() {
	s := x.r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.auxFor == x.r.st {
		x.current = s.auxText
	}
	if parse := s.statements.reparse(); parse != nil {
		x.out = append(x.out, parse...)
		x.entries = append(x.entries, entParse|hideReplies|hideError)
	}
}

// runThrough sends the messages so that their answers go to the client as they
// come.
func (x *routedExec) runThrough() error {
	r, s := x.r, x.r.s
	x.begin()
	for i := range r.units {
		u := &r.units[i]
		if u.aux[0] {
			x.parse(x.text(rewrite.RoutedPiece{Aux: true, To: len(u.aux)}, u.aux), hideReplies)
			x.out = r.appendBind(x.out, u, string(u.portal)+"\x00", auxStatement, true)
		} else {
			x.out = append(x.out, r.message(u.bind).raw()...)
		}
		x.entries = append(x.entries, entBind)
		if u.describe < u.execute {
			x.out = append(x.out, r.message(u.describe).raw()...)
			x.entries = append(x.entries, entDescribe)
		}
		if u.execute < u.end {
			x.out = append(x.out, r.message(u.execute).raw()...)
			x.entries = append(x.entries, entExecute)
		}
	}
	s.mu.Lock()
	s.auxFor, s.auxText = r.st, x.current
	for _, e := range x.entries {
		s.queue.push(e)
	}
	s.mu.Unlock()
	s.unsynced, s.executed, s.pipe, s.last = true, true, pipeline{}, nil
	s.srv.metrics.count(rewrite.KindInsert, routedWay)
	if err := s.writeServer(x.out); err != nil {
		return err
	}
	s.cr.Discard(r.size)
	s.plain, s.cleared = max(0, s.plain-r.size), 0
	return nil
}
