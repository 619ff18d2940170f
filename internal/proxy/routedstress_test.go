package proxy

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/routing"
)

var (
	stressRounds = flag.Int("stress.rounds", 12, "migrations of TestRoutedStress")
	stressSeed   = flag.Uint64("stress.seed", 0, "seed of TestRoutedStress; 0: another one each time")
)

// The variables that make this test binary one migration.
const (
	moverDSN  = "PGBULK_TEST_MOVER_DSN"
	moverBack = "PGBULK_TEST_MOVER_BACK"
)

// runMover is the whole life of a migration's process.
func runMover(dsn string) int {
	if err := moveAll(dsn, os.Getenv(moverBack) != ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// moveAll moves all groups to the auxiliary table, or back.
func moveAll(dsn string, back bool) error {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return err
	}
	routing.MigrateConfig(cfg)
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	fmt.Println("begins")
	o := routing.MigrateOptions{Threshold: 1, BatchRows: 1000, Back: back}
	o.Unseen = func(ctx context.Context, table string) ([]string, error) {
		return checkpoint.RoutingUnseenBy(ctx, conn, table)
	}
	if back {
		o.Threshold = 0
	}
	r, err := routing.Migrate(context.Background(), conn, routing.MigrateTarget{Table: "public.t"}, o)
	if err == nil && len(r.Failed) > 0 {
		err = r.Failed[0]
	}
	return err
}

// stress is one run of TestRoutedStress.
type stress struct {
	*bed
	rng         *rand.Rand
	kills, ends int
	loaders     []*stressLoader
}

// TestRoutedStress: four clients load through the proxy into a routed table and
// two read, while processes migrate all groups there and back and are killed. At
// the end every row that was committed is there once, where its route says; and
// no reader saw the number of rows of a group change that nobody wrote.
func TestRoutedStress(t *testing.T) {
	t.Parallel()
	seed := *stressSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	s := &stress{bed: newBed(t, Options{}, func(c *config.Config) { c.Lease.Timeout, c.Routing.Reads = time.Second, true }), rng: rand.New(rand.NewPCG(seed, 99))}
	must(t, s.direct(), `CREATE TABLE t (id bigint PRIMARY KEY, group_id int, v text);
		CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL);
		CREATE VIEW t_relyt_all AS SELECT * FROM t UNION ALL SELECT * FROM t_relyt_massive_group;
		CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
		INSERT INTO t SELECT -i, 101 + i % 4, 'still' FROM generate_series(1, 4000) i;
		INSERT INTO t SELECT -4000 - i, 1 + i % 6, 'still' FROM generate_series(1, 30000) i`)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i, load := range []func(context.Context, *pgx.Conn, []stressRow) error{loadCopy, loadInsert, loadBatch, loadUpsert} {
		l := &stressLoader{t: t, load: load, rng: rand.New(rand.NewPCG(seed, uint64(i))), first: int64(i+1) * 1e9, committed: map[int64]stressRow{}}
		l.next = l.first
		l.upserts = i == 3
		s.loaders = append(s.loaders, l)
		conn := s.client()
		wg.Go(func() { l.loop(ctx, conn) })
	}
	for _, query := range []string{
		"SELECT count(*) FROM t_relyt_all WHERE v = 'still'",
		"SELECT (SELECT count(*) FROM t WHERE group_id = 101) + (SELECT count(*) FROM t_relyt_massive_group WHERE group_id = 101)",
		"SELECT count(*) FROM (" + misplacedRows + ") m", // none at any time
	} {
		conn := s.pg.Connect(t, s.db, "postgres") // through the proxy t would be both tables
		wg.Go(func() { readUnchanged(t, ctx, conn, query) })
	}
	reader := s.client()
	wg.Go(func() { readUnchanged(t, ctx, reader, "SELECT count(*) FROM t WHERE group_id = 101") })
	for i := range *stressRounds {
		s.move(i%2 == 1, i%4 == 3)
	}
	stop()
	wg.Wait()
	s.check()
	s.move(false, true)
	s.check()
	s.move(true, true)
	total := s.check()
	if got := must(t, s.direct(), "SELECT count(*) FROM t"); got != fmt.Sprint(total) {
		t.Errorf("%s of %d rows are in the main table after all", got, total)
	}
	t.Logf("%d migrations were killed, %d ended; %d rows", s.kills, s.ends, total)
}

// client connects through the proxy.
func (s *stress) client() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.via())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// longestLife is how long a migration that is to be killed lives at most: about
// as long as one that ends by itself.
const longestLife = 300 * time.Millisecond

