package proxy

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestRoutedDefaults: a pair made by hand, whose tables have a sequence each:
// rows take the main table's numbers, in their order, wherever they go.
func TestRoutedDefaults(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	install(t, pg, db)
	p := start(t, pg, Options{}, nil)
	direct := pg.Connect(t, db, "postgres")
	ctx := context.Background()
	if _, err := direct.Exec(ctx, `CREATE TABLE t (id serial, group_id text, n int DEFAULT 1);
CREATE TABLE t_relyt_massive_group (id serial, group_id text, n int DEFAULT 2);
CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
INSERT INTO relyt_sys.t_relyt_routing VALUES ('big', 't_relyt_massive_group')`, pgx.QueryExecModeSimpleProtocol); err != nil {
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
	const where = `SELECT string_agg(concat_ws(' ', id, group_id, n, a), ', ' ORDER BY id) FROM
(SELECT *, NULL AS a FROM t UNION ALL SELECT *, 'aux' FROM t_relyt_massive_group) u`
	const want = "1 a 1, 2 big 1 aux, 3 big 1 aux, 4 big 1 aux, 5 big 1 aux, 6 big 1 aux, 7 b 1, 8 big 1 aux, 9 b 1"
	var got string
	if err := direct.QueryRow(ctx, where).Scan(&got); err != nil || got != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
}
