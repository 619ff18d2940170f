package wire

import (
	"errors"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// routedInsert is an INSERT by the simple protocol into a table with an auxiliary
// one. It runs in the client's block, or in one of ours, which holds the table's
// lock: what it finds of the routes stays true to the end.
//
//	enter    lock, and count the routes (in the task, behind its inspection)
//	ask      which of the rows are the auxiliary table's
//	try      each piece of the rows into its table, in the fastest form that is
//	         exact: files in S3 and a load of both tables, COPYs, arrays, the client's own text cut in pieces, or from a
//	         temporary table (routedtemp.go)
//	         → undo: the next form
//	end      commit, where the block is ours
//
// It never relays the client's statement as it is, unless all rows are the main
// table's.
type routedInsert struct {
	t      *insertTask
	in     *injector
	aux    []bool // of each row, whether it is the auxiliary table's
	tables [2]rewrite.InsertTarget
	// ordered: the order of the rows can be seen in what defaults give them.
	ordered bool
	// constraint is what that of the ON CONFLICT is called in the auxiliary table.
	constraint string
	// saved: the savepoint is set; asking: that of the question is.
	saved, asking bool
	explained     bool // the server has seen the client's text, and verdict is what it said
	verdict       *pgerr.Error
	spans         [][2]int
	temp          *routedTemp
	pieces        []rewrite.RoutedPiece // that replies are of
	replies       []pieceReply
	raw           bool // kept is all that the client gets
	direct        bool // and the client gets it at once
	kept          []byte
	tag           []byte // and this, once the transaction has ended well
	filled        int    // how much of kept is of filling the temporary table
}

// routedForm is how the pieces go to the server.
type routedForm byte

const (
	formStage routedForm = iota
	formRows
	formArrays
	formText
	formTemp
)

// enter takes the lock of a routed table, and looks at its routes. What stands
// against every load is left in refused.
func (t *insertTask) enter() error {
	if t.insp.ReadOnly {
		return nil // the server says so
	}
	if t.refused = t.insp.Routing.Err(); t.refused != nil {
		return nil
	}
	routes, err := t.s.enterRoutes(t.insp)
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		t.refused = e.With('P', "")
		return nil
	}
	if err != nil {
		return err
	}
	t.routes = routes
	t.refused = t.routes.Err(t.insp)
	return nil
}

// routed says whether the statement has to go as a routedInsert.
func (t *insertTask) routed() bool {
	return t.refused != nil || t.routes != nil && (!t.routes.Idle() || !t.inBlock && t.batch == nil)
}

// routedWay is the decision on a statement that goes as a routedInsert.
var routedWay = rewrite.Decision{Way: rewrite.Stream, Reason: rewrite.ReasonRouted}

// runRouted takes the statement over; size is the length of the client's message.
func (t *insertTask) runRouted(size int) error {
	r := &routedInsert{t: t, in: t.s.inject()}
	failed, err := t.refused, error(nil)
	if failed == nil {
		failed, err = r.run()
	}
	return r.finish(failed, err, size)
}

// finish answers the client.
func (r *routedInsert) finish(failed *pgerr.Error, err error, size int) error {
	t := r.t
	if failed == nil && err == nil {
		failed, err = r.end()
	}
	if failed != nil && err == nil {
		err = r.abort()
	}
	r.in.release()
	if err != nil {
		return err
	}
	t.s.last = nil
	if failed != nil {
		t.s.log.Debug("routed INSERT failed", "sqlstate", failed.Code(), "error", failed.Get('M'))
		if err := t.s.writeClient(r.kept); err != nil {
			return err
		}
		return t.fail(failed.With('W', withoutCopy(failed.Get('W'))), size)
	}
	t.s.srv.metrics.count(rewrite.KindInsert, routedWay)
	t.kept = r.reply()
	return t.succeed(size)
}

// run does all up to the end of the transaction. failed is the client's error.
func (r *routedInsert) run() (failed *pgerr.Error, err error) {
	t := r.t
	r.aux = make([]bool, t.stmt.Rows)
	if !t.routes.Idle() {
		keys, of, err := t.routingKeys()
		var pass values.Pass
		if errors.As(err, &pass) {
			return r.viaTemp(rewrite.AnyOf(t.stmt))
		}
		if err != nil {
			return nil, err
		}
		if failed, err := r.ask(keys, of); failed != nil || err != nil {
			return failed, err
		}
	}
	if t.batch == nil && r.needsTemp() {
		if r.saved { // it sets one of its own
			r.saved = false
			if failed, err := r.exec(r.t.s.leave(releaseInsert)); failed != nil || err != nil {
				return failed, err
			}
		}
		return r.viaTemp(rewrite.AnyOf(t.stmt))
	}
	if failed, err := r.targets(t.stmt); failed != nil || err != nil {
		return failed, err
	}
	return r.tryForms(r.forms())
}

// needsTemp says whether rows whose tables are known have to go through a temporary
// table all the same: they take the main table's defaults in either; and only one
// statement for each table sees that it would change a row twice.
func (r *routedInsert) needsTemp() bool {
	t := r.t
	return r.anyAux() && t.insp.Routing.TakesOther(t.insp, t.stmt) ||
		t.stmt.Conflict == rewrite.ConflictUpdate && r.ordered && len(rewrite.RoutedByTable(r.aux)) > 1
}

