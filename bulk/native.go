package bulk

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// startCopy starts the native COPY for what is not loaded yet. Where nothing is
// loaded it is the client's own statement; else one that means the same for the
// rest.
func (ld *Load) startCopy() error {
	switch {
	case ld.run.files == 0 && ld.spec.Decision.Method == rewrite.MethodTable:
		return ld.openCopy(ld.run.transfer.Copy)
	case ld.run.files == 0 && ld.spec.Decision.Ext.Asked():
		return ld.openCopy(ld.spec.Statement.Native(ld.spec.Inspection, false)) // without what is ours
	case ld.run.files == 0:
		return ld.openCopy(ld.spec.Statement.SQL)
	}
	return ld.openCopy(ld.continuation().Native(ld.copyTarget(), ld.spec.Statement.Format != rewrite.FormatCSV))
}

// continuation is the client's statement for the rest of its data. A csv COPY
// is given a header line of ours: as long as COPY has not seen a line's end, it
// does not count those within quotes, and line numbers would be wrong.
func (ld *Load) continuation() *rewrite.CopyStatement {
	c := *ld.spec.Statement
	if c.Format == rewrite.FormatCSV {
		c.Header, c.HeaderMatch, c.HeaderLines = true, false, 1
	}
	return &c
}

func (ld *Load) openCopy(sql string) error {
	// busy stays set: a cancel is the server's as long as the COPY lasts.
	ld.busy.Store(true)
	if ld.timer != nil {
		ld.timer.Stop() // the server's own clock runs
	}
	c, err := ld.sess.StartCopy(ld.ctx, sql)
	if err != nil {
		ld.busy.Store(false)
		return err
	}
	ld.run.copy = c
	if ld.isStopped() {
		ld.sess.Cancel() // it came before busy was set
	}
	return nil
}

// beginFeed sends what the COPY needs before the first data: the client's
// binary header, or the header line of a continuation.
func (ld *Load) beginFeed(f *file) error {
	if ld.run.feeding {
		return nil
	}
	ld.run.feeding = true
	var head []byte
	switch {
	case ld.spec.Statement.Format == rewrite.FormatBinary:
		head = f.binaryHeader
	case ld.run.files > 0 && ld.spec.Statement.Format == rewrite.FormatCSV:
		head = []byte(f.eol)
		ld.run.shift = -1
	}
	ld.run.shift += f.before.Lines
	return ld.atLine(ld.run.copy.Write(head))
}

// feed sends the client's bytes of one file into the COPY, and waits for its
// upload, so that memory stays bounded.
func (ld *Load) feed(f *file) error {
	began := time.Now()
	to := f.held.Size() - int64(f.tail)
	err := f.held.each(int64(f.head), to, ld.run.copy.Write)
	if err != nil {
		return ld.atLine(err)
	}
	ld.l.metrics.bytes(legServer, int(to)-f.head)
	ld.l.metrics.phase(phaseLoad, time.Since(began))
	ld.run.copied = append(ld.run.copied, f)
	select {
	case <-f.uploaded:
		return nil
	case <-ld.stopped:
		return nil // nextFile looks
	case <-ld.ctx.Done():
		return ld.ctx.Err()
	}
}

// endCopy ends the native COPY with the client's frame.
func (ld *Load) endCopy(end Frame) (int64, error) {
	n, err := ld.run.copy.End(ld.ctx, end)
	ld.run.copy = nil
	ld.busy.Store(false)
	return n, ld.atLine(err)
}

// atLine corrects the line numbers in the CONTEXT of an error that a native
// COPY gave which began at a later file than the first: natively the COPY would
// have counted the lines of the files before, too.
func (ld *Load) atLine(err error) error {
	e := pgerr.As(err)
	if e == nil || ld.run.shift == 0 && ld.run.table == "" {
		return err
	}
	where := e.Get('W')
	fixed := shiftLines(ld.ownNames(where), ld.spec.Inspection.Table, ld.run.shift)
	if fixed == where {
		return err
	}
	return e.With('W', fixed)
}

