package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest/clients"
)

// DiffClients runs every client library against both targets, each on a fresh
// database, and compares what they saw and what is in the database afterwards.
func DiffClients(t *testing.T, direct, proxied Target, options Options) {
	t.Helper()
	for _, client := range clients.All() {
		t.Run(client.Name, func(t *testing.T) {
			t.Parallel()
			DiffClient(t, client, direct, proxied, options)
		})
	}
}

// DiffClient does so with one client.
func DiffClient(t *testing.T, client clients.Client, direct, proxied Target, options Options) {
	t.Helper()
	if reason := client.Missing(t.Context()); reason != "" {
		t.Skip(reason)
	}
	diffReal(t, direct, proxied, options, func(ctx context.Context, dsn string) (string, error) {
		parts, err := splitDSN(dsn)
		if err != nil {
			return "", err
		}
		return client.Run(ctx, parts)
	})
}

// DiffPsql runs every psql script below dir against both targets and compares
// standard output, standard error, exit code and the state of the database.
// psql is the path of the program.
func DiffPsql(t *testing.T, psql, dir string, direct, proxied Target, options Options) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.sql"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no psql script in %s (%v)", dir, err)
	}
	if _, err := exec.LookPath(psql); err != nil {
		t.Skipf("psql is not there: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".sql"), func(t *testing.T) {
			t.Parallel()
			diffReal(t, direct, proxied, options, func(ctx context.Context, dsn string) (string, error) {
				return Psql(ctx, psql, path, dsn)
			})
		})
	}
}

// Psql runs one script and returns its output, its errors and its exit code.
// The script runs in an empty folder, where it may write the files for \copy:
// a program as its source would race with an error of the server.
func Psql(ctx context.Context, psql, path, dsn string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find script: %w", err)
	}
	folder, err := os.MkdirTemp("", "pgtest-psql-")
	if err != nil {
		return "", fmt.Errorf("make folder for script: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, psql, "-X", "-a", "-f", absolute, dsn+" application_name="+applicationName)
	command.Dir = folder
	command.Env = append(os.Environ(), "PGTZ=UTC", "LC_ALL=C.UTF-8", "PSQL_HISTORY=/dev/null")
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", fmt.Errorf("run psql: %w", err)
	}
	return fmt.Sprintf("%s\n--- stderr\n%s\n--- exit %d", stdout.String(), stderr.String(), command.ProcessState.ExitCode()), nil
}

func diffReal(t *testing.T, direct, proxied Target, options Options, run func(context.Context, string) (string, error)) {
	t.Helper()
	if options.Timeout == 0 {
		options.Timeout = defaultTimeout
	}
	var transcripts [2][]string
	for i, target := range []Target{direct, proxied} {
		side := newSide(t, direct, target, options)
		side.norm = newNormalizer(side.database, &optionSet{})
		output, err := run(t.Context(), target.DSN(side.database))
		if err != nil {
			t.Fatalf("%s: %v", target.Name, err)
		}
		for line := range strings.Lines(output) {
			side.note("%s", strings.TrimRight(line, "\n"))
		}
		if err := side.addState(t.Context(), ""); err != nil {
			t.Fatalf("%s: %v", target.Name, err)
		}
		transcripts[i] = side.lines
		if options.Transcript != nil {
			options.Transcript(target.Name, side.lines)
		}
	}
	if report := compare(transcripts[0], transcripts[1], direct.Name, proxied.Name); report != "" {
		t.Error(report)
	}
}

func splitDSN(dsn string) (clients.DSN, error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return clients.DSN{}, fmt.Errorf("parse connection string: %w", err)
	}
	return clients.DSN{
		Host: config.Host, Port: strconv.Itoa(int(config.Port)),
		User: config.User, Password: config.Password, Database: config.Database,
	}, nil
}
