package proxy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestRoutedDefaults: a pair made by hand, whose tables have a sequence each:
// rows take the main table's numbers, in their order, wherever they go.
func TestRoutedDefaults(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	install(t, pg, db)
	p := start(t, pg, Options{}, func(c *config.Config) { c.Lease.Timeout = time.Second })
	direct := pg.Connect(t, db, "postgres")
	ctx := context.Background()
	if _, err := direct.Exec(ctx, `CREATE TABLE t (id serial, group_id text, n int DEFAULT 1);
CREATE TABLE t_relyt_massive_group (id serial, group_id text, n int DEFAULT 2);
CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
INSERT INTO relyt_sys.t_relyt_routing VALUES ('big', 't_relyt_massive_group')`, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	if err := awaitSeen(ctx, direct, "t"); err != nil {
		t.Fatal(err)
	}
	cfg, err := pgx.ParseConfig(p.dsn(pg, db, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(ctx)
	for _, sql := range []string{
		"INSERT INTO t (group_id) VALUES ('a'), ('big'), ('big')",
		"INSERT INTO t (group_id) VALUES ('big'), ('big')",
		"INSERT INTO t (id, group_id, n) VALUES (DEFAULT, 'big', 1), (DEFAULT, 'b', DEFAULT)",
		"INSERT INTO t (id, group_id, n) VALUES (8, 'big', 1), (9, 'b', 1)",
	} {
		if _, err := client.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	refusesDefaults(t, client)
	const where = `SELECT string_agg(concat_ws(' ', id, group_id, n, a), ', ' ORDER BY id) FROM
(SELECT *, NULL AS a FROM t UNION ALL SELECT *, 'aux' FROM t_relyt_massive_group) u`
	const want = "1 a 1, 2 big 1 aux, 3 big 1 aux, 4 big 1 aux, 5 big 1 aux, 6 big 1 aux, 7 b 1, 8 big 1 aux, 9 b 1, 12 big 1 aux, 13 b 1, 14 b 1"
	var got string
	if err := direct.QueryRow(ctx, where).Scan(&got); err != nil || got != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
}

// refusesDefaults: by the extended protocol such rows are refused, and those that
// bring all values, or are the main table's, are not.
func refusesDefaults(t *testing.T, client *pgx.Conn) {
	t.Helper()
	ctx := t.Context()
	for _, sql := range []string{
		"INSERT INTO t (group_id) VALUES ($1), ($2)",
		"INSERT INTO t (id, group_id, n) VALUES (DEFAULT, $1, 1), (10, $2, 1)",
		"INSERT INTO t (id, group_id, n) VALUES (10, $1, 1), (11, $2, DEFAULT)",
	} {
		for _, groups := range [][]any{{"big", "big"}, {"a", "big"}} {
			var e *pgconn.PgError
			if _, err := client.Exec(ctx, sql, groups...); !errors.As(err, &e) || e.Code != "0A000" || !strings.Contains(e.Message, "other_default") {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
	var batch pgx.Batch
	for range 300 {
		batch.Queue("INSERT INTO t (group_id) VALUES ($1)", "big")
	}
	var e *pgconn.PgError
	if err := client.SendBatch(ctx, &batch).Close(); !errors.As(err, &e) || e.Code != "0A000" {
		t.Errorf("batch: %v", err)
	}
	if _, err := client.Exec(ctx, "INSERT INTO t (id, group_id, n) VALUES ($1, 'big', 1), ($2, $3, 1)", 12, 13, "b"); err != nil {
		t.Error(err)
	}
	if _, err := client.Exec(ctx, "INSERT INTO t (id, group_id) VALUES (14, $1)", "b"); err != nil {
		t.Error(err)
	}
}