// shiftLines adds n to the line number of every line of a CONTEXT that reads
// "COPY table, line N…".
func shiftLines(where, table string, n int64) string {
	mark := "COPY " + table + ", line "
	lines := strings.Split(where, "\n")
	for i, l := range lines {
		rest, ok := strings.CutPrefix(l, mark)
		if !ok {
			continue
		}
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		at, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			continue
		}
		lines[i] = mark + strconv.FormatInt(at+n, 10) + rest[digits:]
	}
	return strings.Join(lines, "\n")
}

// complete ends the load when all files are in: the COPY, the ledger, the
// bracket.
func (ld *Load) complete() (int64, error) {
	end, err := ld.endFrame()
	if err != nil {
		return 0, err
	}
	r := &ld.run
	if err := ld.flushRejects(); err != nil {
		return 0, err
	}
	var n int64
	if r.copy != nil {
		if n, err = ld.endCopy(end); err != nil {
			return 0, err
		}
	}
	total := r.rows + n
	if ld.spec.Decision.Method == rewrite.MethodTable && !r.repeated {
		if total, err = ld.moveRows(total); err != nil {
			return 0, err
		}
	}
	if err := ld.recordImports(n); err != nil {
		return 0, err
	}
	if ld.isStopped() && !errors.Is(ld.cause, errCancelled) {
		return 0, ld.cause
	}
	if err := ld.bookkeep(total); err != nil {
		return 0, err
	}
	sql := ""
	if r.savepoint {
		sql = ld.leave(strings.TrimSuffix(releaseSavepoint, "; ")) + "; "
		r.savepoint = false
	}
	if r.begun && !ld.spec.CommitLater {
		sql += "COMMIT"
	}
	if err := ld.tellSkipped(); err != nil {
		return 0, err
	}
	if sql != "" {
		if _, err := ld.exec(sql); err != nil {
			return 0, err // a cancel may hit the RELEASE: undo ends the block
		}
	}
	return total, nil
}

// bookkeep writes what has to commit with the rows and is not written yet.
func (ld *Load) bookkeep(total int64) error {
	switch {
	case ld.db == nil || ld.run.repeated:
		return nil
	case len(ld.run.staged) > 0:
		if err := ld.recordStaged(); err != nil {
			return err
		}
	case ld.run.files == 0 && len(ld.run.copied) == 0:
		// The ledger knows by import rows that a load has committed.
		if err := ld.recordEmpty(); err != nil {
			return err
		}
	}
	return ld.finishLabel(total)
}

// recordEmpty writes the import row of a load without data.
func (ld *Load) recordEmpty() error {
	ld.run.copied = append(ld.run.copied, &file{number: 1, uploaded: closedChan()})
	return ld.recordImports(0)
}

func closedChan() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// endFrame returns the frame with which the client ended its data.
func (ld *Load) endFrame() (Frame, error) {
	select {
	case end := <-ld.end:
		return end, nil
	default:
	}
	if ld.isStopped() {
		if err := ld.obey(); err != nil {
			return Frame{}, err
		}
		return Frame{Type: 'f', Body: []byte("load stopped\x00")}, nil
	}
	return Frame{}, errAborted
}

// recordImports writes the ledger rows of files that went through the COPY, or
// were read by statements that don't write them, behind a savepoint: a ledger
// that fails must not take the client's rows with it. Files that never came into
// the store are recorded too: without import rows the ledger would take the load
// for one that did not commit. n is the number of rows that the COPY counted. It
// fails where the savepoint does: then the rows are not to be kept.
func (ld *Load) recordImports(n int64) error {
	sql := ld.importsSQL(n)
	if sql == "" {
		return nil
	}
	sql, bracket := setSavepoint+sql+ld.leave(strings.TrimSuffix(releaseSavepoint, "; ")), 1
	if ld.run.savepoint {
		ld.run.savepoint = false
		sql, bracket = releaseSavepoint+sql, 2
	}
	results, err := ld.exec(sql)
	if err == nil {
		return nil
	}
	ld.books.failed("record import", err)
	if pgerr.As(err) == nil {
		return nil // a lost connection shows at the COMMIT
	}
	if len(results) < bracket {
		return err
	}
	_, err = ld.exec(ld.leave(rollbackSavepoint))
	return err
}

