package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// The exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
	// What a shell says of a command that was interrupted.
	exitStopped = 130
)

// errStopped is what a command returns when a second signal came.
var errStopped = errors.New("stopped by a second signal, before all was done")

// app is what commands get from the process.
type app struct {
	stdout, stderr io.Writer
	environ        []string
	signals        <-chan os.Signal
}

// run parses the arguments, runs the command and returns the exit code. Every
// error ends as one line on stderr.
func run(args []string, a *app) int {
	exit := -1
	options := append([]kong.Option{
		kong.Name("pgbulkproxy"),
		kong.Description("A PostgreSQL proxy that turns bulk writes into loads from S3."),
		kong.Writers(a.stdout, a.stderr),
		kong.Exit(func(code int) {
			if exit < 0 {
				exit = code
			}
		}),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		helpTexts(),
	}, commands()...)
	parser, err := kong.New(&struct{}{}, options...)
	if err != nil {
		return a.fail(err, exitError)
	}
	ctx, err := parser.Parse(args)
	switch {
	case exit >= 0: // --help was answered
		return exit
	case err != nil:
		return a.fail(fmt.Errorf("%w (see pgbulkproxy --help)", err), exitUsage)
	}
	if err := ctx.Run(a); err != nil {
		code := exitError
		var own kong.ExitCoder
		if errors.As(err, &own) {
			code = own.ExitCode()
		}
		return a.fail(err, code)
	}
	return exitOK
}

// fail prints an error on one line.
func (a *app) fail(err error, code int) int {
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
	// Where stderr is gone, the exit code still tells.
	_, _ = fmt.Fprintln(a.stderr, "pgbulkproxy: "+text)
	return code
}

// untilSignal runs work. The first signal cancels its context; after a second
// one untilSignal no longer waits and returns errStopped.
//
// It starts one goroutine, for work, which outlives it only in that last case:
// then the process is about to exit.
func (a *app) untilSignal(work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-a.signals:
			if ctx.Err() != nil {
				return errStopped
			}
			cancel()
		}
	}
}

// getenv returns the value of a variable, "" if unset.
func (a *app) getenv(name string) string {
	for i := len(a.environ) - 1; i >= 0; i-- {
		if n, v, ok := strings.Cut(a.environ[i], "="); ok && n == name {
			return v
		}
	}
	return ""
}

// newLogger logs to stderr.
func (a *app) newLogger(c config.Log) *slog.Logger {
	var level slog.Level
	// The table of keys allows only slog's own names.
	_ = level.UnmarshalText([]byte(c.Level))
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, options))
	}
	return slog.New(slog.NewTextHandler(a.stderr, options))
}
