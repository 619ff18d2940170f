package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// roundTrips is how many SELECTs make one p50 and p99: 20 values lie beyond
	// the p99.
	roundTrips = 2000
	// smallCopies and smallRows stay far below stage.min_bytes, so that the rows
	// are held and replayed natively.
	smallCopies = 200
	smallRows   = 100
	smallTable  = "bench_small"
)

// roundTrip measures the latency of SELECT 1 on one open connection.
type roundTrip struct{}

func (s roundTrip) scenario() scenario {
	return scenario{name: "latency-select", summary: "p50 and p99 of a SELECT's round trip with pgx", run: s.run}
}

func (s roundTrip) run(ctx context.Context, l *lab) ([]Result, error) {
	return l.latencies(ctx, "latency-select", roundTrips, []probe{
		{"simple", func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "select 1")
			return err
		}},
		{"prepared", func(ctx context.Context, conn *pgx.Conn) error {
			var one int
			return conn.QueryRow(ctx, "select $1::int", 1).Scan(&one)
		}},
	})
}

// smallCopy measures what a COPY too small to stage costs.
type smallCopy struct{}

func (s smallCopy) scenario() scenario {
	return scenario{
		name:    "latency-copy",
		summary: fmt.Sprintf("p50 and p99 of a COPY of %d rows with pgx, outside a transaction", smallRows),
		run:     s.run,
	}
}

func (s smallCopy) run(ctx context.Context, l *lab) ([]Result, error) {
	if err := l.cluster.createTable(ctx, smallTable, "id bigint, note text", ""); err != nil {
		return nil, err
	}
	rows := make([][]any, smallRows)
	for i := range rows {
		rows[i] = []any{int64(i), fmt.Sprintf("row %d of a small load", i)}
	}
	return l.latencies(ctx, "latency-copy", smallCopies, []probe{
		{"small", func(ctx context.Context, conn *pgx.Conn) error {
			n, err := conn.CopyFrom(ctx, pgx.Identifier{smallTable}, []string{"id", "note"}, pgx.CopyFromRows(rows))
			if err == nil && n != smallRows {
				err = fmt.Errorf("%d of %d rows", n, smallRows)
			}
			return err
		}},
	})
}

// probe is one request whose latency is taken.
type probe struct {
	name string
	do   func(ctx context.Context, conn *pgx.Conn) error
}

// latencies measures every probe n times a round, direct and proxied, each on a
// connection that stays open, and reports the p50 and p99 of each round.
func (l *lab) latencies(ctx context.Context, name string, n int, probes []probe) (results []Result, err error) {
	px, err := l.startProxy(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer px.stop()
	var measures []measure
	for _, p := range probes {
		for _, q := range []string{"p50", "p99"} {
			measures = append(measures, measure{fmt.Sprintf("%s-%s-%s", name, p.name, q), "µs", lower})
		}
	}
	var ways []way
	for _, to := range []struct {
		name string
		ep   endpoint
	}{{"direct", l.cluster.endpoint}, {"proxied", px.endpoint}} {
		conn, err := pgx.Connect(ctx, to.ep.dsn())
		if err != nil {
			return nil, fmt.Errorf("connect %s: %w", to.name, err)
		}
		defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
		ways = append(ways, way{to.name, func(ctx context.Context) ([]float64, error) { return timeProbes(ctx, conn, n, probes) }})
	}
	results, err = l.alternate(ctx, "Latency", measures, ways)
	for i := range results {
		results[i].compare("proxied", "direct")
	}
	return results, err
}

func timeProbes(ctx context.Context, conn *pgx.Conn, n int, probes []probe) ([]float64, error) {
	var values []float64
	for _, p := range probes {
		took := make([]float64, n)
		for i := range took {
			start := time.Now()
			if err := p.do(ctx, conn); err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			took[i] = float64(time.Since(start).Nanoseconds()) / 1e3
		}
		values = append(values, quantile(took, 0.50), quantile(took, 0.99))
	}
	return values, nil
}
