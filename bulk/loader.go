package bulk

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/transcode"
	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/gpfdist"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Config of a Loader. All sizes are bytes.
type Config struct {
	// FileBytes is the size at which a file is cut, at the next row boundary.
	// The first files of a load are smaller, so that loading starts early.
	// Default 16 MiB.
	FileBytes int64
	// Ahead is how many cut files of one load may exist that are not loaded
	// yet; the client waits when there are more. Default 3.
	Ahead int
	// Uploads is how many files of one load are uploaded at once. Default 2.
	Uploads int
	// URLTTL is how long a pre-signed URL is valid. Default 15 minutes.
	URLTTL time.Duration
	// Grace is how long files stay after their load has ended. Default 5 minutes.
	Grace time.Duration
	// BreakerFailures in a row of the store or of a database's external tables
	// stop it from being used for BreakerCooldown. Defaults 3 and 30 seconds.
	BreakerFailures int
	BreakerCooldown time.Duration
	// Prefer is the method that is taken where both are exact; MethodNone takes
	// the one that is known to be faster.
	Prefer rewrite.Method
	// Transcode: rows in text and csv go as COPY binary where that is exact;
	// TranscodeSharded: on their way into tables of Citus, too.
	Transcode, TranscodeSharded bool
	// TranscodeWorkers is how many processors all loads together use for that at
	// most. Default half of them.
	TranscodeWorkers int
	// KeepAll: rows are put into the store also where nobody reads them there.
	KeepAll bool
	// Limits bound what loads take.
	Limits Limits
	// Owner names this proxy in the ledger.
	Owner string
}

// WithDefaults returns c with zero values replaced by the defaults.
func (c Config) WithDefaults() Config {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	setTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Limits.Workers.All == 0 {
		c.Limits.Workers.All = int64(runtime.GOMAXPROCS(0))
	}
	if c.FileBytes == 0 {
		c.FileBytes = 16 << 20
	}
	set(&c.Ahead, 3)
	set(&c.Uploads, 2)
	set(&c.TranscodeWorkers, max(runtime.GOMAXPROCS(0)/2, 1))
	set(&c.BreakerFailures, 3)
	setTime(&c.URLTTL, 15*time.Minute)
	setTime(&c.BreakerCooldown, 30*time.Second)
	return c
}

// Database is what the proxy knows of one database of its upstream, by its
// service connection.
type Database struct {
	// Ledger is nil where what is installed writes rejected rows down and nothing else.
	Ledger checkpoint.Ledger
	// Key is the secret that sealed messages are made with.
	Key []byte
	// Connect opens a session of its own for an import. The server ends it when
	// it has been idle inside a transaction for so long.
	Connect func(ctx context.Context, idle time.Duration) (ImportSession, error)
}

// Databases looks up the databases in which pgbulkproxy is installed.
type Databases interface {
	// Lookup returns the database, or the reason why loads into it do without
	// external tables and ledger; with the reason comes a database without a Ledger,
	// or nil. installed is what the client's session saw.
	Lookup(ctx context.Context, name string, installed bool) (*Database, rewrite.Reason)
}

// Configs serves the server what it must know to read the files of one group.
type Configs interface {
	// Open returns a URL that may be fetched a number of times, until close is
	// called.
	Open(fetches int) (url string, close func())
	// Place is where the server finds the store: its host, with a port where it has
	// one, and its region.
	Place() (host, region string)
}

// Access asks for the credentials of the moment, and for where the store is.
type Access func(context.Context) (store.Config, error)

// Loader starts loads. It is shared by all sessions.
type Loader struct {
	cfg      Config
	store    store.Store
	urls     urls
	prefix   func() string
	engineOf func(ctx context.Context, database string, installed bool) engine.Engine
	dbs      Databases
	pull     *gpfdist.Server
	configs  Configs
	access   Access
	mem      *Memory
	log      *slog.Logger
	metrics  *metrics
	sweeper  *Sweeper
	importer *Importer
	turning  transcode.Limits
	// running, puts and workers are what loads have of Config.Limits; memory is in mem.
	running, puts, workers *quota

	storeBreaker *Breaker
	mu           sync.Mutex
	external     map[string]*Breaker // by database
	wg           sync.WaitGroup
	// closing ends with Close: entries of the ledger are not tried again then.
	closing context.Context
	close   context.CancelFunc
}

// urls names objects for people; store.Lister has it.
type urls interface{ URL(key string) string }

// Deps are what a Loader works with. Metrics may be nil.
type Deps struct {
	Store store.Store
	URLs  urls
	// Prefix returns what goes before new keys, without slashes at its ends; nil
	// is none.
	Prefix func() string
	Engine engine.Engine
	// EngineOf, unless nil, returns the engine of a database, in Engine's place.
	// installed is what the client's session saw.
	EngineOf  func(ctx context.Context, database string, installed bool) engine.Engine
	Databases Databases
	// Pull gives rows to the segments of a server, for MethodPull. It may be nil.
	Pull *gpfdist.Server
	// Configs is needed by engines that want Group.Config, and may be nil: then
	// they read no files.
	Configs Configs
	// Access is needed by engines whose SQL holds the store's credentials, and may be
	// nil: then they read no files.
	Access  Access
	Memory  *Memory
	Sweeper *Sweeper
	// Importer is told of loads that are staged; nil: nobody is.
	Importer *Importer
	Log      *slog.Logger
	Metrics  prometheus.Registerer
}

