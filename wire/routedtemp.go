package wire

import (
	"errors"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// routedTemp is an INSERT whose rows only the server can tell: of expressions,
// defaults, a SELECT. The client's own statement puts them into a temporary table
// first, which has the table's columns and defaults, and numbers them.
type routedTemp struct {
	plan *rewrite.TempInsert
	// formats are the result formats of a Bind, and what ends it; nil: the rows go
	// back as those of a Query.
	formats []byte
}

// maxTempRuns bounds the runs that are taken out of the temporary table one by
// one: each reads all of it.
const maxTempRuns = 500

// viaTemp runs the statement through a temporary table.
func (r *routedInsert) viaTemp(a *rewrite.AnyInsert) (failed *pgerr.Error, err error) {
	t := r.t
	in := t.insp
	if !in.InsertPrivilege {
		return in.Routing.Refuse(in, rewrite.ReasonColumnPrivileges).ErrorResponse(), nil
	}
	if failed, err := r.explain(a.Statement.SQL); failed != nil || err != nil {
		return failed, err
	}
	if a.Statement.OverridesUser() {
		return in.Routing.Refuse(in, rewrite.ReasonOverridingUser).ErrorResponse(), nil
	}
	if !a.StandsAlone {
		return in.Routing.Refuse(in, rewrite.ReasonRoutedClause).ErrorResponse(), nil
	}
	results, err := r.in.Exec(t.s.ctx, rewrite.TempColumnsSQL(in))
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, errors.New("the columns were not told")
	}
	plan, err := rewrite.NewTempInsert(in, results[0].Rows)
	if err != nil {
		return nil, err
	}
	t.stmt = a.Statement
	if failed, err := r.fillTemp(plan, a); failed != nil || err != nil {
		return failed, err
	}
	r.temp = &routedTemp{plan: plan}
	r.ordered = in.UserCode && len(rewrite.RoutedByRuns(r.aux)) <= maxTempRuns // it may tell the order
	if failed, err := r.targets(a.Statement); failed != nil || err != nil {
		return failed, err
	}
	return r.tryForms([]routedForm{formTemp})
}

// fillTemp makes the table and fills it, and looks where the rows go.
func (r *routedInsert) fillTemp(plan *rewrite.TempInsert, a *rewrite.AnyInsert) (failed *pgerr.Error, err error) {
	sql := plan.FillSQL(a) + "; "
	if wait := plan.WaitSQL(r.t.routes.Moving); wait != "" {
		sql += wait + "; "
	}
	results, failed, err := r.question(sql+plan.AuxSQL(), a.Statement.Constraint())
	if failed != nil || err != nil {
		return failed, err
	}
	for _, result := range results {
		r.keepNotices(result.Notices)
		if strings.HasPrefix(result.Tag, "INSERT ") {
			r.aux = make([]bool, tagCount(result.Tag))
		}
	}
	r.filled = len(r.kept)
	return markAll(r.aux, results[len(results)-1].Rows), nil
}

// insert puts the pieces where they belong.
func (m *routedTemp) insert(r *routedInsert, pieces []rewrite.RoutedPiece) (failed *pgerr.Error, err error) {
	sql := make([]string, len(pieces))
	for i, p := range pieces {
		sql[i] = m.plan.InsertSQL(r.table(p), p, p.From == 0 && p.To == len(r.aux))
	}
	if m.formats == nil {
		return r.query(frame.AppendString(nil, 'Q', strings.Join(sql, "; ")))
	}
	var out []byte
	for i, text := range sql {
		out = frame.Append(out, 'P', append([]byte("\x00"+text), 0, 0, 0))
		out = append(frame.Append(out, 'B', append(make([]byte, 6), m.formats...)), execute...)
		if i < len(sql)-1 && len(out) < maxTempSent {
			continue
		}
		if failed, err = r.query(frame.Append(out, 'S', nil)); failed != nil || err != nil {
			return failed, err
		}
		out = out[:0]
	}
	return nil, nil
}

// maxTempSent bounds what is sent while the server may answer with rows: it must
// fit into the buffers in between.
const maxTempSent = 8 << 10
