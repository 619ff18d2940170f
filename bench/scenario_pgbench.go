package main

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
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
	// connect: each transaction has a connection of its own.
	connect bool
	tls     bool
}

func (s selects) scenario() scenario {
	return scenario{
		name:    fmt.Sprintf("pgbench-%s%s-%d", s.ifTLS("tls-"), s.kind(), s.connections),
		summary: fmt.Sprintf("pgbench -S %s with %d connections%s, beside PgBouncer", strings.Join(s.args(), " "), s.connections, s.ifTLS(", all of it by TLS")),
		run:     s.run,
	}
}

func (s selects) ifTLS(text string) string {
	if s.tls {
		return text
	}
	return ""
}

func (s selects) kind() string {
	if s.connect {
		return "connect"
	}
	return s.protocol
}

func (s selects) args() []string {
	if s.connect {
		return []string{"-C", "-M", s.protocol}
	}
	return []string{"-M", s.protocol}
}

func (s selects) run(ctx context.Context, l *lab) ([]Result, error) {
	if err := l.initPgbench(ctx); err != nil {
		return nil, err
	}
	k := l.plain()
	if s.tls {
		var err error
		if k, err = l.secured(ctx); err != nil {
			return nil, err
		}
	}
	return l.besideBouncerBy(ctx, k, []measure{{s.scenario().name, "tps", higher}}, func(ep endpoint) func(context.Context) ([]float64, error) {
		return func(ctx context.Context) ([]float64, error) {
			out, err := l.pgbench(ctx, ep, s.connections, append(s.args(), "-S")...)
			if err != nil {
				return nil, err
			}
			return parseTPS(out)
		}
	})
}

// pgbench runs it once and returns its output; connecting is part of its
// tps only with -C.
func (l *lab) pgbench(ctx context.Context, ep endpoint, connections int, args ...string) (string, error) {
	args = append([]string{
		"-n", "-c", strconv.Itoa(connections), "-j", strconv.Itoa(min(connections, runtime.NumCPU())), "-T", strconv.Itoa(l.opts.Seconds),
	}, args...)
	out, _, err := l.clients.run(ctx, ep, "", nil, "pgbench", args...)
	return out, err
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
