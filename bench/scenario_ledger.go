package main

import (
	"context"
	"fmt"
	"time"
)

// ackStaged measures a COPY that is answered when it is staged; that it gets into
// the table is waited for, and checked, outside the time.
type ackStaged struct{}

func (a ackStaged) scenario() scenario {
	return scenario{
		name:    "ack-staged",
		summary: `psql \copy in text, answered when staged (pgbulk.ack)`,
		run:     a.run,
	}
}

func (a ackStaged) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.dataset(ctx)
	if err != nil {
		return nil, err
	}
	px, err := l.startProxy(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer px.stop()
	if err := l.cluster.createTable(ctx, dataTable, dataColumns, ""); err != nil {
		return nil, err
	}
	load := func(ep endpoint, options string) func(context.Context) ([]float64, error) {
		return func(ctx context.Context) ([]float64, error) {
			if err := l.cluster.empty(ctx, dataTable); err != nil {
				return nil, err
			}
			command := fmt.Sprintf(`\copy %s from %s`, dataTable, metaQuote(data.path("text")))
			took, err := l.clients.psql(ctx, ep, options, nil, command)
			if err != nil {
				return nil, err
			}
			if err := l.cluster.waitForImports(ctx); err != nil {
				return nil, err
			}
			return []float64{took.Seconds()}, l.cluster.verify(ctx, dataTable, data.content, 1)
		}
	}
	results, err := l.alternate(ctx, "COPY", []measure{{a.scenario().name, "s", lower}}, []way{
		{"direct", load(l.cluster.endpoint, "")},
		{"proxied", px.watched(load(px.endpoint, "-cpgbulk.ack=staged"))},
	})
	if err != nil {
		return nil, err
	}
	results[0].compare("proxied", "direct")
	results[0].PeakRSS = px.peak
	return results, nil
}

// waitForImports waits until every load that was answered when staged is in its
// table.
func (c *cluster) waitForImports(ctx context.Context) error {
	for {
		var left int
		err := c.admin.QueryRow(ctx, "SELECT count(*) FROM pgbulk.staged WHERE NOT done").Scan(&left)
		if err != nil || left == 0 {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ledgerCost measures what keeping the ledger adds to a COPY: two proxies that
// differ in nothing else.
type ledgerCost struct{}

func (c ledgerCost) scenario() scenario {
	return scenario{
		name:    "ledger-cost",
		summary: `psql \copy in text by COPY on the session, with a ledger and without`,
		run:     c.run,
	}
}

func (c ledgerCost) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.dataset(ctx)
	if err != nil {
		return nil, err
	}
	with, err := l.startProxyTo(ctx, "plain", l.cluster.endpoint)
	if err != nil {
		return nil, err
	}
	defer with.stop()
	without, err := l.startProxyTo(ctx, "plain", l.cluster.endpoint, "service_dsn=", "sweep.keep=always")
	if err != nil {
		return nil, err
	}
	defer without.stop()
	if err := l.cluster.createTable(ctx, dataTable, dataColumns, ""); err != nil {
		return nil, err
	}
	load := func(p *proxy) func(context.Context) ([]float64, error) {
		return func(ctx context.Context) ([]float64, error) {
			return copyLoad{format: "text"}.load(ctx, l, data, p.endpoint)
		}
	}
	results, err := l.alternate(ctx, "COPY", []measure{{c.scenario().name, "s", lower}}, []way{
		{"without", load(without)}, {"with", load(with)},
	})
	if err != nil {
		return nil, err
	}
	results[0].compare("with", "without")
	return results, nil
}
