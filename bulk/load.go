package bulk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// Load is one load under way. Write and then one of Finish, Abort or Fail are
// called by one goroutine (the producer); Cancel by any.
//
// Goroutines: the loader (run) is the only user of the session; an upload for
// each file; one for the ledger. All have ended when Finish, Fail or Abort
// return, except the ledger's, which Loader.Close waits for.
type Load struct {
	l    *Loader
	spec Spec
	sess Session
	db   *Database // nil without a ledger
	seal []byte    // key of the messages that write rejected rows down, nil where nothing does
	id   string
	// engine is that of the database when the load began.
	engine engine.Engine
	log    *slog.Logger

	// ctx ends when the load is aborted: nothing has to be undone then, since
	// the session ends with it.
	ctx    context.Context
	cancel context.CancelCauseFunc

	cutter  cutter
	target  engine.Target
	groups  grouping
	folder  string // where groups lie, from the load's begin on
	files   chan *file
	slots   chan struct{} // one for each file that is ahead
	closed  bool          // files is; the producer's own
	upload  *semaphore.Weighted
	uploads sync.WaitGroup
	books   *books

	// stopped is closed by stop; cause says why. told is closed when the server
	// has the cancel that stop sent.
	stopOnce sync.Once
	stopped  chan struct{}
	told     chan struct{}
	cause    error
	timer    *time.Timer
	// busy: a statement of the load runs on the server.
	busy atomic.Bool
	// noUploads: the store failed, and later files are not staged.
	noUploads atomic.Bool

	// described is closed when it is known what the columns are, or that it won't be.
	described chan struct{}
	binaries  binaries

	run loadRun // the loader goroutine's own until done is closed

	end  chan Frame // the frame that ends the data
	done chan struct{}
	rows int64
	err  error
}

// Begin starts a load on the session, on which Open was run. When it fails
// nothing has changed there, and the caller relays the statement natively; but
// an error of the server's, which only a statement with extensions can meet, is
// the client's.
func (l *Loader) Begin(ctx context.Context, spec Spec, s Session) (*Load, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make process id: %w", err)
	}
	if spec.tolerant() {
		spec.Statement = spec.Statement.WithoutErrors()
	}
	scan, err := rows.New(spec.scanOptions())
	if err != nil {
		return nil, fmt.Errorf("scan rows: %w", err)
	}
	ld := &Load{
		l: l, spec: spec, sess: s, id: id.String(), engine: l.engineOf(ctx, spec.Inspection.Database, spec.Inspection.Installed),
		log:     l.log.With("session", spec.Session, "load", id.String(), "table", spec.Inspection.Table),
		upload:  l.uploads(),
		stopped: make(chan struct{}), told: make(chan struct{}), described: make(chan struct{}), binaries: binaries{one: semaphore.NewWeighted(1)}, end: make(chan Frame, 1), done: make(chan struct{}),
	}
	if err := l.enter(&spec); err != nil {
		return nil, err
	}
	ld.ctx, ld.cancel = context.WithCancelCause(ctx)
	ld.findBooks(ctx)
	ld.cutter = cutter{scan: scan, binary: spec.Statement.Format == rewrite.FormatBinary, mem: l.mem.of(spec.Owner), limit: func() int64 { return l.fileBytes() }}
	ld.run.begun = !spec.InBlock
	if ld.db == nil && ld.spec.Decision.Method == rewrite.MethodExternal && ld.engine.Caps().InstallNeeded {
		// The service connection was lost just now; the bracket stays.
		ld.spec.Decision.Method = rewrite.MethodCopy
	}
	if ld.spec.readsItself() && !l.breaker(spec.Inspection.Database).Allow() {
		ld.spec.Decision.Method = rewrite.MethodCopy // another load tries whether they work again
	}
	if err := ld.open(); err != nil {
		ld.cancel(nil)
		l.running.release(spec.Owner, 1)
		return nil, err
	}
	ld.cutter.blocks = ld.blockSize()
	ld.noUploads.Store(spec.Unstaged || ld.unread() || !l.storeBreaker.Allow())
	ld.cutter.groups, ld.folder = ld.groups, l.folder(time.Now(), ld.id)
	ahead := max(l.cfg.Ahead, ld.groups.size) // the next group comes while one is read
	ld.files, ld.slots = make(chan *file, ahead+1), make(chan struct{}, ahead)
	ld.books = newBooks(ld)
	ld.watchTimeout()
	go ld.loop()
	return ld, nil
}