// NewLoader returns a Loader.
func NewLoader(cfg Config, d Deps) *Loader {
	cfg = cfg.WithDefaults()
	closing, close := context.WithCancel(context.Background())
	if d.EngineOf == nil {
		d.EngineOf = func(context.Context, string, bool) engine.Engine { return d.Engine }
	}
	l := &Loader{
		running: newQuota(cfg.Limits.Loads), puts: newQuota(cfg.Limits.Uploads), workers: newQuota(cfg.Limits.Workers),
		cfg: cfg, store: d.Store, urls: d.URLs, prefix: d.Prefix, engineOf: d.EngineOf, dbs: d.Databases, configs: d.Configs, access: d.Access, pull: d.Pull, mem: d.Memory,
		log: d.Log, metrics: newMetrics(d.Metrics), sweeper: d.Sweeper, importer: d.Importer, turning: turningLimits(cfg.TranscodeWorkers),
		storeBreaker: NewBreaker(cfg.BreakerFailures, cfg.BreakerCooldown),
		external:     make(map[string]*Breaker),
		closing:      closing, close: close,
	}
	l.mem.shares.limit = cfg.Limits.Memory
	l.metrics.limits(map[string]*quota{limitLoads: l.running, limitMemory: l.mem.shares, limitUploads: l.puts, limitWorkers: l.workers})
	return l
}

// Memory is the budget that loads share, for data that is held before a load
// begins.
func (l *Loader) Memory() *Memory { return l.mem }

// Transcodes says that rows go as COPY binary where that is exact.
func (l *Loader) Transcodes() bool { return l.cfg.Transcode }

// transcodable says that rows of a COPY may go as COPY binary, and gain by it. A Citus
// coordinator turns what comes into what its workers get, whatever the format: there
// COPY binary saves it a fifth of the time, and making it takes as much.
func (l *Loader) transcodable(d *rewrite.Decision, stmt *rewrite.CopyStatement, in *rewrite.Inspection) bool {
	passedOn := d.Method == rewrite.MethodCopy && in.Sharding != nil
	return l.cfg.Transcode && (l.cfg.TranscodeSharded || !passedOn) && d.Transcodable(stmt, in)
}

// KeepsAll says that rows go to the store also where nobody reads them there.
func (l *Loader) KeepsAll() bool { return l.cfg.KeepAll }

// Sharded says that tables of a database may be Citus', if it has the extension.
func (l *Loader) Sharded(ctx context.Context, database string) bool {
	return l.engineOf(ctx, database, true).Caps().Sharded
}

// Close waits for the bookkeeping of loads that have ended. While the server is
// away it does not wait.
func (l *Loader) Close() {
	l.close()
	l.wg.Wait()
}

// Decide classifies a statement for this engine, database and moment.
func (l *Loader) Decide(ctx context.Context, stmt *rewrite.CopyStatement, in *rewrite.Inspection, inBlock bool) rewrite.Decision {
	d := l.decide(ctx, stmt, in, inBlock)
	if d.CopyOnly(in) && !l.transcodable(&d, stmt, in) && l.unread(ctx, in) {
		return d.Relayed()
	}
	return d
}

func (l *Loader) decide(ctx context.Context, stmt *rewrite.CopyStatement, in *rewrite.Inspection, inBlock bool) rewrite.Decision {
	ec := l.engineOf(ctx, in.Database, in.Installed).Caps()
	caps := ec.ForClassify(l.cfg.Prefer)
	caps.External = caps.External && (!ec.Config || l.configs != nil || l.cfg.Prefer == rewrite.MethodPull) && (!ec.Access || l.access != nil)
	caps.InBlock = inBlock
	if caps.Prefer == rewrite.MethodPull && (l.pull == nil || !ec.Pull) {
		caps.Prefer = rewrite.MethodCopy
	}
	d := rewrite.Classify(stmt, in, caps)
	if d.Way != rewrite.Stage {
		return d
	}
	// A table's rows that are routed can't be relayed: their load does without the store.
	if !l.storeBreaker.Ready() && !d.Ext.Ours() && !in.Routed() {
		return rewrite.Decision{Way: rewrite.Pass, Reason: rewrite.ReasonStoreBreaker}
	}
	if d.Ext.Label != "" {
		if _, reason := l.dbs.Lookup(ctx, in.Database, in.Installed); reason != rewrite.ReasonNone {
			return stmt.RefuseFeature(d.Ext, rewrite.FeatureLabel, reason)
		}
	}
	if d.Method != rewrite.MethodExternal && d.Method != rewrite.MethodPull {
		return d
	}
	// A staged load is imported as a whole, or not at all.
	if in.Sharding != nil && (inBlock || !d.Ext.Staged) {
		d.Method, d.Reason = rewrite.MethodCopy, rewrite.ReasonShardedBlock
		return d
	}
	if d.Method == rewrite.MethodPull {
		if !l.breaker(in.Database).Ready() {
			d.Method, d.Reason = rewrite.MethodCopy, rewrite.ReasonExternalBreaker
		}
		return d
	}
	if _, reason := l.dbs.Lookup(ctx, in.Database, in.Installed); reason != rewrite.ReasonNone && ec.InstallNeeded {
		d.Method, d.Reason = rewrite.MethodCopy, reason
		return d
	}
	if !l.breaker(in.Database).Ready() {
		d.Method, d.Reason = rewrite.MethodCopy, rewrite.ReasonExternalBreaker
	}
	return d
}

