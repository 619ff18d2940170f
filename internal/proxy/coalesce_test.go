package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// coalesced are the labels of INSERTs that were loaded together.
var coalesced = []string{"kind", "insert", "decision", "stream", "reason", "coalesced"}

// createCoalesced are tables with all that can refuse a row; row 0 of parent and t
// is there.
const createCoalesced = `CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (0), (1);
	CREATE TABLE t (id int PRIMARY KEY, p int NOT NULL REFERENCES parent, v varchar(5), s smallint CHECK (s <> 13), d date);
	INSERT INTO t VALUES (0, 0); CREATE TABLE other (a int)`

// coalescing starts a bed, and a session that wants its INSERTs coalesced.
func coalescing(t *testing.T) (*bed, *pgconn.PgConn) {
	b := newBed(t, Options{}, nil)
	must(t, b.direct(), createCoalesced)
	c := b.proxied()
	b.knows()
	must(t, c, "SET pgbulk.coalesce = 'transaction'")
	return b, c
}

// knows waits until the proxy has read which tables of the database are routed:
// before, it looks at every INSERT by itself.
func (b *bed) knows() {
	b.t.Helper()
	known, ended := b.routed.Known(b.db)
	defer ended()
	tick, late := time.NewTicker(10*time.Millisecond), time.After(copyLimit)
	defer tick.Stop()
	for known.Set() == nil {
		select {
		case <-tick.C:
		case <-late:
			b.t.Fatal("the names of routed tables are never read")
		}
	}
}

// ask runs one simple query, and returns its error.
func ask(t testing.TB, c *pgconn.PgConn, sql string) *pgconn.PgError {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), copyLimit)
	defer cancel()
	_, err := c.Exec(ctx, sql).ReadAll()
	var e *pgconn.PgError
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("%s: %v", sql, err)
	}
	return e
}

// askExtended runs it by the extended protocol.
func askExtended(t testing.TB, c *pgconn.PgConn, sql string) *pgconn.PgError {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), copyLimit)
	defer cancel()
	err := c.ExecParams(ctx, sql, nil, nil, nil, nil).Read().Err
	var e *pgconn.PgError
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("%s: %v", sql, err)
	}
	return e
}

// refused are INSERTs that fail on their own.
var refused = map[string]string{
	"duplicate": "INSERT INTO t VALUES (0, 0)", "duplicate in the run": "INSERT INTO t VALUES (2, 0)",
	"not null": "INSERT INTO t VALUES (9, NULL)", "foreign key": "INSERT INTO t VALUES (9, 77)",
	"too long": "INSERT INTO t VALUES (9, 0, 'longer')", "check": "INSERT INTO t VALUES (9, 0, 'a', 13)",
	"out of range": "INSERT INTO t VALUES (9, 0, 'a', 77777)", "bad date": "INSERT INTO t VALUES (9, 0, 'a', 1, '2021-02-30')",
	"bad number": "INSERT INTO t VALUES ('nine', 0)",
}

