package bulk

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/transcode"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// transcoded is what a load knows whose files go to the server as COPY binary, one
// by one, each behind a savepoint:
//
//	it is in             the next one goes in the same way
//	it does not fit      it is undone, and goes by a COPY of the client's own bytes,
//	                     whose error is the load's; the next one is tried again
//	two in a row do not  what is left goes by one COPY of the client's own bytes
type transcoded struct {
	// turns is nil where files don't go so.
	turns *transcode.Transcoder
	sql   string
	// memory was taken from the budget.
	memory int64
	// misfits are files that did not fit, since the last one that did.
	misfits int
	// draws: rows get numbers of a sequence, which are not drawn twice: each file is
	// looked through before.
	draws bool
	// check is turns for the producer, where it is to look files through.
	check atomic.Pointer[transcode.Transcoder]
}

// maxMisfits files in a row, and the rest is not tried.
const maxMisfits = 2

// transcodes says that rows of the load may go as COPY binary. A small one is not
// worth the question.
func (ld *Load) transcodes() bool {
	return !ld.spec.Unstaged && ld.l.transcodable(&ld.spec.Decision, ld.spec.Statement, ld.spec.Inspection) &&
		(ld.spec.Decision.Method != rewrite.MethodExternal || ld.storesBinary())
}

// copyTarget is the table that COPYs of the load fill: the client's, or the
// temporary one.
func (ld *Load) copyTarget() *rewrite.Inspection {
	in := ld.spec.Inspection
	if ld.spec.Decision.Method != rewrite.MethodTable {
		return in
	}
	return &rewrite.Inspection{Schema: "pg_temp", Table: ld.run.table, Columns: ld.spec.Decision.Ext.DataColumns(in)}
}

// prepareTranscoder asks the server what the columns are, while the first file is
// still to come.
func (ld *Load) prepareTranscoder() error {
	if !ld.transcodes() {
		return nil
	}
	target := ld.copyTarget()
	table := pgident.Literal(pgident.Qualified(target.Schema, target.Table)) + "::pg_catalog.regclass"
	results, err := ld.exec(setSavepoint + transcode.DescribeSQL(table) + "; " + ld.leave(strings.TrimSuffix(releaseSavepoint, "; ")))
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		ld.heed(err)
		_, err := ld.exec(ld.leave(rollbackSavepoint))
		if pgerr.As(err) != nil {
			return e.With('P', "") // not even the savepoint was set
		}
		return err
	}
	if err != nil || len(results) < 3 || len(results[1].Rows) != 1 {
		return err
	}
	d, err := transcode.Describe(results[1].Rows[0][0], target.Columns)
	if err != nil {
		return err
	}
	if d.UserCode {
		ld.log.Debug("not transcoded", "error", "functions of users could tell the client something twice")
		return nil
	}
	s, t := ld.spec.Statement, &ld.run.transcoded
	for i, name := range target.Columns {
		d.Columns[i].ForceNull = s.ForceNullAll || slices.Contains(s.ForceNull, name)
		d.Columns[i].ForceNotNull = s.ForceNotNullAll || slices.Contains(s.ForceNotNull, name)
	}
	format := transcode.Format{CSV: s.Format == rewrite.FormatCSV, Delimiter: s.Delimiter, Quote: s.Quote, Escape: s.Escape, Null: s.Null}
	turns, err := transcode.New(d.Columns, format, d.Settings)
	if err != nil {
		ld.log.Debug("not transcoded", "error", err)
		return nil
	}
	if ld.spec.Decision.Method == rewrite.MethodExternal {
		ld.binaries.turns = turns
		return nil
	}
	memory := ld.l.turning.Memory
	if d.Draws {
		memory *= 2 // the next file is looked through meanwhile
	}
	if !ld.l.mem.Overdraw(memory) {
		ld.log.Debug("not transcoded", "error", ErrNoMemory)
		return nil
	}
	binary := rewrite.CopyStatement{Format: rewrite.FormatBinary}
	t.turns, t.sql, t.memory, t.draws = turns, binary.Native(target, false), memory, d.Draws
	if t.draws {
		t.check.Store(turns)
	}
	return nil
}

// stopTranscoding gives the memory back.
func (ld *Load) stopTranscoding() {
	t := &ld.run.transcoded
	t.check.Store(nil)
	ld.l.mem.Return(t.memory)
	t.turns, t.memory = nil, 0
}

// tryTranscoded loads a file by a COPY of its rows in binary, or by a COPY of its
// own. It answers false where the rest has to go natively, as tryExternal does. The
// file's upload goes on beside it: whether it fails is no matter.
func (ld *Load) tryTranscoded(f *file) (bool, error) {
	if f.raw {
		return false, ld.fallBack(rewrite.ReasonIrregular)
	}
	if ld.isStopped() {
		return false, ld.stopExternal(nil)
	}
	began := time.Now()
	n, err := ld.copyTranscoded(f)
	ld.l.metrics.transcodedFile(err == nil && n == f.rows)
	ld.heed(err)
	switch {
	case err == nil && n == f.rows:
		ld.run.transcoded.misfits = 0
		return true, ld.inPiece(f, n, began)
	case ld.isStopped():
		return false, ld.stopExternal(err)
	case err == nil:
		ld.run.loaded = false // so that it is undone
		return false, ld.fallBack(rewrite.ReasonFallbackCount)
	case pgerr.As(err) == nil && !errors.Is(err, errMisfit), errors.Is(err, errBracket):
		return false, err
	case ld.spec.Inspection.Spread && isInterrupted(pgerr.As(err)):
		return false, pgerr.As(err).With('W', "") // its lines are those of the file
	}
	if ld.run.transcoded.misfits++; ld.run.transcoded.misfits == maxMisfits {
		return false, ld.fallBack(rewrite.ReasonFallbackTranscode)
	}
	if n, err = ld.copyAlone(f); err != nil {
		if stopped := ld.isStopped() && !errors.Is(ld.cause, errCancelled); stopped && pgerr.As(err) != nil {
			return false, ld.stopExternal(err)
		}
		return false, ld.atLine(err)
	}
	return true, ld.inPiece(f, n, began)
}

// isInterrupted says that a distributed server has given up a statement under way.
// Behind it, going back to a savepoint does not bring the other nodes into order
// (Citus: 25P02), so that the error would not be told if the file went again.
func isInterrupted(e *pgerr.Error) bool {
	return e != nil && (e.Class() == "40" || e.Class() == "57")
}

// inPiece notes that a file is in, by a COPY of its own.
func (ld *Load) inPiece(f *file, n int64, began time.Time) error {
	ld.run.files++
	ld.run.rows += n
	f.external = true
	ld.run.copied = append(ld.run.copied, f)
	ld.l.metrics.phase(phaseLoad, time.Since(began))
	ld.log.Debug("file loaded by itself", "file", f.number, "rows", n, "transcoded", ld.run.transcoded.misfits == 0)
	return ld.awaitUpload(f) // so that memory stays bounded
}

// copyAlone sends the client's bytes of a file through a COPY of its own. An error
// is natively the load's.
func (ld *Load) copyAlone(f *file) (int64, error) {
	stmt, target, csv := ld.spec.Statement, ld.copyTarget(), ld.spec.Statement.Format == rewrite.FormatCSV
	sql, head := stmt.Native(target, f.number > 1), ""
	ld.run.shift = f.before.Lines
	if f.number > 1 && csv {
		sql, head = ld.continuation().Native(target, false), f.eol
		ld.run.shift--
	}
	return ld.copyRange(sql, []byte(head), f.held, int64(f.head), f.held.Size()-int64(f.tail))
}
