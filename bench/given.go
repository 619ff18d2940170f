package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// given is a server of the user's, on this machine: the private one can be no
// distributed engine. Its role must be a superuser there.
type given struct {
	*cluster
	dsn    string
	engine string
	// with follows the columns of a table, then is what spreads it; both may be empty.
	with, then string
	// want is the content of a table after the first load, which is a direct one.
	want map[string]content
}

// openGiven connects to the server of --dsn.
func (l *lab) openGiven(ctx context.Context) (*given, error) {
	if l.opts.DSN == "" {
		return nil, skipError("no server is given by --dsn")
	}
	admin, err := pgx.Connect(ctx, l.opts.DSN)
	if err != nil {
		return nil, fmt.Errorf("connect to the given server: %w", err)
	}
	cfg := admin.Config()
	g := &given{dsn: l.opts.DSN, engine: l.opts.Engine, want: map[string]content{}, cluster: &cluster{admin: admin, endpoint: endpoint{
		addr: net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), user: cfg.User, database: cfg.Database,
	}}}
	switch g.engine {
	case "greenplum":
		g.with = " distributed by (id)"
	case "citus":
		g.then = "select create_distributed_table('%s', 'id')"
	}
	return g, nil
}

// givenOrOwn takes the private server where none is given.
func (l *lab) givenOrOwn(ctx context.Context) (*given, error) {
	if l.opts.DSN != "" {
		return l.openGiven(ctx)
	}
	admin, err := pgx.Connect(ctx, l.cluster.adminDSN())
	if err != nil {
		return nil, fmt.Errorf("connect to the private server: %w", err)
	}
	engine := l.opts.Engine
	if engine != "plain" {
		engine = "postgres"
	}
	own := *l.cluster
	own.admin = admin
	return &given{
		dsn: l.cluster.adminDSN(), engine: engine, want: map[string]content{}, cluster: &own,
		then: "grant insert on %s to " + benchUser,
	}, nil
}

func (g *given) close() { _ = g.admin.Close(context.Background()) }

// create makes an empty table whose rows are spread over all nodes.
func (g *given) create(ctx context.Context, table string) error {
	sql := []string{"drop table if exists " + table, "create table " + table + " (" + dataColumns + ")" + g.with}
	if g.then != "" {
		sql = append(sql, fmt.Sprintf(g.then, table))
	}
	return g.exec(ctx, sql...)
}

// check compares a table with what the first load has put there. The hash of a
// record is not known to PostgreSQL 9.4.
func (g *given) check(ctx context.Context, table string, rows int) error {
	var got content
	if err := g.admin.QueryRow(ctx, "select pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtext(t::text)::bigint)::text from "+table+" t").Scan(&got.Rows, &got.Sum); err != nil {
		return fmt.Errorf("read the content of %s: %w", table, err)
	}
	if _, ok := g.want[table]; !ok {
		g.want[table] = got
	}
	if got != g.want[table] || got.Rows != int64(rows) {
		return fmt.Errorf("%s holds %d rows with hash sum %s, want %d rows with %s", table, got.Rows, got.Sum, rows, g.want[table].Sum)
	}
	return nil
}

// startGiven starts a proxy before the given server.
func (l *lab) startGiven(ctx context.Context, g *given, name string, settings ...string) (*proxy, error) {
	if err := l.prepareProxy(ctx); err != nil {
		return nil, err
	}
	listen, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--listen", listen, "--upstream", g.endpoint.addr, "--store", l.s3.url(), "--engine", g.engine}
	if g.engine != "greenplum" && g.engine != "plain" { // which have no ledger, here
		args = append(args, "--service-dsn", g.dsn)
		install := exec.CommandContext(ctx, l.binary, "install", "--dsn", g.dsn, "--engine", g.engine)
		install.Env = l.s3.env()
		if err := runQuietly(install); err != nil {
			return nil, fmt.Errorf("install into the given server: %w", err)
		}
	}
	// Every way leaves its files, and the store may lie in memory.
	for _, s := range slices.Concat([]string{"sweep.grace=1s", "sweep.interval=5s"}, l.opts.Set, settings) {
		args = append(args, "--set", s)
	}
	d, err := startDaemon(ctx, daemonSpec{
		name: "pgbulkproxy", path: l.binary, args: args, readyLine: "ready",
		env: l.s3.env(), log: filepath.Join(l.tmp, "pgbulkproxy-"+name+".log"),
	})
	if err != nil {
		return nil, err
	}
	ep := g.endpoint
	ep.addr = listen
	return &proxy{endpoint: ep, daemon: d, lab: l}, nil
}

// givenWay is one way to load into the given server: through a proxy with these
// settings, or direct.
type givenWay struct {
	name     string
	settings []string
	direct   bool
	options  string // of the session
	format   string
}

// measure compares the ways, each by a proxy of its own; the first one is direct. All
// must leave the same rows in the table.
func (g *given) measure(ctx context.Context, l *lab, name, table string, rows int, ways []givenWay,
	load func(ctx context.Context, ep endpoint, w givenWay) ([]float64, error)) (_ []Result, err error) {
	if l.opts.NoProxy {
		return nil, skipError("without a proxy there is one way only")
	}
	if err := g.create(ctx, table); err != nil {
		return nil, err
	}
	var proxies []*proxy
	defer func() {
		for _, p := range proxies {
			p.daemon.stop()
		}
		err = errors.Join(err, l.s3.empty())
		err = errors.Join(err, g.exec(context.WithoutCancel(ctx), "drop table "+table))
	}()
	var all []way
	for _, w := range ways {
		ep, watched := g.endpoint, func(run func(context.Context) ([]float64, error)) func(context.Context) ([]float64, error) {
			return run
		}
		if !w.direct {
			p, err := l.startGiven(ctx, g, strconv.Itoa(len(proxies)), w.settings...)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			proxies = append(proxies, p)
			ep, watched = p.endpoint, p.watched
		}
		all = append(all, way{w.name, watched(func(ctx context.Context) ([]float64, error) {
			if err := g.empty(ctx, table); err != nil {
				return nil, err
			}
			values, err := load(ctx, ep, w)
			if err != nil {
				return nil, err
			}
			return values, g.check(ctx, table, rows)
		})})
	}
	results, err := l.alternate(ctx, "Given server", []measure{{g.engine + ", " + name, "s", lower}}, all)
	if err != nil {
		return nil, err
	}
	for _, w := range ways[1:] {
		results[0].compare(w.name, ways[0].name)
	}
	for _, p := range proxies {
		results[0].PeakRSS = max(results[0].PeakRSS, p.peak)
	}
	return results, nil
}
