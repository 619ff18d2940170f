package testenv

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// CitusDSN names the variable with the connection string of a Citus cluster: of a
// superuser, whose name is no schema's, on the coordinator, and a database in which
// the nodes are known. The workers let that superuser in as the coordinator does.
const CitusDSN = "PGBULK_TEST_CITUS_DSN"

// node is one server of a cluster.
type node struct{ host, port string }

// Citus returns the cluster that CitusDSN names. The test is left out where there
// is none. Its databases are clusters, too.
func Citus(tb testing.TB) *PG {
	tb.Helper()
	pg := Given(tb, CitusDSN)
	pg.nodes = []node{{pg.Host, strconv.Itoa(pg.Port)}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	results, err := pg.onNode(ctx, pg.nodes[0], pg.given.Database,
		"SELECT nodename, nodeport FROM pg_catalog.pg_dist_node WHERE groupid <> 0 AND noderole = 'primary' ORDER BY nodeid")
	if err != nil {
		tb.Fatal("testenv: ", err)
	}
	for _, row := range results[0].Rows {
		pg.nodes = append(pg.nodes, node{string(row[0]), string(row[1])})
	}
	return pg
}

// onNode runs statements on a node, each in a transaction of its own.
func (pg *PG) onNode(ctx context.Context, n node, db string, statements ...string) (results []*pgconn.Result, err error) {
	dsn := "host=" + n.host + " port=" + n.port + " dbname=" + db + " user=" + pg.given.User + " sslmode=disable"
	if pg.given.Password != "" {
		dsn += " password=" + pg.given.Password
	}
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if results, err = conn.Exec(ctx, sql).ReadAll(); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// onNodes runs statements on every node.
func (pg *PG) onNodes(db string, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var errs []error
	for _, n := range pg.nodes {
		_, err := pg.onNode(ctx, n, db, statements...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// newCluster makes a database on every node, and a cluster of them. Views of the
// extension are moved out of public, which tests empty. It has few shards: tests
// make many tables, and each shard costs one.
func (pg *PG) newCluster(name string) error {
	err := pg.onNodes(pg.given.Database, "CREATE DATABASE "+pgident.Quote(name))
	if err == nil {
		err = pg.onNodes(name, "CREATE EXTENSION citus", "SET citus.enable_ddl_propagation = off",
			"ALTER VIEW public.citus_tables SET SCHEMA citus", "ALTER VIEW public.citus_schemas SET SCHEMA citus")
	}
	if err != nil {
		return err
	}
	host := func(n node) string { return "(" + pgident.Literal(n.host) + ", " + n.port + ")" }
	join := []string{"SELECT pg_catalog.citus_set_coordinator_host" + host(pg.nodes[0])}
	for _, n := range pg.nodes[1:] {
		join = append(join, "SELECT pg_catalog.citus_add_node"+host(n))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	join = append(join, "ALTER DATABASE "+pgident.Quote(name)+" SET citus.shard_count = 4")
	for range 5 { // a node that joins writes roles on others, as those of other tests do
		if _, err = pg.onNode(ctx, pg.nodes[0], name, join...); err == nil {
			break
		}
	}
	return err
}

// EmptyPublic drops schema public of a cluster's database on all nodes: where no
// table of it is distributed the workers keep theirs, and making it again fails. Its
// tables go first: Citus does not find the type of a column that went before.
func (pg *PG) EmptyPublic(db string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := pg.onNode(ctx, pg.nodes[0], db, dropTables); err != nil {
		return err
	}
	return pg.onNodes(db, "SET client_min_messages = error", "DROP SCHEMA IF EXISTS public CASCADE")
}

const dropTables = `SET client_min_messages = error; DO $do$
DECLARE name text;
BEGIN
	FOR name IN SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
	LOOP
		EXECUTE 'DROP TABLE IF EXISTS ' || name || ' CASCADE';
	END LOOP;
END $do$`
