package bulk

import (
	"errors"
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// tolerance brings the rows of one file into the table but for the bad ones. It
// sends runs of records through COPYs, each behind a savepoint:
//
//	a run is in       the next one is twice as long
//	a run fails       it is known to hold a bad record; the error's CONTEXT gives
//	                  a hint which. What is before that one is sent again, or half
//	                  of the run where there is no hint, and then the next part
//	a record fails    that was sent alone: it is bad, and the next run is a quarter of
//	                  the records since the last bad one
//
// So a record is skipped only when the server refused it by itself, behind all
// good ones before it: that is what a COPY of each row behind a savepoint would
// do. A bad record costs five statements where they come at regular distances, some
// log n at most, and the records since the last bad one are sent two or three times.
type tolerance struct {
	ld    *Load
	f     *file
	recs  *records // nil until they are needed
	start mark     // records before it are loaded or skipped
	end   mark     // of the file
	// bad: a record in [start, bad) is known to be bad; 0 is none. hinted says that
	// it is likely the last of them.
	bad    int64
	hinted bool
}

// tryTolerant loads a file without its bad rows. It answers false where that
// can't be done, since where rows end is not known: then the rest goes through
// one COPY, whose error is the load's.
func (ld *Load) tryTolerant(f *file) (bool, error) {
	if f.raw {
		return false, ld.fallBack(rewrite.ReasonIrregular)
	}
	began := time.Now()
	t := &tolerance{ld: ld, f: f}
	t.start = mark{lines: f.before.Lines}
	t.end = mark{off: f.held.Size(), n: f.rows}
	if err := t.load(); err != nil {
		return false, err
	}
	f.tolerated = true
	ld.run.rows += f.loaded
	ld.run.files++
	ld.run.copied = append(ld.run.copied, f)
	ld.l.metrics.phase(phaseLoad, time.Since(began))
	return true, ld.awaitUpload(f) // so that memory stays bounded
}

func (t *tolerance) load() error {
	if err := t.header(); err != nil {
		return err
	}
	if err := t.whole(); err != nil {
		return err
	}
	for t.start.n < t.end.n {
		end, err := t.next()
		if err != nil {
			return err
		}
		if err := t.ld.stopTolerant(); err != nil {
			return err
		}
		n, err := t.ld.copyRun(t, end)
		if err == nil {
			t.loaded(end, n)
			continue
		}
		if err := t.failed(end, err); err != nil {
			return err
		}
	}
	if !t.ld.run.loaded {
		return t.ld.undoFile() // the last record was bad
	}
	return nil
}

// whole sends the file as COPY binary. Where that fails, its rows are looked at.
func (t *tolerance) whole() error {
	r := &t.ld.run.transcoded
	if r.turns == nil || r.misfits >= maxMisfits || t.end.n == t.start.n {
		return nil
	}
	n, err := t.ld.copyTranscoded(t.f)
	t.ld.l.metrics.transcodedFile(err == nil)
	if err == nil {
		r.misfits = 0
		t.loaded(t.end, n)
		return nil
	}
	r.misfits++
	if pgerr.As(err) == nil && !errors.Is(err, errMisfit) || errors.Is(err, errBracket) {
		return err
	}
	t.ld.heed(err)
	return t.ld.stopTolerant()
}

// header puts the header lines before the server, in a COPY of their own: what
// is wrong with them is no bad row. Where there are no rows, this COPY is the
// load.
func (t *tolerance) header() error {
	h := int64(t.ld.spec.Statement.HeaderLines)
	if t.f.number > 1 || h == 0 && t.end.n > 0 {
		return nil
	}
	recs, err := t.records()
	if err != nil {
		return err
	}
	t.end = recs.marks[len(recs.marks)-1]
	end, err := recs.at(min(h, t.end.n))
	if err != nil {
		return err
	}
	sql := t.ld.spec.Statement.Native(t.ld.spec.Inspection, false)
	t.ld.run.shift = 0
	_, err = t.ld.copyRange(sql, nil, t.f.held, t.start.off, end.off)
	if pgerr.As(err) != nil {
		if stop := t.ld.stopTolerant(); stop != nil {
			return stop
		}
	}
	t.start = end
	return err
}

// records looks through the file, once.
func (t *tolerance) records() (*records, error) {
	if t.recs != nil {
		return t.recs, nil
	}
	recs, err := newRecords(t.f, t.ld.spec.scanOptions())
	if err != nil {
		return nil, pgerr.New(pgerr.SystemError, "pgbulkproxy: %s", err)
	}
	n := recs.count()
	if t.f.number == 1 {
		n -= min(n, int64(t.ld.spec.Statement.HeaderLines))
	}
	if n != t.f.rows {
		return nil, pgerr.New(pgerr.SystemError, "pgbulkproxy: file %d has %d rows, not %d", t.f.number, n, t.f.rows)
	}
	t.recs = recs
	return recs, nil
}

// next returns where the next run ends.
func (t *tolerance) next() (mark, error) {
	n, step := t.end.n, t.ld.run.rejects.step
	switch left := t.bad - t.start.n; {
	case left > 1 && t.hinted:
		n = t.bad - 1
	case left > 1:
		n = t.start.n + left/2
	case left == 1:
		n = t.bad
	case step > 0 && step < t.end.n-t.start.n:
		n = t.start.n + step
	}
	if n == t.end.n {
		return t.end, nil
	}
	recs, err := t.records()
	if err != nil {
		return mark{}, err
	}
	return recs.at(n)
}

// loaded notes that a run is in.
func (t *tolerance) loaded(end mark, n int64) {
	t.f.loaded += n
	t.start = end
	r := &t.ld.run.rejects
	r.since += n
	if t.bad == 0 && r.step > 0 && r.step < 1<<40 {
		r.step *= 2
	}
	if t.start.n >= t.bad {
		t.bad = 0 // the hint was wrong
	}
}

// failed judges the error of a run: it may be that of the load.
func (t *tolerance) failed(end mark, err error) error {
	e := pgerr.As(err)
	if e == nil {
		return err
	}
	if err := t.ld.stopTolerant(); err != nil {
		return err
	}
	hidden := t.ld.hides(e)
	if e.IsFatal() || e.Class() != "22" && e.Class() != "23" && !hidden {
		return t.ld.atLine(e)
	}
	recs, err := t.records()
	if err != nil {
		return err
	}
	if end.n-t.start.n == 1 && hidden {
		if e, err = t.probe(end); e == nil || err != nil {
			return err
		}
	}
	if end.n-t.start.n == 1 {
		end, err = recs.at(end.n)
		if err != nil {
			return err
		}
		raw, err := recs.raw(t.start, end, maxRejectRaw)
		if err != nil {
			return pgerr.New(pgerr.SystemError, "pgbulkproxy: %s", err)
		}
		t.start, t.bad = end, 0
		return t.ld.reject(e, end.lines, raw)
	}
	t.bad, t.hinted = end.n, false
	if line, ok := errorLine(e, t.ld.spec.Inspection.Table); ok {
		at, err := recs.onLine(line + t.ld.run.shift)
		if err != nil {
			return pgerr.New(pgerr.SystemError, "pgbulkproxy: %s", err)
		}
		if at >= t.start.n && at < end.n {
			t.bad, t.hinted = at+1, true
		}
	}
	return nil
}

// stopTolerant ends the load where it was stopped, but not for a cancel of the
// user's: that one the next COPY meets. A cancel of ours that came late must not
// hit what is still to be done.
func (ld *Load) stopTolerant() error {
	if !ld.isStopped() || errors.Is(ld.cause, errCancelled) {
		return nil
	}
	<-ld.told
	for range maxRollbacks {
		open := ld.run.savepoint
		ld.run.loaded = false // nothing of it is to stay
		err := ld.undoFile()
		e := pgerr.As(err)
		if e == nil && err != nil {
			return err // the session is lost
		}
		if e == nil || e.Code() != pgerr.QueryCanceled {
			break
		}
		ld.run.savepoint = open
	}
	return ld.cause
}

// copyRun sends the records from t.start to end through a COPY and returns how
// many the server took.
func (ld *Load) copyRun(t *tolerance, end mark) (int64, error) {
	sql, head := ld.statementOf(t, ld.spec.Inspection)
	return ld.copyRange(sql, head, t.f.held, t.start.off, end.off)
}

// statementOf is the COPY for the records from t.start on, and what goes before
// their bytes.
func (ld *Load) statementOf(t *tolerance, in *rewrite.Inspection) (sql string, head []byte) {
	stmt := ld.spec.Statement
	ld.run.shift = t.start.lines
	if stmt.Format != rewrite.FormatCSV || t.start.off == 0 && t.f.number == 1 {
		return stmt.Native(in, true), nil
	}
	eol := t.f.eol
	if t.f.number == 1 {
		eol = t.recs.eol
	}
	ld.run.shift--
	return ld.continuation().Native(in, false), []byte(eol)
}

// copyRange sends head and a part of a file through a COPY behind a savepoint.
func (ld *Load) copyRange(sql string, head []byte, h *held, from, to int64) (int64, error) {
	return ld.copyBehind(sql, func(c Copy) error {
		if err := c.Write(head); err != nil {
			return err
		}
		return h.each(from, to, func(p []byte) error {
			ld.l.metrics.bytes(legServer, len(p))
			return c.Write(p)
		})
	})
}

// copyBehind runs a COPY that feed gives data, behind a savepoint, which stays
// open.
func (ld *Load) copyBehind(sql string, feed func(Copy) error) (int64, error) {
	bracket := 0
	switch {
	case !ld.run.savepoint:
		sql, bracket = setSavepoint+sql, 1
	case ld.run.loaded:
		sql, bracket = releaseSavepoint+setSavepoint+sql, 2
	default:
		sql = "ROLLBACK TO SAVEPOINT pgbulkproxy; " + sql
	}
	ld.run.savepoint, ld.run.loaded = true, false
	ld.busy.Store(true)
	defer ld.busy.Store(false)
	c, err := ld.sess.StartCopy(ld.ctx, sql)
	if err != nil {
		var start *StartError
		if errors.As(err, &start) && start.Completed < bracket {
			err = fmt.Errorf("%w: %w", errBracket, err)
		}
		return 0, err
	}
	if ld.isStopped() {
		ld.sess.Cancel() // it came while nothing ran
	}
	if err := feed(c); err != nil {
		return 0, err
	}
	n, err := c.End(ld.ctx, CopyDone())
	if err == nil {
		ld.run.loaded = true
	}
	return n, err
}
