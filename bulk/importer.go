package bulk

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// ImporterConfig of an Importer.
type ImporterConfig struct {
	// Proxy is this process in the ledgers.
	Proxy checkpoint.Proxy
	// Lease is how long this proxy may be silent before others take its loads.
	Lease time.Duration
	// Concurrency is how many staged loads are imported at once, over all
	// databases.
	Concurrency int
	// Timeout bounds one import; Sleep is the shortest pause before another try.
	Timeout, Sleep time.Duration
	// URLTTL is how long a pre-signed URL is valid.
	URLTTL time.Duration
}

// ImporterDeps are what an Importer works with.
type ImporterDeps struct {
	Store store.Store
	// Known returns the databases whose ledgers are looked after, by name.
	Known func() map[string]*Database
	// Sweeper deletes the files of loads that are imported.
	Sweeper *Sweeper
	Log     *slog.Logger
	// Metrics may be nil.
	Metrics prometheus.Registerer
}

// Importer keeps this proxy's leases, takes over what lost proxies have left,
// and imports the loads that were acknowledged when they were staged.
//
// The life of one staged load here: it becomes the head of its table's queue;
// Attempt counts the try; one session of its own runs one transaction with the
// fence, the rows and the import rows; then it is done, or Fail says when it is
// tried again. What decides is in that transaction alone: an Importer may die or
// be stopped anywhere.
type Importer struct {
	cfg     ImporterConfig
	deps    ImporterDeps
	sem     *semaphore.Weighted
	wake    chan struct{}
	metrics importMetrics

	mu        sync.Mutex
	keepers   map[string]*keeper
	importing map[string]bool // by process id
	wg        sync.WaitGroup
}

// keeper is what the Importer remembers of one database.
type keeper struct {
	name string
	busy bool // a goroutine tends it
	// The rest is that goroutine's, but for pending.
	renewed, looked time.Time
	pending         []checkpoint.Outcome
}

// NewImporter returns an Importer; Run starts it.
func NewImporter(cfg ImporterConfig, d ImporterDeps) *Importer {
	return &Importer{
		cfg: cfg, deps: d, sem: semaphore.NewWeighted(int64(cfg.Concurrency)), wake: make(chan struct{}, 1),
		metrics: newImportMetrics(d.Metrics),
		keepers: make(map[string]*keeper), importing: make(map[string]bool),
	}
}

// Wake has the Importer look at once whether there is something to import.
func (im *Importer) Wake() {
	select {
	case im.wake <- struct{}{}:
	default:
	}
}

// Unsettled hands over the end of a load that the ledger could not be told, or
// of which it cannot be known yet.
func (im *Importer) Unsettled(database string, o checkpoint.Outcome) {
	im.mu.Lock()
	k := im.keeper(database)
	k.pending = append(k.pending, o)
	im.mu.Unlock()
}

// keeper returns that of a database. It holds im.mu.
func (im *Importer) keeper(database string) *keeper {
	k := im.keepers[database]
	if k == nil {
		k = &keeper{name: database}
		im.keepers[database] = k
	}
	return k
}

// beat is the time between two looks at the ledgers, as long as nobody wakes the
// Importer.
func (im *Importer) beat() time.Duration { return max(im.cfg.Lease/3, 10*time.Millisecond) }

