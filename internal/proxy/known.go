package proxy

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// knownTables keeps what sessions have to know of routed tables: their names,
// one set a database, read over the service connection with each renewal of the
// proxy's lease there. The names are believed for as long as the lease that was
// renewed after they were read. The lease says which names no session passes
// over any more; a migration waits for that.
//
// Goroutines: run, ended by its context.
type knownTables struct {
	dbs   *databases
	me    checkpoint.Proxy
	lease time.Duration
	log   *slog.Logger
	// settled says whether all sessions' statements that were judged by older
	// names have been answered.
	settled func(*rewrite.Known) bool
	wake    chan struct{}

	mu     sync.Mutex
	byName map[string]*knownDatabase
}

// knownDatabase is that of one database.
type knownDatabase struct {
	known    rewrite.Known
	sessions int // under knownTables.mu
	// The rest is run's own.
	names    []string // as published
	leased   bool     // a lease was asked for
	unseen   bool     // names are not in the lease yet
	complain bool
}

func newKnownTables(dbs *databases, me checkpoint.Proxy, lease time.Duration, log *slog.Logger) *knownTables {
	return &knownTables{dbs: dbs, me: me, lease: lease, log: log, wake: make(chan struct{}, 1), byName: make(map[string]*knownDatabase)}
}

// Known returns what is known of a database, for a session that begins there and
// says when it ends.
func (r *knownTables) Known(database string) (known *rewrite.Known, ended func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	db := r.byName[database]
	if db == nil {
		db = &knownDatabase{}
		r.byName[database] = db
	}
	db.sessions++
	if db.known.Set() == nil {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	return &db.known, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		db.sessions--
	}
}

// unseenBeat is how soon a lease is looked at again which does not yet have
// what sessions know: a migration may wait for it.
const unseenBeat = 200 * time.Millisecond

// peekBeat is how often the names are compared with those that are known, between two
// renewals: a migration that makes the first routes of a table waits for it.
const peekBeat = time.Second

// run reads until ctx ends.
func (r *knownTables) run(ctx context.Context) {
	beat := max(r.lease/3, 10*time.Millisecond)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for renew := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-timer.C:
		}
		all := !time.Now().Before(renew)
		if all {
			renew = time.Now().Add(beat)
		}
		next := min(peekBeat, time.Until(renew))
		for name, db := range r.inUse() {
			if !all && !db.unseen && !r.changed(ctx, name, db) {
				continue
			}
			err := r.refresh(ctx, name, db)
			if err != nil && ctx.Err() == nil && !db.complain {
				r.log.Warn("read the names of routed tables, every INSERT is inspected", "database", name, "error", err)
			}
			db.complain = err != nil
			if db.unseen {
				next = min(next, unseenBeat)
			}
		}
		timer.Reset(next)
	}
}

// changed says whether the names of a database are others than those that are known.
// An error is for the next renewal to tell.
func (r *knownTables) changed(ctx context.Context, name string, db *knownDatabase) bool {
	if db.known.Set() == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	pool, err := r.dbs.poolOf(ctx, name)
	if err != nil {
		return false
	}
	names, err := checkpoint.NewPostgres(pool).RoutedNames(ctx)
	return err == nil && !slices.Equal(slices.Sorted(slices.Values(names)), db.names)
}

// inUse returns the databases that have sessions, or where loads have made the
// importer keep a lease, which a migration waits for. The names of others grow old.
func (r *knownTables) inUse() map[string]*knownDatabase {
	loaded := r.dbs.known()
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range loaded {
		if r.byName[name] == nil { // no session has been there yet
			r.byName[name] = &knownDatabase{}
		}
	}
	out := make(map[string]*knownDatabase, len(r.byName))
	for name, db := range r.byName {
		if loaded[name] != nil || db.sessions > 0 {
			out[name] = db
		}
	}
	return out
}

// refresh reads the names of one database, and renews the lease.
func (r *knownTables) refresh(ctx context.Context, name string, db *knownDatabase) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	pool, err := r.dbs.poolOf(ctx, name)
	if err != nil {
		return err
	}
	ledger := checkpoint.NewPostgres(pool)
	names, err := ledger.RoutedNames(ctx)
	if err != nil {
		return err
	}
	db.known.Publish(names)
	db.names = slices.Sorted(slices.Values(names))
	renewed := time.Now() // the server's clock may only count from later on
	err = ledger.Renew(ctx, r.me.Owner, r.lease)
	if errors.Is(err, checkpoint.ErrNoLease) {
		err = ledger.Register(ctx, r.me, r.lease)
	}
	switch {
	case isGone(err): // nothing is installed: whoever moves rows there installs, and waits
		db.unseen = false
	case err != nil:
		return err
	default:
		db.leased, db.unseen = true, !r.settled(&db.known)
		if !db.unseen {
			if err := ledger.SawRouting(ctx, r.me.Owner, names); err != nil {
				return err
			}
		}
	}
	db.known.Believe(renewed.Add(r.lease))
	return nil
}

// release gives up the leases. run has ended, and no session goes on.
func (r *knownTables) release(ctx context.Context) {
	for name, db := range r.byName {
		if !db.leased {
			continue
		}
		pool, err := r.dbs.poolOf(ctx, name)
		if err == nil {
			err = checkpoint.NewPostgres(pool).Release(ctx, r.me.Owner)
		}
		if err != nil && !isGone(err) {
			r.log.Warn("release lease", "database", name, "error", err)
		}
	}
}