// findBooks sets where the load is written down.
func (ld *Load) findBooks(ctx context.Context) {
	in := ld.spec.Inspection
	db, _ := ld.l.dbs.Lookup(ctx, in.Database, in.Installed)
	if db == nil || ld.spec.Unstaged {
		return
	}
	ld.seal = db.Key
	if db.Ledger != nil {
		ld.db = db
	}
}

// open runs on the session what comes before the data. Where the label was used
// before, nothing of the load may happen.
func (ld *Load) open() (err error) {
	if ld.run.repeated, err = ld.claim(); err != nil || ld.run.repeated {
		return err
	}
	if err := ld.prepareTarget(); err != nil {
		return err
	}
	return ld.prepare()
}

// watchTimeout ends the load when the client's statement_timeout has passed
// since its statement arrived. Natively the clock runs while data arrives too.
func (ld *Load) watchTimeout() {
	limit := ld.spec.Inspection.StatementTimeout
	if limit <= 0 || !ld.spec.readsItself() && !ld.spec.tolerant() && !ld.transcodes() {
		return // one COPY on the session is watched by the server
	}
	ld.timer = time.AfterFunc(time.Until(ld.spec.Started.Add(limit)), func() { ld.stop(errTimeout) })
}

// Why a load was stopped.
var (
	errCancelled = errors.New("canceled by the user")
	errTimeout   = errors.New("statement timeout")
	errAborted   = errors.New("load aborted")
)

// Write takes the next piece of the client's data, which it does not keep. It
// returns the load's error once there is one, possibly before all data came.
func (ld *Load) Write(p []byte) error {
	ld.l.metrics.bytes(legClient, len(p))
	for len(p) > 0 {
		if err := ld.failure(); err != nil {
			return err
		}
		n, cut, err := 0, (*file)(nil), error(nil)
		if terr := ld.turn(func() { n, cut, err = ld.cutter.take(p[:min(len(p), takenAtOnce)]) }); terr != nil {
			return terr
		}
		if err != nil {
			return ld.spoil(err)
		}
		p = p[n:]
		if cut != nil {
			if err := ld.hand(cut); err != nil {
				return err
			}
		}
	}
	return ld.failure()
}

// spoil ends the load because its data can't be kept.
func (ld *Load) spoil(err error) error {
	code := pgerr.SystemError
	if errors.Is(err, ErrNoMemory) {
		code = pgerr.OutOfMemory
	}
	return pgerr.New(code, "pgbulkproxy: %s", err)
}

// failure returns the loader goroutine's error if it has ended.
func (ld *Load) failure() error {
	select {
	case <-ld.done:
		return ld.err
	default:
		return nil
	}
}

// hand gives a cut file to the uploader and the loader. It waits while too
// many files are ahead.
func (ld *Load) hand(f *file) error {
	ld.start(f)
	if t := ld.run.transcoded.check.Load(); t != nil && !f.raw {
		ld.check(f, t)
	}
	select {
	case ld.slots <- struct{}{}:
	case <-ld.done:
		f.held.release()
		return ld.err
	case <-ld.ctx.Done():
		f.held.release()
		return context.Cause(ld.ctx)
	}
	ld.files <- f // has room for every slot
	return nil
}

// closeFiles tells the loader that no more files come. The producer calls it.
func (ld *Load) closeFiles() {
	if !ld.closed {
		ld.closed = true
		close(ld.files)
	}
}

