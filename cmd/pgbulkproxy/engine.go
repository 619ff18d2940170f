package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
	"github.com/pgbulkproxy/pgbulkproxy/engine/registry"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// engineFor returns the engine of that name. For auto it asks the server which one it
// needs, as serve does.
func engineFor(ctx context.Context, conn *pgconn.PgConn, name string) (engine.Engine, error) {
	if name != config.EngineAuto {
		return registry.ByName(name)
	}
	results, err := conn.Exec(ctx, check.FactsSQL).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return nil, errors.New("the server says nothing of itself")
	}
	row := make([]string, len(results[0].Rows[0]))
	for i, v := range results[0].Rows[0] {
		row[i] = string(v)
	}
	facts, err := check.ParseFacts(row)
	if err != nil {
		return nil, err
	}
	found, _ := registry.Detect(facts)
	return found.New(), nil
}
