package testenv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgserver"
)

// PG is a running PostgreSQL server with superuser postgres. Everyone is trusted,
// on the socket and on 127.0.0.1.
type PG struct {
	// SocketDir is the unix socket's directory: the host to connect to.
	SocketDir string
	// Port is the port of the socket and of TCP.
	Port int
	// Host is the TCP address to connect to, 127.0.0.1.
	Host string
	// Addr is Host:Port.
	Addr string
	// BinDir holds psql, pg_dump and the like, if the installation has them.
	BinDir string

	cfg     pgserver.Config
	server  *pgserver.Server
	given   *pgconn.Config        // of a server that is not ours, else nil
	nodes   []node                // of a Citus cluster, the coordinator first, else none
	furnish func(db string) error // what a new database is given, else nil
	version int
}

// Postgres returns the server that the tests of this binary share.
func Postgres(tb testing.TB) *PG {
	tb.Helper()
	r := shared(tb)
	pg, err := r.pg.get(func() (*PG, error) { return startPostgres(r, nil) })
	if err != nil {
		tb.Fatal("testenv: ", err)
	}
	return pg
}

// PrivatePostgres starts a server for one test, which ends with it. change may
// alter its configuration: pg_hba lines, TLS and other settings.
func PrivatePostgres(tb testing.TB, change func(*pgserver.Config)) *PG {
	tb.Helper()
	pg, err := startPostgres(shared(tb), change)
	if err != nil {
		tb.Fatal("testenv: ", err)
	}
	tb.Cleanup(func() {
		if err := pg.stop(context.Background()); err != nil {
			tb.Error("testenv: ", err)
		}
	})
	return pg
}

// startPostgres starts a server that gives up safety for speed: it is thrown
// away after a crash anyway.
func startPostgres(r *registry, change func(*pgserver.Config)) (*PG, error) {
	dir, err := r.tempDir("pg")
	if err != nil {
		return nil, err
	}
	cfg := pgserver.Config{
		BinDir:    os.Getenv("PGBULK_TEST_PG_BIN"),
		DataDir:   filepath.Join(dir, "data"),
		SocketDir: filepath.Join(dir, "s"),
		ListenTCP: true,
		TCPAuth:   "trust",
		Settings: map[string]string{
			"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off",
			"max_connections": "200", "max_prepared_transactions": "10",
			"autovacuum": "off", "timezone": "UTC", "log_statement": "none",
		},
	}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := pgserver.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	pg := &PG{SocketDir: server.SocketDir(), Port: server.Port(), Host: "127.0.0.1", BinDir: server.BinDir(), cfg: cfg, server: server}
	pg.Addr = pg.Host + ":" + strconv.Itoa(pg.Port)
	if err := r.onClose(pg.stop); err != nil {
		return nil, err
	}
	if pg.version, err = pg.readVersion(ctx); err != nil {
		return nil, err
	}
	return pg, nil
}

// Restart ends a private server in good order, with the sessions that are there,
// and starts it again at the same address.
func (pg *PG) Restart(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	err := pg.server.Stop(ctx)
	if err == nil {
		cfg := pg.cfg
		cfg.Port = pg.Port
		pg.server, err = pgserver.Start(ctx, cfg)
	}
	if err != nil {
		tb.Error("testenv: restart: ", err)
	}
}

// stop is called by a private server's test and again by the registry.
func (pg *PG) stop(ctx context.Context) error { return pg.server.Stop(ctx) }

// DSN returns a connection string over the unix socket, which pgx, lib/pq and
// libpq understand.
func (pg *PG) DSN(db, user string) string {
	if pg.given != nil {
		return pg.givenDSN(db, user)
	}
	return pg.server.DSN(db, user)
}

// TCPDSN returns a connection string over TCP.
func (pg *PG) TCPDSN(db, user string) string {
	if pg.given != nil {
		return pg.givenDSN(db, user)
	}
	return pg.server.TCPDSN(db, user)
}

// LogFile is the server's log.
func (pg *PG) LogFile() string { return pg.server.LogFile() }

// Version is server_version_num: 150018 for 15.18.
func (pg *PG) Version() int { return pg.version }