// leave is what ends a savepoint of the load's.
func (ld *Load) leave(sql string) string {
	if ld.spec.InBlock && ld.spec.Inspection.Spread {
		sql += Stay
	}
	return sql
}

// importsSQL returns what recordImports runs, or "".
func (ld *Load) importsSQL(n int64) string {
	if ld.db == nil {
		return ""
	}
	var sql strings.Builder
	for i, f := range ld.run.copied {
		select {
		case <-f.uploaded: // feed has not waited if a cancel came, too late
		case <-ld.ctx.Done():
			return ""
		}
		switch {
		case f.tolerated:
			f.rows = f.loaded
			n += f.rows
		case f.external:
			n += f.rows
		}
		if f.raw && i == len(ld.run.copied)-1 {
			f.rows = max(n, 0) // only the server knows
		}
		n -= f.rows
		one, err := sealed.ImportSQL(ld.sealSession(), ld.engineFile(f, ""), ld.db.Key, time.Now().Add(ld.l.cfg.URLTTL))
		if err != nil {
			ld.books.failed("seal import", err)
			return ""
		}
		sql.WriteString(one + "; ")
	}
	return sql.String()
}

// undo leaves the session as a failed statement leaves it, and returns the
// error for the client: outside a transaction block nothing remains; inside,
// the block has failed.
func (ld *Load) undo(err error) error {
	if errors.Is(err, errTimeout) {
		err = TimeOut(ld.ctx, ld.sess)
	}
	e := pgerr.As(err)
	if e == nil || errors.Is(err, ErrSessionLost) {
		return err
	}
	if own := ld.ownError(); own != nil && e.Code() == pgerr.QueryCanceled {
		e = own // our cancel was a means to it
	}
	if ld.spec.InBlock && ld.isStopped() && error(e) == ld.cause {
		// Nothing has failed on the server yet.
		if uerr := FailTransaction(ld.ctx, ld.sess); uerr != nil {
			return uerr
		}
	}
	if ld.run.begun {
		ld.run.begun = false
		if uerr := ld.rollback(); uerr != nil {
			return errors.Join(e, ErrSessionLost)
		}
	}
	return e
}

// ErrSessionLost is joined to the server's error where the session was lost
// behind it: the client gets to hear the error, but no ReadyForQuery.
var ErrSessionLost = errors.New("the session is lost")

// ownError returns the caller's error that stopped the load, if one did.
func (ld *Load) ownError() *pgerr.Error {
	if !ld.isStopped() {
		return nil
	}
	return pgerr.As(ld.cause)
}

// rollback ends the load's own block. No cancel is sent while it runs; but one
// that was sent before may hit it, and then it is tried again.
func (ld *Load) rollback() error {
	for range maxRollbacks {
		_, err := ld.sess.Exec(ld.ctx, "ROLLBACK")
		e := pgerr.As(err)
		if e == nil {
			return err
		}
		if e.Code() != pgerr.QueryCanceled {
			break // no block is left, or no session
		}
	}
	return nil
}

// maxRollbacks is more than the cancels that can be under way.
const maxRollbacks = 10

// FailTransaction makes the session's transaction block fail, for an error that
// the server does not know of.
func FailTransaction(ctx context.Context, s Session) error {
	_, err := s.Exec(ctx, "ROLLBACK TO SAVEPOINT pgbulkproxy_failed")
	if pgerr.As(err) != nil {
		return nil
	}
	return err
}

// TimeOut makes the server end a statement by statement_timeout, in place of
// the client's, and returns its error. The session is inside a transaction
// block, which fails.
func TimeOut(ctx context.Context, s Session) error {
	_, err := s.Exec(ctx, "SET LOCAL statement_timeout = 1; SELECT pg_catalog.pg_sleep(3600)")
	return err
}
