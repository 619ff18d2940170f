package bulk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// loadRun is the state of the loader goroutine. It moves one way:
//
//	tolerant   files are loaded one by one by COPYs behind savepoints
//	external   files are loaded one by one by the engine's external table, or
//	           group by group
//	transcoded files are loaded one by one by COPYs of their rows in binary
//	pulling    the server pulls the rows of all files, by one statement
//	native     from some file on, a COPY on the session takes everything
//	ended      committed, or rolled back
//
// A load by MethodCopy starts in transcoded or native; so does one by MethodTable,
// whose COPYs fill a temporary table. One that skips bad rows starts in tolerant.
type loadRun struct {
	// begun: the session is in a transaction block that the load opened.
	begun bool
	// savepoint: the savepoint pgbulkproxy is open; loaded: what lies behind it
	// is a file that is in, and not one that failed.
	savepoint, loaded bool
	// files and rows that external tables, or COPYs of a few rows, have loaded.
	files int
	rows  int64
	// transfer is that of MethodTable, through the temporary table named.
	transfer rewrite.Transfer
	table    string
	// probe is the temporary table of transfer where single bad rows go through it.
	probe string
	copy  Copy
	// shift is what is to be added to the line numbers of copy's errors.
	shift int64
	// feeding: copy was given data.
	feeding bool
	// copied are the files that went into copy, for the ledger.
	copied []*file
	// staged are the files of a load that is acknowledged when staged; their bytes
	// are not held any more.
	staged []*file
	// pull is the statement of MethodPull while it runs.
	pull *pull
	// group are the files that the next plan reads.
	group []*file
	// kept are the files that a replay sends again; lost: one of them is gone.
	kept []*file
	lost bool
	// repeated: a load with the same label was there before.
	repeated   bool
	rejects    rejects
	transcoded transcoded
	// reason why an external load went on natively, or "".
	fallback rewrite.Reason
}

// savepoint names of ours; a client's savepoint of the same name is shadowed
// until ours is released.
const (
	setSavepoint      = "SAVEPOINT pgbulkproxy; "
	releaseSavepoint  = "RELEASE SAVEPOINT pgbulkproxy; "
	rollbackSavepoint = "ROLLBACK TO SAVEPOINT pgbulkproxy; RELEASE SAVEPOINT pgbulkproxy"
)

// loop is the loader goroutine.
func (ld *Load) loop() {
	err := ld.work()
	if err == nil {
		ld.rows, err = ld.complete()
	}
	ld.dropPull()
	if err != nil {
		ld.err = ld.undo(ld.nativeError(err))
	}
	for _, f := range ld.run.kept {
		f.letGo()
	}
	ld.dropGroup(len(ld.run.group))
	ld.stopTranscoding()
	ld.busy.Store(false)
	close(ld.done)
	if e := pgerr.As(ld.err); e != nil && ld.spec.Interrupt != nil {
		// The producer may be waiting for the client's data.
		ld.spec.Interrupt(e)
	}
}

// work takes the data until it ends.
func (ld *Load) work() error {
	if ld.run.repeated {
		close(ld.described)
		return ld.skipFiles()
	}
	err := ld.prepareTranscoder()
	close(ld.described)
	if err != nil {
		return err
	}
	return ld.loadFiles()
}

// loadFiles loads the files as they come, until the data ends.
func (ld *Load) loadFiles() error {
	if ld.spec.Decision.Method == rewrite.MethodPull {
		return ld.pullFiles()
	}
	if ld.spec.Decision.Method != rewrite.MethodExternal && !ld.spec.tolerant() && ld.run.transcoded.turns == nil {
		if err := ld.startCopy(); err != nil {
			return err
		}
	}
	return ld.eachFile(ld.nextFile, ld.loadFile, ld.loadGroup)
}

// eachFile loads files as next gives them, until there is none, then ends.
func (ld *Load) eachFile(next func() (*file, error), load func(*file) error, end func() error) error {
	for {
		f, err := next()
		if err != nil {
			return err
		}
		if f == nil {
			return end()
		}
		err = load(f)
		<-ld.slots
		if err != nil {
			return err
		}
	}
}

// nextFile waits for the next file; nil when the data has ended. While nothing
// runs on the session it sends keep-alives where a timeout would end it.
func (ld *Load) nextFile() (*file, error) {
	alive, stop := ld.keepAlive()
	defer stop()
	stopped := ld.stopped
	for {
		select {
		case f := <-ld.files:
			return f, nil
		case <-stopped:
			if err := ld.obey(); err != nil {
				return nil, err
			}
			stopped, alive = nil, nil // the server has the cancel, and a COPY
		case <-ld.ctx.Done():
			return nil, context.Cause(ld.ctx)
		case <-alive:
			if _, err := ld.exec(""); err != nil {
				return nil, err
			}
		}
	}
}

