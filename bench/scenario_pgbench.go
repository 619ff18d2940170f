package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
)

// pgbenchScale gives a million accounts: they fit in shared_buffers, so that
// the server answers as fast as it can and the relay is what shows.
const pgbenchScale = "10"

// tpsLine is the one figure of pgbench's output that is taken.
var tpsLine = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

// selects measures pgbench's single-row SELECTs, which no bulk proxy can help
// and a good one does not slow down more than PgBouncer does.
type selects struct {
	protocol    string
	connections int
}

func (s selects) scenario() scenario {
	return scenario{
		name:    fmt.Sprintf("pgbench-%s-%d", s.protocol, s.connections),
		summary: fmt.Sprintf("pgbench -S -M %s with %d connections, beside PgBouncer", s.protocol, s.connections),
		run:     s.run,
	}
}

func (s selects) run(ctx context.Context, l *lab) ([]Result, error) {
	if err := l.initPgbench(ctx); err != nil {
		return nil, err
	}
	px, err := l.startProxy(ctx, "plain")
	if err != nil {
		return nil, err
	}
	defer px.stop()
	ways := []way{{"direct", s.bench(l, l.cluster.endpoint)}, {"proxied", px.watched(s.bench(l, px.endpoint))}}
	var notes []string
	bouncer, err := l.startBouncer(ctx)
	var absent skipError
	switch {
	case errors.As(err, &absent):
		notes = append(notes, absent.Error())
		l.progress("  %s", absent)
	case err != nil:
		return nil, err
	default:
		defer bouncer.stop()
		ways = append(ways, way{"pgbouncer", s.bench(l, bouncer.endpoint)})
	}
	results, err := l.alternate(ctx, "Relay", []measure{{s.scenario().name, "tps", higher}}, ways)
	if err != nil {
		return nil, err
	}
	res := &results[0]
	res.compare("proxied", "pgbouncer")
	res.compare("proxied", "direct")
	res.compare("pgbouncer", "direct")
	res.PeakRSS, res.Notes = px.peak, notes
	return results, nil
}

// bench runs pgbench once, connecting included in the run but not in its tps.
func (s selects) bench(l *lab, ep endpoint) func(context.Context) ([]float64, error) {
	threads := min(s.connections, runtime.NumCPU())
	return func(ctx context.Context) ([]float64, error) {
		out, _, err := l.clients.run(ctx, ep, "", nil, "pgbench", "-n", "-S", "-M", s.protocol,
			"-c", strconv.Itoa(s.connections), "-j", strconv.Itoa(threads), "-T", strconv.Itoa(l.opts.Seconds))
		if err != nil {
			return nil, err
		}
		return parseTPS(out)
	}
}

func parseTPS(out string) ([]float64, error) {
	m := tpsLine.FindStringSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("no tps in the output of pgbench: %q", out)
	}
	tps, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return nil, fmt.Errorf("read tps of pgbench: %w", err)
	}
	return []float64{tps}, nil
}

// initPgbench makes pgbench's tables, once for all its scenarios.
func (l *lab) initPgbench(ctx context.Context) error {
	if l.pgbenchReady {
		return nil
	}
	l.progress("  making the pgbench tables, scale %s", pgbenchScale)
	if _, _, err := l.clients.run(ctx, l.cluster.endpoint, "", nil, "pgbench", "-i", "-q", "-s", pgbenchScale); err != nil {
		return err
	}
	l.pgbenchReady = true
	return nil
}
