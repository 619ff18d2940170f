package bulk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/gpfdist"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// pull is one INSERT … SELECT under way whose rows the server's segments pull,
// while later files still come. It runs on a goroutine of its own, the only user
// of the session until done is closed; stop ends it, and so does an error of the
// stream, which is one of the statement.
//
// All files are kept until its tag is there: in memory or in a local file, or in
// the store once they are uploaded and no segment reads them any more. If it
// fails in any way, they go through the client's own COPY.
type pull struct {
	stream *gpfdist.Stream
	began  time.Time
	// rows were handed to the stream.
	rows int64
	// results, err and done are those of the statement.
	results []Result
	err     error
	done    chan struct{}
}

// pullFiles loads the files as they come, by MethodPull.
func (ld *Load) pullFiles() error {
	return ld.eachFile(ld.nextPulled, ld.pullFile, ld.endPull)
}

// nextPulled waits for the next file, for a stop, and for the end of a statement
// that should not end yet.
func (ld *Load) nextPulled() (*file, error) {
	for ld.run.pull != nil {
		select {
		case f := <-ld.files:
			return f, nil
		case <-ld.run.pull.done:
			if err := ld.leavePull(""); err != nil {
				return nil, err
			}
		case <-ld.stopped:
			if err := ld.leavePull(""); err != nil {
				return nil, err
			}
		case <-ld.ctx.Done():
			return nil, context.Cause(ld.ctx)
		}
	}
	return ld.nextFile()
}

// pullFile hands one file over. Where that can't be, it goes natively, with all
// before it.
func (ld *Load) pullFile(f *file) error {
	ld.run.kept = append(ld.run.kept, f)
	switch {
	case ld.run.copy != nil:
		return ld.feedPulled(f)
	case f.raw && ld.run.pull != nil:
		return ld.leavePull(rewrite.ReasonIrregular)
	case f.raw:
		return ld.goNative(rewrite.ReasonIrregular)
	case f.rows == 0:
		return nil
	}
	if ld.run.pull == nil {
		if err := ld.startPull(f); err != nil {
			return err
		}
	}
	if p := ld.run.pull; p != nil {
		switch err := ld.handOver(p, f); {
		case errors.Is(err, errHeader):
			return ld.leavePull(rewrite.ReasonIrregular)
		case err != nil:
			return ld.leavePull("")
		}
	}
	return ld.thin()
}

// startPull begins the statement. Where that can't be, the load is native behind it.
func (ld *Load) startPull(f *file) error {
	plan, stream, err := ld.planPull(f)
	if err != nil {
		ld.log.Warn("plan load by gpfdist, going on natively", "error", err)
		return ld.goNative(rewrite.ReasonFallbackEngine)
	}
	p := &pull{stream: stream, began: time.Now(), done: make(chan struct{})}
	sql := setSavepoint + plan.SQL()
	ld.run.pull, ld.run.savepoint, ld.run.loaded = p, true, false
	go func() {
		p.results, p.err = ld.execLong(sql)
		p.stream.Fail(errPullEnded)
		close(p.done)
	}()
	return nil
}

// errPullEnded fails a stream whose statement has ended: nobody reads it.
var errPullEnded = errors.New("the statement that pulls the rows has ended")

// planPull returns the statement with a stream for it.
func (ld *Load) planPull(f *file) (engine.Plan, *gpfdist.Stream, error) {
	stream, err := ld.l.pull.Open("COPY " + ld.spec.Inspection.Table)
	if err != nil {
		return engine.Plan{}, nil, fmt.Errorf("%w: %w", errPlan, err)
	}
	stmt := *ld.spec.Statement
	stmt.Header, stmt.HeaderMatch, stmt.HeaderLines = false, false, 0
	group := engine.Group{Files: []engine.File{{ProcessID: ld.id, Number: f.number}}, EOL: lineEndAt(f.held, f.blocks[0].off), Pull: stream.URL()}
	plan, err := ld.engine.Plan(ld.target, &stmt, ld.sealSession(), group, nil, time.Time{})
	if err != nil {
		stream.Close()
		return engine.Plan{}, nil, fmt.Errorf("%w: %w", errPlan, err)
	}
	return plan, stream, nil
}

// handOver gives the blocks of a file to the segments, and waits while none takes
// one.
func (ld *Load) handOver(p *pull, f *file) error {
	from, at := int64(0), f.before
	if f.number == 1 && ld.spec.Statement.HeaderLines > 0 {
		from, at = ld.headerEnd(f)
		if from < 0 {
			return errHeader
		}
	}
	for _, to := range f.blocks {
		if to.off == from {
			continue
		}
		f.reading.Add(1)
		b := gpfdist.Block{Data: &piece{f: f, from: from, to: to.off}, Size: to.off - from, Rows: to.at.Rows - at.Rows, Line: at.Lines + 1}
		if err := p.stream.Add(ld.ctx, b); err != nil {
			return err // the reading that will not be is no matter: the pull is over
		}
		from, at = to.off, to.at
	}
	p.rows += f.rows
	ld.l.metrics.bytes(legServer, int(f.held.Size()))
	return nil
}

// thin waits until the files before the last are uploaded, so that memory stays
// bounded as it does by MethodCopy, and lets go of those that can be read back.
func (ld *Load) thin() error {
	p := ld.run.pull
	if p == nil {
		return nil
	}
	for _, f := range ld.run.kept[:len(ld.run.kept)-1] {
		if f.let {
			continue
		}
		select {
		case <-f.uploaded:
		case <-ld.stopped:
			return nil // nextPulled looks
		case <-p.done:
			return nil
		case <-ld.ctx.Done():
			return context.Cause(ld.ctx)
		}
		if f.upErr == nil && f.reading.Load() == 0 {
			f.letGo()
		}
	}
	return nil
}

