package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// patience bounds what should take no time, on a machine that may be very busy.
const patience = time.Minute

// bed is a proxy in front of a database of its own.
type bed struct {
	*running
	t      testing.TB
	pg     *testenv.PG
	db     string
	prefix string // of all its keys
}

// newBed starts one on the shared server, with pgbulkproxy installed.
func newBed(t testing.TB, o Options, change func(*config.Config)) *bed {
	t.Helper()
	b := newPlainBed(t, testenv.Postgres(t), o, change)
	install(t, b.pg, b.db)
	return b
}

// newPlainBed starts one without pgbulkproxy in the database.
func newPlainBed(t testing.TB, pg *testenv.PG, o Options, change func(*config.Config)) *bed {
	t.Helper()
	s3 := testenv.S3(t)
	b := &bed{t: t, pg: pg, db: pg.NewDatabase(t), prefix: s3.Prefix(t)}
	b.running = start(t, pg, o, func(c *config.Config) {
		c.Store = s3.URL(b.prefix)
		if change != nil {
			change(c)
		}
	})
	return b
}

// quick makes the store give up soon.
func quick(c *store.Config) {
	c.MaxAttempts, c.ConnectTimeout = 2, time.Second
	c.PartTimeout, c.RequestTimeout, c.CleanupTimeout = 500*time.Millisecond, 500*time.Millisecond, 500*time.Millisecond
}

func (b *bed) connect(dsn string) *pgconn.PgConn {
	b.t.Helper()
	c, err := tryConnect(dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { hangUp(c) })
	return c
}

func tryConnect(dsn string) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return pgconn.Connect(ctx, dsn)
}

// hangUp ends a session, which may be gone already.
func hangUp(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// direct and proxied are two ways to the same database.
func (b *bed) direct() *pgconn.PgConn  { b.t.Helper(); return b.connect(b.pg.DSN(b.db, "postgres")) }
func (b *bed) proxied() *pgconn.PgConn { b.t.Helper(); return b.connect(b.via()) }

func (b *bed) via() string { return b.dsn(b.pg, b.db, "postgres") }

// must runs SQL that has to succeed, and returns the first column of the first
// row of the last result.
func must(t testing.TB, c *pgconn.PgConn, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if last := results[len(results)-1]; len(last.Rows) > 0 && len(last.Rows[0]) > 0 {
		return string(last.Rows[0][0])
	}
	return ""
}

// outcome is what a client sees of one statement.
type outcome struct {
	tag  string
	err  *pgconn.PgError
	lost error // the connection failed
}

func (o outcome) String() string {
	if o.err != nil {
		return fmt.Sprintf("%+v", *o.err)
	}
	if o.lost != nil {
		return "lost: " + o.lost.Error()
	}
	return o.tag
}

// copyLimit is longer than any COPY of these tests takes on a busy machine.
const copyLimit = 3 * patience

// copyIn runs a COPY … FROM STDIN.
func copyIn(c *pgconn.PgConn, sql string, r io.Reader) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), copyLimit)
	defer cancel()
	tag, err := c.CopyFrom(ctx, r, sql)
	o := outcome{tag: tag.String()}
	if err != nil && !errors.As(err, &o.err) {
		o.lost = err
	}
	return o
}

// fingerprint of table t's rows, whatever their order.
const fingerprint = `SELECT count(*)::text || ' ' || coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::int8), 0) FROM t`

// activity shows what sessions do, for the log of a failed test.
const activity = `SELECT string_agg(format('%s %s %s/%s %s', pid, state, wait_event_type, wait_event, query), E'\n')
	FROM pg_catalog.pg_stat_activity WHERE datname = current_database()`

// same runs a COPY into table t directly and through the proxy, and demands the
// same outcome, rows and transaction status.
func (b *bed) same(sql string, data []byte) outcome {
	b.t.Helper()
	return b.sameIn(sql, data, "", "")
}

// sameIn is same with SQL before and after the COPY in its session.
func (b *bed) sameIn(sql string, data []byte, before, after string) outcome {
	b.t.Helper()
	admin := b.direct()
	defer hangUp(admin)
	var out [2]outcome
	var rows, status [2]string
	for i, c := range []*pgconn.PgConn{b.direct(), b.proxied()} {
		defer hangUp(c)
		must(b.t, admin, "TRUNCATE t")
		if before != "" {
			must(b.t, c, before)
		}
		out[i] = copyIn(c, sql, bytes.NewReader(data))
		if out[i].lost != nil {
			b.t.Logf("sessions: %s", must(b.t, admin, activity))
		}
		status[i] = string(c.TxStatus())
		if after != "" {
			must(b.t, c, after)
		}
		rows[i] = must(b.t, admin, fingerprint)
	}
	if out[0].String() != out[1].String() || rows[0] != rows[1] || status[0] != status[1] {
		b.t.Errorf("%s\ndirect:  %s, rows %s, status %s\nproxied: %s, rows %s, status %s",
			sql, out[0], rows[0], status[0], out[1], rows[1], status[1])
	}
	return out[1]
}

// wantMetric demands a counter's value.
func (b *bed) wantMetric(want float64, name string, labels ...string) {
	b.t.Helper()
	if got := b.metric(b.t, name, labels...); got != want {
		b.t.Errorf("%s%v is %v, want %v", name, labels, got, want)
	}
}

// eventually polls until ok says "" or a deadline has passed.
func eventually(t testing.TB, within time.Duration, ok func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(within)
	for {
		problem := ok()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("after %s: %s", within, problem)
			return
		}
		<-tick.C
	}
}

// wantSwept waits until nothing is left in S3.
func (b *bed) wantSwept() {
	b.t.Helper()
	st := testenv.S3(b.t).Store(b.t)
	eventually(b.t, patience, func() string {
		for info, err := range st.List(context.Background(), b.prefix) {
			if err != nil {
				return err.Error()
			}
			return "left in the store: " + info.Key
		}
		return ""
	})
}

// wantLedger waits until the ledger shows so many loads of each status, and no
// others.
func (b *bed) wantLedger(want map[string]int) {
	b.t.Helper()
	c := b.direct()
	eventually(b.t, patience, func() string {
		got := make(map[string]int)
		results, err := c.Exec(context.Background(), "SELECT status, count(*) FROM relyt_sys.relyt_loader_checkpoint GROUP BY 1").ReadAll()
		if err != nil {
			return err.Error()
		}
		for _, r := range results[0].Rows {
			got[string(r[0])], _ = strconv.Atoi(string(r[1]))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Sprintf("ledger shows %v, want %v", got, want)
		}
		return ""
	})
}

// generate makes n rows by a function of their number, counted from 0.
func generate(n int, row func(i int) string) []byte {
	var b bytes.Buffer
	for i := range n {
		b.WriteString(row(i))
	}
	return b.Bytes()
}

const createT = "CREATE TABLE t (id int PRIMARY KEY, note text CHECK (note <> 'forbidden'))"

// textRows are n rows for createT, of about 60 bytes.
func textRows(n int) []byte {
	return generate(n, func(i int) string {
		return fmt.Sprintf("%d\tnote %d of a row that is long enough\\tto fill files\n", i, i)
	})
}

const copyText = "COPY t FROM STDIN"
