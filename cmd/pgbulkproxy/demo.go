package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgserver"
)

// demoCmd runs everything on one machine: PostgreSQL, S3 and the proxy.
type demoCmd struct {
	Dir      string `help:"Where all data is kept. Default: pgbulkproxy/demo in the user's cache directory." placeholder:"DIR"`
	Listen   string `help:"Where the proxy listens." default:"127.0.0.1:6432" placeholder:"HOST:PORT"`
	PGPort   int    `name:"pg-port" help:"Port of PostgreSQL on 127.0.0.1. 0: a free one." default:"0"`
	Fresh    bool   `help:"Begin anew: remove the data of the last demo."`
	LogLevel string `help:"${key_log_level}" default:"warn" placeholder:"LEVEL"`
}

// demoDrain is short: Ctrl-C in a demo is to end it, whoever is still connected.
const demoDrain = "2s"

// Run implements the command.
//
// It has three phases, each of which a signal cuts short: start, serve, stop.
func (c *demoCmd) Run(a *app) (result error) {
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	log := a.newLogger(cfg.Log)
	folder, err := openDemoFolder(c.Dir, c.Fresh)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer folder.close()

	var d *demo
	err = a.untilSignal(func(ctx context.Context) (err error) {
		_, _ = fmt.Fprintln(a.stderr, "demo: starting PostgreSQL in "+folder.dir)
		d, err = startDemo(ctx, folder, c.PGPort, log)
		return err
	})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() {
		// Another Ctrl-C kills the server instead of waiting for its checkpoint.
		if err := a.untilSignal(d.server.Stop); err != nil {
			result = errors.Join(result, fmt.Errorf("demo: %w", err))
		}
	}()
	if err := a.untilSignal(func(ctx context.Context) error { return d.serve(ctx, cfg, a, log) }); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// config checks what the flags say before anything is started.
func (c *demoCmd) config() (config.Config, error) {
	cfg, err := config.Load(config.Sources{Flags: map[string]string{
		"listen": c.Listen, "log.level": c.LogLevel, "drain_timeout": demoDrain,
		// Both are replaced when the server runs.
		"upstream": "127.0.0.1:5432", "store": "embedded:demo",
	}})
	if err != nil {
		return cfg, err
	}
	network, address, err := config.Endpoint(cfg.Listen, config.ListenPort)
	if err != nil {
		return cfg, fmt.Errorf("listen: %w", err)
	}
	if network == "tcp" {
		if err := portFree(address); err != nil {
			return cfg, fmt.Errorf("%w (choose another with --listen)", err)
		}
	}
	if c.PGPort != 0 {
		if err := portFree(net.JoinHostPort("127.0.0.1", strconv.Itoa(c.PGPort))); err != nil {
			return cfg, fmt.Errorf("%w (choose another with --pg-port)", err)
		}
	}
	return cfg, nil
}

func portFree(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("port is not free: %w", err)
	}
	return l.Close()
}

// demo is the running server with what was set up in it.
type demo struct {
	folder   *demoFolder
	server   *pgserver.Server
	password string
	engine   string
}

// startDemo starts PostgreSQL and sets up role, database, table and engine.
func startDemo(ctx context.Context, folder *demoFolder, port int, log *slog.Logger) (*demo, error) {
	password, err := folder.password()
	if err != nil {
		return nil, err
	}
	server, err := pgserver.Start(ctx, pgserver.Config{
		DataDir:   folder.path("postgres"),
		SocketDir: folder.socketDir(),
		// Clients reach the server through the proxy only as roles with a
		// password; the socket, where all are trusted, is private.
		ListenTCP: true,
		Port:      port,
		Download:  true,
		Logger:    log,
	})
	if err != nil {
		return nil, err
	}
	d := &demo{folder: folder, server: server, password: password, engine: config.EnginePostgres}
	if err := d.setUp(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("set up: %w", err), server.Stop(context.WithoutCancel(ctx)))
	}
	return d, nil
}

// serve runs the proxy until ctx is done or PostgreSQL ends. A session that was
// cut off at the end of the drain is no error here.
func (d *demo) serve(ctx context.Context, cfg config.Config, a *app, log *slog.Logger) error {
	cfg.Upstream = net.JoinHostPort("127.0.0.1", strconv.Itoa(d.server.Port()))
	cfg.Store = "embedded:" + d.folder.path("s3")
	cfg.Engine = d.engine
	cfg.ServiceDSN = d.server.DSN(demoName, demoServiceRole)

	serving, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watched := make(chan struct{})
	go func() { // ends with serving
		defer close(watched)
		select {
		case <-d.server.Done():
			stop(errors.New("PostgreSQL has ended by itself, see " + d.server.LogFile()))
		case <-serving.Done():
		}
	}()
	err := runProxy(serving, cfg, log, func(addr net.Addr, _ string) error { return d.announce(a, cfg, addr) })
	stop(nil)
	<-watched
	if err != nil && ctx.Err() != nil {
		log.Info("demo stops", "error", err)
		return nil
	}
	return err
}

// announce prints how to use it.
func (d *demo) announce(a *app, cfg config.Config, addr net.Addr) error {
	_, err := fmt.Fprintf(a.stdout, `ready listen=%s upstream=%s engine=%s

Paste this into another terminal:

%s "%s"

and there, for 200,000 rows through S3:

%s
SELECT count(*) FROM demo;
SELECT pg_table, status, files_total, files_imported FROM relyt_sys.relyt_loader_checkpoint;

Everything is kept in %s; --fresh begins anew. Ctrl-C stops it.
`, addr, cfg.Upstream, cfg.EngineName(), d.psql(), demoURL(addr, d.password), d.folder.copyLine(), d.folder.dir)
	return err
}

// psql is the program to paste: the server's own where none is on the PATH.
func (d *demo) psql() string {
	if _, err := exec.LookPath("psql"); err == nil {
		return "psql"
	}
	own := filepath.Join(d.server.BinDir(), "psql")
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return "psql"
}

// demoURL is the address that clients use.
func demoURL(addr net.Addr, password string) string {
	if addr.Network() == "unix" {
		dir, file := filepath.Split(addr.String())
		return fmt.Sprintf("host=%s port=%s dbname=%s user=%s password=%s",
			filepath.Clean(dir), cmp.Or(filepath.Ext(file), ".0")[1:], demoName, demoName, password)
	}
	address := addr.String()
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		address = net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return fmt.Sprintf("postgresql://%s:%s@%s/%s", demoName, password, address, demoName)
}

// setUpTimeout bounds the few statements of the set-up.
const setUpTimeout = time.Minute
