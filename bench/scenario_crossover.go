package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const (
	// crossoverInserts is how many INSERTs make one run: enough that psql's own
	// start does not count. Large ones end with the rows.
	crossoverInserts = 5000
	// crossoverMinRows has every INSERT intercepted that can be.
	crossoverMinRows = 2
)

// crossoverSizes are the rows of one INSERT.
var crossoverSizes = [...]int{2, 5, 10, 20, 50, 100, 200, 500, 1000}

// crossover measures from how many rows on an INSERT gains by interception,
// which is what the default of insert.min_rows is chosen by.
type crossover struct{}

func (s crossover) scenario() scenario {
	return scenario{
		name: "insert-crossover",
		summary: fmt.Sprintf("psql -f with INSERTs of %d to %d rows, all intercepted, in one transaction and autocommit",
			crossoverSizes[0], crossoverSizes[len(crossoverSizes)-1]),
		run: s.run,
	}
}

// run returns the points it has, also when it is interrupted.
func (s crossover) run(ctx context.Context, l *lab) ([]Result, error) {
	data, err := l.insertData(ctx)
	if err != nil {
		return nil, err
	}
	px, err := l.startProxyTo(ctx, "postgres", l.cluster.endpoint, "insert.min_rows="+strconv.Itoa(crossoverMinRows))
	if err != nil {
		return nil, err
	}
	defer px.stop()
	var results []Result
	for _, size := range crossoverSizes {
		shape := scriptShape{rows: min(data.rows, crossoverInserts*size), perInsert: size}
		l.progress("  INSERTs of %d rows, %d rows in all", size, shape.rows)
		for _, c := range []struct {
			curve string
			args  []string
		}{{"one transaction", []string{"-1"}}, {"autocommit", nil}} {
			result, err := s.point(ctx, l, px, shape, c.args)
			if err != nil {
				return results, fmt.Errorf("%d rows, %s: %w", size, c.curve, err)
			}
			result.Point = &Point{Curve: c.curve, Axis: "rows per INSERT", At: size}
			results = append(results, result)
		}
	}
	last := &results[len(results)-1]
	last.Notes, last.PeakRSS = px.decisionsNote(ctx), px.peak
	return results, nil
}

func (s crossover) point(ctx context.Context, l *lab, px *proxy, shape scriptShape, args []string) (Result, error) {
	data, err := l.insertData(ctx)
	if err != nil {
		return Result{}, err
	}
	path, err := data.script(ctx, shape)
	if err != nil {
		return Result{}, err
	}
	load := func(ep endpoint) func(context.Context) ([]float64, error) {
		return data.filled(shape.rows, func(ctx context.Context) (time.Duration, error) {
			return l.clients.psqlFile(ctx, ep, "", path, args...)
		})
	}
	name := fmt.Sprintf("insert-crossover-%d", shape.perInsert)
	if len(args) == 0 {
		name += "-autocommit"
	}
	results, err := l.alternate(ctx, "INSERT by rows, all intercepted", []measure{{name, "s", lower}}, []way{
		{"direct", load(l.cluster.endpoint)},
		{"proxied", px.watched(load(px.endpoint))},
	})
	if err != nil {
		return Result{}, err
	}
	results[0].compare("proxied", "direct")
	return results[0], nil
}