// tryForms tries one form after the other.
func (r *routedInsert) tryForms(forms []routedForm) (failed *pgerr.Error, err error) {
	if !r.saved && len(forms) > 1 {
		r.saved = true
		if failed, err := r.exec(setRouted); failed != nil || err != nil {
			return failed, err
		}
	}
	for _, form := range forms {
		if failed != nil {
			err = r.undo()
		}
		if err == nil {
			failed, err = r.tryForm(form)
		}
		if failed == nil || err != nil || r.isFinal(failed) {
			break
		}
	}
	return failed, err
}

// targets makes the statements for the two tables.
func (r *routedInsert) targets(stmt *rewrite.InsertStatement) (failed *pgerr.Error, err error) {
	in := r.t.insp
	r.tables[0] = stmt.Main(in)
	if !r.anyAux() {
		return nil, nil
	}
	reason := rewrite.ReasonNone
	switch r.tables[1], err = stmt.Aux(in, r.constraint); {
	case err != nil:
		reason = rewrite.ReasonRoutedClause
	case in.Rules:
		reason = rewrite.ReasonRules
	case stmt.OverridesUser():
		reason = rewrite.ReasonOverridingUser
	default:
		return nil, nil
	}
	if failed, err := r.explain(stmt.SQL); failed != nil || err != nil {
		return failed, err
	}
	return in.Routing.Refuse(in, reason).ErrorResponse(), nil
}

func (r *routedInsert) anyAux() bool {
	for _, a := range r.aux {
		if a {
			return true
		}
	}
	return false
}

// forms are the ways to try, in order. Few rows go as they are: what is faster
// does not pay for them.
func (r *routedInsert) forms() []routedForm {
	t := r.t
	pieces := rewrite.RoutedByTable(r.aux)
	if t.stmt.Rows < max(t.s.srv.cfg.InsertMinRows, 1) {
		return []routedForm{formText}
	}
	form := formRows
	for _, p := range pieces {
		table := r.table(p)
		d := rewrite.ClassifyInsert(table.Statement, table.In, rewrite.Caps{InBlock: true, Several: len(pieces) > 1})
		switch {
		case d.Way != rewrite.Stream:
			return []routedForm{formText}
		case d.Method == rewrite.MethodArrays:
			form = formArrays
		}
	}
	if limit := t.s.srv.cfg.InsertStageBytes; t.batch == nil && form == formRows && limit >= 0 && int64(len(t.stmt.SQL)) >= limit {
		return []routedForm{formStage, formRows, formText}
	}
	return []routedForm{form, formText}
}

func (r *routedInsert) table(p rewrite.RoutedPiece) *rewrite.InsertTarget {
	if p.Aux {
		return &r.tables[1]
	}
	return &r.tables[0]
}

// isFinal says that an error is the client's, whatever else might be tried.
func (r *routedInsert) isFinal(e *pgerr.Error) bool { return e == r.verdict || isFinal(e) }

// isFinal says so of an error whatever the statement: it
// waited too long, was cancelled, could not be serialized, or the server is short
// of something.
func isFinal(e *pgerr.Error) bool {
	switch e.Class() {
	case "08", "40", "53", "57", "58":
		return true
	}
	return e.IsFatal() || isWaitError(e)
}

// The savepoint to which a form that failed is undone. The locks were taken before.
const (
	setRouted  = "SAVEPOINT pgbulkproxy_insert"
	undoRouted = "ROLLBACK TO SAVEPOINT pgbulkproxy_insert"
	setAsking  = "SAVEPOINT pgbulkproxy_route"
	undoAsking = "ROLLBACK TO SAVEPOINT pgbulkproxy_route"
	endAsking  = "RELEASE SAVEPOINT pgbulkproxy_route"
)

// asked is the one statement behind a question that had its answer.
func (s *session) asked() string {
	if s.spread {
		return strings.TrimPrefix(bulk.Stay, "; ")
	}
	return endAsking
}

func (r *routedInsert) undo() error {
	_, err := r.in.Exec(r.t.s.ctx, undoRouted)
	return err
}

// end ends the transaction if it is ours. An error of its end is the client's.
func (r *routedInsert) end() (failed *pgerr.Error, err error) {
	sql := ""
	if r.saved {
		sql = r.t.s.leave(releaseInsert) + "; "
	}
	if r.temp != nil && r.t.inBlock {
		sql += r.temp.plan.DropSQL() + "; "
	}
	if !r.t.inBlock {
		sql += "COMMIT"
	}
	if sql == "" {
		return nil, nil
	}
	return r.exec(sql)
}

// exec runs statements of ours; failed is the server's error.
func (r *routedInsert) exec(sql string) (failed *pgerr.Error, err error) {
	_, err = r.in.Exec(r.t.s.ctx, sql)
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		return e, nil
	}
	return nil, err
}

// abort leaves the session as the client's statement would have, had it failed:
// without savepoints of ours.
func (r *routedInsert) abort() error {
	ctx, status := r.t.s.ctx, r.t.s.txStatus()
	if !r.t.inBlock {
		if status == 'I' {
			return nil
		}
		_, err := r.in.Exec(ctx, "ROLLBACK")
		return err
	}
	undo := ""
	switch {
	case r.saved:
		undo = rollbackInsert
	case r.asking:
		undo = undoAsking + "; " + endAsking
	}
	if undo != "" {
		if _, err := r.in.Exec(ctx, undo); err != nil {
			return err
		}
	} else if status != 'T' {
		return nil
	}
	return bulk.FailTransaction(ctx, r.in)
}
