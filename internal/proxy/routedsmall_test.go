package proxy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest/clients"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// groupPairs routes tables t and i: groups b and 7 are in their auxiliary tables.
const groupPairs = `
	DROP TABLE IF EXISTS relyt_sys.t_relyt_routing, relyt_sys.i_relyt_routing;
	CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
	CREATE TABLE relyt_sys.i_relyt_routing (LIKE relyt_sys.t_relyt_routing);
	INSERT INTO relyt_sys.t_relyt_routing VALUES ('b', 't_relyt_massive_group'), ('m', 't');
	INSERT INTO relyt_sys.i_relyt_routing VALUES ('7', 'i_relyt_massive_group');
	CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL);
	CREATE TABLE i_relyt_massive_group (LIKE i INCLUDING ALL)`

// makeGroupPairs also waits, as a migration would, until the proxies know of them.
func makeGroupPairs(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, groupPairs); err != nil {
		return err
	}
	for _, table := range []string{"t", "i"} {
		if err := awaitSeen(ctx, conn, table); err != nil {
			return err
		}
	}
	return nil
}

func awaitSeen(ctx context.Context, conn *pgx.Conn, table string) error {
	return awaitSeenFor(ctx, conn, table, patience)
}

func awaitSeenFor(ctx context.Context, conn *pgx.Conn, table string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		unseen, err := checkpoint.RoutingUnseen(ctx, conn, table)
		if err != nil || len(unseen) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("the proxies never know the table")
		case <-tick.C:
		}
	}
}

// groupsOut says how many rows lie in the wrong table, and how many in each.
const groupsOut = `SELECT format('wrong %s',
	(SELECT count(*) FROM t WHERE group_id = 'b') + (SELECT count(*) FROM i WHERE group_id = 7)
	+ (SELECT count(*) FROM t_relyt_massive_group WHERE group_id IS DISTINCT FROM 'b') + (SELECT count(*) FROM i_relyt_massive_group WHERE group_id IS DISTINCT FROM 7))`

// TestRoutedExtended: small INSERTs by the extended protocol into a routed table
// look as if it were one table, and each row lies where its group does.
func TestRoutedExtended(t *testing.T) {
	t.Parallel()
	for _, many := range []int{50, 2} {
		t.Run(fmt.Sprintf("from %d rows on", many), func(t *testing.T) {
			t.Parallel()
			pg := testenv.Postgres(t)
			r := start(t, pg, Options{}, func(c *config.Config) {
				c.Lease.Timeout = time.Second
				c.Insert.MinRows, c.Insert.MinRowsAlone, c.Insert.MinRowsBind, c.Insert.MinRowsBatch = many, many, many, many
			})
			direct := pgtest.Target{Name: "direct", DSN: func(db string) string { return pg.TCPDSN(db, "postgres") }, NewDatabase: pg.NewDatabase}
			proxied := pgtest.Target{Name: "proxied", DSN: func(db string) string { return r.dsn(pg, db, "postgres") }}
			o := pgtest.Options{
				Prepare: func(t testing.TB, db string) { install(t, pg, db) },
				Pairs:   &pgtest.Pairs{Suffix: "_relyt_massive_group", Make: makeGroupPairs},
				AfterCase: func(t testing.TB, _, db string, c *pgtest.Case) {
					conn := pg.Connect(t, db, "postgres")
					defer conn.Close(context.Background())
					if got := must(t, conn.PgConn(), groupsOut); got != "wrong 0" {
						t.Errorf("%s: %s", c.Name, got)
					}
				},
			}
			for _, file := range []string{"insert/groups", "routed/binds"} {
				pgtest.Diff(t, scripts+"/"+file+".txt", direct, proxied, o)
			}
		})
	}
}

// TestRoutedClients: client libraries that insert few rows at a time into a routed
// table see what they see of one table, and each row lies where its group does.
func TestRoutedClients(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"postgres", "plain"} {
		for _, client := range clients.Groups() {
			t.Run(engine+" "+client.Name, func(t *testing.T) {
				t.Parallel()
				if reason := client.Missing(t.Context()); reason != "" {
					t.Skip(reason)
				}
				b := newBed(t, Options{}, func(c *config.Config) {
					c.Engine, c.Lease.Timeout = engine, time.Second
					c.Insert.MinRows, c.Insert.MinRowsAlone, c.Insert.MinRowsBind, c.Insert.MinRowsBatch = 50, 60, 50, 100
				})
				const tables = clients.GroupsTable + "; CREATE TABLE i (group_id int); CREATE TABLE o (a int)"
				plain := b.pg.NewDatabase(t)
				must(t, b.connect(b.pg.DSN(plain, "postgres")), tables)
				must(t, b.direct(), tables)
				if err := makeGroupPairs(t.Context(), b.pg.Connect(t, b.db, "postgres")); err != nil {
					t.Fatal(err)
				}
				want, got := runClient(t, client, b.pg.TCPDSN(plain, "postgres")), runClient(t, client, b.via())
				if got = strings.ReplaceAll(got, "_relyt_massive_group", ""); got != want {
					t.Errorf("through the proxy:\n%s", firstDifference(want, got))
				}
				rows := unionOf(t, b.direct(), "SELECT id || ' ' || coalesce(group_id, '-') || ' ' || v FROM (SELECT * FROM t UNION ALL SELECT * FROM t_relyt_massive_group) t")
				if want := unionOf(t, b.connect(b.pg.DSN(plain, "postgres")), "SELECT id || ' ' || coalesce(group_id, '-') || ' ' || v FROM t"); rows != want {
					t.Errorf("rows are other ones: %s", firstDifference(want, rows))
				}
				if got := must(t, b.direct(), groupsOut); got != "wrong 0" {
					t.Error(got)
				}
				if must(t, b.direct(), "SELECT count(*) > 3 FROM t_relyt_massive_group") != "t" {
					t.Error("no rows in the auxiliary table")
				}
			})
		}
	}
}

func runClient(t *testing.T, client clients.Client, dsn string) string {
	t.Helper()
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.Run(t.Context(), clients.DSN{Host: cfg.Host, Port: strconv.Itoa(int(cfg.Port)), User: cfg.User, Password: cfg.Password, Database: cfg.Database})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i, w[i], strings.Join(g[min(i, len(g)):min(i+2, len(g))], "\n     "))
		}
	}
	return "more lines: " + strings.Join(g[len(w):], "\n")
}
