package routing

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

var (
	stressRounds = flag.Int("stress.rounds", 15, "migrations of TestStress")
	stressSeed   = flag.Uint64("stress.seed", 0, "seed of TestStress; 0: another one each time")
)

// TestStress: sessions that follow the protocol of loads, and readers, while
// processes migrate all groups there and back and are killed. At the end every
// row that was committed is there once, where its route says; and a reader never
// saw the number of rows of a group change that nobody wrote.
func TestStress(t *testing.T) {
	t.Parallel()
	seed := *stressSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	b := newPairBed(t, plainPair+`CREATE VIEW t_relyt_all AS SELECT * FROM t UNION ALL SELECT * FROM t_relyt_massive_group;`)
	b.exec("INSERT INTO t SELECT -i, 101 + i % 4, 'still' FROM generate_series(1, 8000) i")

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var writers []*stressWriter
	for i, isolation := range []string{"read committed", "read committed", "repeatable read", "serializable"} {
		w := newStressWriter(b, i, isolation, rand.New(rand.NewPCG(seed, uint64(i))))
		writers = append(writers, w)
		wg.Go(func() { w.loop(ctx) })
	}
	direct := &stressWriter{b: b, conn: b.pg.Connect(t, b.db, "postgres"), next: 9e9, committed: map[int64]string{}}
	writers = append(writers, direct)
	wg.Go(func() { direct.loopDirectly(ctx) })
	for _, query := range []string{
		"SELECT count(*) FROM t_relyt_all WHERE group_id > 100",
		"SELECT (SELECT count(*) FROM t WHERE group_id = 101) + (SELECT count(*) FROM t_relyt_massive_group WHERE group_id = 101)",
		"SELECT count(*) FROM (" + misplaced + " AND group_id <> 7) m", // none at any time; 7 is written directly
	} {
		conn := b.pg.Connect(t, b.db, "postgres")
		wg.Go(func() { readUnchanged(t, ctx, conn, query) })
	}
	m := &mover{t: t, dsn: b.pg.DSN(b.db, "postgres"), rng: rand.New(rand.NewPCG(seed, 99))}
	for i := range *stressRounds {
		m.run(MigrateOptions{Threshold: 1, Back: i%2 == 1, BatchRows: 1 + m.rng.Int64N(3000)}.all(), i%5 == 4)
	}
	stop()
	wg.Wait()
	total := checkStress(b, writers, "group_id <> 7")
	b.migrate(MigrateOptions{Threshold: 1})
	checkStress(b, writers, "true")
	b.migrate(MigrateOptions{Back: true})
	checkStress(b, writers, "true")
	if got := b.ask("SELECT count(*) FROM t"); got != fmt.Sprint(total) {
		t.Errorf("%s of %d rows are in the main table after all", got, total)
	}
	t.Logf("%d migrations were killed, %d ended; %d rows", m.kills, m.ends, total)
	if m.kills == 0 || m.ends == 0 {
		t.Errorf("%d migrations were killed, %d ended", m.kills, m.ends)
	}
}

// all has no threshold where it is back.
func (o MigrateOptions) all() MigrateOptions {
	if o.Back {
		o.Threshold = 0
	}
	return o
}

// readUnchanged asks again and again for a number that never changes.
func readUnchanged(t *testing.T, ctx context.Context, conn *pgx.Conn, query string) {
	first := int64(-1)
	for reads := 0; ; reads++ {
		var n int64
		err := conn.QueryRow(context.WithoutCancel(ctx), query).Scan(&n)
		if first < 0 {
			first = n
		}
		if err != nil || n != first {
			t.Errorf("%s: %d, at first %d, error %v", query, n, first, err)
			return
		}
		if ctx.Err() != nil {
			t.Logf("%d reads of %d", reads, n)
			return
		}
	}
}

// checkStress compares rows with what was committed, and places with routes.
func checkStress(b *pairBed, writers []*stressWriter, placed string) int {
	b.t.Helper()
	got := map[string]string{}
	for _, row := range strings.Split(b.ask("SELECT id || '=' || group_id || '/' || v FROM t_relyt_all WHERE group_id < 100"), "; ") {
		id, value, _ := strings.Cut(row, "=")
		if _, twice := got[id]; twice {
			b.t.Errorf("row %s is there twice", id)
		}
		got[id] = value
	}
	total := 0
	for _, w := range writers {
		for id, value := range w.committed {
			if total++; got[fmt.Sprint(id)] != value {
				b.t.Errorf("row %d is %q, committed was %q", id, got[fmt.Sprint(id)], value)
			}
		}
	}
	if len(got) != total {
		b.t.Errorf("%d rows, %d were committed", len(got), total)
	}
	wrong := "SELECT group_id, aux, count(*) FROM (" + misplaced + " AND " + placed + ") m GROUP BY 1, 2"
	if rows := b.ask(wrong); rows != "" {
		b.t.Errorf("rows are not where their route says: %s", rows)
	}
	return total + 8000
}

