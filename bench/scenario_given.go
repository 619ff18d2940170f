package main

import (
	"context"
	"fmt"
)

// givenFiles are into how many files a COPY is cut, where segments read S3.
var givenFiles = [...]int{1, 2, 8, 64}

// givenScenarios are those that need --dsn.
func givenScenarios() []scenario {
	return []scenario{
		{name: "given-copy", summary: `psql \copy into the server of --dsn by each of its engine's ways`, run: givenCopy},
		{name: "given-insert-1000", summary: "psql -f with 1000-row INSERTs into the server of --dsn", run: givenInserts(1000)},
		{name: "given-insert-100", summary: "psql -f with 100-row INSERTs into the server of --dsn", run: givenInserts(100)},
	}
}

// givenCopy measures every way that the engine's servers can read rows.
func givenCopy(ctx context.Context, l *lab) ([]Result, error) {
	g, err := l.openGiven(ctx)
	if err != nil {
		return nil, err
	}
	defer g.close()
	if l.opts.GivenRows < leastRows {
		return nil, fmt.Errorf("--given-rows must be at least %d, so that every COPY is staged", leastRows)
	}
	data, err := l.datasetOf(ctx, l.opts.GivenRows)
	if err != nil {
		return nil, err
	}
	ways, err := g.copyWays(data)
	if err != nil {
		return nil, err
	}
	return g.measure(ctx, l, `\copy`, dataTable, l.opts.GivenRows, ways, func(ctx context.Context, ep endpoint, w givenWay) ([]float64, error) {
		took, err := l.clients.psql(ctx, ep, w.options, nil,
			fmt.Sprintf(`\copy %s from %s with (format %s)`, dataTable, metaQuote(data.path(w.format)), w.format))
		return []float64{took.Seconds()}, err
	})
}

// copyWays are a direct COPY of text first, the default way, and those that have to
// be asked for.
func (g *given) copyWays(data *dataset) ([]givenWay, error) {
	ways := []givenWay{
		{name: "direct", direct: true, format: "text"},
		{name: "default", format: "text"},
		{name: "copy", format: "text", settings: []string{"load.method=copy", "sweep.keep=always"}},
		{name: "direct binary", direct: true, format: "binary"},
		{name: "default binary", format: "binary"},
	}
	if g.engine != "greenplum" {
		return append(ways, givenWay{name: "external", format: "text", settings: []string{"load.method=external"}}), nil
	}
	listen, err := freeAddr()
	if err != nil {
		return nil, err
	}
	ways = append(ways, givenWay{name: "gpfdist", format: "text", settings: []string{"greenplum.reader=gpfdist", "greenplum.gpfdist_listen=" + listen}})
	for _, files := range givenFiles {
		if listen, err = freeAddr(); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("s3, %d files", files)
		// A little more than its part, so that no short file is left over.
		size := data.sizes["text"]/int64(files) + 4096
		ways = append(ways, givenWay{name: name, format: "text", settings: []string{
			"greenplum.reader=s3", "greenplum.listen=" + listen, fmt.Sprintf("stage.file_bytes=%d", size),
		}})
	}
	return ways, nil
}

// givenInserts measures INSERTs that are answered one by one, and coalesced ones.
func givenInserts(perInsert int) func(context.Context, *lab) ([]Result, error) {
	return func(ctx context.Context, l *lab) ([]Result, error) {
		g, err := l.openGiven(ctx)
		if err != nil {
			return nil, err
		}
		defer g.close()
		data, err := l.insertData(ctx)
		if err != nil {
			return nil, err
		}
		path, err := data.script(ctx, scriptShape{rows: data.rows, perInsert: perInsert})
		if err != nil {
			return nil, err
		}
		ways := []givenWay{{name: "direct", direct: true}, {name: "streamed"}, {name: "coalesced", options: coalesce}}
		results, err := g.measure(ctx, l, fmt.Sprintf("INSERTs of %d rows", perInsert), insertTable, data.rows, ways,
			func(ctx context.Context, ep endpoint, w givenWay) ([]float64, error) {
				took, err := l.clients.psqlFile(ctx, ep, w.options, path, "-1")
				return []float64{took.Seconds()}, err
			})
		if err == nil {
			results[0].Notes = append(results[0].Notes, fmt.Sprintf("%d rows in one transaction; %s times as fast", data.rows, timesAsFast(results[0])))
		}
		return results, err
	}
}

// timesAsFast turns the ratios over, as aims for INSERTs are given.
func timesAsFast(r Result) (text string) {
	for _, ratio := range r.Ratios {
		if ratio.Value > 0 {
			if text != "" {
				text += ", "
			}
			text += ratio.Subject + " " + formatNumber(1/ratio.Value)
		}
	}
	return text
}
