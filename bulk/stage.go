package bulk

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
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
	x, routing := &ld.spec.Decision.Ext, ld.spec.Inspection.Routing
	if routing != nil && !routing.Moving {
		return false // an import would not see which groups move
	}
	return x.Staged && x.Mode == rewrite.LoadAppend && ld.spec.Decision.Method == rewrite.MethodExternal &&
		ld.db != nil && ld.engine.Caps().InstallNeeded
}

// ack is what the ledger shows of that.
func (ld *Load) ack() checkpoint.Ack {
	if ld.acknowledges() {
		return checkpoint.AckStaged
	}
	return checkpoint.AckLoaded
}

// stageFile waits until a file is durable. Where it can't be, the load goes
// natively, and is answered when it is loaded.
func (ld *Load) stageFile(f *file) error {
	handed := false
	defer func() {
		if !handed {
			f.letGo()
		}
	}()
	why := rewrite.ReasonIrregular
	if !f.raw {
		if err := ld.awaitUpload(f); err != nil {
			return err
		}
		if ld.isStopped() {
			return ld.stopStaged()
		}
		if f.upErr == nil {
			stored := *f
			stored.bytes, stored.held, stored.let = f.held.Size(), nil, true
			ld.run.staged = append(ld.run.staged, &stored)
			ld.run.rows += f.rows
			return nil
		}
		why = rewrite.ReasonFallbackStore
	}
	handed = ld.spec.Inspection.Routed()
	if err := ld.unstage(why); err != nil {
		handed = false
		return err
	}
	if handed {
		ld.keepBytes(f)
	}
	if err := ld.beginFeed(f); err != nil {
		return err
	}
	return ld.feed(f)
}

// unstage turns the load into one that is answered when it is loaded: the files
// that are durable already are read back, into a native COPY of everything.
func (ld *Load) unstage(why rewrite.Reason) error {
	staged := ld.run.staged
	ld.run.staged, ld.run.rows, ld.run.fallback = nil, 0, why
	if ld.spec.Inspection.Routed() {
		ld.spec.Decision.Method = rewrite.MethodTable
		if err := ld.prepare(); err != nil {
			return err
		}
		ld.run.kept = append(ld.run.kept, staged...)
	}
	if err := ld.startCopy(); err != nil {
		return err
	}
	for _, f := range staged {
		if err := ld.beginFeed(f); err != nil {
			return err
		}
		if err := ld.feedBack(f); err != nil {
			return err
		}
	}
	return nil
}

// errReadBack says that a staged file can't be had again.
var errReadBack = errors.New("read staged file back")

// feedBack sends the client's bytes of a file in the store into the COPY.
func (ld *Load) feedBack(f *file) error {
	began := time.Now()
	err := ld.readBack(f, ld.run.copy.Write)
	if !errors.Is(err, errReadBack) {
		if err == nil {
			ld.run.copied = append(ld.run.copied, f)
			ld.l.metrics.phase(phaseLoad, time.Since(began))
		}
		return ld.atLine(err)
	}
	if ld.ctx.Err() != nil {
		return context.Cause(ld.ctx)
	}
	ld.log.Warn("read staged file back", "file", f.number, "error", err)
	if _, err := ld.endCopy(Frame{Type: 'f', Body: []byte("load stopped\x00")}); pgerr.As(err) == nil || ld.isStopped() {
		return err
	}
	return pgerr.New(pgerr.SystemError, "pgbulkproxy: the load could not be staged, and file %d not be read back", f.number).
		With('H', "Nothing was loaded. Send it again, or with pgbulk.ack = 'loaded'.")
}

// readBack writes the client's bytes of a file in the store into a COPY, which
// must not end well after errReadBack: the file may have been sent in part.
func (ld *Load) readBack(f *file, write func([]byte) error) error {
	r, err := ld.l.store.Open(ld.ctx, f.key)
	if err != nil {
		return fmt.Errorf("%w: %w", errReadBack, err)
	}
	defer r.Close()
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	in := io.TeeReader(r, sum)
	_, err = io.CopyN(io.Discard, in, int64(f.head))
	buf := make([]byte, readBackBytes)
	for left := f.bytes - int64(f.head+f.tail); err == nil && left > 0; {
		var n int
		n, err = io.ReadFull(in, buf[:min(left, readBackBytes)])
		left -= int64(n)
		if n > 0 && err == nil {
			if err := write(buf[:n]); err != nil {
				return err
			}
			ld.l.metrics.bytes(legServer, n)
		}
	}
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if err == nil && sum.Sum32() != f.crc {
		err = errors.New("its checksum is another one")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errReadBack, err)
	}
	return nil
}

// readBackBytes is the size of the pieces in which a file comes back.
const readBackBytes = 64 << 10

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
	steps, err := ld.importSteps()
	if err != nil {
		return err
	}
	files := make([]sealed.StagedFile, len(ld.run.staged))
	for i, f := range ld.run.staged {
		files[i] = sealed.StagedFile{Number: f.number, Key: f.key, URL: ld.l.urls.URL(f.key), Records: f.rows, Bytes: f.bytes, CRC32C: f.crc}
	}
	sql, err := sealed.StageSQL(ld.sealSession(), sealed.Staged{
		ProcessID: ld.id, Owner: ld.l.cfg.Owner, Target: ld.target, Statement: ld.spec.Statement,
		Files: files, Steps: steps, Label: ld.spec.Decision.Ext.Label,
	}, ld.db.Key, time.Now().Add(ld.l.cfg.URLTTL))
	if err != nil {
		return fmt.Errorf("stage: %w", pgerr.New(pgerr.SystemError, "pgbulkproxy: the load can't be acknowledged when staged: %s", err))
	}
	_, err = ld.exec(sql)
	return err
}