// Run works until ctx ends, and then waits for the imports that are under way to
// be broken off.
func (im *Importer) Run(ctx context.Context) {
	tick := time.NewTicker(im.beat())
	defer tick.Stop()
	defer im.wg.Wait()
	for {
		for name, db := range im.deps.Known() {
			im.mu.Lock()
			k := im.keeper(name)
			start := !k.busy
			k.busy = true
			im.mu.Unlock()
			if start {
				im.wg.Add(1)
				go im.tend(ctx, k, db)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-im.wake:
		}
	}
}

// Release gives up the leases, so that other proxies need not wait. Run has
// ended, and no load of this proxy goes on.
func (im *Importer) Release(ctx context.Context) {
	for name, db := range im.deps.Known() {
		im.mu.Lock()
		leased := !im.keeper(name).renewed.IsZero()
		im.mu.Unlock()
		if !leased {
			continue
		}
		if err := db.Ledger.Release(ctx, im.cfg.Proxy.Owner); err != nil {
			im.deps.Log.Warn("release lease", "database", name, "error", err)
		}
	}
}

// tend does what is to be done in one database.
func (im *Importer) tend(ctx context.Context, k *keeper, db *Database) {
	defer im.wg.Done()
	defer func() {
		im.mu.Lock()
		k.busy = false
		im.mu.Unlock()
	}()
	quick, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	if err := im.renew(quick, k, db); err != nil {
		im.complain(ctx, k, "renew lease", err)
		return
	}
	if time.Since(k.looked) >= im.beat() {
		if err := im.takeOver(quick, k, db); err != nil {
			im.complain(ctx, k, "look for loads of lost proxies", err)
			return
		}
		k.looked = time.Now()
	}
	im.settle(quick, k, db)
	heads, err := db.Ledger.Heads(quick, im.cfg.Proxy.Owner)
	if err != nil {
		im.complain(ctx, k, "look for staged loads", err)
		return
	}
	for _, h := range heads {
		im.begin(ctx, k, db, h)
	}
}

func (im *Importer) complain(ctx context.Context, k *keeper, what string, err error) {
	if ctx.Err() == nil {
		im.deps.Log.Warn(what, "database", k.name, "error", err)
	}
}

// renew keeps the lease, and gets one where there is none.
func (im *Importer) renew(ctx context.Context, k *keeper, db *Database) error {
	if time.Since(k.renewed) < im.beat()*9/10 {
		return nil
	}
	var err error
	if k.renewed.IsZero() {
		err = db.Ledger.Register(ctx, im.cfg.Proxy, im.cfg.Lease)
	} else if err = db.Ledger.Renew(ctx, im.cfg.Proxy.Owner, im.cfg.Lease); errors.Is(err, checkpoint.ErrNoLease) {
		err = db.Ledger.Register(ctx, im.cfg.Proxy, im.cfg.Lease)
	}
	if err == nil {
		im.mu.Lock()
		k.renewed = time.Now()
		im.mu.Unlock()
	}
	return err
}

// takeLimit bounds one look for orphans.
const takeLimit = 100

// takeOver takes what lost proxies have left in a database. To settle it says
// what became of it: a staged load is then one of this proxy's own.
func (im *Importer) takeOver(ctx context.Context, k *keeper, db *Database) error {
	orphans, err := db.Ledger.Orphans(ctx, takeLimit)
	if err != nil {
		return err
	}
	for _, o := range orphans {
		fence, err := db.Ledger.Take(ctx, o, im.cfg.Proxy.Owner)
		if errors.Is(err, checkpoint.ErrFenced) {
			continue // another proxy was faster
		}
		if err != nil {
			return err
		}
		im.deps.Log.Info("took over a load of a lost proxy", "database", k.name, "load", o.ProcessID, "owner", o.Owner)
		im.Unsettled(k.name, checkpoint.Outcome{
			ProcessID: o.ProcessID, Status: checkpoint.Completed, Message: "the proxy was lost", Fence: &fence,
		})
	}
	return nil
}

// isBusy says that a statement of the ledger's has waited for a lock in vain.
func isBusy(err error) bool {
	var e interface{ SQLState() string }
	return errors.As(err, &e) && e.SQLState() == "55P03"
}

// settle tells the ledger of ends that it has not heard of. What can't be told
// yet is tried again.
func (im *Importer) settle(ctx context.Context, k *keeper, db *Database) {
	im.mu.Lock()
	pending := k.pending
	k.pending = nil
	im.mu.Unlock()
	for _, o := range pending {
		_, err := db.Ledger.Settle(ctx, o)
		if err == nil || errors.Is(err, checkpoint.ErrFenced) || errors.Is(err, checkpoint.ErrUnknownLoad) {
			continue
		}
		if !isBusy(err) { // the client's transaction has yet to end
			im.complain(ctx, k, "settle load, trying again later", err)
		}
		im.Unsettled(k.name, o)
	}
}
