package proxy

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/routing"
)

// TestRoutedReadsWhileMoving: while a migration moves groups there and back, no
// statement through the proxy ever sees a row twice or not at all, and none
// changes a row twice or not at all.
func TestRoutedReadsWhileMoving(t *testing.T) {
	t.Parallel()
	b := readBed(t)
	const groups, rows = 4, 200
	must(t, b.direct(), fmt.Sprintf(`INSERT INTO pair.t SELECT 1000 + i, 100 + i %% %[1]d, CASE WHEN i %% %[1]d = 2 THEN 'w' ELSE 'v' END, 0 FROM generate_series(1, %[2]d) i`, groups, groups*rows))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	var done, updates atomic.Int64
	var wg sync.WaitGroup
	// Each statement gives this number, by its tag or in its only cell.
	each := func(want int, sql string, after func()) {
		c := b.proxied()
		must(t, c, "SET search_path = pair")
		wg.Go(func() {
			for i := 0; done.Load() == 0 || i < 3; i++ {
				var res *pgconn.Result
				if i%2 == 0 {
					res = c.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
				} else if results, err := c.Exec(ctx, sql).ReadAll(); err != nil {
					res = &pgconn.Result{Err: err}
				} else {
					res = results[0]
				}
				got := fmt.Sprint(res.CommandTag.RowsAffected())
				if strings.HasPrefix(sql, "SELECT") && res.Err == nil {
					got = string(res.Rows[0][0])
				}
				if got != fmt.Sprint(want) || res.Err != nil {
					t.Errorf("%s: %s, want %d, %v", sql, got, want, res.Err)
					return
				}
				after()
			}
		})
	}
	nothing := func() {}
	each(groups*rows, "SELECT count(*) FROM t WHERE id > 1000", nothing)
	each(rows, "SELECT count(*) FROM t WHERE group_id = 101", nothing)
	each(2*rows, "SELECT count(DISTINCT id) FROM t WHERE group_id IN (100, 103)", nothing)
	// They have no rows in common: else they could lock each other out natively.
	each((groups-1)*rows, "UPDATE t SET n = n + 1 WHERE id > 1000 AND v = 'v'", func() { updates.Add(1) })
	each(rows, "UPDATE t SET n = n WHERE group_id = 102", nothing)
	for range 4 {
		b.move(ctx, routing.MigrateOptions{Threshold: 100, BatchRows: 1})
		b.move(ctx, routing.MigrateOptions{Back: true, BatchRows: 1})
	}
	done.Store(1)
	wg.Wait()
	c := b.proxied()
	must(t, c, "SET search_path = pair")
	if got, want := must(t, c, "SELECT min(n)::int || ' ' || max(n)::int FROM t WHERE id > 1000 AND v = 'v'"), fmt.Sprint(updates.Load(), " ", updates.Load()); got != want {
		t.Errorf("updates of each row: %s, want %s", got, want)
	}
	t.Log(updates.Load(), "updates")
}

// move runs a migration of the pair.
func (b *bed) move(ctx context.Context, o routing.MigrateOptions) {
	b.t.Helper()
	cfg, err := pgx.ParseConfig(b.pg.DSN(b.db, "postgres"))
	if err != nil {
		b.t.Fatal(err)
	}
	routing.MigrateConfig(cfg)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	r, err := routing.Migrate(ctx, conn, routing.MigrateTarget{Table: "pair.t"}, o)
	if err != nil || len(r.Failed) > 0 {
		b.t.Errorf("migrate: %v %+v", err, r)
	}
}
