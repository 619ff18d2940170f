package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// added measures what relaying adds to the latency of a round trip.
type added struct{ tls bool }

func (s added) scenario() scenario {
	name, with := "latency-relay", ""
	if s.tls {
		name, with = "tls-latency-relay", ", all of it by TLS"
	}
	return scenario{name: name, summary: "p50 and p99 of a SELECT's round trip" + with + ", beside PgBouncer, and what is added", run: s.run}
}

func (s added) run(ctx context.Context, l *lab) (results []Result, err error) {
	k := l.plain()
	if s.tls {
		if k, err = l.secured(ctx); err != nil {
			return nil, err
		}
	}
	name := s.scenario().name
	results, err = l.besideBouncerBy(ctx, k, []measure{{name + "-p50", "µs", lower}, {name + "-p99", "µs", lower}}, roundTripsTo)
	for i := range results {
		res := &results[i]
		direct := res.series("direct")
		for _, way := range []string{"proxied", "pgbouncer"} {
			if to := res.series(way); to != nil && direct != nil {
				res.Notes = append(res.Notes, fmt.Sprintf("%s adds %.0f µs", way, to.Median-direct.Median))
			}
		}
	}
	return results, err
}

// roundTripsTo times them on a connection of each run's own, by the simple protocol.
func roundTripsTo(ep endpoint) func(context.Context) ([]float64, error) {
	return func(ctx context.Context) (values []float64, err error) {
		conn, err := pgx.Connect(ctx, ep.dsn())
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", ep.addr, err)
		}
		defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
		return timeProbes(ctx, conn, roundTrips, []probe{{"simple", func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "select 1")
			return err
		}}})
	}
}
