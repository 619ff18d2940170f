package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// bouncer is a running PgBouncer, the yardstick for what relaying may cost.
type bouncer struct {
	*daemon
	endpoint endpoint
}

// bouncerConfig is PgBouncer doing the least it can: one server connection for
// each client, no passwords, no log.
const bouncerConfig = `[databases]
%s = host=%s port=%s user=%s

[pgbouncer]
listen_addr = %s
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = session
default_pool_size = 100
max_client_conn = 10100
ignore_startup_parameters = extra_float_digits,options
log_connections = 0
log_disconnections = 0
`

// startBouncer returns a skipError where there is no PgBouncer.
func (l *lab) startBouncer(ctx context.Context, k link) (*bouncer, error) {
	path, err := exec.LookPath(l.opts.Pgbouncer)
	if err != nil {
		return nil, skipError("without PgBouncer: " + err.Error())
	}
	as, err := unprivileged()
	if err != nil {
		return nil, skipError("without PgBouncer: " + err.Error())
	}
	listen, err := freeAddr()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, err
	}
	upHost, upPort, err := net.SplitHostPort(k.endpoint.addr)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(l.tmp, "pgbouncer.ini")
	ini := fmt.Sprintf(bouncerConfig, benchDatabase, upHost, upPort, benchUser, host, port) + k.bouncer
	if err := os.WriteFile(config, []byte(ini), 0o644); err != nil {
		return nil, fmt.Errorf("configure pgbouncer: %w", err)
	}
	l.report.Machine.PgBouncer = bouncerVersion(ctx, path)
	d, err := startDaemon(ctx, daemonSpec{
		name: "pgbouncer", path: path, args: []string{"-q", config}, env: os.Environ(),
		readyAddr: listen, log: filepath.Join(l.tmp, "pgbouncer.log"), as: as,
	})
	if err != nil {
		return nil, err
	}
	ep := k.endpoint
	ep.addr = listen
	return &bouncer{daemon: d, endpoint: ep}, nil
}

// bouncerVersion takes the number out of "PgBouncer 1.18.0" and more lines.
func bouncerVersion(ctx context.Context, path string) string {
	line, _, _ := strings.Cut(output(ctx, path, "--version"), "\n")
	return strings.TrimPrefix(line, "PgBouncer ")
}

// unprivileged returns another user for programs that refuse to run as root,
// nil where we are not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil, fmt.Errorf("root cannot run it: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", u.Username, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