// obey carries out a stop while no statement runs. A cancel of the user's goes
// to the server once a COPY runs there; it then takes effect at the next data,
// as natively. Everything else ends the load at once.
func (ld *Load) obey() error {
	copying := ld.run.copy != nil
	switch {
	case errors.Is(ld.cause, errCancelled) || errors.Is(ld.cause, errTimeout) && copying:
		if copying {
			return nil // stop has sent it
		}
		if err := ld.fallBack(rewrite.ReasonFallbackCancel); err != nil {
			return err
		}
		if err := ld.startCopy(); err != nil {
			return err
		}
		return ld.feedGroup()
	case copying:
		_, err := ld.endCopy(Frame{Type: 'f', Body: []byte("load stopped\x00")})
		if err != nil && pgerr.As(err) == nil {
			return err
		}
	}
	return ld.cause
}

// keepAlive ticks at a third of the shortest idle timeout of the session, or
// never: SQLSTATE 25P03 and 57P05 would end it while data still arrives.
func (ld *Load) keepAlive() (<-chan time.Time, func()) {
	in := ld.spec.Inspection
	var shortest time.Duration
	for _, d := range []time.Duration{in.IdleInTransactionTimeout, in.IdleSessionTimeout} {
		if d > 0 && (shortest == 0 || d < shortest) {
			shortest = d
		}
	}
	if shortest == 0 || ld.run.copy != nil {
		return nil, func() {}
	}
	t := time.NewTicker(max(shortest/3, time.Millisecond))
	return t.C, t.Stop
}

// loadFile brings one file into the table.
func (ld *Load) loadFile(f *file) error {
	if ld.run.copy == nil && ld.run.fallback == "" && ld.acknowledges() {
		return ld.stageFile(f)
	}
	if ld.groups.size > 1 && ld.run.copy == nil && !ld.spec.tolerant() && !ld.replays() {
		return ld.collect(f)
	}
	if ld.replays() {
		ld.keepBytes(f)
	} else {
		defer f.held.release()
	}
	if ld.run.copy == nil {
		done, err := ld.tryFile(f)
		if done || err != nil {
			return err
		}
		if err := ld.startCopy(); err != nil {
			return err
		}
	}
	if err := ld.beginFeed(f); err != nil {
		return err
	}
	return ld.feed(f)
}

// tryFile loads a file by something else than the one COPY.
func (ld *Load) tryFile(f *file) (bool, error) {
	if ld.spec.tolerant() {
		return ld.tryTolerant(f)
	}
	if ld.run.transcoded.turns != nil {
		return ld.tryTranscoded(f)
	}
	return ld.tryExternal([]*file{f})
}

// tryExternal loads a group of files by the engine's external table. It answers
// false where they have to go natively; the session is then as before them.
func (ld *Load) tryExternal(group []*file) (bool, error) {
	if group[0].raw {
		return false, ld.fallBack(rewrite.ReasonIrregular)
	}
	var rows int64
	for _, f := range group {
		if err := ld.awaitUpload(f); err != nil {
			return false, err
		}
		if ld.isStopped() {
			return false, ld.stopExternal(nil)
		}
		if f.upErr != nil {
			return false, ld.fallBack(rewrite.ReasonFallbackStore)
		}
		rows += f.rows
	}
	first := group[0].number
	began := time.Now()
	count, err := ld.external(group, rows)
	ld.heed(err)
	switch {
	case err == nil && count == rows:
		ld.run.loaded = true
		ld.run.files += len(group)
		ld.run.rows += count
		ld.noteImports(group)
		ld.l.breaker(ld.spec.Inspection.Database).Success()
		ld.l.metrics.phase(phaseLoad, time.Since(began))
		return true, nil
	case ld.isStopped():
		return false, ld.stopExternal(err)
	case err == nil:
		ld.log.Error("engine read another number of rows than were staged", "file", first, "rows", rows, "read", count)
		ld.l.breaker(ld.spec.Inspection.Database).Failure()
		return false, ld.fallBack(rewrite.ReasonFallbackCount)
	}
	e := pgerr.As(err)
	if e == nil && !errors.Is(err, errPlan) || errors.Is(err, errBracket) {
		return false, err
	}
	if !isDataError(e) {
		ld.l.breaker(ld.spec.Inspection.Database).Failure()
		ld.log.Warn("load by external table, going on natively", "file", first, "error", engine.MaskURL(err.Error()))
	}
	return false, ld.fallBack(rewrite.ReasonFallbackEngine)
}

// stopExternal follows a stop before, during or after a file's load: a cancel
// goes on natively, where the server meets it; all else ends the load. err is
// that of the file's load, if it ran.
func (ld *Load) stopExternal(err error) error {
	if err != nil && (pgerr.As(err) == nil || errors.Is(err, errBracket)) {
		return err
	}
	if errors.Is(ld.cause, errCancelled) {
		return ld.fallBack(rewrite.ReasonFallbackCancel)
	}
	if err := ld.undoFile(); err != nil {
		return err
	}
	return ld.cause
}

