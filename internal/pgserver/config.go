package pgserver

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Superuser is the database superuser of every cluster that initdb makes here.
const Superuser = "postgres"

// Config says which server to run and where.
type Config struct {
	// BinDir holds initdb and postgres. Empty: searched for, see Find.
	BinDir string
	// DataDir is the cluster's directory, made by initdb if absent or empty.
	// Required. Relative paths are refused: the child has another directory.
	DataDir string
	// SocketDir is where the unix socket stands. Empty: a new directory that
	// only the server's user may enter, removed by Stop. Anyone who can enter
	// the directory can connect as superuser.
	SocketDir string
	// Port names the unix socket, and is the TCP port where ListenTCP is set.
	// Zero: 5432 without TCP (the socket directory is private), a free port
	// with it.
	Port int
	// ListenTCP also accepts connections on 127.0.0.1:Port.
	ListenTCP bool
	// TCPAuth is the pg_hba method for TCP connections. Default scram-sha-256:
	// any program on the machine can reach the port.
	TCPAuth string
	// HBA are pg_hba.conf lines that come before ours. The superuser's own
	// connection to database postgres on the socket is trusted before all.
	HBA []string
	// Settings are server settings, passed as -c name=value. With fsync=off
	// initdb does not sync either.
	Settings map[string]string
	// User is the operating system user for the children when the parent is
	// root; ignored otherwise. Default: postgres if it exists, else nobody.
	User string
	// Download fetches binaries where none are found.
	Download bool
	// DownloadURL is the Maven repository to download from. Empty: Maven
	// Central.
	DownloadURL string
	// CacheDir keeps downloaded binaries. Default: pgbulkproxy in the user's
	// cache directory; as root /var/cache/pgbulkproxy, because other users
	// cannot enter root's home.
	CacheDir string
	// StartTimeout bounds the time from the process's start to the first
	// accepted connection. Default 60s: crash recovery may have to run.
	StartTimeout time.Duration
	// StopTimeout is how long Stop waits for the fast shutdown before it kills.
	// Default 20s: the shutdown checkpoint may have much to write.
	StopTimeout time.Duration
	// Logger gets one line for each step. Nil: silence.
	Logger *slog.Logger
}

// WithDefaults returns c with its zero fields filled in.
func (c Config) WithDefaults() Config {
	if c.Port == 0 && !c.ListenTCP {
		c.Port = 5432
	}
	if c.TCPAuth == "" {
		c.TCPAuth = "scram-sha-256"
	}
	if c.CacheDir == "" {
		c.CacheDir = defaultCacheDir()
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = 60 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 20 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns every reason why c cannot be used, each naming its field.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.DataDir == "" {
		bad("DataDir is required")
	}
	for name, dir := range map[string]string{"BinDir": c.BinDir, "DataDir": c.DataDir, "SocketDir": c.SocketDir, "CacheDir": c.CacheDir} {
		if dir != "" && !filepath.IsAbs(dir) {
			bad("%s %q is not an absolute path", name, dir)
		}
	}
	if strings.Contains(c.SocketDir, ",") {
		bad("SocketDir %q has a comma, which separates directories for the server", c.SocketDir)
	}
	if n := len(filepath.Join(c.SocketDir, ".s.PGSQL.65535")); c.SocketDir != "" && n > maxSocketPath {
		bad("SocketDir makes a socket path of %d bytes, the most is %d", n, maxSocketPath)
	}
	if c.Port < 0 || c.Port > 65535 {
		bad("Port %d is not between 0 and 65535", c.Port)
	}
	if c.StartTimeout < 0 || c.StopTimeout < 0 {
		bad("StartTimeout and StopTimeout must not be negative")
	}
	for _, line := range append([]string{c.TCPAuth}, c.HBA...) {
		if strings.ContainsAny(line, "\r\n") {
			bad("HBA and TCPAuth must be single lines, got %q", line)
		}
	}
	for name, value := range c.Settings {
		if !settingName.MatchString(name) || strings.ContainsRune(value, 0) {
			bad("Settings: %q is not a setting", name)
		}
	}
	return errors.Join(errs...)
}

// maxSocketPath is the smallest sun_path of the systems we run on (macOS: 104
// bytes with its NUL; Linux has 108).
const maxSocketPath = 103

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)
