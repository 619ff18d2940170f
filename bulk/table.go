package bulk

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// prepare runs what a load with extensions begins with: it empties the table, or
// makes the temporary one of MethodTable. What the server has against the
// statements that will follow it says now, before the client sends its data.
func (ld *Load) prepare() error {
	x, in := &ld.spec.Decision.Ext, ld.spec.Inspection
	var sql []string
	if empty := x.EmptySQL(in); empty != "" {
		sql = append(sql, empty)
	}
	if ld.spec.Decision.Method == rewrite.MethodTable {
		if err := ld.inspectRows(); err != nil {
			return err
		}
		if ld.replays() {
			sql = append(sql, strings.TrimSuffix(setSavepoint, "; "))
			ld.run.savepoint, ld.run.loaded = true, true
		}
		ld.run.table = "pgbulkproxy_" + ld.id
		t := ld.spec.Statement.Transfer(in, x, ld.run.table)
		ld.run.transfer = t
		if t.Lock != "" {
			sql = slices.Insert(sql, 0, t.Lock)
		}
		sql = append(sql, t.Create)
		for _, later := range t.Changes() {
			sql = append(sql, "EXPLAIN (COSTS OFF) "+later)
		}
	}
	if len(sql) == 0 {
		return nil
	}
	results, err := ld.sess.Exec(ld.ctx, strings.Join(sql, "; "))
	if e := pgerr.As(err); e != nil {
		return e.With('P', "") // a position in our text
	}
	if err != nil {
		return err
	}
	return ld.notify(results)
}

// moveRows takes the rows from the temporary table into the client's, and
// returns how many were inserted, updated or deleted there. given is how many
// there are.
func (ld *Load) moveRows(given int64) (int64, error) {
	t := ld.run.transfer
	if ld.timer != nil {
		ld.timer.Stop() // the server's own clock runs
	}
	if err := ld.checkOperations(); err != nil {
		return 0, err
	}
	if err := ld.checkTwice(); err != nil {
		return 0, err
	}
	results, err := ld.execLong(ld.withinTimeout(t.Move()))
	if err != nil {
		return 0, ld.atLine(err)
	}
	var n int64
	for i, r := range results {
		waited := i == 0 && t.Wait != ""
		if t.Counts && !waited && len(r.Rows) == 1 && len(r.Rows[0]) == 1 {
			n += parseCount(string(r.Rows[0][0]))
		}
		for _, tag := range []string{"INSERT 0 ", "UPDATE ", "DELETE "} {
			if count, ok := strings.CutPrefix(r.Tag, tag); ok {
				n += parseCount(count)
			}
		}
	}
	if err := ld.checkMoved(given, n); err != nil {
		return 0, err
	}
	return n, ld.notify(results)
}

// withinTimeout gives statements what the client's statement_timeout has left:
// its clock runs since the client's own statement came.
func (ld *Load) withinTimeout(sql string) string {
	limit := ld.spec.Inspection.StatementTimeout
	if limit <= 0 {
		return sql
	}
	left := max(limit-time.Since(ld.spec.Started), time.Millisecond)
	return fmt.Sprintf("SET LOCAL statement_timeout = %d; %s; SET LOCAL statement_timeout = %d",
		left.Milliseconds(), sql, limit.Milliseconds())
}

// Pauses before a cancel is sent once more: the server ignores one that comes before
// the statement. The first is cancelAgain, each is twice as long as the one before, up
// to cancelSeldom. A coordinator of Greenplum passes a cancel on to its segments only
// when it has heard nothing for 100 ms, no further cancel either (checkDispatchResult):
// at an even 50 ms they were never told, and the statement did not end.
const (
	cancelAgain  = 50 * time.Millisecond
	cancelSeldom = 3 * time.Second
)

// execLong is exec for statements that may take long: they end also by a cancel
// that came while nothing ran. It has a goroutine that ends before it returns.
func (ld *Load) execLong(sql string) ([]Result, error) {
	over, quiet := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(quiet)
		select {
		case <-ld.stopped:
		case <-over:
			return
		}
		for pause := cancelAgain; ; pause = min(2*pause, cancelSeldom) {
			ld.sess.Cancel()
			again := time.NewTimer(pause)
			select {
			case <-again.C:
			case <-over:
				again.Stop()
				return
			}
		}
	}()
	results, err := ld.exec(sql)
	close(over)
	<-quiet
	return results, err
}

// checkOperations looks whether a merge can obey every row.
func (ld *Load) checkOperations() error {
	if ld.run.transfer.Check == "" {
		return nil
	}
	results, err := ld.execLong(ld.run.transfer.Check)
	if err != nil || len(results) == 0 || len(results[0].Rows) == 0 || len(results[0].Rows[0]) != 3 {
		return ld.atLine(err)
	}
	row := results[0].Rows[0]
	e := pgerr.New(pgerr.InvalidParameter, "pgbulkproxy: row %s of the data has no operation I, U or D in its OPERATION_COLUMN", row[0])
	if string(row[2]) == "t" {
		e = pgerr.New(pgerr.NotNullViolation, "pgbulkproxy: row %s of the data deletes by a key with NULL", row[0])
	}
	if ld.spec.InBlock {
		if err := FailTransaction(ld.ctx, ld.sess); err != nil {
			return err
		}
	}
	return e
}

// checkTwice fails as ON CONFLICT DO UPDATE does where a key is in the data twice.
func (ld *Load) checkTwice() error {
	if ld.run.transfer.Twice == "" {
		return nil
	}
	results, err := ld.execLong(ld.withinTimeout(ld.run.transfer.Twice))
	if err != nil {
		return ld.atLine(err)
	}
	if !slices.ContainsFunc(results, func(r Result) bool { return len(r.Rows) > 0 }) {
		return nil
	}
	if ld.spec.InBlock {
		if err := FailTransaction(ld.ctx, ld.sess); err != nil {
			return err
		}
	}
	return pgerr.New(pgerr.CardinalityViolation, "ON CONFLICT DO UPDATE command cannot affect row a second time").
		With('H', "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
}

func (ld *Load) notify(results []Result) error {
	for _, r := range results {
		if err := ld.sess.Notify(r.Notices); err != nil {
			return err
		}
	}
	return nil
}

// ownNames puts the name of the client's table in the place of the temporary
// one's.
func (ld *Load) ownNames(where string) string {
	if ld.run.table == "" {
		return where
	}
	return renameTable(where, ld.run.table, ld.spec.Inspection.Table)
}

// renameTable puts another table's name in the lines of a CONTEXT.
func renameTable(where, from, to string) string {
	return strings.ReplaceAll(where, "COPY "+from+", line ", "COPY "+to+", line ")
}
