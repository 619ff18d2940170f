package main

import (
	"context"
	"errors"
)

// besideBouncer measures what only relaying costs: direct, proxied and through
// PgBouncer, which is left out where there is none. The ratio to PgBouncer
// stands first.
func (l *lab) besideBouncer(ctx context.Context, of measure, run func(endpoint) func(context.Context) ([]float64, error)) ([]Result, error) {
	return l.besideBouncerBy(ctx, l.plain(), []measure{of}, run)
}

// besideBouncerBy does so with TLS or without.
func (l *lab) besideBouncerBy(ctx context.Context, k link, of []measure, run func(endpoint) func(context.Context) ([]float64, error)) ([]Result, error) {
	px, err := l.startProxyTo(ctx, "plain", k.endpoint, k.settings...)
	if err != nil {
		return nil, err
	}
	defer px.stop()
	ways := []way{{"direct", run(k.endpoint)}, {"proxied", px.watched(run(px.endpoint))}}
	var notes []string
	bouncer, err := l.startBouncer(ctx, k)
	var absent skipError
	switch {
	case errors.As(err, &absent):
		notes = append(notes, absent.Error())
		l.progress("  %s", absent)
	case err != nil:
		return nil, err
	default:
		defer bouncer.stop()
		ways = append(ways, way{"pgbouncer", run(bouncer.endpoint)})
	}
	results, err := l.alternate(ctx, "Relay", of, ways)
	if err != nil {
		return nil, err
	}
	for i := range results {
		res := &results[i]
		res.compare("proxied", "pgbouncer")
		res.compare("proxied", "direct")
		res.compare("pgbouncer", "direct")
		res.PeakRSS, res.Notes = px.peak, notes
	}
	return results, nil
}
