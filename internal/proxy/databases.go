package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	installer "github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

const (
	// lookupTimeout bounds the first connection to a database.
	lookupTimeout = 5 * time.Second
	// installTimeout replaces it where the installation runs, too: CREATE
	// EXTENSION reads files, and another proxy may be installing.
	installTimeout = 30 * time.Second
	// retryAfter is how long a failed database is not tried again.
	retryAfter = 30 * time.Second
	// refreshAfter is how long a database's secret is believed: a database may
	// be dropped and made anew under its name, and a secret be changed.
	refreshAfter = time.Minute
	// idleTimeout ends service connections that are not used: they would keep
	// the database from being dropped.
	idleTimeout = 5 * time.Second
	// poolSize bounds the service connections to one database.
	poolSize = 4
)

// databases implements bulk.Databases: it opens a service connection to each
// database that clients load into, when they first do.
type databases struct {
	dsn string
	// installSQL is run where nothing is installed yet; empty: it stays so.
	installSQL string
	log        *slog.Logger
	// opened, unless nil, is called when a database was found.
	opened func()

	mu     sync.Mutex
	byName map[string]*database
}

// database is one of them. Its mutex is held while it is looked up, so that
// many loads at once look it up once.
type database struct {
	// gone: it was dropped, or the installation removed. Set under mu.
	gone   atomic.Bool
	mu     sync.Mutex
	pool   *pgxpool.Pool
	found  *bulk.Database
	read   time.Time // when found was
	reason rewrite.Reason
	retry  time.Time
}

func newDatabases(dsn, installSQL string, log *slog.Logger) *databases {
	return &databases{dsn: dsn, installSQL: installSQL, log: log, byName: make(map[string]*database)}
}