// heed makes a cancel of the load of one that met a statement of ours, and came from
// elsewhere (pg_cancel_backend): the statement that the client sent is to meet it.
// With a timeout it may be the server's clock, which was ahead of the load's. Code of
// a user's that raises this SQLSTATE is no cancel: the server names the place where it
// heeds one.
func (ld *Load) heed(err error) {
	e := pgerr.As(err)
	if e != nil && e.Code() == pgerr.QueryCanceled && e.Get('R') == "ProcessInterrupts" && ld.timer == nil && !ld.isStopped() {
		ld.stop(errCancelled)
	}
}

// isDataError says that the client's data, not the engine, is the likely cause:
// the native COPY will fail in the same way and say it in its own words. What the
// server can't even parse is a plan of ours.
func isDataError(e *pgerr.Error) bool {
	if e == nil || e.Code() == pgerr.SyntaxError {
		return false
	}
	switch e.Class() {
	case "22", "23", "P0", "40", "42", "25", "54":
		return true
	}
	return false
}

var (
	errPlan = errors.New("plan external table")
	// errBracket: the savepoint itself failed, so that there is nothing to
	// roll back to without losing the file before.
	errBracket = errors.New("set savepoint")
)

// external runs the load of one group and returns the rows that were read, which
// should be so many.
func (ld *Load) external(group []*file, rows int64) (int64, error) {
	plan, access, done, err := ld.plan(group)
	defer done()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errPlan, err)
	}
	before, bracket := setSavepoint, 1
	if ld.run.savepoint {
		before, bracket = releaseSavepoint+before, 2
	}
	ld.run.savepoint, ld.run.loaded = true, false
	pieces := []string{before + plan.SQL()}
	if ld.engine.Caps().Access {
		// The savepoint by itself, too: of a text with a syntax error nothing is run.
		pieces = append([]string{before}, plan.Pieces()...)
	}
	var results []Result
	for i, sql := range pieces {
		if i > 0 && ld.isStopped() {
			return noCount, nil // tryExternal looks
		}
		more, err := ld.exec(sql)
		more, err = withoutSecrets(access, more, err)
		results = append(results, more...)
		if err != nil {
			if pgerr.As(err) != nil && len(results) < bracket {
				err = fmt.Errorf("%w: %w", errBracket, err)
			}
			return 0, err
		}
	}
	count, notices, err := counted(plan, results)
	if err != nil || count != rows {
		return count, err // the native COPY will give its own notices
	}
	return count, ld.sess.Notify(notices)
}

// noteImports has the import rows of files written that the server has read,
// where the engine's own statements do not.
func (ld *Load) noteImports(group []*file) {
	if ld.engine.Caps().InstallNeeded {
		return
	}
	for _, f := range group {
		read := *f
		read.external, read.bytes, read.held, read.let = true, f.size(), nil, true
		ld.run.copied = append(ld.run.copied, &read)
	}
}

// noCount is no number of rows.
const noCount = -1

func parseCount(s string) (n int64) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return noCount
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

func (ld *Load) sealSession() engine.Session {
	in := ld.spec.Inspection
	return engine.Session{Database: in.Database, BackendPID: in.BackendPID, Role: in.Role}
}

func (ld *Load) engineFile(f *file, url string) engine.File {
	return engine.File{
		ProcessID: ld.id, Number: f.number, URL: url, First: f.number == 1,
		Records: f.rows, Bytes: f.size(), CRC32C: f.crc,
	}
}

// fallBack undoes the file under way and notes that the rest goes natively.
func (ld *Load) fallBack(reason rewrite.Reason) error {
	ld.run.fallback = reason
	return ld.undoFile()
}

// undoFile ends the savepoint: the file under way is undone, one that is loaded
// stays.
func (ld *Load) undoFile() error {
	if !ld.run.savepoint {
		return nil
	}
	ld.run.savepoint = false
	if ld.run.loaded {
		_, err := ld.exec(ld.leave(strings.TrimSuffix(releaseSavepoint, "; ")))
		return err
	}
	_, err := ld.exec(ld.leave(rollbackSavepoint))
	return err
}

// awaitUpload waits for a file's upload to end, keeping the session alive.
func (ld *Load) awaitUpload(f *file) error {
	alive, stop := ld.keepAlive()
	defer stop()
	for {
		select {
		case <-f.uploaded:
			return nil
		case <-ld.stopped:
			return nil // tryExternal looks
		case <-ld.ctx.Done():
			return context.Cause(ld.ctx)
		case <-alive:
			if _, err := ld.exec(""); err != nil {
				return err
			}
		}
	}
}

// exec runs SQL of ours; while it runs a cancel reaches the server.
func (ld *Load) exec(sql string) ([]Result, error) {
	ld.busy.Store(true)
	defer ld.busy.Store(false)
	return ld.sess.Exec(ld.ctx, sql)
}