// TestCoalesceErrors: the error of an INSERT answers the next statement that is
// none, with every field that it has natively but the position, and the transaction
// has failed.
func TestCoalesceErrors(t *testing.T) {
	t.Parallel()
	b, c := coalescing(t)
	d := b.direct()
	for name, bad := range refused {
		head, _, _ := strings.Cut(bad, " (")
		values := strings.Count(bad, ",") + 1
		good := func(id int) string {
			return head + " (" + strings.Join([]string{fmt.Sprint(id), "1", "'v'", "5", "'2020-01-01'"}[:values], ", ") + ")"
		}
		must(t, d, "BEGIN")
		must(t, d, good(2))
		want := ask(t, d, bad)
		must(t, d, "ROLLBACK")
		want.Position = 0
		for _, cause := range []struct {
			sql      string
			extended bool
			status   byte
		}{
			{"SELECT 1", false, 'E'}, {"SELECT 1", true, 'E'}, {"SAVEPOINT s", false, 'E'}, {"INSERT INTO other VALUES (1)", false, 'E'},
			{"COMMIT", false, 'I'}, {"END TRANSACTION;", true, 'I'}, {"COMMIT AND CHAIN", false, 'E'}, {"COPY t FROM STDIN", false, 'E'},
			{"nonsense", false, 'E'}, {"ROLLBACK", false, 0}, {"ROLLBACK", true, 0},
		} {
			t.Run(fmt.Sprintf("%s %s %v", name, cause.sql, cause.extended), func(t *testing.T) {
				must(t, c, "BEGIN; INSERT INTO other VALUES (7)")
				for id := 1; id < 4; id++ {
					must(t, c, good(id))
				}
				if e := ask(t, c, bad); e != nil {
					t.Fatalf("not deferred: %+v", e)
				}
				must(t, c, good(5))
				run := ask
				if cause.extended {
					run = askExtended
				}
				e := run(t, c, cause.sql)
				switch {
				case cause.status == 0:
					if e != nil || c.TxStatus() != 'I' {
						t.Errorf("%+v, status %c", e, c.TxStatus())
					}
				case e == nil || *e != *want || c.TxStatus() != cause.status:
					t.Errorf("%+v\nwant %+v, status %c", e, want, c.TxStatus())
				}
				must(t, c, "ROLLBACK")
				if got := must(t, c, "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM other)"); got != "1" {
					t.Errorf("%s rows stay", got)
				}
				// It would be left alone for a while else.
				must(t, c, "SET pgbulk.coalesce = 'transaction'")
			})
		}
	}
}

// TestCoalesceErrorsOfPrepared: the same for INSERTs with parameters, where any
// message may be the one that waits.
func TestCoalesceErrorsOfPrepared(t *testing.T) {
	t.Parallel()
	b, c := coalescing(t)
	d := b.direct()
	prepareInsert(t, c)
	prepareInsert(t, d)
	for _, bad := range [][]string{{"2", "0"}, {"9", "77"}, {"nine", "0"}, {"9", "\xff"}} {
		must(t, d, "BEGIN")
		insertPrepared(t, d, "2", "0")
		want := insertPrepared(t, d, bad...)
		must(t, d, "ROLLBACK")
		want.Position = 0
		for name, cause := range map[string]func() error{
			"bind":     func() error { return c.ExecPrepared(t.Context(), "s", nil, nil, nil).Read().Err },
			"parse":    func() error { _, err := c.Prepare(t.Context(), "other", "SELECT 2", nil); return err },
			"describe": func() error { _, err := c.Prepare(t.Context(), "", "SELECT 2", nil); return err },
			"close": func() error {
				p := c.StartPipeline(t.Context())
				p.SendDeallocate("never")
				if err := p.Sync(); err != nil {
					t.Fatal(err)
				}
				_, err := p.GetResults()
				_ = p.Close() // it repeats the error
				return err
			},
			"query": func() error { _, err := c.Exec(t.Context(), "SELECT 1; SELECT 2").ReadAll(); return err },
		} {
			must(t, c, "SET pgbulk.coalesce = 'transaction'; BEGIN")
			for id := 1; id < 5; id++ {
				insertPrepared(t, c, fmt.Sprint(id), "0")
			}
			if e := insertPrepared(t, c, bad...); e != nil {
				t.Errorf("%v is not deferred: %v", bad, e)
			}
			var e *pgconn.PgError
			if err := cause(); !errors.As(err, &e) || *e != *want || c.TxStatus() != 'E' {
				t.Errorf("%v, %s: %+v\nwant %+v, status %c", bad, name, err, want, c.TxStatus())
			}
			must(t, c, "ROLLBACK")
		}
	}
	if got := must(t, c, "SELECT count(*) FROM t"); got != "1" {
		t.Errorf("%s rows", got)
	}
}