func (l *Loader) breaker(database string) *Breaker {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.external[database]
	if b == nil {
		b = NewBreaker(l.cfg.BreakerFailures, l.cfg.BreakerCooldown)
		l.external[database] = b
	}
	return b
}

// Spec says what a load is for.
type Spec struct {
	Statement  *rewrite.CopyStatement
	Inspection *rewrite.Inspection
	Decision   rewrite.Decision
	// Started is when the client's statement arrived; statement_timeout counts
	// from there.
	Started time.Time
	// InBlock: the client is inside a transaction block.
	InBlock bool
	// CommitLater: the load's own transaction is committed by the caller, at
	// the client's Sync.
	CommitLater bool
	// Unstaged: the load is small, and known to neither store nor ledger.
	Unstaged bool
	// Owner is whose the load is.
	Owner Owner
	// Relayable: where limits are reached, the statement is relayed.
	Relayable bool
	// Session is the number of the session, for logs.
	Session uint64
	// Interrupt is called, from another goroutine, when the load has failed
	// and the caller should stop waiting for the client's data.
	Interrupt func(*pgerr.Error)
}

// readsItself says that the server gets the rows by other means than a COPY.
func (s *Spec) readsItself() bool {
	return s.Decision.Method == rewrite.MethodExternal || s.Decision.Method == rewrite.MethodPull
}

// tolerant says that bad rows are skipped.
func (s *Spec) tolerant() bool { return s.Decision.Ext.IgnoreErrors }

// Open is the SQL with which a load begins: it puts the session into a
// transaction block, or behind a savepoint inside the client's own, takes the
// lock that COPY takes first of all, and inspects the table under it. lock takes
// it. after is what goes behind a savepoint's end, as for UndoFailedOpen.
func Open(lock, inspect string, inBlock bool, after string) string {
	sql := lock + "; " + inspect
	if inBlock {
		return "SAVEPOINT pgbulkproxy_open; " + sql + "; RELEASE SAVEPOINT pgbulkproxy_open" + after
	}
	return "BEGIN; " + sql
}

// Stay goes behind the end of a savepoint of ours where statements reach other
// servers (rewrite.Inspection.Spread): Citus keeps, for each worker, the last
// savepoint that was set, and not that it was released. After an error it can then
// not go back to a savepoint of the client's that is older; the transaction is
// lost. This one stays until the client's own savepoint or block ends.
const Stay = "; SAVEPOINT pgbulkproxy_kept"

// Unstay ends it where it is known to be the last one.
const Unstay = "RELEASE SAVEPOINT pgbulkproxy_kept; "

// LockAlone is the lock of a load that empties the table, or that must know what is
// in it. It takes more than COPY does at once, since two that both wanted more later
// would wait for each other.
func LockAlone(schema, table string) string {
	return "LOCK TABLE ONLY " + pgident.Qualified(schema, table) + " IN SHARE ROW EXCLUSIVE MODE"
}

// OpenAgain is an Open behind one that has taken too little of a lock. Outside a
// block of the client's that one is undone first; inside, its lock stays.
func OpenAgain(lock, inspect string, inBlock bool) string {
	if inBlock {
		return Open(lock, inspect, inBlock, "")
	}
	return "ROLLBACK; " + Open(lock, inspect, inBlock, "")
}

// UndoFailedOpen is the SQL that brings a session to where it was before an
// Open that failed.
func UndoFailedOpen(inBlock bool, after string) string {
	if inBlock {
		return "ROLLBACK TO SAVEPOINT pgbulkproxy_open; RELEASE SAVEPOINT pgbulkproxy_open" + after
	}
	return "ROLLBACK"
}

// UndoOpen is the SQL that ends what Open began, or "" where nothing is left.
func UndoOpen(inBlock bool) string {
	if inBlock {
		return "" // the lock stays until the block ends, as COPY's own would
	}
	return "ROLLBACK"
}

// uploads bounds the uploads of one load.
func (l *Loader) uploads() *semaphore.Weighted { return semaphore.NewWeighted(int64(l.cfg.Uploads)) }
