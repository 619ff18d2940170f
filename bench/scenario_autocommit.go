package main

import (
	"context"
	"fmt"
	"time"
)

// autocommit measures single-row INSERTs, each a transaction of its own: no
// bulk proxy can help, and a good one sees at a glance that it cannot.
type autocommit struct{}

func (s autocommit) scenario() scenario {
	return scenario{
		name:    "insert-autocommit",
		summary: fmt.Sprintf("psql -f with %d single-row INSERTs, autocommit, beside PgBouncer", singleRows),
		run:     s.run,
	}
}

func (s autocommit) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.insertData(ctx)
	if err != nil {
		return nil, err
	}
	rows := min(singleRows, data.rows)
	path, err := data.script(ctx, scriptShape{rows: rows, perInsert: 1})
	if err != nil {
		return nil, err
	}
	return l.besideBouncer(ctx, measure{"insert-autocommit", "rows/s", higher}, func(ep endpoint) func(context.Context) ([]float64, error) {
		load := data.filled(rows, func(ctx context.Context) (time.Duration, error) {
			return l.clients.psqlFile(ctx, ep, "", path)
		})
		return func(ctx context.Context) ([]float64, error) {
			seconds, err := load(ctx)
			if err != nil {
				return nil, err
			}
			return []float64{float64(rows) / seconds[0]}, nil
		}
	})
}
