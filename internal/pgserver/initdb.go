package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// initialize makes the cluster if DataDir is absent or empty.
func initialize(ctx context.Context, cfg Config, a account) error {
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "PG_VERSION")); err == nil {
		return nil
	}
	entries, err := os.ReadDir(cfg.DataDir)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read data directory: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("data directory %s is neither empty nor a PostgreSQL cluster", cfg.DataDir)
	}
	cfg.Logger.Info("making a PostgreSQL cluster", "file", cfg.DataDir)

	tmp := cfg.DataDir + ".initdb"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("remove an unfinished data directory: %w", err)
	}
	if err := makeCluster(ctx, cfg, a, tmp); err != nil {
		// What is left is of no use; the error that counts is initdb's.
		_ = os.RemoveAll(tmp)
		return err
	}
	if err := os.Remove(cfg.DataDir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace the empty data directory: %w", err)
	}
	if err := os.Rename(tmp, cfg.DataDir); err != nil {
		return fmt.Errorf("publish data directory: %w", err)
	}
	return nil
}

func makeCluster(ctx context.Context, cfg Config, a account, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if err := a.own(dir); err != nil {
		return fmt.Errorf("own data directory: %w", err)
	}
	if err := a.canEnter(dir); err != nil {
		return err
	}
	args := []string{"-D", dir, "-U", Superuser, "-A", "trust", "-E", "UTF8", "--locale=C"}
	if cfg.Settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	cmd := command(cfg.BinDir, "initdb", a, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := run(ctx, cmd); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLines(out.String()))
	}
	return nil
}

// lastLines is the end of a program's output, enough to show what went wrong.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > 8 {
		lines = lines[len(lines)-8:]
	}
	return strings.Join(lines, "\n")
}
