package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// viaTemp sends the rows of the first Bind, which only the server can tell, through
// a temporary table, as routedTemp does. The client's own statement says what is
// wrong with the Bind, and answers its Describe. reason is why the rows can't be told.
func (r *routedBinds) viaTemp(reason rewrite.Reason) (*pgerr.Error, error) {
	in, text := r.t.insp, r.st.text
	a, why := rewrite.ParseRoutedAny(r.st.sql, text.opts)
	r.units = r.units[:1] // those behind it come here by themselves
	r.size = r.units[0].end
	switch {
	case why == rewrite.ReasonRoutedText:
		return r.refusal(reason), nil
	case why != rewrite.ReasonNone:
		return r.refusal(why), nil
	case !in.InsertPrivilege:
		return r.refusal(rewrite.ReasonColumnPrivileges), nil
	case in.Rules:
		return r.refusal(rewrite.ReasonRules), nil
	case a.Statement.OverridesUser():
		return r.refusal(rewrite.ReasonOverridingUser), nil
	case r.limited(a.Statement):
		return r.refusal(rewrite.ReasonRowLimit), nil
	}
	r.t.stmt = a.Statement
	i := &routedInsert{t: r.t, saved: true, explained: true} // the server has parsed it
	plan, e, err := r.planTemp(i)
	if e != nil || err != nil {
		return e, err
	}
	if e, err = r.bindOwn(); e != nil || err != nil {
		return e, err
	}
	if e, err = r.fillTemp(i, plan, a); e != nil || err != nil {
		return e, err
	}
	return r.fromTemp(i, plan)
}

// limited says whether the rows may be wanted in several parts, or later.
func (r *routedBinds) limited(stmt *rewrite.InsertStatement) bool {
	u := &r.units[0]
	if u.execute == u.end {
		return true
	}
	body := r.message(u.execute).body()
	return stmt.Returning != "" && binary.BigEndian.Uint32(body[len(body)-4:]) != 0
}

// planTemp plans the temporary table.
func (r *routedBinds) planTemp(i *routedInsert) (*rewrite.TempInsert, *pgerr.Error, error) {
	insp := r.t.insp
	sql, name := rewrite.TempColumnsSQL(insp), r.t.stmt.Constraint()
	if name != "" {
		sql += "; " + insp.Routing.ConstraintSQL(insp, name)
	}
	in := r.s.inject()
	results, err := in.Exec(r.s.ctx, sql)
	in.release()
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		return nil, e.With('P', ""), nil
	}
	if err != nil {
		return nil, nil, err
	}
	if len(results) == 0 {
		return nil, nil, errors.New("the columns were not told")
	}
	if name != "" {
		i.constraint = firstField(results[len(results)-1].Rows)
	}
	plan, err := rewrite.NewTempInsert(insp, results[0].Rows)
	return plan, nil, err
}

// bindOwn binds the client's own statement, and closes the portal unexecuted. The
// answers are the client's.
func (r *routedBinds) bindOwn() (*pgerr.Error, error) {
	s, u := r.s, &r.units[0]
	var out []byte
	if len(r.name) == 0 {
		s.mu.Lock()
		out = append(out, s.statements.reparse()...)
		s.mu.Unlock()
	}
	out = append(out, s.cr.Buffered()[u.bind:u.execute]...) // with its Describe
	out = frame.Append(out, 'C', append(append([]byte{'P'}, u.portal...), 0))
	return r.exchange(frame.Append(out, 'S', nil), 1, func(f captured) {
		if f.typ == '2' || f.typ == 'T' || f.typ == 'n' || f.typ == 'N' {
			r.reply = frame.Append(r.reply, f.typ, f.body)
		}
	})
}

// fillTemp makes the table, and fills it by the client's statement with the
// client's parameters; and looks where the rows go.
func (r *routedBinds) fillTemp(i *routedInsert, plan *rewrite.TempInsert, a *rewrite.AnyInsert) (*pgerr.Error, error) {
	create, fill := plan.Fill(a)
	out := frame.AppendString(r.s.takeBuffer(), 'Q', setAsking+"; "+create)
	out = r.appendParse(out, "", fill, r.st.text.types)
	out = append(r.appendBind(out, &r.units[0], "\x00", "\x00", false), execute...)
	sql := plan.AuxSQL() + "; " + endAsking + "; " + setRouted
	if wait := plan.WaitSQL(r.t.routes.Moving); wait != "" {
		sql = wait + "; " + sql
	}
	out = frame.AppendString(frame.Append(out, 'S', nil), 'Q', sql)
	var rows, told [][]byte
	failed, err := r.exchange(out, 3, func(f captured) {
		switch f.typ {
		case 'N':
			i.keepNotices([][]byte{f.body})
		case 'D':
			rows = append(rows, dataRow(f.body)[0])
		case 'C':
			tag, _, _ := frame.CString(f.body)
			switch {
			case bytes.HasPrefix(tag, []byte("INSERT ")):
				i.aux = make([]bool, tagCount(string(tag)))
			case bytes.HasPrefix(tag, []byte("SELECT ")):
				told, rows = rows, nil // the last one counts
			}
		}
	})
	r.s.giveBuffer(out)
	if failed != nil && err == nil {
		return r.nativeError(failed)
	}
	if err != nil {
		return nil, err
	}
	i.filled = len(i.kept)
	for _, row := range told {
		if e := markAux(i.aux, [][]byte{row}); e != nil {
			return e, nil
		}
	}
	return nil, nil
}

// fromTemp puts the rows into their tables, and answers the client.
func (r *routedBinds) fromTemp(i *routedInsert, plan *rewrite.TempInsert) (*pgerr.Error, error) {
	s := r.s
	body := r.message(r.units[0].bind).body()
	i.temp = &routedTemp{plan: plan, formats: append([]byte{}, body[paramsEnd(body):]...)}
	i.ordered = r.t.insp.UserCode && len(rewrite.RoutedByRuns(i.aux)) <= maxTempRuns
	r.t.inBlock = true // the Sync ends ours
	i.in = s.inject()
	failed, err := i.targets(r.t.stmt)
	if failed == nil && err == nil {
		failed, err = i.tryForms([]routedForm{formTemp})
	}
	if failed == nil && err == nil {
		failed, err = i.end()
	}
	if failed != nil && err == nil {
		if failed.Get('P') != "" { // it's about the clauses, which the server has parsed behind the client's own
			failed = i.ofClause(failed)
		}
		err = i.abort()
	}
	i.in.release()
	if err != nil {
		return nil, err
	}
	if failed != nil {
		r.reply = append(r.reply, i.kept...)
		return failed.With('P', ""), nil
	}
	if len(r.name) == 0 {
		s.mu.Lock()
		parse := s.statements.reparse()
		if s.commitSync {
			s.reparse = parse
		}
		s.mu.Unlock()
		if _, err := r.exchange(frame.Append(parse, 'S', nil), 1, func(captured) {}); err != nil {
			return nil, err
		}
	}
	out := append(r.reply, i.kept...)
	if r.t.stmt.Returning != "" {
		for _, row := range i.rows() {
			out = frame.Append(out, 'D', row)
		}
	}
	out = frame.AppendString(out, 'C', "INSERT 0 "+strconv.FormatInt(i.total(), 10))
	s.unsynced, s.executed, s.pipe, s.last = true, true, pipeline{}, nil
	s.srv.metrics.count(rewrite.KindInsert, routedWay)
	s.cr.Discard(r.size)
	s.plain, s.cleared = max(0, s.plain-r.size), 0
	return nil, s.writeClient(out)
}
