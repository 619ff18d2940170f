package wire

import (
	"errors"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// routedTemp is an INSERT whose rows only the server can tell: of expressions,
// defaults, a SELECT. The client's own statement puts them into a temporary table
// first, which has the table's columns and defaults, and numbers them.
type routedTemp struct {
	plan *rewrite.TempInsert
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
	t := r.t
	in, route := t.insp, t.insp.Routing
	name := a.Statement.Constraint()
	sql := setAsking + "; " + plan.FillSQL(a) + "; "
	if wait := plan.WaitSQL(t.routes.Moving); wait != "" {
		sql += wait + "; "
	}
	sql += plan.AuxSQL()
	if name != "" {
		sql += "; " + route.ConstraintSQL(in, name)
	}
	r.asking = true
	results, err := r.in.Exec(t.s.ctx, sql+"; "+endAsking+"; "+setRouted)
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		return r.nativeError(e)
	}
	if err != nil {
		return nil, err
	}
	r.asking, r.saved = false, true
	for _, result := range results {
		r.keepNotices(result.Notices)
		if strings.HasPrefix(result.Tag, "INSERT ") {
			r.aux = make([]bool, tagCount(result.Tag))
		}
	}
	r.filled = len(r.kept)
	results = results[:len(results)-2]
	if name != "" {
		r.constraint = firstField(results[len(results)-1].Rows)
		results = results[:len(results)-1]
	}
	for _, row := range results[len(results)-1].Rows {
		n, err := strconv.Atoi(string(row[0]))
		if err != nil || n < 1 || n > len(r.aux) {
			return pgerr.New(pgerr.InternalError, "pgbulkproxy: row %q of %d", row[0], len(r.aux)), nil
		}
		r.aux[n-1] = true
	}
	return nil, nil
}

// insertSQL puts the pieces where they belong.
func (m *routedTemp) insertSQL(r *routedInsert, pieces []rewrite.RoutedPiece) string {
	var out []string
	for _, p := range pieces {
		whole := p.From == 0 && p.To == len(r.aux)
		out = append(out, m.plan.InsertSQL(r.table(p), p, whole))
	}
	return strings.Join(out, "; ")
}
