package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// crowd measures many COPYs of the whole data set at once, each into a table of its
// own, and what a client that reads single rows gets done beside them. The tables
// are UNLOGGED, so that the disk has to hold the rows once only.
type crowd struct{}

func (c crowd) scenario() scenario {
	return scenario{name: "copy-crowd", summary: "--crowd COPYs in text at once, through S3, and single-row SELECTs beside them", run: c.run}
}

func (c crowd) table(i int) string { return fmt.Sprintf("bench_crowd_%d", i) }

func (c crowd) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.dataset(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.initPgbench(ctx); err != nil {
		return nil, err
	}
	px, err := l.startProxy(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer px.stop()
	for i := range l.opts.Crowd {
		if err := l.cluster.createTable(ctx, c.table(i), dataColumns, "unlogged"); err != nil {
			return nil, err
		}
	}
	load := func(copies, selects endpoint) func(context.Context) ([]float64, error) {
		return func(ctx context.Context) ([]float64, error) { return c.load(ctx, l, px, data, copies, selects) }
	}
	direct := l.cluster.endpoint
	results, err := l.alternate(ctx, "COPY", []measure{
		{c.scenario().name, "s", lower}, {c.scenario().name + "-selects", "1/s", higher}, {c.scenario().name + "-processors", "s", lower},
	}, []way{
		{"direct", load(direct, direct)},
		{"proxied SELECTs, direct COPYs", load(direct, px.endpoint)},
		{"proxied", px.watched(load(px.endpoint, px.endpoint))},
	})
	if err != nil {
		return nil, err
	}
	for i := range results {
		results[i].compare("proxied", "direct")
		results[i].compare("proxied", "proxied SELECTs, direct COPYs")
	}
	results[0].PeakRSS = px.peak
	px.runs *= int64(l.opts.Crowd)
	results[0].Notes = append(px.stagingNote(ctx, true), px.decisionsNote(ctx)...)
	return results, nil
}

// load times all loads of one round, and counts their rows.
func (c crowd) load(ctx context.Context, l *lab, px *proxy, data *dataset, copies, selects endpoint) ([]float64, error) {
	for i := range l.opts.Crowd {
		if err := l.cluster.empty(ctx, c.table(i)); err != nil {
			return nil, err
		}
	}
	before, err := l.processors(ctx, px)
	if err != nil {
		return nil, err
	}
	reader := &beside{ep: selects, do: selectAccount}
	err = reader.during(ctx, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for i := range l.opts.Crowd {
			group.Go(func() error {
				command := fmt.Sprintf(`\copy %s from %s`, c.table(i), metaQuote(data.path("text")))
				_, err := l.clients.psql(ctx, copies, "", nil, command)
				return err
			})
		}
		return group.Wait()
	})
	if err != nil {
		return nil, err
	}
	after, err := l.processors(ctx, px)
	if err != nil {
		return nil, err
	}
	for i := range l.opts.Crowd {
		var n int64
		if err := l.cluster.admin.QueryRow(ctx, "select count(*) from "+c.table(i)).Scan(&n); err != nil {
			return nil, err
		}
		if n != data.content.Rows {
			return nil, fmt.Errorf("%s holds %d rows, want %d", c.table(i), n, data.content.Rows)
		}
	}
	return []float64{reader.took.Seconds(), reader.rate(), after - before}, nil
}

// selectAccount is the statement of pgbench -S.
func selectAccount(ctx context.Context, conn *pgx.Conn) error {
	var balance int
	return conn.QueryRow(ctx, "select abalance from pgbench_accounts where aid = $1", 1+rand.IntN(1_000_000)).Scan(&balance)
}
