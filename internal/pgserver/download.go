package pgserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// downloadVersion is pinned, so that the demo does the same everywhere.
const downloadVersion = embeddedpostgres.V17

// defaultCacheDir is where downloads are kept.
func defaultCacheDir() string {
	if os.Geteuid() == 0 {
		return "/var/cache/pgbulkproxy"
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "pgbulkproxy")
}

// download fetches the binaries into the cache directory, unless they are there
// already, and returns their directory.
//
// The library only downloads as the first part of starting a server of its own.
// A data directory that cannot exist makes it stop after that part, so its
// error counts only if the binaries are not there afterwards.
func download(cfg Config) (string, error) {
	root := filepath.Join(cfg.CacheDir, "postgres-"+string(downloadVersion))
	bin := filepath.Join(root, "bin")
	if hasBinaries(bin) {
		return bin, nil
	}
	if err := os.MkdirAll(cfg.CacheDir, 0o755); err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp(cfg.CacheDir, "run-")
	if err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	defer os.RemoveAll(scratch)

	cfg.Logger.Info("downloading PostgreSQL", "version", string(downloadVersion), "file", root)
	lib := embeddedpostgres.DefaultConfig().Version(downloadVersion).Port(uint32(port)).
		CachePath(cfg.CacheDir).RuntimePath(scratch).BinariesPath(root).
		DataPath(filepath.Join(os.DevNull, "none")).Logger(io.Discard)
	if cfg.DownloadURL != "" {
		lib = lib.BinaryRepositoryURL(cfg.DownloadURL)
	}
	server := embeddedpostgres.NewDatabase(lib)
	err = server.Start()
	if err == nil {
		err = errors.Join(errors.New("the downloader started a server"), server.Stop())
	}
	if !hasBinaries(bin) {
		return "", fmt.Errorf("download PostgreSQL %s: %w", downloadVersion, err)
	}
	return bin, nil
}
