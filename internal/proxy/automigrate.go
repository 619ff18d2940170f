package proxy

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/routing"
)

const (
	// autoShare is the part of the time that may go into counting and moving one
	// table's groups: to count them, all of the table may have to be read.
	autoShare = 20
	// autoRetry is how many intervals a table rests after an error.
	autoRetry = 10
)

// automigrate moves groups that loads have pushed over a threshold, one table
// after the other, in one goroutine (Run).
//
// A table is looked at after a load, and once more as long as transactions write
// to it: so each committed load is seen by some look.
type automigrate struct {
	dsn      string
	column   string
	options  routing.MigrateOptions
	interval time.Duration
	log      *slog.Logger

	mu      sync.Mutex
	loaded  map[autoTable]bool      // since they were looked at
	resting map[autoTable]time.Time // until then
}

// autoTable is one in any database.
type autoTable struct{ database, schema, table string }

// newAutomigrate returns nil where it is switched off.
func newAutomigrate(cfg config.Config, log *slog.Logger) *automigrate {
	if cfg.Routing.AutoThreshold == 0 {
		return nil
	}
	return &automigrate{
		dsn:      cfg.ServiceDSN,
		column:   cfg.Routing.Column,
		options:  routing.MigrateOptions{Threshold: int64(cfg.Routing.AutoThreshold), Patience: cfg.Routing.AutoInterval},
		interval: cfg.Routing.AutoInterval,
		log:      log,
		loaded:   map[autoTable]bool{},
		resting:  map[autoTable]time.Time{},
	}
}

// Loaded takes note of a load.
func (m *automigrate) Loaded(database, schema, table string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loaded[autoTable{database, schema, table}] = true
}

// hook is what the sessions call; nil where nobody wants to hear.
func (m *automigrate) hook() func(database, schema, table string) {
	if m == nil {
		return nil
	}
	return m.Loaded
}

// Run works until ctx ends.
func (m *automigrate) Run(ctx context.Context) {
	if m == nil {
		return
	}
	tick := time.NewTicker(m.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, t := range m.due(time.Now()) {
			began := time.Now()
			again, err := m.look(ctx, t)
			if ctx.Err() != nil {
				return
			}
			rest := autoShare * time.Since(began)
			if err != nil {
				m.log.Warn("move groups over routing.auto_threshold", "database", t.database, "table", t.schema+"."+t.table, "error", err)
				again, rest = true, max(rest, autoRetry*m.interval)
			}
			m.rest(t, again, time.Now().Add(rest))
		}
	}
}

// due takes the tables to look at now.
func (m *automigrate) due(now time.Time) []autoTable {
	m.mu.Lock()
	defer m.mu.Unlock()
	var due []autoTable
	for t := range m.loaded {
		if now.After(m.resting[t]) {
			due = append(due, t)
			delete(m.loaded, t)
			delete(m.resting, t)
		}
	}
	return due
}

func (m *automigrate) rest(t autoTable, again bool, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resting[t] = until
	if again {
		m.loaded[t] = true
	}
}

// look moves what is to be moved in one table, and says whether to look again.
func (m *automigrate) look(ctx context.Context, t autoTable) (again bool, err error) {
	cfg, err := pgx.ParseConfig(m.dsn)
	if err != nil {
		return false, errors.New("service_dsn is not a DSN") // its text may hold a password
	}
	cfg.Database = t.database
	cfg.RuntimeParams["application_name"] = "pgbulkproxy"
	routing.MigrateConfig(cfg)
	open, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(open, cfg)
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	target := routing.MigrateTarget{Table: routing.Names{Schema: t.schema, Table: t.table}.Main(), Column: m.column}
	if again, err = routing.LoadsUnderWay(ctx, conn, target); err != nil {
		return again, err
	}
	plan, err := routing.PlanMigration(ctx, conn, target, m.options)
	if err != nil || len(plan.Moves) == 0 {
		return again, err
	}
	o := m.options
	o.Unseen = func(ctx context.Context, table string) ([]string, error) {
		return checkpoint.RoutingUnseenBy(ctx, conn, table)
	}
	result, err := routing.Migrate(ctx, conn, target, o)
	if result != nil && result.Groups > 0 {
		m.log.Info("moved groups to the auxiliary table", "database", t.database, "table", t.schema+"."+t.table, "groups", result.Groups, "rows", result.Rows)
	}
	if err == nil && len(result.Failed) > 0 {
		err = result.Failed[0]
	}
	return again, err
}
