package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgserver"
)

const (
	// benchUser owns the tables and is no superuser, like the clients of a real
	// server. It alone may connect over TCP, without a password.
	benchUser     = "bench"
	benchDatabase = "bench"
)

// clusterSettings are those of a small production server, but for fsync and
// autovacuum: how fast the disk of the moment is and when a vacuum happens to
// start is noise that would hide what a proxy costs.
func clusterSettings() map[string]string {
	return map[string]string{
		"shared_buffers":     "512MB",
		"max_wal_size":       "4GB",
		"checkpoint_timeout": "30min",
		"synchronous_commit": "on",
		"fsync":              "off",
		"autovacuum":         "off",
		"max_connections":    "200",
	}
}

// cluster is the private server that everything runs against.
type cluster struct {
	server   *pgserver.Server
	admin    *pgx.Conn
	endpoint endpoint
	version  string
}

// startCluster makes an empty server below dir.
func startCluster(ctx context.Context, dir, binDir string) (*cluster, error) {
	server, err := pgserver.Start(ctx, pgserver.Config{
		BinDir:    binDir,
		DataDir:   filepath.Join(dir, "pgdata"),
		ListenTCP: true,
		HBA:       []string{fmt.Sprintf("host %s %s 127.0.0.1/32 trust", benchDatabase, benchUser)},
		Settings:  clusterSettings(),
		Download:  true,
	})
	if err != nil {
		return nil, err
	}
	c := &cluster{server: server, endpoint: endpoint{
		addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(server.Port())), user: benchUser, database: benchDatabase,
	}}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.stop(context.WithoutCancel(ctx)))
	}
	return c, nil
}

func (c *cluster) prepare(ctx context.Context) error {
	first, err := pgx.Connect(ctx, c.server.DSN("postgres", pgserver.Superuser))
	if err != nil {
		return fmt.Errorf("connect to the server: %w", err)
	}
	_, err = first.Exec(ctx, "create role "+benchUser+" login")
	if err == nil {
		_, err = first.Exec(ctx, "create database "+benchDatabase+" owner "+benchUser)
	}
	if err = errors.Join(err, first.Close(ctx)); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	if c.admin, err = pgx.Connect(ctx, c.adminDSN()); err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	if err := c.admin.QueryRow(ctx, "show server_version").Scan(&c.version); err != nil {
		return fmt.Errorf("ask for the server's version: %w", err)
	}
	// "15.4 (Debian 15.4-1)": the packager's part says nothing more.
	c.version, _, _ = strings.Cut(c.version, " ")
	return nil
}

// adminDSN connects as superuser through the server's private socket.
func (c *cluster) adminDSN() string { return c.server.DSN(benchDatabase, pgserver.Superuser) }

func (c *cluster) stop(ctx context.Context) error {
	if c.admin != nil {
		// The server ends the session in a moment anyway.
		_ = c.admin.Close(ctx)
	}
	return c.server.Stop(ctx)
}

// exec runs statements as superuser, each in a transaction of its own.
func (c *cluster) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := c.admin.Exec(ctx, s); err != nil {
			return fmt.Errorf("run %q: %w", s, err)
		}
	}
	return nil
}

// createTable makes an empty table of the clients' role, which may not exist
// with other columns. Persistence is "" or "unlogged".
func (c *cluster) createTable(ctx context.Context, name, columns, persistence string) error {
	return c.exec(ctx, "drop table if exists "+name,
		fmt.Sprintf("create %s table %s (%s)", persistence, name, columns),
		fmt.Sprintf("alter table %s owner to %s", name, benchUser))
}

// empty makes the table empty and has the server write out what it holds in
// memory, so that each measured load starts from the same state.
func (c *cluster) empty(ctx context.Context, table string) error {
	return c.exec(ctx, "truncate "+table, "checkpoint")
}

// content identifies the rows of a table whatever their order: their number
// and the sum of their hashes.
type content struct {
	Rows int64  `json:"rows"`
	Sum  string `json:"sum"`
}

// contentQuery needs hash_record_extended, which came with PostgreSQL 14. It
// hashes the values themselves, several times faster than their text.
const contentQuery = `select pg_catalog.count(*), coalesce(pg_catalog.sum(pg_catalog.hash_record_extended(t, 0)), 0)::pg_catalog.text from %s t`

func (c *cluster) content(ctx context.Context, table string) (content, error) {
	var got content
	if err := c.admin.QueryRow(ctx, fmt.Sprintf(contentQuery, table)).Scan(&got.Rows, &got.Sum); err != nil {
		return content{}, fmt.Errorf("read the content of %s: %w", table, err)
	}
	return got, nil
}

// verify compares a table with what was loaded, so many times over.
func (c *cluster) verify(ctx context.Context, table string, want content, times int64) error {
	got, err := c.content(ctx, table)
	if err != nil {
		return err
	}
	sum, err := want.sumTimes(times)
	if err != nil {
		return err
	}
	if got.Rows != want.Rows*times || got.Sum != sum {
		return fmt.Errorf("%s holds %d rows with hash sum %s, want %d rows with %s", table, got.Rows, got.Sum, want.Rows*times, sum)
	}
	return nil
}
