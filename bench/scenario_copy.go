package main

import (
	"context"
	"fmt"
)

// copyLoad measures psql's \copy of the whole data set.
type copyLoad struct {
	// way names the path the rows are meant to take.
	way      string
	format   string
	engine   string
	options  string
	settings []string // of the proxy
}

func (c copyLoad) scenario() scenario {
	return scenario{
		name:    "copy-" + c.format + "-" + c.way,
		summary: fmt.Sprintf(`psql \copy in %s, %s`, c.format, c.explain()),
		run:     c.run,
	}
}

func (c copyLoad) explain() string {
	switch c.way {
	case "staged":
		return "by load.method auto: COPY on the session, in S3 beside it"
	case "external":
		return "staged in S3 and read from there by the server"
	case "plain":
		return "the same by engine plain"
	default:
		return "relayed: interception switched off by the client"
	}
}

func (c copyLoad) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.dataset(ctx)
	if err != nil {
		return nil, err
	}
	px, err := l.startProxyTo(ctx, c.engine, l.cluster.endpoint, c.settings...)
	if err != nil {
		return nil, err
	}
	defer px.stop()
	if err := l.cluster.createTable(ctx, dataTable, dataColumns, ""); err != nil {
		return nil, err
	}
	load := func(ep endpoint) func(context.Context) ([]float64, error) {
		return func(ctx context.Context) ([]float64, error) { return c.load(ctx, l, data, ep) }
	}
	results, err := l.alternate(ctx, "COPY", []measure{{c.scenario().name, "s", lower}}, []way{
		{"direct", load(l.cluster.endpoint)},
		{"proxied", px.watched(load(px.endpoint))},
	})
	if err != nil {
		return nil, err
	}
	res := &results[0]
	res.compare("proxied", "direct")
	res.PeakRSS = px.peak
	res.Notes = append(res.Notes, px.stagingNote(ctx, c.way != "relay")...)
	return results, nil
}

// load empties the table, has the server write out what earlier runs left
// behind, times one load and checks every row of it.
func (c copyLoad) load(ctx context.Context, l *lab, data *dataset, ep endpoint) ([]float64, error) {
	if err := l.cluster.empty(ctx, dataTable); err != nil {
		return nil, err
	}
	command := fmt.Sprintf(`\copy %s from %s with (format %s)`, dataTable, metaQuote(data.path(c.format)), c.format)
	took, err := l.clients.psql(ctx, ep, c.options, nil, command)
	if err != nil {
		return nil, err
	}
	if err := l.cluster.verify(ctx, dataTable, data.content, 1); err != nil {
		return nil, err
	}
	return []float64{took.Seconds()}, nil
}
