// Command bench measures what pgbulkproxy gains and costs on this machine:
// bulk loads by COPY and by INSERTs of all kinds, relayed statements beside
// PgBouncer, latency and memory. Each scenario runs the direct and the proxied
// way in alternation against a private PostgreSQL and an S3 server of its own,
// checks every loaded row, and reports medians and their ratio.
//
// To add a scenario, write a file scenario_<name>.go beside its like and a row
// in registry. To see how much of a difference is noise, run --no-proxy.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second interrupt ends us at once, and the system our children.
	context.AfterFunc(ctx, stop)
	run := runBench
	if len(os.Args) > 1 && os.Args[1] == s3Command {
		run = serveS3
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func runBench(ctx context.Context) (err error) {
	var opts options
	kong.Parse(&opts, kong.Name("bench"), kong.UsageOnError(), kong.Description(
		"Measure pgbulkproxy beside a direct connection and PgBouncer, on a private PostgreSQL and S3 server. "+
			"With the defaults all scenarios take about 45 minutes and 15 GB in the temporary directory; an interrupt reports what was measured so far."))
	selected := selectScenarios(registry(), opts.Run)
	if opts.List || len(selected) == 0 {
		for _, s := range selected {
			fmt.Printf("%-24s %s\n", s.name, s.summary)
		}
		if len(selected) == 0 {
			return fmt.Errorf("no scenario matches %q", opts.Run)
		}
		return nil
	}
	if opts.Dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("find cache directory, or give --dir: %w", err)
		}
		opts.Dir = filepath.Join(cache, "pgbulkproxy-bench")
	}
	l, err := openLab(ctx, opts, os.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	l.runAll(ctx, selected)
	if err := l.report.write(opts); err != nil {
		return err
	}
	if n := len(l.report.Failed); n > 0 {
		return fmt.Errorf("%d scenarios failed, see the report", n)
	}
	return nil
}

func selectScenarios(all []scenario, pattern string) []scenario {
	match := regexp.MustCompile(pattern)
	var selected []scenario
	for _, s := range all {
		if match.MatchString(s.name) {
			selected = append(selected, s)
		}
	}
	return selected
}

// write writes the report in every form that was asked for.
func (r *Report) write(opts options) error {
	var errs []error
	for _, form := range []struct {
		path  string
		write func(io.Writer) error
	}{{opts.JSON, r.writeJSON}, {opts.MD, r.writeMarkdown}, {opts.SVG, r.writeSVG}} {
		if form.path != "" {
			errs = append(errs, writeFile(form.path, form.write))
		}
	}
	if opts.MD == "" {
		errs = append(errs, r.writeMarkdown(os.Stdout))
	}
	return errors.Join(errs...)
}

func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}
