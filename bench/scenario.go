package main

import (
	"context"
	"fmt"
	"strings"
)

// scenario is one question to measure. Each has its own file and its row in
// the registry below.
type scenario struct {
	name    string
	summary string
	run     func(ctx context.Context, l *lab) ([]Result, error)
}

// registry lists every scenario in the order they run and are reported.
func registry() []scenario {
	var all []scenario
	for _, c := range []copyLoad{
		{way: "staged", engine: "postgres"},
		{way: "external", engine: "postgres", settings: []string{"load.method=external"}},
		{way: "plain", engine: "plain"},
		{way: "relay", engine: "plain", options: "-cpgbulk.mode=off"},
	} {
		for _, format := range formats {
			c.format = format
			all = append(all, c.scenario())
		}
	}
	all = append(all, keyedCopy{}.scenario(), keyedCopy{upsert: true}.scenario())
	all = append(all, crowd{}.scenario(), ackStaged{}.scenario(), ledgerCost{}.scenario(), routedCopy{}.scenario())
	all = append(all, insertScripts()...)
	all = append(all, insertPgxs()...)
	all = append(all, insertPrograms()...)
	all = append(all, crossover{}.scenario(), copyCrossover())
	for _, m := range []migration{{}, {indexed: true}, {beside: true}, {indexed: true, beside: true}} {
		all = append(all, m.scenario())
	}
	for _, tls := range []bool{false, true} {
		for _, protocol := range []string{"simple", "extended", "prepared"} {
			for _, connections := range []int{1, 8, 64} {
				all = append(all, selects{protocol: protocol, connections: connections, tls: tls}.scenario())
			}
		}
		for _, connections := range []int{1, 8} {
			all = append(all, selects{protocol: "simple", connections: connections, connect: true, tls: tls}.scenario())
		}
	}
	all = append(all, autocommit{}.scenario())
	for _, connections := range []int{1, 8} {
		all = append(all, tpcb{connections}.scenario())
	}
	all = append(all, givenScenarios()...)
	all = append(all, roundTrip{}.scenario(), smallCopy{}.scenario(), added{}.scenario(), added{tls: true}.scenario())
	all = append(all, idle{}.scenario(), idle{tls: true}.scenario())
	for _, engine := range engines {
		all = append(all, memory{engine: engine}.scenario())
	}
	return all
}

// engines are the values of the proxy's --engine that a plain server can serve.
var engines = [...]string{"postgres", "plain"}

// skipError is returned by a scenario that cannot be measured here, which is no
// failure.
type skipError string

func (e skipError) Error() string { return string(e) }

// way is one of the things that a scenario compares.
type way struct {
	name string
	// run does the thing once and returns one value for each measure.
	run func(ctx context.Context) ([]float64, error)
}

// measure is a figure that every way gives: a line of the report.
type measure struct {
	name   string
	unit   string
	better better
}

// alternate runs every way once unmeasured, since the first run of anything
// meets cold caches, and then in each round in the order that orders gives.
// The results have no ratios yet.
func (l *lab) alternate(ctx context.Context, group string, measures []measure, ways []way) ([]Result, error) {
	samples := make([][][]float64, len(ways))
	for _, w := range ways {
		if _, err := w.run(ctx); err != nil {
			return nil, fmt.Errorf("warm up %s: %w", w.name, err)
		}
	}
	for round, order := range orders(l.rng, len(ways), l.opts.Rounds) {
		var line strings.Builder
		for _, i := range order {
			values, err := ways[i].run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", ways[i].name, round+1, err)
			}
			samples[i] = append(samples[i], values)
			fmt.Fprintf(&line, "  %s", ways[i].name)
			for _, v := range values {
				fmt.Fprintf(&line, " %s", formatNumber(v))
			}
		}
		l.progress("  round %d of %d:%s", round+1, l.opts.Rounds, line.String())
	}
	results := make([]Result, len(measures))
	for m, of := range measures {
		results[m] = Result{Name: of.name, Group: group, Unit: of.unit, Better: of.better}
		for i, w := range ways {
			results[m].add(w.name, column(samples[i], m))
		}
	}
	return results, nil
}

// column takes one measure out of the samples of a way.
func column(samples [][]float64, m int) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = s[m]
	}
	return values
}
