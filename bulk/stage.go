package bulk

import (
	"errors"
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// acknowledges says whether the load is answered when its rows are durable in the
// store and a row in the ledger, in the client's transaction, says that they are
// to be imported.
//
// Where the rows can't go by external tables alone, or the load does more than to
// append them, it is answered when they are in the table, which promises more.
func (ld *Load) acknowledges() bool {
	x := &ld.spec.Decision.Ext
	return x.Staged && x.Mode == rewrite.LoadAppend && ld.spec.Decision.Method == rewrite.MethodExternal && ld.db != nil
}

// ack is what the ledger shows of that.
func (ld *Load) ack() checkpoint.Ack {
	if ld.acknowledges() {
		return checkpoint.AckStaged
	}
	return checkpoint.AckLoaded
}

// stageFile waits until a file is durable. Where the first one can't be, the load
// goes natively, and is answered when it is loaded; where a later one can't be, it
// fails, since the rows before are not kept.
func (ld *Load) stageFile(f *file) error {
	defer f.held.release()
	why := rewrite.ReasonIrregular
	if !f.raw {
		if err := ld.awaitUpload(f); err != nil {
			return err
		}
		if ld.isStopped() {
			return ld.stopStaged()
		}
		if f.upErr == nil {
			ld.run.staged = append(ld.run.staged, engine.StagedFile{
				Number: f.number, Key: f.key, URL: ld.l.urls.URL(f.key), Records: f.rows, Bytes: f.held.Size(), CRC32C: f.crc,
			})
			ld.run.rows += f.rows
			return nil
		}
		why = rewrite.ReasonFallbackStore
	}
	if len(ld.run.staged) > 0 && why == rewrite.ReasonFallbackStore {
		return pgerr.New(pgerr.SystemError, "pgbulkproxy: file %d of the load could not be staged", f.number).
			With('H', "Nothing was loaded. Send it again, or with pgbulk.ack = 'loaded'.")
	}
	if err := ld.unstage(why); err != nil {
		return err
	}
	if err := ld.startCopy(); err != nil {
		return err
	}
	if err := ld.beginFeed(f); err != nil {
		return err
	}
	return ld.feed(f)
}

// unstage brings the files that are durable already into the table, by external
// tables: what comes next of the load goes natively.
func (ld *Load) unstage(why rewrite.Reason) error {
	staged := ld.run.staged
	ld.run.staged, ld.run.rows, ld.run.fallback = nil, 0, why
	for _, s := range staged {
		f := &file{number: s.Number, key: s.Key, rows: s.Records, crc: s.CRC32C, bytes: s.Bytes}
		n, err := ld.external(f)
		if err == nil && n != f.rows {
			err = pgerr.New(pgerr.SystemError, "pgbulkproxy: the server read %d of %d staged rows", n, f.rows)
		}
		if err != nil {
			return err
		}
		ld.run.loaded = true
		ld.run.files++
		ld.run.rows += n
	}
	return ld.undoFile() // releases the savepoint behind the last file
}

// stopStaged follows a stop. A cancel goes to the server in a COPY, as natively:
// nothing of the load is kept.
func (ld *Load) stopStaged() error {
	if !errors.Is(ld.cause, errCancelled) {
		return ld.cause
	}
	ld.run.staged, ld.run.rows, ld.run.fallback = nil, 0, rewrite.ReasonFallbackCancel
	return ld.startCopy()
}

// recordStaged writes what makes the load real once the client's transaction
// commits.
func (ld *Load) recordStaged() error {
	if len(ld.run.staged) == 0 {
		return nil
	}
	sql, err := engine.StageSQL(ld.sealSession(), engine.Staged{
		ProcessID: ld.id, Owner: ld.l.cfg.Owner, Target: ld.target(), Statement: ld.spec.Statement,
		Files: ld.run.staged, Label: ld.spec.Decision.Ext.Label,
	}, ld.db.Key, time.Now().Add(ld.l.cfg.URLTTL))
	if err != nil {
		return fmt.Errorf("stage: %w", pgerr.New(pgerr.SystemError, "pgbulkproxy: the load can't be acknowledged when staged: %s", err))
	}
	_, err = ld.exec(sql)
	return err
}
