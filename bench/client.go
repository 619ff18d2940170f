package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// endpoint is where a client connects: the server, the proxy or PgBouncer.
type endpoint struct {
	addr     string
	user     string
	database string
	tls      bool
}

// dsn is for pgx.
func (e endpoint) dsn() string {
	u := url.URL{Scheme: "postgres", Host: e.addr, User: url.User(e.user), Path: "/" + e.database, RawQuery: "sslmode=" + e.sslmode()}
	return u.String()
}

// sslmode asks for TLS, or for none: there is no one to hide from.
func (e endpoint) sslmode() string {
	if e.tls {
		return "require"
	}
	return "disable"
}

// env is for programs that use libpq: ours, without the PG variables that the
// user may have set for other purposes.
func (e endpoint) env(options string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") {
			env = append(env, v)
		}
	}
	host, port, err := net.SplitHostPort(e.addr)
	if err != nil {
		host, port = e.addr, ""
	}
	return append(env, "PGHOST="+host, "PGPORT="+port, "PGUSER="+e.user, "PGDATABASE="+e.database,
		"PGSSLMODE="+e.sslmode(), "PGGSSENCMODE=disable", "PGOPTIONS="+options, "PGAPPNAME=bench")
}

// clients runs the programs that come with the server. Debian's wrappers of the
// same name are avoided: they start a Perl interpreter first.
type clients struct{ binDir string }

// run starts a program against an endpoint, returns its output and how long it
// took from start to exit, and kills it when the context ends.
func (c clients) run(ctx context.Context, ep endpoint, options string, stdin io.Reader, name string, args ...string) (string, time.Duration, error) {
	return c.program(ctx, ep, options, stdin, filepath.Join(c.binDir, name), args...)
}

// program is run for a program from anywhere.
func (c clients) program(ctx context.Context, ep endpoint, options string, stdin io.Reader, path string, args ...string) (string, time.Duration, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Stdin = ep.env(options), stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	dieWithParent(cmd.SysProcAttr)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		return "", 0, fmt.Errorf("run %s: %w\n%s", filepath.Base(path), err, strings.TrimSpace(string(out)))
	}
	return string(out), took, nil
}

// psql runs one command, without the user's psqlrc.
func (c clients) psql(ctx context.Context, ep endpoint, options string, stdin io.Reader, command string) (time.Duration, error) {
	_, took, err := c.run(ctx, ep, options, stdin, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command)
	return took, err
}

// psqlFile runs a script; "-1" among the arguments makes it one transaction.
func (c clients) psqlFile(ctx context.Context, ep endpoint, options, path string, args ...string) (time.Duration, error) {
	args = append([]string{"-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", path}, args...)
	_, took, err := c.run(ctx, ep, options, nil, "psql", args...)
	return took, err
}
