package bulk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// ImportSession is a session of the service role, for one import: the users'
// code that runs in it may change what it likes.
type ImportSession interface {
	// Role and PID are those of the session, which messages are bound to.
	Role() string
	PID() uint32
	// Run runs one simple Query. Errors that the server reported are
	// *pgerr.Error. When ctx ends the session is of no use any more.
	Run(ctx context.Context, sql string) error
	Close()
}

// begin starts the import of a load at the head of its queue, unless it is under
// way, has to rest, or there is no place for it.
func (im *Importer) begin(ctx context.Context, k *keeper, db *Database, h checkpoint.Staged) {
	if h.Wait > 0 {
		if h.Wait < im.beat() { // else the next beat is soon enough
			time.AfterFunc(h.Wait+time.Millisecond, im.Wake)
		}
		return
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.importing[h.ProcessID] || ctx.Err() != nil || !im.sem.TryAcquire(1) {
		return // whoever ends wakes
	}
	im.importing[h.ProcessID] = true
	im.wg.Add(1)
	go func() {
		defer im.wg.Done()
		im.bring(ctx, k.name, db, h)
		im.sem.Release(1)
		im.mu.Lock()
		delete(im.importing, h.ProcessID)
		im.mu.Unlock()
		im.Wake()
	}()
}

// bring imports one load, and writes down why not.
func (im *Importer) bring(ctx context.Context, database string, db *Database, h checkpoint.Staged) {
	log := im.deps.Log.With("database", database, "load", h.ProcessID, "table", h.Table)
	began := time.Now()
	err := im.attempt(ctx, database, db, h)
	switch {
	case err == nil:
		im.imported(db, h, began)
		log.Debug("staged load imported", "attempts", h.Attempts+1)
		return
	case isFenced(err):
		im.metrics.count("fenced", time.Since(began))
		log.Info("staged load is another proxy's by now", "error", err)
		return
	}
	failure := checkpoint.Failure{Message: engine.MaskURL(err.Error()), Retry: checkpoint.Backoff(h.Attempts+1, im.cfg.Sleep)}
	if e := pgerr.As(err); e != nil {
		failure.SQLState, failure.Message = e.Code(), engine.MaskURL(e.Get('M'))
		if d := e.Get('D'); d != "" {
			failure.Message += ": " + engine.MaskURL(d)
		}
	}
	if !checkpoint.Retryable(failure.SQLState) {
		failure.Retry = -1
	}
	// Also when the proxy ends: the load should not look as if it ran.
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), ledgerTimeout)
	defer cancel()
	status, ferr := db.Ledger.Fail(down, h.Fence, failure)
	if status == checkpoint.Completed {
		im.imported(db, h, began) // its COMMIT was not heard of
		return
	}
	im.metrics.count(map[bool]string{true: "error", false: "retry"}[failure.Retry < 0], time.Since(began))
	if ctx.Err() == nil {
		log.Warn("import of a staged load", "sqlstate", failure.SQLState, "error", failure.Message, "status", status,
			"attempts", h.Attempts+1, "retry", failure.Retry)
	}
	if ferr != nil && ctx.Err() == nil {
		log.Warn("record failed import", "error", ferr)
	}
}

// imported does what is left when a load is in its table.
func (im *Importer) imported(db *Database, h checkpoint.Staged, began time.Time) {
	im.metrics.count("ok", time.Since(began))
	if im.deps.Sweeper == nil {
		return
	}
	keys := make([]string, len(h.Files))
	for i, f := range h.Files {
		keys[i] = f.Key
	}
	im.deps.Sweeper.Ended(db.Ledger, checkpoint.Swept{ProcessID: h.ProcessID, Keys: keys, Completed: true})
}

func isFenced(err error) bool {
	if errors.Is(err, checkpoint.ErrFenced) {
		return true
	}
	e := pgerr.As(err)
	return e != nil && e.Code() == checkpoint.FenceCode
}

// attempt imports one load in one transaction.
func (im *Importer) attempt(ctx context.Context, database string, db *Database, h checkpoint.Staged) error {
	ctx, cancel := context.WithTimeout(ctx, im.cfg.Timeout)
	defer cancel()
	if err := db.Ledger.Attempt(ctx, h.Fence); err != nil {
		return err
	}
	sess, err := db.Connect(ctx, im.cfg.Lease)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer sess.Close()
	bound := engine.Session{Database: database, BackendPID: sess.PID(), Role: sess.Role()}
	var opens []string
	for _, f := range h.Files {
		url, err := im.deps.Store.PresignGet(ctx, f.Key, im.cfg.URLTTL)
		if err != nil {
			return fmt.Errorf("sign url of file %d: %w", f.Number, err)
		}
		open, err := sealed.OpenStagedSQL(bound, h.ProcessID, f.Number, url, db.Key, time.Now().Add(im.cfg.URLTTL))
		if err != nil {
			return err
		}
		opens = append(opens, open)
	}
	return sess.Run(ctx, sealed.ImportTransaction(opens, h.ProcessID, h.Owner, h.Epoch))
}
