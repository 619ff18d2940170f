package bulk

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// books writes a load's ledger entries over the service connection, in order,
// on a goroutine of its own: a slow ledger must not slow the load, and a ledger
// that is down must not stop it. It also knows which keys the load has written,
// so that the sweeper can delete them.
type books struct {
	ld *Load

	mu     sync.Mutex
	keys   []string
	todo   []func(context.Context) error
	closed bool
	wake   chan struct{}
	// since is when the server was first found away, zero while it is there. Only
	// the goroutine uses it.
	since time.Time
	// keeps: the files are somebody's else to delete. The goroutine's own.
	keeps bool
	// status is what the ledger shows of the load at its end. The goroutine's own.
	status checkpoint.Status
	// unsettled is the end that the ledger could not be told. The goroutine's own.
	unsettled *checkpoint.Outcome
}

const (
	// ledgerTimeout bounds one try to write a ledger entry.
	ledgerTimeout = 10 * time.Second
	// ledgerPatience is for how long entries are tried again while the server is
	// away: a crash recovery or a failover may take minutes. Nobody else would
	// settle the loads of a proxy that lives.
	ledgerPatience = 5 * time.Minute
	// The pause between two tries doubles from the first to the last.
	firstLedgerPause, lastLedgerPause = 50 * time.Millisecond, 5 * time.Second
)

// newBooks starts the goroutine. It ends after close, when all is written;
// Loader.Close waits for it.
func newBooks(ld *Load) *books {
	b := &books{ld: ld, wake: make(chan struct{}, 1)}
	if ld.db != nil {
		in := ld.spec.Inspection
		b.add(func(ctx context.Context) error {
			return ld.db.Ledger.Begin(ctx, checkpoint.Load{
				ProcessID: ld.id, Database: in.Database, Role: in.Role, Schema: in.Schema, Table: in.Table,
				Owner: ld.l.cfg.Owner, Started: ld.spec.Started, Ack: ld.ack(), Label: ld.spec.Decision.Ext.Label,
			})
		})
	}
	ld.l.wg.Add(1)
	go b.write()
	return b
}

func (b *books) add(op func(context.Context) error) {
	b.mu.Lock()
	b.todo = append(b.todo, op)
	b.mu.Unlock()
	b.signal()
}

func (b *books) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// wrote notes a key under which an object may exist from now on. The channel is
// closed when the ledger has it, or can't: should this proxy be lost, another one
// finds the object there.
func (b *books) wrote(f *file) <-chan struct{} {
	b.mu.Lock()
	b.keys = append(b.keys, f.key)
	b.mu.Unlock()
	known := make(chan struct{})
	tell := sync.OnceFunc(func() { close(known) })
	if b.ld.db == nil {
		tell()
		return known
	}
	created := checkpoint.File{ProcessID: b.ld.id, Number: f.number, Key: f.key, URL: b.ld.l.urls.URL(f.key), Created: f.created}
	b.add(func(ctx context.Context) error {
		defer tell()
		return b.ld.db.Ledger.Create(ctx, created)
	})
	return known
}

// frozen notes that a file is durable.
func (b *books) frozen(f checkpoint.File) {
	if b.ld.db != nil {
		b.add(func(ctx context.Context) error { return b.ld.db.Ledger.Freeze(ctx, f) })
	}
}

// close notes how the load, or its transaction, ended. Calls after the first
// do nothing.
func (b *books) close(err error) {
	b.mu.Lock()
	already := b.closed
	b.mu.Unlock()
	if already {
		return
	}
	if b.ld.db != nil {
		o := checkpoint.Outcome{ProcessID: b.ld.id, Status: checkpoint.Completed}
		if err != nil {
			o.Status = checkpoint.Failed
			o.Message = "the client or the server is gone"
			if e := pgerr.As(err); e != nil {
				o.Message = e.Error()
			}
			if b.ld.isCancelled() {
				o.Status = checkpoint.Cancelled
			}
		} else if b.ld.run.repeated {
			o.Status, o.Message = checkpoint.Cancelled, "a load with this label was there before"
		}
		b.add(func(ctx context.Context) error { return b.settle(ctx, o) })
	}
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.signal()
}

// settle tells the ledger how the load ended. A staged load that is to be
// imported keeps its files; so does one of which that is not known yet.
func (b *books) settle(ctx context.Context, o checkpoint.Outcome) error {
	status, err := b.ld.db.Ledger.Settle(ctx, o)
	b.unsettled, b.status = nil, status
	if err != nil && !errors.Is(err, checkpoint.ErrUnknownLoad) {
		b.unsettled = &o
	}
	b.keeps = status == checkpoint.Running || err != nil && b.ld.ack() == checkpoint.AckStaged
	return err
}

// handOver has the importer do what is left of a load that is not settled, or
// that is to be imported.
func (b *books) handOver() {
	importer := b.ld.l.importer
	if importer == nil {
		return
	}
	if b.unsettled != nil {
		importer.Unsettled(b.ld.spec.Inspection.Database, *b.unsettled)
	}
	if b.keeps {
		importer.Wake()
	}
}

// write is the goroutine.
func (b *books) write() {
	defer b.ld.l.wg.Done()
	for range b.wake {
		for {
			b.mu.Lock()
			var op func(context.Context) error
			if len(b.todo) > 0 {
				op, b.todo = b.todo[0], b.todo[1:]
			}
			over := op == nil && b.closed
			b.mu.Unlock()
			if over {
				b.handOver()
				b.sweep()
				return
			}
			if op == nil {
				break
			}
			if err := b.enter(op); err != nil {
				b.failed("write ledger", err)
			}
		}
	}
}

// enter makes one entry, again where the server was away; all entries may be
// made twice.
func (b *books) enter(op func(context.Context) error) error {
	for pause := firstLedgerPause; ; pause = min(2*pause, lastLedgerPause) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ld.ctx), ledgerTimeout)
		err := op(ctx)
		cancel()
		if err == nil || !isAway(err) {
			b.since = time.Time{}
			return err
		}
		if b.since.IsZero() {
			b.since = time.Now()
		}
		if time.Since(b.since) > ledgerPatience {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-b.ld.l.closing.Done():
			timer.Stop()
			return err
		}
	}
}

// isAway says that an error comes from the way to the server, or from a server
// that can do nothing right now, and not from the entry.
func isAway(err error) bool {
	if errors.Is(err, checkpoint.ErrUnknownLoad) {
		return false
	}
	var e interface{ SQLState() string } // what drivers' errors have
	if !errors.As(err, &e) || len(e.SQLState()) != 5 {
		return true
	}
	switch state := e.SQLState(); state[:2] {
	case "08", "40", "53":
		return true
	default:
		return state[:4] == "57P0" || state == "55P03" // a staged load's transaction has yet to end
	}
}

// failed notes a ledger entry that could not be made.
func (b *books) failed(what string, err error) {
	b.ld.l.metrics.ledgerFailed()
	b.ld.log.Warn(what, "error", err)
}

// sweep hands the load's files to the sweeper.
func (b *books) sweep() {
	b.mu.Lock()
	keys := b.keys
	b.mu.Unlock()
	if len(keys) == 0 || b.ld.l.sweeper == nil || b.keeps {
		return
	}
	if b.ld.db == nil {
		b.ld.l.sweeper.Schedule(keys, nil)
		return
	}
	b.ld.l.sweeper.Ended(b.ld.db.Ledger, checkpoint.Swept{ProcessID: b.ld.id, Keys: keys, Completed: b.status == checkpoint.Completed})
}
