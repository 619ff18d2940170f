package pgserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNoBinaries says that no directory with initdb and postgres was found.
var ErrNoBinaries = errors.New("no PostgreSQL server binaries found")

// installed are the places where packages put the binaries, without a link in
// PATH: Debian, Red Hat, source builds, Homebrew on ARM and on Intel.
var installed = [...]string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/local/pgsql/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
}

// Find returns a directory that holds initdb and postgres: dir itself if it is
// not empty, else the one that PATH leads to, else the newest installed one. It
// returns ErrNoBinaries if there is none.
func Find(ctx context.Context, dir string) (string, error) {
	if dir != "" {
		if !hasBinaries(dir) {
			return "", fmt.Errorf("%s: %w", dir, ErrNoBinaries)
		}
		return dir, nil
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		if dir := strings.TrimSpace(string(out)); hasBinaries(dir) {
			return dir, nil
		}
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(initdb); err == nil {
			initdb = real
		}
		if dir := filepath.Dir(initdb); filepath.IsAbs(dir) && hasBinaries(dir) {
			return dir, nil
		}
	}
	for _, pattern := range installed {
		if dir := newest(pattern); dir != "" {
			return dir, nil
		}
	}
	return "", ErrNoBinaries
}

// newest returns the matching directory with the highest version in its path.
func newest(pattern string) string {
	dirs, err := filepath.Glob(pattern)
	if err != nil { // only for a malformed pattern
		return ""
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return !hasBinaries(dir) })
	if len(dirs) == 0 {
		return ""
	}
	return slices.MaxFunc(dirs, func(a, b string) int { return cmp.Compare(pathVersion(a), pathVersion(b)) })
}

var versionDigits = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)

// pathVersion is the first number in a path, 0 if there is none.
func pathVersion(dir string) float64 {
	v, err := strconv.ParseFloat(versionDigits.FindString(dir), 64)
	if err != nil {
		return 0
	}
	return v
}

func hasBinaries(dir string) bool {
	return executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres"))
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// libraryEnv returns the variable that lets relocatable packages find their own
// libraries, nothing for a system package, whose lib folder holds only modules.
func libraryEnv(binDir string) []string {
	lib := filepath.Join(filepath.Dir(binDir), "lib")
	found, err := filepath.Glob(filepath.Join(lib, "libpq.*"))
	if err != nil || len(found) == 0 {
		return nil
	}
	return []string{libraryPathVariable + "=" + lib}
}
