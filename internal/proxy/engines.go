package proxy

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
	"github.com/pgbulkproxy/pgbulkproxy/engine/registry"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// engines says which engine a database has: the configured one, or the one that its
// server is for, where that is to be found out.
type engines struct {
	dbs *databases
	log *slog.Logger
	// external: load.method = external, also for what has to be asked for by name.
	external bool
	// fixed is the configured engine; nil: auto.
	fixed engine.Engine
	// first is the database of service_dsn. What it is holds for databases that
	// could not be asked, or need not be.
	first string

	mu     sync.Mutex
	byName map[string]*choice
}

// choice is the engine of one database. Its mutex is held while it is found out, so
// that many loads at once ask once.
type choice struct {
	mu   sync.Mutex
	row  registry.Row
	eng  engine.Engine // nil: not known yet
	next time.Time     // when it is asked again
}

// newEngines finds out what the server is, unless that is configured, and says so
// in one line. A server that is away is asked when the first load comes; until then
// it is taken for a PostgreSQL, where nothing is done that could be wrong elsewhere:
// an engine of its own reads files only where pgbulkproxy is installed.
func newEngines(ctx context.Context, cfg config.Config, dbs *databases, log *slog.Logger) (*engines, error) {
	e := &engines{dbs: dbs, log: log, external: asksExternal(cfg), byName: make(map[string]*choice)}
	if name := cfg.EngineName(); name != config.EngineAuto {
		row, ok := registry.Find(name)
		if !ok {
			_, err := registry.ByName(name)
			return nil, err
		}
		e.fixed = row.New()
		why := "it is configured"
		if cfg.Engine != name {
			why = "there is no service_dsn"
		}
		e.tell(slog.LevelInfo, row, why, "")
		return e, nil
	}
	if dsn, err := pgx.ParseConfig(cfg.ServiceDSN); err == nil { // else asking says so
		e.first = dsn.Database
	}
	e.look(ctx, e.first)
	return e, nil
}

// tell says which engine was chosen, and plainly where nobody has tried it, and where
// credentials will be seen by others.
func (e *engines) tell(level slog.Level, row registry.Row, why, database string) {
	args := []any{"engine", row.Name, "why", why}
	if database != "" {
		args = append(args, "database", database)
	}
	if e.external && row.New().Caps().Access {
		e.log.Warn("load.method is external: the store's credentials stand in SQL, where the server logs and shows them; give the proxy temporary ones, for this bucket alone (docs/engines.md)", args...)
	}
	if row.Untested() {
		e.log.Warn("engine chosen; it is UNTESTED: it was never run on a real server", args...)
		return
	}
	e.log.Log(context.Background(), level, "engine chosen", append(args, "tested", row.Tested)...)
}

// Name is the engine of the server as far as it is known.
func (e *engines) Name() string {
	if e.fixed != nil {
		return e.fixed.Name()
	}
	if c := e.choice(e.first); c.known() {
		return c.eng.Name()
	}
	return config.EngineAuto
}

// Of returns the engine of a database. installed is what the client's session saw:
// where nothing is, an engine that needs it does the same whatever it is, and nobody
// is asked.
func (e *engines) Of(ctx context.Context, database string, installed bool) engine.Engine {
	if e.fixed != nil {
		return e.fixed
	}
	if server := e.look(ctx, e.first); server != nil && !installed && server.Caps().InstallNeeded {
		return server
	}
	if eng := e.look(ctx, database); eng != nil {
		return eng
	}
	if eng := e.look(ctx, e.first); eng != nil {
		return eng
	}
	postgres, _ := registry.Find(config.EnginePostgres)
	return postgres.New()
}

func (e *engines) choice(database string) *choice {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.byName[database]
	if c == nil {
		c = &choice{}
		e.byName[database] = c
	}
	return c
}

func (c *choice) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.eng != nil
}

// look returns what a database is, asking it now and then, or nil. What was found
// once holds while it can't be asked.
func (e *engines) look(ctx context.Context, database string) engine.Engine {
	c := e.choice(database)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Before(c.next) {
		return c.eng
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
	defer cancel()
	facts, err := e.ask(ctx, database)
	if err != nil {
		c.next = now.Add(retryAfter)
		level := slog.LevelWarn
		if c.eng != nil {
			level = slog.LevelDebug
		}
		e.log.Log(ctx, level, "engine auto: the server could not be asked what it is", "database", database, "error", err)
		return c.eng
	}
	c.next = now.Add(refreshAfter)
	row, why := registry.Detect(facts)
	if c.eng != nil && c.row.Name == row.Name {
		return c.eng
	}
	c.row, c.eng = row, row.New()
	level := slog.LevelDebug
	if database == e.first || e.Name() != row.Name { // its own mutex is another one
		level = slog.LevelInfo
	}
	e.tell(level, row, why, database)
	return c.eng
}

// ask reads the facts over the service connection.
func (e *engines) ask(ctx context.Context, database string) (check.Facts, error) {
	pool, err := e.dbs.poolOf(ctx, database)
	if err != nil {
		return check.Facts{}, err
	}
	var row [5]string
	var extensions *string
	var fdw, installed bool
	if err := pool.QueryRow(ctx, check.FactsSQL, pgx.QueryExecModeSimpleProtocol).Scan(&row[0], &row[1], &extensions, &fdw, &installed); err != nil {
		return check.Facts{}, err
	}
	if extensions != nil {
		row[2] = *extensions
	}
	for i, is := range []bool{fdw, installed} {
		if is {
			row[3+i] = "t"
		}
	}
	return check.ParseFacts(row[:])
}