// Chown gives files to the server's operating system user.
func (pg *PG) Chown(tb testing.TB, paths ...string) {
	tb.Helper()
	if err := pg.server.Chown(paths...); err != nil {
		tb.Fatal("testenv: ", err)
	}
}

// NewDatabase makes an empty database, dropped after the test together with the
// sessions that are still in it.
func (pg *PG) NewDatabase(tb testing.TB) string {
	tb.Helper()
	name := unique("db")
	how := ""
	if pg.version >= 150000 {
		how = " STRATEGY FILE_COPY" // half the time, where a checkpoint writes to memory
	}
	create := func(name string) error { return pg.exec("CREATE DATABASE " + pgident.Quote(name) + how) }
	if pg.nodes != nil {
		create = pg.newCluster
	}
	err := create(name)
	if err == nil && pg.furnish != nil {
		err = pg.furnish(name)
	}
	if err != nil {
		tb.Fatal("testenv: create database: ", err)
	}
	tb.Cleanup(func() {
		if err := pg.dropDatabase(name); err != nil {
			tb.Error("testenv: drop database: ", err)
		}
	})
	return name
}

func (pg *PG) dropDatabase(name string) error {
	if pg.nodes != nil {
		return pg.onNodes(pg.given.Database, "DROP DATABASE IF EXISTS "+pgident.Quote(name)+" WITH (FORCE)")
	}
	if pg.version >= 130000 {
		return pg.exec("DROP DATABASE IF EXISTS " + pgident.Quote(name) + " WITH (FORCE)")
	}
	return errors.Join(
		pg.exec("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname OPERATOR(pg_catalog.=) "+pgident.Literal(name)),
		pg.exec("DROP DATABASE IF EXISTS "+pgident.Quote(name)))
}

// NewRole makes a role that may log in, with more attributes in SQL such as
// "CREATEDB PASSWORD 'x'". It is dropped after the test.
func (pg *PG) NewRole(tb testing.TB, attrs string) string {
	tb.Helper()
	name := unique("role")
	if err := pg.exec("CREATE ROLE " + pgident.Quote(name) + " LOGIN " + attrs); err != nil {
		tb.Fatal("testenv: create role: ", err)
	}
	tb.Cleanup(func() {
		err := pg.exec("DROP ROLE IF EXISTS " + pgident.Quote(name))
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "2BP01" {
			return // it owns something in a database that is dropped later; it goes with the server
		}
		if err != nil {
			tb.Error("testenv: drop role: ", err)
		}
	})
	return name
}

// Connect opens a session over the unix socket that ends with the test.
func (pg *PG) Connect(tb testing.TB, db, user string) *pgx.Conn {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, pg.DSN(db, user))
	if err != nil {
		tb.Fatal("testenv: ", err)
	}
	tb.Cleanup(func() {
		// The test's own end of the session; the server may have ended it before.
		_ = conn.Close(context.Background())
	})
	return conn
}

// home is the database of statements about the whole server: a cluster makes roles
// on all its nodes from one of its own.
func (pg *PG) home() string {
	if pg.nodes != nil {
		return pg.given.Database
	}
	return "postgres"
}

// exec runs SQL as superuser in a session of its own.
func (pg *PG) exec(sql string) error { return pg.execIn(pg.home(), sql) }

// execIn runs SQL in one of the databases.
func (pg *PG) execIn(db, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgconn.Connect(ctx, pg.DSN(db, pgserver.Superuser))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql).ReadAll()
	return err
}

func (pg *PG) readVersion(ctx context.Context) (int, error) {
	conn, err := pgx.Connect(ctx, pg.DSN("postgres", pgserver.Superuser))
	if err != nil {
		return 0, fmt.Errorf("read server version: %w", err)
	}
	defer conn.Close(ctx)
	var v string
	if err := conn.QueryRow(ctx, "SHOW server_version_num").Scan(&v); err != nil {
		return 0, fmt.Errorf("read server version: %w", err)
	}
	return strconv.Atoi(v)
}

// unique is a name that no other test has, valid as identifier, bucket and key.
func unique(kind string) string { return kind + "_" + strings.ToLower(rand.Text()[:12]) }
