package main

import (
	"context"
	"fmt"
	"strings"
)

// routedCopy measures a COPY of which a third of the rows belong to the auxiliary
// table, beside the same one into a table without a routing table.
type routedCopy struct{}

func (r routedCopy) scenario() scenario {
	return scenario{
		name:    "routed-copy",
		summary: `psql \copy in text through the proxy, a third of the rows to the auxiliary table`,
		run:     r.run,
	}
}

const routedTable = "bench_routed"

// prepare makes the pair. Column paid of the data set is the group: there are two,
// and the smaller one is the auxiliary table's.
func (r routedCopy) prepare(ctx context.Context, c *cluster) error {
	columns := strings.Replace(dataColumns, "paid", "group_id", 1)
	if err := c.createTable(ctx, dataTable, dataColumns, ""); err != nil {
		return err
	}
	for _, name := range []string{routedTable, routedTable + "_relyt_massive_group"} {
		if err := c.createTable(ctx, name, columns, ""); err != nil {
			return err
		}
	}
	routes := "relyt_sys." + routedTable + "_relyt_routing"
	return c.exec(ctx, "drop table if exists "+routes,
		"create table "+routes+" (routing_id text primary key, store_table_name text not null)",
		fmt.Sprintf("insert into %s values ('true', '%s_relyt_massive_group')", routes, routedTable),
		"grant usage on schema relyt_sys to "+benchUser, "grant select on "+routes+" to "+benchUser)
}

func (r routedCopy) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.dataset(ctx)
	if err != nil {
		return nil, err
	}
	if l.opts.NoProxy {
		return nil, skipError("without a proxy nothing is routed")
	}
	px, err := l.startProxy(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer px.stop()
	if err := r.prepare(ctx, l.cluster); err != nil {
		return nil, err
	}
	aux := routedTable + "_relyt_massive_group"
	load := func(table, union string, empty ...string) func(context.Context) ([]float64, error) {
		return px.watched(func(ctx context.Context) ([]float64, error) {
			if err := l.cluster.empty(ctx, strings.Join(empty, ", ")); err != nil {
				return nil, err
			}
			took, err := l.clients.psql(ctx, px.endpoint, "", nil, fmt.Sprintf(`\copy %s from %s`, table, metaQuote(data.path("text"))))
			if err != nil {
				return nil, err
			}
			return []float64{took.Seconds()}, l.cluster.verify(ctx, union, data.content, 1)
		})
	}
	union := fmt.Sprintf("(select * from only %s where not group_id union all select * from only %s where group_id)", routedTable, aux)
	results, err := l.alternate(ctx, "COPY", []measure{{r.scenario().name, "s", lower}}, []way{
		{"unrouted", load(dataTable, dataTable, dataTable)},
		{"routed", load(routedTable, union, routedTable, aux)},
	})
	if err != nil {
		return nil, err
	}
	results[0].compare("routed", "unrouted")
	results[0].PeakRSS = px.peak
	results[0].Notes = append(results[0].Notes, px.stagingNote(ctx, true)...)
	return results, nil
}
