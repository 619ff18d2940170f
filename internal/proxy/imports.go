package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// importSession implements bulk.ImportSession over a connection of its own.
type importSession struct {
	conn *pgconn.PgConn
	cfg  *pgconn.Config
}

func connectForImport(ctx context.Context, cfg pgconn.Config, idle time.Duration) (bulk.ImportSession, error) {
	own := cfg.Copy()
	// A proxy that is stopped must not hold the load longer than its lease.
	own.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(max(idle.Milliseconds(), 1), 10)
	conn, err := pgconn.ConnectConfig(ctx, own)
	if err != nil {
		return nil, err
	}
	return importSession{conn, &cfg}, nil
}

// Role implements bulk.ImportSession.
func (s importSession) Role() string { return s.conn.ParameterStatus("session_authorization") }

// PID implements bulk.ImportSession.
func (s importSession) PID() uint32 { return s.conn.PID() }

// Run implements bulk.ImportSession. When ctx ends, so does the session on the
// server: users' code that runs there may ignore a cancel.
func (s importSession) Run(ctx context.Context, sql string) error {
	_, err := s.conn.Exec(ctx, sql).ReadAll()
	if ctx.Err() != nil {
		return errors.Join(err, s.terminate(context.WithoutCancel(ctx)))
	}
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return pgerr.New(e.Code, "%s", e.Message).With('D', e.Detail)
	}
	return err
}

// terminate ends the session from another one.
func (s importSession) terminate(ctx context.Context) error {
	cfg, err := pgx.ParseConfig("")
	if err != nil {
		return err
	}
	cfg.Config = *s.cfg.Copy()
	_, err = query(ctx, cfg, fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d)::pg_catalog.text", s.conn.PID()))
	return err
}

// Close implements bulk.ImportSession.
func (s importSession) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // whatever becomes of it, the transaction's end is in the ledger
}

// self is this process in the ledgers.
func self() checkpoint.Proxy {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	pid := os.Getpid()
	return checkpoint.Proxy{Owner: host + "/" + strconv.Itoa(pid) + "/" + rand.Text()[:8], Host: host, PID: pid}
}

// discover looks up the databases of the server in which a ledger is installed,
// so that loads which were left in them are taken over though no client comes.
func (d *databases) discover(ctx context.Context) {
	if d.dsn == "" {
		return
	}
	names, err := d.list(ctx)
	if err != nil && ctx.Err() == nil {
		d.log.Warn("look for databases with a ledger", "error", err)
	}
	for _, name := range names {
		if d.isKnown(name) || ctx.Err() != nil {
			continue
		}
		installed, err := d.installedIn(ctx, name)
		if err != nil && ctx.Err() == nil {
			d.log.Debug("look for a ledger", "database", name, "error", err)
		}
		if installed {
			d.Lookup(ctx, name, true)
		}
	}
}

func (d *databases) isKnown(name string) bool {
	d.mu.Lock()
	db := d.byName[name]
	d.mu.Unlock()
	if db == nil {
		return false
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.found != nil || time.Now().Before(db.retry)
}

// list returns the databases of the server.
func (d *databases) list(ctx context.Context) ([]string, error) {
	cfg, err := pgx.ParseConfig(d.dsn)
	if err != nil {
		return nil, errors.New("service_dsn is not a DSN") // its text may hold a password
	}
	return query(ctx, cfg, "SELECT d.datname::pg_catalog.text FROM pg_catalog.pg_database d WHERE d.datallowconn AND NOT d.datistemplate")
}

func (d *databases) installedIn(ctx context.Context, name string) (bool, error) {
	cfg, err := pgx.ParseConfig(d.dsn)
	if err != nil {
		return false, err
	}
	cfg.Database = name
	found, err := query(ctx, cfg, "SELECT 'yes' WHERE pg_catalog.to_regclass('pgbulk.staged') IS NOT NULL")
	return len(found) > 0, err
}

// query returns the first column of a query over a connection of its own.
func query(ctx context.Context, cfg *pgx.ConnConfig, sql string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	cfg.RuntimeParams["application_name"] = "pgbulkproxy"
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
