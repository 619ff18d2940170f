package main

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// demoFolder is the directory of a demo, locked while it is in use. It holds
// lock, password, postgres/, run/, s3/ and demo.csv; nothing else in it is touched.
type demoFolder struct {
	dir  string
	lock *os.File
}

// openDemoFolder makes the directory where it isn't there and locks it. fresh
// removes what an earlier demo left.
func openDemoFolder(dir string, fresh bool) (*demoFolder, error) {
	dir, err := demoDir(dir)
	if err != nil {
		return nil, err
	}
	// 0755: as root, the server's unprivileged user has to pass through it.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another demo runs in %s", dir), lock.Close())
	}
	f := &demoFolder{dir, lock}
	if fresh {
		for _, name := range []string{"postgres", "run", "s3", "password", "demo.csv"} {
			if err := os.RemoveAll(f.path(name)); err != nil {
				f.close()
				return nil, fmt.Errorf("remove old data: %w", err)
			}
		}
	}
	return f, nil
}

// demoDir is the absolute directory. Root's cache directory is closed to the
// server's user, hence /var/cache.
func demoDir(dir string) (string, error) {
	if dir == "" {
		if os.Geteuid() == 0 {
			return "/var/cache/pgbulkproxy/demo", nil
		}
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find cache directory: %w (choose one with --dir)", err)
		}
		dir = filepath.Join(cache, "pgbulkproxy", "demo")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find directory: %w", err)
	}
	return abs, nil
}

func (f *demoFolder) path(name string) string { return filepath.Join(f.dir, name) }

// close unlocks the directory. The lock file stays: removing it would let two
// demos lock different files of that name.
func (f *demoFolder) close() {
	// Nothing was written to it.
	_ = f.lock.Close()
}

// password returns the demo role's password, made once. The port is open to
// every user of the machine, so it is not a known word.
func (f *demoFolder) password() (string, error) {
	text, err := os.ReadFile(f.path("password"))
	if err == nil && strings.TrimSpace(string(text)) != "" {
		return strings.TrimSpace(string(text)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read password: %w", err)
	}
	password := strings.ToLower(rand.Text())
	if err := os.WriteFile(f.path("password"), []byte(password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write password: %w", err)
	}
	return password, nil
}

// socketDir is a private directory in the folder, so that a killed demo leaves
// nothing elsewhere; "" where its path is too long for a socket (103 bytes on
// macOS): then the server makes one in the temporary directory.
func (f *demoFolder) socketDir() string {
	dir := f.path("run")
	if len(filepath.Join(dir, ".s.PGSQL.65535")) > 103 {
		return ""
	}
	// All who can enter it are trusted, so one that was there is closed first.
	if err := os.Chmod(dir, 0o700); err != nil && !errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return dir
}

// copyLine is the sample that psql runs.
func (f *demoFolder) copyLine() string {
	return `\copy demo FROM '` + strings.ReplaceAll(f.path("demo.csv"), "'", "''") + `' WITH (FORMAT csv, HEADER)`
}

// demoRows make a file of about 12 MB: far beyond stage.min_bytes.
const demoRows = 200_000

// writeSample writes demo.csv where it isn't there, beside it and by rename, so
// that half a file is never taken for a whole one.
func (f *demoFolder) writeSample() error {
	path := f.path("demo.csv")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	tmp, err := os.CreateTemp(f.dir, ".demo-*.csv")
	if err != nil {
		return fmt.Errorf("write sample: %w", err)
	}
	defer os.Remove(tmp.Name())
	w := bufio.NewWriter(tmp)
	// A bufio.Writer keeps its first error for Flush.
	_, _ = fmt.Fprintln(w, "id,name,amount,created")
	for i := range demoRows {
		_, _ = fmt.Fprintf(w, "%d,\"customer %d, region %d\",%d.%02d,2026-01-%02d %02d:%02d:00+00\n",
			i+1, i*7919%demoRows, i%17, i%1000, i%100, i%28+1, i%24, i%60)
	}
	if err := errors.Join(w.Flush(), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return fmt.Errorf("write sample: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write sample: %w", err)
	}
	return nil
}