// Lookup implements bulk.Databases.
func (d *databases) Lookup(ctx context.Context, name string, installed bool) (*bulk.Database, rewrite.Reason) {
	if d.dsn == "" {
		return nil, rewrite.ReasonNoServiceDSN
	}
	db := d.database(name)
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.gone.Load() {
		return nil, rewrite.ReasonServiceFailed // forgotten just now; the next load finds it anew
	}
	if !installed && (d.installSQL == "" || time.Now().Before(db.retry)) {
		return nil, rewrite.ReasonNotInstalled
	}
	if db.found != nil && installed && time.Since(db.read) < refreshAfter {
		return db.answer()
	}
	if time.Now().Before(db.retry) {
		return nil, db.reason
	}
	limit := lookupTimeout
	if !installed {
		limit = installTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err := d.open(ctx, db, name, installed); err != nil {
		db.reason, db.retry = rewrite.ReasonServiceFailed, time.Now().Add(retryAfter)
		d.log.Warn("service connection, loads go without it for now", "database", name, "error", err)
		return nil, db.reason
	}
	if !installed {
		// This client's session has looked before it was installed.
		return nil, rewrite.ReasonNotInstalled
	}
	return db.answer()
}

// answer is Lookup's for a database that was found.
func (db *database) answer() (*bulk.Database, rewrite.Reason) {
	if db.found.Ledger == nil {
		return db.found, rewrite.ReasonNotInstalled
	}
	return db.found, rewrite.ReasonNone
}

// open connects to a database, installs where that is wanted, and reads the
// secret.
func (d *databases) open(ctx context.Context, db *database, name string, installed bool) error {
	if err := d.openPool(ctx, db, name); err != nil {
		return err
	}
	if !installed {
		if err := d.install(ctx, db.pool); err != nil {
			return fmt.Errorf("install: %w", err)
		}
		d.log.Info("installed schema pgbulk", "database", name)
	}
	found := &bulk.Database{}
	if err := db.pool.QueryRow(ctx, sealed.SecretSQL).Scan(&found.Key); err != nil {
		return fmt.Errorf("read the secret: %w", err)
	}
	alone := false
	if err := db.pool.QueryRow(ctx, sealed.RejectsOnlySQL).Scan(&alone); err != nil {
		return fmt.Errorf("look for the ledger: %w", err)
	}
	if alone {
		db.found, db.read = found, time.Now()
		return nil
	}
	ledger := checkpoint.NewPostgres(db.pool)
	err := ledger.Check(ctx)
	if errors.Is(err, checkpoint.ErrOldFormat) && d.installSQL != "" {
		if err := d.install(ctx, db.pool); err != nil {
			return fmt.Errorf("upgrade: %w", err)
		}
		d.log.Info("upgraded schema pgbulk", "database", name)
		err = ledger.Check(ctx)
	}
	if err != nil {
		return err
	}
	found.Ledger = forgetful{Ledger: ledger, db: db, forget: func() { d.forget(name, db) }}
	pool := db.pool
	found.Connect = func(ctx context.Context, idle time.Duration) (bulk.ImportSession, error) {
		return connectForImport(ctx, pool.Config().ConnConfig.Config, idle)
	}
	db.found, db.read = found, time.Now()
	if d.opened != nil {
		d.opened()
	}
	return nil
}

// openPool makes the pool of a database, if there is none. It does not connect.
func (d *databases) openPool(ctx context.Context, db *database, name string) error {
	if db.pool != nil {
		return nil
	}
	cfg, err := pgxpool.ParseConfig(d.dsn)
	if err != nil {
		return errors.New("service_dsn is not a DSN") // its text may hold a password
	}
	cfg.ConnConfig.Database = name
	for k, v := range checkpoint.RuntimeParams() {
		cfg.ConnConfig.RuntimeParams[k] = v
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = "pgbulkproxy"
	cfg.MaxConns, cfg.MaxConnIdleTime, cfg.HealthCheckPeriod = poolSize, idleTimeout, idleTimeout/2
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	if db.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return fmt.Errorf("open pool: %w", err)
	}
	return nil
}

// poolOf returns the pool of a database, whether a ledger is installed there or
// not.
func (d *databases) poolOf(ctx context.Context, name string) (*pgxpool.Pool, error) {
	db := d.database(name)
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.gone.Load() {
		return nil, errors.New("the database is gone")
	}
	err := d.openPool(ctx, db, name)
	return db.pool, err
}

// database returns what is known of a database.
func (d *databases) database(name string) *database {
	d.mu.Lock()
	defer d.mu.Unlock()
	db := d.byName[name]
	if db == nil {
		db = &database{}
		d.byName[name] = db
	}
	return db
}

// forgetful is the ledger of a database that may be dropped: then there is
// nothing to sweep, and nobody to ask again.
type forgetful struct {
	checkpoint.Ledger
	db     *database
	forget func()
}

// Due implements checkpoint.Ledger.
func (l forgetful) Due(ctx context.Context, before time.Time, limit int) ([]checkpoint.Swept, error) {
	due, err := l.Ledger.Due(ctx, before, limit)
	if isGone(err) {
		l.forget()
		return nil, nil
	}
	return due, err
}

// Register implements checkpoint.Ledger.
func (l forgetful) Register(ctx context.Context, p checkpoint.Proxy, lease time.Duration) error {
	return l.unlessGone(l.Ledger.Register(ctx, p, lease))
}

// Renew implements checkpoint.Ledger.
func (l forgetful) Renew(ctx context.Context, owner string, lease time.Duration) error {
	return l.unlessGone(l.Ledger.Renew(ctx, owner, lease))
}

// Release implements checkpoint.Ledger.
func (l forgetful) Release(ctx context.Context, owner string) error {
	return l.unlessGone(l.Ledger.Release(ctx, owner))
}

func (l forgetful) unlessGone(err error) error {
	if isGone(err) {
		l.forget()
		return nil
	}
	return err
}

// MarkSwept implements checkpoint.Ledger.
func (l forgetful) MarkSwept(ctx context.Context, processIDs ...string) error {
	if l.db.gone.Load() {
		return nil // its files are deleted, and nobody is left to be told
	}
	err := l.Ledger.MarkSwept(ctx, processIDs...)
	if isGone(err) {
		l.forget()
		return nil
	}
	return err
}

// isGone says that the database of a service connection is not there any more,
// or schema pgbulk in it.
func isGone(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case "3D000", "3F000", "42P01": // invalid_catalog_name, invalid_schema_name, undefined_table
		return true
	}
	return false
}

// forget drops a database from the table. A later load looks it up again.
func (d *databases) forget(name string, db *database) {
	d.mu.Lock()
	if d.byName[name] == db {
		delete(d.byName, name)
	}
	d.mu.Unlock()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.gone.Load() {
		return
	}
	if db.pool != nil {
		db.pool.Close()
	}
	db.pool, db.found = nil, nil
	db.gone.Store(true)
	d.log.Info("database is gone, its ledger is forgotten", "database", name)
}

func (d *databases) install(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return installer.Run(ctx, conn.Conn().PgConn(), d.installSQL)
}

// ledgers returns the ledgers of the databases that are known by now.
func (d *databases) ledgers() []checkpoint.Ledger {
	var out []checkpoint.Ledger
	for _, db := range d.known() {
		out = append(out, db.Ledger)
	}
	return out
}

// known returns the databases with a ledger that are known by now, by name.
func (d *databases) known() map[string]*bulk.Database {
	d.mu.Lock()
	all := maps.Clone(d.byName)
	d.mu.Unlock()
	out := make(map[string]*bulk.Database, len(all))
	for name, db := range all {
		db.mu.Lock()
		if db.found != nil && db.found.Ledger != nil {
			out[name] = db.found
		}
		db.mu.Unlock()
	}
	return out
}

func (d *databases) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, db := range d.byName {
		db.mu.Lock()
		if db.pool != nil {
			db.pool.Close()
		}
		db.mu.Unlock()
	}
}