// move runs one migration as a process, and kills it at some moment unless whole.
func (s *stress) move(back, whole bool) {
	s.t.Helper()
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), moverDSN+"="+s.pg.DSN(s.db, "postgres"))
	if back {
		cmd.Env = append(cmd.Env, moverBack+"=1")
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	if !whole {
		timer := time.AfterFunc(time.Duration(s.rng.Int64N(int64(longestLife))), func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	for lines.Scan() {
	}
	err = cmd.Wait()
	switch {
	case err == nil:
		s.ends++
	case cmd.ProcessState.ExitCode() == -1 && !whole:
		s.kills++
	default:
		s.t.Errorf("migration: %v", err)
	}
}

// check compares the rows with what was committed, and their places with the
// routes. It returns how many rows there are.
func (s *stress) check() int {
	s.t.Helper()
	c := s.direct()
	got := map[string]string{}
	results, err := c.Exec(s.t.Context(), "SELECT id, group_id, v FROM t_relyt_all WHERE v <> 'still'").ReadAll()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, row := range results[0].Rows {
		id := string(row[0])
		if _, twice := got[id]; twice {
			s.t.Errorf("row %s is there twice", id)
		}
		got[id] = string(row[1]) + "/" + string(row[2])
	}
	total := 0
	for _, l := range s.loaders {
		for id, row := range l.committed {
			if total++; got[fmt.Sprint(id)] != fmt.Sprintf("%d/%s", row.group, row.v) {
				s.t.Errorf("row %d is %q, committed was %v", id, got[fmt.Sprint(id)], row)
			}
		}
	}
	if len(got) != total {
		s.t.Errorf("%d rows, %d were committed", len(got), total)
	}
	wrong := must(s.t, c, "SELECT string_agg(DISTINCT format('%s %s', group_id, aux), ', ') FROM ("+misplacedRows+") m")
	if wrong != "" {
		s.t.Errorf("rows are not where their route says: %s", wrong)
	}
	return total + 34000
}

// misplacedRows are rows that are not where their route says.
const misplacedRows = `SELECT group_id, aux FROM (SELECT group_id, false aux FROM t UNION ALL SELECT group_id, true FROM t_relyt_massive_group) u
	WHERE aux <> EXISTS (SELECT FROM relyt_sys.t_relyt_routing r WHERE r.routing_id = u.group_id::text AND r.store_table_name LIKE '%massive_group')`

// readUnchanged asks again and again for a number that never changes.
func readUnchanged(t *testing.T, ctx context.Context, conn *pgx.Conn, query string) {
	for first := int64(-1); ctx.Err() == nil; {
		var n int64
		err := conn.QueryRow(context.WithoutCancel(ctx), query).Scan(&n)
		if first < 0 {
			first = n
		}
		if err != nil || n != first {
			t.Errorf("%s: %d, at first %d, error %v", query, n, first, err)
			return
		}
	}
}

// stressRow is one row of table t.
type stressRow struct {
	id    int64
	group int64
	v     string
}

// stressLoader is one client, with what it has committed.
type stressLoader struct {
	t           *testing.T
	load        func(context.Context, *pgx.Conn, []stressRow) error
	rng         *rand.Rand
	first, next int64
	upserts     bool
	committed   map[int64]stressRow
}

// loop loads until ctx ends: alone, or in a block that may be rolled back.
func (l *stressLoader) loop(ctx context.Context, conn *pgx.Conn) {
	work := context.WithoutCancel(ctx)
	for n := 0; ctx.Err() == nil; n++ {
		rows := l.rows(n)
		block := l.rng.IntN(3) == 0
		var err error
		if block {
			_, err = conn.Exec(work, "BEGIN")
		}
		err = errors.Join(err, l.load(work, conn, rows))
		if err != nil {
			var e *pgconn.PgError
			l.t.Errorf("load %d of %d: %v (a server's: %v)", n, l.first, err, errors.As(err, &e))
			return
		}
		if block && l.rng.IntN(3) == 0 {
			if _, err = conn.Exec(work, "ROLLBACK"); err != nil {
				l.t.Error(err)
				return
			}
			continue
		}
		if block {
			if _, err = conn.Exec(work, "COMMIT"); err != nil {
				l.t.Error(err)
				return
			}
		}
		for _, row := range rows {
			l.committed[row.id] = row
		}
	}
}

// rows makes one row, or up to 100 of several groups; of an upsert, some are there
// already. A row never changes its group.
func (l *stressLoader) rows(n int) []stressRow {
	var rows []stressRow
	used := map[int64]bool{}
	for range 1 + l.rng.IntN(100)*l.rng.IntN(2) {
		id := l.next
		if l.upserts && l.rng.IntN(2) == 0 && id > l.first {
			id = l.first + l.rng.Int64N(id-l.first)
		} else {
			l.next++
		}
		if !used[id] {
			used[id] = true
			rows = append(rows, stressRow{id, 1 + id%6, fmt.Sprint("v", n)})
		}
	}
	return rows
}

func loadCopy(ctx context.Context, conn *pgx.Conn, rows []stressRow) error {
	var data strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&data, "%d\t%d\t%s\n", r.id, r.group, r.v)
	}
	tag, err := conn.PgConn().CopyFrom(ctx, strings.NewReader(data.String()), "COPY t FROM STDIN")
	return counted(tag, err, rows)
}

func loadInsert(ctx context.Context, conn *pgx.Conn, rows []stressRow) error {
	return insertRows(ctx, conn, rows, "")
}

func loadUpsert(ctx context.Context, conn *pgx.Conn, rows []stressRow) error {
	return insertRows(ctx, conn, rows, " ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v")
}

func insertRows(ctx context.Context, conn *pgx.Conn, rows []stressRow, more string) error {
	var values []string
	for _, r := range rows {
		values = append(values, fmt.Sprintf("(%d, %d, '%s')", r.id, r.group, r.v))
	}
	tag, err := conn.Exec(ctx, "INSERT INTO t VALUES "+strings.Join(values, ", ")+more, pgx.QueryExecModeSimpleProtocol)
	return counted(tag, err, rows)
}

func loadBatch(ctx context.Context, conn *pgx.Conn, rows []stressRow) error {
	var batch pgx.Batch
	for _, r := range rows {
		batch.Queue("INSERT INTO t (id, group_id, v) VALUES ($1, $2, $3)", r.id, r.group, r.v)
	}
	return conn.SendBatch(ctx, &batch).Close()
}

func counted(tag pgconn.CommandTag, err error, rows []stressRow) error {
	if err == nil && tag.RowsAffected() != int64(len(rows)) {
		err = fmt.Errorf("%s for %d rows", tag, len(rows))
	}
	return err
}