// prepareInsert prepares statements i, an INSERT of two values, and s.
func prepareInsert(t *testing.T, c *pgconn.PgConn) {
	t.Helper()
	for name, sql := range map[string]string{"i": "INSERT INTO t VALUES ($1, $2)", "s": "SELECT 1"} {
		if _, err := c.Prepare(t.Context(), name, sql, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// insertPrepared executes statement i.
func insertPrepared(t *testing.T, c *pgconn.PgConn, values ...string) *pgconn.PgError {
	t.Helper()
	var args [][]byte
	for _, v := range values {
		args = append(args, []byte(v))
	}
	var e *pgconn.PgError
	if err := c.ExecPrepared(t.Context(), "i", args, nil, nil).Read().Err; err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	return e
}

// TestCoalesceErrorOfLongRun: a run that is sent because it is long answers the
// INSERT that was one too many.
func TestCoalesceErrorOfLongRun(t *testing.T) {
	t.Parallel()
	_, c := coalescing(t)
	must(t, c, "ALTER TABLE t ALTER v TYPE text")
	must(t, c, "BEGIN")
	note := strings.Repeat("long ", 2000)
	failed := 0
	for id := range 400 {
		if e := ask(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d, 0, '%s')", 1+id%300, note)); e != nil {
			if failed++; failed == 1 && (e.Code != "23505" || e.Detail != "Key (id)=(1) already exists." || c.TxStatus() != 'E' || id < 300) {
				t.Errorf("row %d: %+v", id, e)
			} else if failed > 1 && e.Code != "25P02" {
				t.Errorf("row %d: %+v", id, e)
			}
		}
	}
	if failed < 2 {
		t.Error("nothing failed before the end")
	}
	must(t, c, "ROLLBACK")
}

// TestCoalesceErrorBehindSavepoint: what stood before the savepoint is still there.
func TestCoalesceErrorBehindSavepoint(t *testing.T) {
	t.Parallel()
	_, c := coalescing(t)
	must(t, c, "BEGIN")
	for _, sql := range []string{"(1, 0)", "(2, 0)", "(3, 0)"} {
		must(t, c, "INSERT INTO t VALUES "+sql)
	}
	must(t, c, "SAVEPOINT s")
	for _, sql := range []string{"(4, 0)", "(5, 0)", "(4, 0)"} {
		must(t, c, "INSERT INTO t VALUES "+sql)
	}
	exec(t, c, "SELECT 1", "23505")
	exec(t, c, "SELECT 1", "25P02")
	must(t, c, "ROLLBACK TO s")
	must(t, c, "INSERT INTO t VALUES (4, 0)")
	must(t, c, "COMMIT")
	if got := must(t, c, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t"); got != "0 1 2 3 4" {
		t.Errorf("rows %s", got)
	}
}

// TestCoalesceDecisions: what is taken and what is not.
func TestCoalesceDecisions(t *testing.T) {
	t.Parallel()
	b, c := coalescing(t)
	must(t, b.direct(), createOwn)
	must(t, b.direct(), `CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree); CREATE TABLE coded (a int CHECK (a < own()));
		CREATE TABLE speaking (a int); CREATE TABLE parted (a int) PARTITION BY RANGE (a); CREATE TABLE parted1 PARTITION OF parted DEFAULT;
		CREATE TRIGGER g BEFORE INSERT ON speaking FOR EACH ROW EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger();
		ALTER TABLE speaking DISABLE TRIGGER g; ALTER TABLE speaking ENABLE ALWAYS TRIGGER g; CREATE TABLE always (i int GENERATED ALWAYS AS IDENTITY, b text);
		CREATE TABLE numbered (id serial, b text)`)
	for _, d := range []struct {
		before, insert string // a %d is a number
		want           float64
	}{
		{"", "INSERT INTO t VALUES (%d, 0)", 9}, {"", "INSERT INTO public.t AS x (p, id) VALUES (0, '%d') -- c", 9},
		{"", "INSERT INTO parted VALUES (%d)", 9}, {"", "INSERT INTO numbered (b) VALUES ('%d'), ('x')", 9},
		{"CREATE TEMP TABLE tmp (a int)", "INSERT INTO tmp VALUES (%d)", 9},
		{"", "INSERT INTO tree VALUES (%[1]d, %[1]d)", 0}, {"", "INSERT INTO coded VALUES (%d)", 0},
		{"", "INSERT INTO t VALUES (%d, 0) RETURNING id", 0}, {"", "INSERT INTO t VALUES (%d, 0) ON CONFLICT DO NOTHING", 0},
		{"", "INSERT INTO t VALUES (%d + 0, 0)", 0}, {"", "INSERT INTO t SELECT %d, 0", 0}, {"", "INSERT INTO always VALUES (DEFAULT, '%d')", 0},
		{"SET LOCAL pgbulk.coalesce = off", "INSERT INTO t VALUES (%d, 0)", 0}, {"SET LOCAL pgbulk.mode = off", "INSERT INTO t VALUES (%d, 0)", 0},
		{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "INSERT INTO t VALUES (%d, 0)", 0},
	} {
		must(t, c, "SET pgbulk.coalesce = 'transaction'")
		must(t, c, "BEGIN")
		must(t, c, d.before)
		was := b.metric(t, "pgbulk_statements_total", coalesced...)
		all := b.metric(t, "pgbulk_statements_total")
		for i := range 10 {
			must(t, c, fmt.Sprintf(d.insert, 100+i))
		}
		must(t, c, "SELECT 1")
		if n := b.metric(t, "pgbulk_statements_total", coalesced...) - was; n != d.want {
			t.Errorf("%s; %s: %v coalesced, want %v: %s", d.before, d.insert, n, d.want, b.decisions(t))
		}
		if n := b.metric(t, "pgbulk_statements_total") - all; n != 10 {
			t.Errorf("%s: %v statements counted", d.insert, n)
		}
		must(t, c, "ROLLBACK")
	}
	must(t, c, "SET pgbulk.coalesce = 'always'")
	exec(t, c, "COPY t FROM STDIN", "22023")
}

// TestCoalesceTriggers fire for each row, at the time of the INSERT: such tables are
// left alone.
func TestCoalesceTriggers(t *testing.T) {
	t.Parallel()
	b, _ := coalescing(t)
	must(t, b.direct(), `CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'row %', NEW.a; RETURN NEW; END $$;
		CREATE TRIGGER n AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION note()`)
	var notices []string
	cfg, err := pgconn.ParseConfig(b.via())
	if err != nil {
		t.Fatal(err)
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices = append(notices, n.Message) }
	c, err := pgconn.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(c)
	must(t, c, "SET pgbulk.coalesce = 'transaction'; BEGIN")
	for i := range 5 {
		must(t, c, fmt.Sprintf("INSERT INTO other VALUES (%d)", i))
		if len(notices) != i+1 {
			t.Errorf("%d notices behind %d rows", len(notices), i+1)
		}
	}
	must(t, c, "COMMIT")
}

// TestCoalesceByRole: nobody says in the session that its role has it set; one
// inspection finds it, and finds that another has not.
func TestCoalesceByRole(t *testing.T) {
	t.Parallel()
	b, _ := coalescing(t)
	d := b.direct()
	inserts := func(c *pgconn.PgConn, from int) float64 {
		was := b.metric(t, "pgbulk_statements_total", coalesced...)
		must(t, c, "BEGIN")
		for i := range 20 {
			must(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d, 0)", from+i))
		}
		must(t, c, "COMMIT")
		return b.metric(t, "pgbulk_statements_total", coalesced...) - was
	}
	c := b.proxied()
	if n := inserts(c, 100) + inserts(c, 120); n != 0 {
		t.Errorf("%v coalesced without the setting", n)
	}
	must(t, d, fmt.Sprintf("ALTER DATABASE %s SET pgbulk.coalesce = 'transaction'", b.db))
	c = b.proxied()
	if n := inserts(c, 200); n != 17 {
		t.Errorf("%v coalesced of the first 20", n)
	}
	if n := inserts(c, 220); n != 19 {
		t.Errorf("%v coalesced of the next 20", n)
	}
	if got := must(t, d, "SELECT count(*) FROM t"); got != "81" {
		t.Errorf("%s rows", got)
	}
}

// TestCoalesceRests: runs of a few INSERTs cost more than they bring, and are not
// begun for a while.
func TestCoalesceRests(t *testing.T) {
	t.Parallel()
	b, c := coalescing(t)
	taken := func() float64 { return b.metric(t, "pgbulk_statements_total", coalesced...) }
	must(t, c, "BEGIN")
	for i := range 20 {
		for j := range 3 {
			must(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d, 0)", 10+3*i+j))
		}
		must(t, c, "SELECT 1")
	}
	short := taken()
	if short != 3*2 {
		t.Errorf("%v INSERTs were in short runs", short)
	}
	for i := range 200 {
		must(t, c, fmt.Sprintf("INSERT INTO t VALUES (%d, 0)", 1000+i))
	}
	must(t, c, "COMMIT")
	if n := taken() - short; n < 100 {
		t.Errorf("%v INSERTs were coalesced behind the rest", n)
	}
	if got := must(t, c, "SELECT count(*) FROM t"); got != "261" {
		t.Errorf("%s rows", got)
	}
}

// TestCoalesceMany: 200,000 rows in one write, while there is little memory; and
// twice, so that none of it was lost.
func TestCoalesceMany(t *testing.T) {
	t.Parallel()
	n := 200_000
	if testing.Short() {
		n = 30_000
	}
	b := newBed(t, Options{}, smallMemory(false))
	must(t, b.direct(), createT)
	for _, batch := range []bool{false, true} {
		was := b.metric(t, "pgbulk_statements_total", coalesced...)
		must(t, b.direct(), "TRUNCATE t")
		c := b.proxied()
		must(t, c, "SET pgbulk.coalesce = 'transaction'; BEGIN")
		note := strings.Repeat("note ", 20)
		if batch {
			insertBatches(t, c, n, note)
		} else {
			insertPipelined(t, c, n, note)
		}
		must(t, c, "COMMIT")
		if got := must(t, c, "SELECT count(*) || ' ' || sum(id::bigint) || ' ' || max(length(note)) FROM t"); got != fmt.Sprintf("%d %d 100", n, n*(n-1)/2) {
			t.Errorf("rows, sum and length are %s", got)
		}
		if got := b.metric(t, "pgbulk_statements_total", coalesced...) - was; got < float64(n)*0.9 {
			t.Errorf("%v coalesced: %s", got, b.decisions(t))
		}
	}
	// All memory is there again: a statement that needs most of it is taken.
	c := b.proxied()
	must(t, c, "TRUNCATE t")
	must(t, c, literals(0, 1000, 3500))
	b.wantMetric(0, "pgbulk_statements_total", "kind", "insert", "decision", "pass", "reason", "memory")
}

// insertPipelined sends single INSERTs without waiting for the answers.
func insertPipelined(t *testing.T, c *pgconn.PgConn, n int, note string) {
	ctx, cancel := context.WithTimeout(context.Background(), copyLimit)
	defer cancel()
	const step = 1000
	for from := 0; from < n; from += step {
		p := c.StartPipeline(ctx)
		for i := from; i < min(n, from+step); i++ {
			p.SendQueryParams("INSERT INTO t VALUES ($1, $2)", [][]byte{[]byte(fmt.Sprint(i)), []byte(note)}, nil, nil, nil)
			if err := p.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		for {
			r, err := p.GetResults()
			if err != nil {
				t.Fatal(err)
			}
			if r == nil {
				break
			}
			if rr, ok := r.(*pgconn.ResultReader); ok {
				if tag, err := rr.Close(); err != nil || tag.String() != "INSERT 0 1" {
					t.Fatal(tag, err)
				}
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// insertBatches sends single INSERTs of a prepared statement, some before each Sync.
func insertBatches(t *testing.T, c *pgconn.PgConn, n int, note string) {
	ctx, cancel := context.WithTimeout(context.Background(), copyLimit)
	defer cancel()
	if _, err := c.Prepare(ctx, "i", "INSERT INTO t VALUES ($1, $2)", nil); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; {
		var b pgconn.Batch
		for range 7 {
			if i < n {
				b.ExecPrepared("i", [][]byte{[]byte(fmt.Sprint(i)), []byte(note)}, nil, nil)
				i++
			}
		}
		if _, err := c.ExecBatch(ctx, &b).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}