// misplaced are the rows that are not where their route says.
const misplaced = `SELECT group_id, aux FROM (SELECT group_id, false aux FROM t UNION ALL SELECT group_id, true FROM t_relyt_massive_group) u
	WHERE aux <> EXISTS (SELECT FROM relyt_sys.t_relyt_routing r WHERE r.routing_id = u.group_id::text AND r.store_table_name LIKE '%massive_group')`

// stressWriter loads rows as the proxy does, and remembers what it committed.
type stressWriter struct {
	b         *pairBed
	conn      *pgx.Conn
	in        *rewrite.Inspection
	rng       *rand.Rand
	next      int64
	upserts   bool
	committed map[int64]string
}

func newStressWriter(b *pairBed, i int, isolation string, rng *rand.Rand) *stressWriter {
	w := &stressWriter{b: b, conn: b.pg.Connect(b.t, b.db, "postgres"), rng: rng, next: int64(i+1) * 1e9, upserts: i == 0, committed: map[int64]string{}}
	var err error
	if w.in, err = inspectPair(b.t.Context(), b.migrator(), pairT); err != nil {
		b.t.Fatal(err)
	}
	w.in.Isolation = isolation
	if _, err = w.conn.Exec(b.t.Context(), "CREATE TEMP TABLE given (id bigint, group_id int, v text)"); err != nil {
		b.t.Fatal(err)
	}
	return w
}

// loop loads until the context ends. Some transactions are rolled back.
func (w *stressWriter) loop(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		rows := w.rows(n)
		err := w.load(rows)
		switch {
		case codeOf(err) == "40001" && w.in.Isolation != "read committed":
		case err != nil:
			w.b.t.Errorf("load (%s): %v", w.in.Isolation, err)
			return
		case w.rng.IntN(10) > 0:
			if _, err = w.conn.Exec(context.WithoutCancel(ctx), "COMMIT"); err == nil {
				for id, row := range rows {
					w.committed[id] = row
				}
				continue
			} else if codeOf(err) != "40001" {
				w.b.t.Errorf("commit: %v", err)
				return
			}
		}
		if _, err := w.conn.Exec(context.WithoutCancel(ctx), "ROLLBACK"); err != nil {
			w.b.t.Error(err)
			return
		}
	}
}

// loopDirectly is a program without the proxy: it holds no locks, and its rows
// stay in the main table until the next migration.
func (w *stressWriter) loopDirectly(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		v := fmt.Sprintf("7/v%d", n)
		if _, err := w.conn.Exec(context.WithoutCancel(ctx), "INSERT INTO t VALUES ($1, 7, $2)", w.next, v[2:]); err != nil {
			w.b.t.Errorf("insert directly: %v", err)
			return
		}
		w.committed[w.next] = v
		w.next++
	}
}

// rows makes up to 50 rows of some groups; of an upsert, half are there already.
// A row never changes its group.
func (w *stressWriter) rows(n int) map[int64]string {
	rows := map[int64]string{}
	for range 1 + w.rng.IntN(50) {
		id := w.next
		if w.upserts && w.rng.IntN(2) == 0 && id > 1e9 {
			id = 1e9 + w.rng.Int64N(id-1e9)
		} else {
			w.next++
		}
		rows[id] = fmt.Sprintf("%d/v%d", 1+id%6, n)
	}
	return rows
}

// load is one load up to its COMMIT.
func (w *stressWriter) load(rows map[int64]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var values []string
	for id, row := range rows {
		group, v, _ := strings.Cut(row, "/")
		values = append(values, fmt.Sprintf("(%d, %s, '%s')", id, group, v))
	}
	r := w.in.Routing
	results, err := w.conn.PgConn().Exec(ctx, "BEGIN ISOLATION LEVEL "+w.in.Isolation+"; LOCK TABLE ONLY t IN ROW EXCLUSIVE MODE;"+r.EnterSQL(w.in)).ReadAll()
	if err != nil {
		return err
	}
	routes, err := rewrite.ParseRoutes(w.in, string(results[len(results)-1].Rows[0][0]))
	if err != nil {
		return err
	}
	if err := w.run(ctx, "TRUNCATE given; INSERT INTO given VALUES "+strings.Join(values, ", ")); err != nil {
		return err
	}
	if wait := r.WaitSQL(w.in, routes.Moving, "given", "given.group_id"); wait != "" {
		if err := w.run(ctx, wait); err != nil {
			return err
		}
	}
	conflict := ""
	if w.upserts {
		conflict = " ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v"
	}
	toAux := r.ToAux(w.in, "given.group_id")
	return w.run(ctx, "INSERT INTO t SELECT * FROM given WHERE NOT "+toAux+conflict+
		"; INSERT INTO t_relyt_massive_group SELECT * FROM given WHERE "+toAux+conflict)
}

func (w *stressWriter) run(ctx context.Context, sql string) error {
	_, err := w.conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}
