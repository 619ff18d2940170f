package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// Single rows are so much slower that fewer of them are measured, and fewer
	// yet with a network in between.
	singleRows        = 50_000
	delayedSingleRows = 10_000
	// coalesce is the client's wish to have its single rows loaded together.
	coalesce = "-cpgbulk.coalesce=transaction"
)

// insertScript measures a script of literal INSERTs that psql runs in one
// transaction.
type insertScript struct {
	name   string
	engine string
	// perInsert is the number of rows of one INSERT, 0 for all of them.
	perInsert int
	// rows limits how many are inserted; 0 is all.
	rows    int
	options string
	// delayed puts a network between the server and whoever talks to it.
	delayed bool
}

// insertScripts are those of the registry.
func insertScripts() []scenario {
	var all []scenario
	for _, s := range []insertScript{
		{name: "insert-1000", perInsert: 1000},
		{name: "insert-100", perInsert: 100},
		{name: "insert-one"},
		{name: "insert-one-plain", engine: "plain"},
		{name: "insert-100-delay", perInsert: 100, delayed: true},
		{name: "insert-single-loopback", perInsert: 1, rows: singleRows, options: coalesce},
		{name: "insert-single-coalesce", perInsert: 1, rows: delayedSingleRows, options: coalesce, delayed: true},
	} {
		if s.engine == "" {
			s.engine = "postgres"
		}
		all = append(all, s.scenario())
	}
	return all
}

func (s insertScript) scenario() scenario {
	summary := fmt.Sprintf("psql -f with INSERTs of %d rows each", s.perInsert)
	switch s.perInsert {
	case 0:
		summary = "psql -f with one INSERT of all rows"
	case 1:
		summary = fmt.Sprintf("psql -f with %d single-row INSERTs, pgbulk.coalesce on", s.rows)
	}
	summary += " in one transaction, engine " + s.engine
	if s.delayed {
		summary += fmt.Sprintf(", the server %v away each way", relayDelay)
	}
	return scenario{name: s.name, summary: summary, run: s.run}
}

func (s insertScript) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.insertData(ctx)
	if err != nil {
		return nil, err
	}
	shape := scriptShape{rows: data.rows, perInsert: s.perInsert}
	if s.rows > 0 {
		shape.rows = min(s.rows, data.rows)
	}
	if shape.perInsert == 0 {
		shape.perInsert = shape.rows
	}
	path, err := data.script(ctx, shape)
	if err != nil {
		return nil, err
	}
	load := insertComparison{
		name: s.name, engine: s.engine, rows: shape.rows, server: l.cluster.endpoint,
		ceiling: s.rows == 0 && !s.delayed,
	}
	load.insert = func(ctx context.Context, ep endpoint) (time.Duration, error) {
		return l.clients.psqlFile(ctx, ep, s.options, path, "-1")
	}
	if s.delayed {
		relay, err := startDelay(l.cluster.endpoint.addr, relayDelay)
		if err != nil {
			return nil, err
		}
		defer relay.stop()
		load.server.addr = relay.addr()
		note, err := delayNote(ctx, l.cluster.endpoint, load.server)
		if err != nil {
			return nil, err
		}
		load.notes = append(load.notes, note)
	}
	return load.run(ctx, l)
}

// insertComparison is what all INSERT scenarios have in common: the same rows
// inserted in the same way into an empty table, direct and proxied.
type insertComparison struct {
	name     string
	engine   string
	settings []string
	rows     int
	// server is where both ways lead in the end.
	server endpoint
	insert func(ctx context.Context, ep endpoint) (time.Duration, error)
	// ceiling adds the best there could be: a COPY of the same rows, direct.
	ceiling bool
	notes   []string
}

func (c insertComparison) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.insertData(ctx)
	if err != nil {
		return nil, err
	}
	px, err := l.startProxyTo(ctx, c.engine, c.server, c.settings...)
	if err != nil {
		return nil, err
	}
	defer px.stop()
	load := func(ep endpoint) func(context.Context) ([]float64, error) {
		return data.filled(c.rows, func(ctx context.Context) (time.Duration, error) { return c.insert(ctx, ep) })
	}
	ways := []way{{"direct", load(c.server)}, {"proxied", px.watched(load(px.endpoint))}}
	if c.ceiling {
		file, err := data.copyText(ctx)
		if err != nil {
			return nil, err
		}
		ways = append(ways, way{"COPY", data.filled(data.rows, func(ctx context.Context) (time.Duration, error) {
			return l.clients.psql(ctx, c.server, "", nil, fmt.Sprintf(`\copy %s from %s`, insertTable, metaQuote(file)))
		})})
	}
	results, err := l.alternate(ctx, "INSERT", []measure{{c.name, "s", lower}}, ways)
	if err != nil {
		return nil, err
	}
	res := &results[0]
	res.compare("proxied", "direct")
	res.compare("proxied", "COPY")
	res.PeakRSS = px.peak
	res.Notes = append(c.notes, px.decisionsNote(ctx)...)
	return results, nil
}