// Finish ends the data with the client's frame: CopyDone in good order; any
// other is put before the server, which will refuse it. It returns the number
// of rows for the command tag, or the error that the client is to get.
func (ld *Load) Finish(_ context.Context, end Frame) (int64, error) {
	last := ld.cutter.finish(end.Type == 'c')
	if last != nil {
		if err := ld.hand(last); err != nil {
			return 0, ld.wait(err)
		}
	}
	ld.l.metrics.phase(phaseReceive, time.Since(ld.spec.Started))
	ld.end <- end
	err := ld.wait(nil)
	return ld.rows, err
}

// Fail ends a load with an error: the one that Write returned, or one of the
// caller's. It returns the error for the client.
func (ld *Load) Fail(_ context.Context, err error) error {
	e := pgerr.As(err)
	if e == nil {
		ld.Abort()
		return err
	}
	if ld.failure() == nil {
		ld.stop(e)
	}
	return ld.wait(err)
}

// Abort ends a load whose client or server is gone. The session must be closed
// after it: it is left as it is.
func (ld *Load) Abort() {
	if ld.busy.Load() {
		go ld.sess.Cancel() // the session ends anyway; this only ends it sooner
	}
	ld.cancel(errAborted)
	_ = ld.wait(errAborted)
}

// wait waits for the goroutines and returns the load's error, or err if it has
// none.
func (ld *Load) wait(err error) error {
	ld.closeFiles()
	<-ld.done
	for f := range ld.files {
		f.held.release()
	}
	ld.cutter.drop()
	if ld.timer != nil {
		ld.timer.Stop()
	}
	if ld.err != nil {
		ld.cancel(errAborted) // nobody needs the files: don't keep the client waiting
	}
	ld.uploads.Wait()
	ld.cancel(nil)
	ld.l.running.release(ld.spec.Owner, 1)
	if ld.err != nil {
		err = ld.err
	}
	ld.ended(err)
	return err
}

// ended does the books of a load that is over.
func (ld *Load) ended(err error) {
	result := "ok"
	e := pgerr.As(err)
	switch {
	case e != nil && ld.isCancelled():
		result = "cancelled"
	case e != nil:
		result = "error"
	case err != nil:
		result = "aborted"
	case ld.run.fallback != "":
		result = "fallback"
	}
	name := "plain"
	if ld.spec.readsItself() {
		name = ld.engine.Name()
	}
	ld.l.metrics.load(name, result, ld.run.fallback)
	if err == nil {
		ld.l.metrics.rows(ld.rows)
	}
	ld.log.Debug("load ended", "result", result, "rows", ld.rows)
	if err != nil || !ld.Pending() {
		ld.books.close(err)
	}
}

// Cancel passes a cancel request of the user's on. As natively, it takes effect
// when the server next looks at data.
func (ld *Load) Cancel() { ld.stop(errCancelled) }

// stop ends the load for one of the reasons above, or an error of the caller's.
func (ld *Load) stop(cause error) {
	first := false
	ld.stopOnce.Do(func() {
		first, ld.cause = true, cause
		close(ld.stopped)
	})
	if ld.busy.Load() {
		ld.sess.Cancel()
	}
	if first {
		close(ld.told)
	}
}

func (ld *Load) isStopped() bool {
	select {
	case <-ld.stopped:
		return true
	default:
		return false
	}
}

// isCancelled says that a cancel request or the timeout stopped the load, and
// not an error.
func (ld *Load) isCancelled() bool {
	return ld.isStopped() && (errors.Is(ld.cause, errCancelled) || errors.Is(ld.cause, errTimeout))
}

// Pending says that the load succeeded within a transaction that has not ended
// yet. The caller calls Settle when it has.
func (ld *Load) Pending() bool {
	return ld.err == nil && (ld.spec.InBlock || ld.spec.CommitLater)
}

// CommitLater says that the caller has to commit the load's transaction.
func (ld *Load) CommitLater() bool { return ld.spec.CommitLater }

// Settle notes that the transaction of a pending load has ended, either way.
func (ld *Load) Settle() { ld.books.close(nil) }
