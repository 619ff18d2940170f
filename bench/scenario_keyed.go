package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// keyedCopy measures psql's \copy into a table with a primary key: of new rows, or
// an upsert beside the best that can be written by hand.
type keyedCopy struct{ upsert bool }

func (k keyedCopy) scenario() scenario {
	if k.upsert {
		return scenario{
			name: "copy-upsert", run: k.run,
			summary: `psql \copy with ON_CONFLICT update, half of the keys are there, beside \copy into a temporary table and INSERT … ON CONFLICT`,
		}
	}
	return scenario{name: "copy-key", summary: `psql \copy in text into a table with a primary key`, run: k.run}
}

const keyedTable = "bench_keyed"

// byHand is what a user writes who has no proxy.
const byHand = `begin;
create temporary table incoming (like %[1]s) on commit drop;
\copy incoming from %[2]s
insert into %[1]s select * from incoming on conflict (id) do update set
	quantity = excluded.quantity, customer = excluded.customer, price = excluded.price,
	ordered_at = excluded.ordered_at, paid = excluded.paid, note = excluded.note;
commit;
`

func (k keyedCopy) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.dataset(ctx)
	if err != nil {
		return nil, err
	}
	px, err := l.startProxy(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer px.stop()
	if err := l.cluster.createTable(ctx, keyedTable, dataColumns+", primary key (id)", ""); err != nil {
		return nil, err
	}
	copyText := fmt.Sprintf(`\copy %s from %s`, keyedTable, metaQuote(data.path("text")))
	direct, proxied := copyText+"\n", copyText+"\n"
	if k.upsert {
		direct = fmt.Sprintf(byHand, keyedTable, metaQuote(data.path("text")))
		if !l.opts.NoProxy {
			proxied = copyText + " with (on_conflict update)\n"
		} else {
			proxied = direct
		}
	}
	load := func(name, script string, ep endpoint) func(context.Context) ([]float64, error) {
		return func(ctx context.Context) ([]float64, error) { return k.load(ctx, l, data, name, script, ep) }
	}
	results, err := l.alternate(ctx, "COPY", []measure{{k.scenario().name, "s", lower}}, []way{
		{"direct", load("direct", direct, l.cluster.endpoint)},
		{"proxied", px.watched(load("proxied", proxied, px.endpoint))},
	})
	if err != nil {
		return nil, err
	}
	results[0].compare("proxied", "direct")
	results[0].PeakRSS = px.peak
	results[0].Notes = append(results[0].Notes, px.stagingNote(ctx, true)...)
	return results, nil
}

// load puts old rows under half of the keys for an upsert, times a script and checks
// every row.
func (k keyedCopy) load(ctx context.Context, l *lab, data *dataset, name, script string, ep endpoint) ([]float64, error) {
	prepare := []string{"truncate " + keyedTable}
	if k.upsert {
		prepare = append(prepare, fmt.Sprintf("insert into %s (id, note) select g, 'old' from generate_series(1, %d, 2) g", keyedTable, data.content.Rows))
	}
	if err := l.cluster.exec(ctx, append(prepare, "vacuum analyze "+keyedTable, "checkpoint")...); err != nil {
		return nil, err
	}
	path := filepath.Join(l.tmp, "keyed-"+name+".sql")
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		return nil, fmt.Errorf("write script: %w", err)
	}
	took, err := l.clients.psqlFile(ctx, ep, "", path)
	if err != nil {
		return nil, err
	}
	if err := l.cluster.verify(ctx, keyedTable, data.content, 1); err != nil {
		return nil, err
	}
	return []float64{took.Seconds()}, nil
}
