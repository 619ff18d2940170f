package wire

import (
	"errors"
	"slices"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// maxBatchRuns is in how many COPYs a batch may go whose rows must keep their
// order.
const maxBatchRuns = 100

// runRoutedBatch sends a batch as a COPY into each table. What can't go like that
// goes Bind by Bind (routedbind.go), as what fails does: so the error is the one of
// the first Bind that is in error.
func (t *insertTask) runRoutedBatch(size int) error {
	r := &routedInsert{t: t, in: t.s.inject()}
	failed, err := r.tryBatch()
	if failed == nil && err == nil {
		failed, err = r.end()
	}
	var pass values.Pass
	if errors.As(err, &pass) {
		failed, err = pgerr.New(pgerr.FeatureNotSupported, "%s", string(pass)), nil
	}
	if failed != nil && err == nil && t.inBlock && !isFinal(failed) {
		err = r.undoBatch()
	}
	r.in.release()
	t.s.last = nil
	switch {
	case err != nil:
		return err
	case failed != nil && isFinal(failed):
		return t.cancelled(failed, size)
	case failed != nil:
		t.s.log.Debug("routed batch goes Bind by Bind", "sqlstate", failed.Code(), "error", failed.Get('M'))
		return t.pass(rewrite.ReasonRouted, size)
	}
	t.s.srv.metrics.count(rewrite.KindInsert, routedWay)
	t.kept = r.kept
	t.rows, t.tag = r.total(), ""
	if t.batch.binds == 1 {
		t.setTag(r.total())
	}
	if err := t.s.restoreUnnamed(); err != nil {
		return err
	}
	return t.succeed(size)
}

// notAsBatch says why a batch is not sent as COPYs. Nobody sees it.
func notAsBatch(reason rewrite.Reason) *pgerr.Error {
	return pgerr.New(pgerr.FeatureNotSupported, "%s", string(reason))
}

// tryBatch sends the rows. failed is why they are not in their tables.
func (r *routedInsert) tryBatch() (failed *pgerr.Error, err error) {
	t := r.t
	switch in := t.insp; {
	case t.refused != nil:
		return notAsBatch(rewrite.ReasonRouted), nil
	case t.stmt.Conflict != rewrite.ConflictError || t.stmt.Returning != "" || t.stmt.HasDefault:
		return notAsBatch(rewrite.ReasonBatchReturning), nil
	case in.StatementTriggers || in.SelfReference:
		return notAsBatch(rewrite.ReasonStatementTriggers), nil
	}
	t.batch.encoded = 0
	keys, of, err := t.routingKeys()
	if err != nil {
		return nil, err
	}
	r.aux = make([]bool, len(of))
	if failed, err := r.ask(keys, of); failed != nil || err != nil {
		return failed, err
	}
	if r.anyAux() && t.insp.Routing.TakesOther(t.insp, t.stmt) {
		return notAsBatch(rewrite.ReasonOtherDefault), nil
	}
	if failed, err := r.targets(t.stmt); failed != nil || err != nil {
		return failed, err
	}
	pieces := rewrite.RoutedByTable(r.aux)
	if r.ordered {
		pieces = rewrite.RoutedByRuns(r.aux)
	}
	caps := rewrite.Caps{InBlock: t.inBlock, Params: true, Several: true}
	if len(pieces) > maxBatchRuns || slices.ContainsFunc(pieces, func(p rewrite.RoutedPiece) bool {
		table := r.table(p)
		return rewrite.ClassifyInsert(table.Statement, table.In, caps).Method != rewrite.MethodRows
	}) {
		return notAsBatch(rewrite.ReasonRoutedOrder), nil
	}
	t.batch.encoded = 0
	return r.try(formRows, pieces)
}

// undoBatch brings the client's block to where it was.
func (r *routedInsert) undoBatch() error {
	var err error
	switch {
	case r.asking:
		_, err = r.in.Exec(r.t.s.ctx, r.t.s.leave(undoAsking+"; "+endAsking))
	case r.saved:
		_, err = r.in.Exec(r.t.s.ctx, r.t.s.leave(rollbackInsert))
	}
	return err
}
