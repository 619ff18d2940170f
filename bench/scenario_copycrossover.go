package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// copySizes are the rows of one COPY, of about 100 bytes each.
var copySizes = [...]int{1, 100, 1000, 10_000, 160_000, 1_000_000}

// copiesOf is how many COPYs of so many rows make one run: enough that psql's own
// start does not count.
func copiesOf(rows int) int { return min(100, max(1, 20_000/rows)) }

func copyCrossover() scenario {
	return scenario{
		name: "copy-crossover", run: measureCrossover,
		summary: "psql with COPYs of 1 row to 100 MB into the server of --dsn, or the private one, by each way",
	}
}

// measureCrossover measures from which size on a COPY gains by going through the proxy's
// own ways, which is what stage.min_bytes and the default methods are chosen by.
func measureCrossover(ctx context.Context, l *lab) ([]Result, error) {
	g, err := l.givenOrOwn(ctx)
	if err != nil {
		return nil, err
	}
	defer g.close()
	var all []Result
	for _, rows := range copySizes {
		if rows > l.opts.GivenRows {
			break
		}
		data, err := l.datasetOf(ctx, rows)
		if err != nil {
			return all, err
		}
		ways, err := g.crossoverWays()
		if err != nil {
			return all, err
		}
		n := copiesOf(rows)
		script := filepath.Join(l.tmp, "crossover.sql")
		line := fmt.Sprintf(`\copy %s from %s`+"\n", dataTable, metaQuote(data.path("text")))
		if err := os.WriteFile(script, []byte(strings.Repeat(line, n)), 0o644); err != nil {
			return all, fmt.Errorf("write script: %w", err)
		}
		g.want = map[string]content{}
		l.progress("  COPYs of %d rows", rows)
		results, err := g.measure(ctx, l, fmt.Sprintf("COPY of %d rows", rows), dataTable, rows*n, ways,
			func(ctx context.Context, ep endpoint, w givenWay) ([]float64, error) {
				took, err := l.clients.psqlFile(ctx, ep, w.options, script)
				return []float64{took.Seconds() / float64(n)}, err
			})
		if err != nil {
			return all, err
		}
		all = append(all, results...)
	}
	return all, nil
}

// crossoverWays are the ways of one COPY, however small it is.
func (g *given) crossoverWays() ([]givenWay, error) {
	whole := []string{"stage.min_bytes=0", "sweep.keep=always"}
	ways := []givenWay{
		{name: "direct", direct: true},
		{name: "pass", options: "-cpgbulk.mode=off"},
		{name: "stream", settings: append([]string{"load.method=copy"}, whole...)},
	}
	switch g.engine {
	case "plain":
		return ways, nil
	case "greenplum":
		for _, reader := range []string{"s3", "gpfdist"} {
			listen, err := freeAddr()
			if err != nil {
				return nil, err
			}
			key := map[string]string{"s3": "greenplum.listen=", "gpfdist": "greenplum.gpfdist_listen="}[reader]
			ways = append(ways, givenWay{name: reader, settings: append([]string{"greenplum.reader=" + reader, key + listen}, whole...)})
		}
		return ways, nil
	}
	return append(ways, givenWay{name: "stage", settings: append([]string{"load.method=external"}, whole...)}), nil
}