// endPull follows the end of the data: the count of rows decides.
func (ld *Load) endPull() error {
	p := ld.run.pull
	if p == nil {
		return nil // native, or no rows
	}
	p.stream.Finish()
	if err := ld.awaitPull(p); err != nil {
		return err
	}
	count, notices := int64(-1), [][]byte(nil)
	for _, r := range p.results {
		if n, ok := strings.CutPrefix(r.Tag, "INSERT 0 "); ok && p.err == nil {
			count, notices = parseCount(n), r.Notices
		}
	}
	if p.err != nil || count != p.rows || ld.isStopped() && !errors.Is(ld.cause, errCancelled) {
		if p.err == nil && count != p.rows {
			ld.log.Error("engine read another number of rows than it was given", "rows", p.rows, "read", count)
		}
		return ld.leavePull("")
	}
	p.stream.Close()
	ld.run.pull, ld.run.loaded = nil, true
	ld.run.rows += count
	ld.run.copied = append(ld.run.copied, ld.run.kept...)
	ld.l.breaker(ld.spec.Inspection.Database).Success()
	ld.l.metrics.phase(phaseLoad, time.Since(p.began))
	return ld.sess.Notify(notices)
}

// leavePull ends the statement and goes on natively with all files so far, unless
// the load itself is over. Where why is "", how the statement ended says why.
func (ld *Load) leavePull(why rewrite.Reason) error {
	p := ld.run.pull
	ld.dropPull()
	e, stalled := pgerr.As(p.err), errors.Is(p.stream.Err(), gpfdist.ErrStalled)
	switch {
	case ld.ctx.Err() != nil:
		return context.Cause(ld.ctx)
	case p.err != nil && e == nil:
		return p.err
	case e != nil && (e.IsFatal() || len(p.results) == 0):
		return e.With('W', "") // the session, or the savepoint itself, and so the block
	case ld.isStopped() && errors.Is(ld.cause, errCancelled):
		why = rewrite.ReasonFallbackCancel
	case ld.isStopped():
		if err := ld.undoFile(); err != nil {
			return err
		}
		return ld.cause
	case stalled:
		ld.l.breaker(ld.spec.Inspection.Database).Failure()
		ld.log.Warn("load by gpfdist, going on natively", "error", gpfdist.ErrStalled)
		why = rewrite.ReasonFallbackEngine
	case e != nil && e.Code() == pgerr.QueryCanceled:
		return e.With('W', "") // the server's own timeout, or another session
	case why != "":
	case e == nil:
		ld.l.breaker(ld.spec.Inspection.Database).Failure()
		why = rewrite.ReasonFallbackCount
	default:
		why = rewrite.ReasonFallbackEngine
		if !isDataError(e) {
			ld.l.breaker(ld.spec.Inspection.Database).Failure()
			ld.log.Warn("load by gpfdist, going on natively", "error", engine.MaskURL(e.Error()))
		}
	}
	return ld.goNative(why)
}

// dropPull ends the statement, if there is one, and the stream.
func (ld *Load) dropPull() {
	p := ld.run.pull
	if p == nil {
		return
	}
	p.stream.Fail(errPullEnded)
	ld.endPulling(p)
	p.stream.Close()
	ld.run.pull = nil
}

// awaitPull waits for the end of the statement, as long as the segments do something.
func (ld *Load) awaitPull(p *pull) error {
	patience := time.NewTimer(p.stream.Left())
	defer patience.Stop()
	for {
		select {
		case <-p.done:
			return nil
		case <-ld.ctx.Done():
			return context.Cause(ld.ctx)
		case <-patience.C:
			left := p.stream.Left()
			if left <= 0 {
				p.stream.Fail(gpfdist.ErrStalled)
				ld.endPulling(p)
				return nil
			}
			patience.Reset(left)
		}
	}
}

// endPulling waits for the end of a statement whose stream is over. Where the segments
// have stalled, none may tell the server: it gets a cancel. It waits for its segments,
// for ever where one is stopped; so in the end the session is given up.
func (ld *Load) endPulling(p *pull) {
	if errors.Is(p.stream.Err(), gpfdist.ErrStalled) {
		select {
		case <-p.done:
			return
		default:
			ld.sess.Cancel()
		}
	}
	patience := time.NewTimer(ld.l.pull.Patience())
	defer patience.Stop()
	select {
	case <-p.done:
	case <-patience.C:
		ld.cancel(errors.Join(pgerr.New(pgerr.ConnectionFailure, "pgbulkproxy: the segments take no rows, and the server does not end their statement"), ErrSessionLost))
		<-p.done
	}
}

// goNative undoes what was pulled and starts the client's COPY, with all files so
// far.
func (ld *Load) goNative(reason rewrite.Reason) error {
	if err := ld.fallBack(reason); err != nil {
		return err
	}
	if err := ld.startCopy(); err != nil {
		return err
	}
	for _, f := range ld.run.kept {
		if err := ld.feedPulled(f); err != nil {
			return err
		}
	}
	return nil
}

// feedPulled sends a file into the COPY, from memory or from the store.
func (ld *Load) feedPulled(f *file) error {
	if err := ld.beginFeed(f); err != nil {
		return err
	}
	if f.let {
		return ld.feedBack(f)
	}
	defer f.letGo()
	return ld.feed(f)
}
