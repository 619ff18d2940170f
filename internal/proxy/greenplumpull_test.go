package proxy

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// byGpfdist has the segments pull everything that they can.
func byGpfdist(c *config.Config) {
	c.Engine, c.ServiceDSN, c.Stage.MinBytes = "greenplum", "", 0
	c.Greenplum.Reader, c.Greenplum.GpfdistListen = config.ReaderGpfdist, "127.0.0.1:0"
}

// newPullBed is a proxy before a Greenplum whose segments pull.
func newPullBed(t testing.TB, change func(*config.Config)) *bed {
	t.Helper()
	return newPlainBed(t, testenv.Greenplum(t), Options{}, func(c *config.Config) {
		byGpfdist(c)
		if change != nil {
			change(c)
		}
	})
}

// pullData are lines of text from a number on.
func pullData(from, to int) string {
	var w strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&w, "%d\trow %d of some length, so that the data is more than one file\n", i, i)
	}
	return w.String()
}

const sumOfRows = "SELECT count(*) || ' ' || count(DISTINCT a) || ' ' || coalesce(sum(a), 0) FROM t"

// TestPulledCopy: the segments have pulled the rows, all of them, and each once.
func TestPulledCopy(t *testing.T) {
	t.Parallel()
	b := newPullBed(t, nil)
	c := b.proxied()
	must(t, c, "CREATE TABLE t (a int, b text) DISTRIBUTED BY (a)")
	const rows = 100_000
	for name, way := range map[string]string{
		"text": "COPY t FROM STDIN", "csv": "COPY t (a, b) FROM STDIN WITH (FORMAT csv, DELIMITER E'\t')",
		"header":      "COPY t FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER E'\t')",
		"other order": "COPY t (b, a) FROM STDIN",
	} {
		data := pullData(1, rows)
		switch name {
		case "header":
			data = "a\t\"b \"\"and\"\" c\"\n" + data
		case "other order":
			data = strings.ReplaceAll(data, "\trow ", "X\t")
			data = swap(data)
		}
		must(t, c, "TRUNCATE t")
		before := b.pulled()
		if o := copyIn(c, way, strings.NewReader(data)); o.tag != fmt.Sprintf("COPY %d", rows) {
			t.Fatalf("%s: %s", name, o)
		}
		if got := must(t, c, sumOfRows); got != fmt.Sprintf("%d %d %d", rows, rows, int64(rows)*(rows+1)/2) {
			t.Errorf("%s: the table has %s", name, got)
		}
		if got := b.pulled() - before; got != rows {
			t.Errorf("%s: %d rows were pulled", name, int64(got))
		}
	}
}

// swap changes the two fields of each line.
func swap(data string) string {
	var w strings.Builder
	for line := range strings.Lines(data) {
		x, y, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "X\t")
		w.WriteString(y + "\t" + x + "\n")
	}
	return w.String()
}

// pulled is how many rows segments were given.
func (b *bed) pulled() float64 {
	b.t.Helper()
	families, err := b.reg.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "pgbulk_gpfdist_rows_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	b.t.Fatal("no such metric")
	return 0
}

// TestPulledErrors: what the client sees of a load that fails is what it sees
// directly.
func TestPulledErrors(t *testing.T) {
	t.Parallel()
	b := newPullBed(t, nil)
	direct, proxied := b.direct(), b.proxied()
	must(t, direct, "CREATE TABLE t (a int PRIMARY KEY, b varchar(80)) DISTRIBUTED BY (a)")
	for name, data := range map[string]string{
		"bad number":   pullData(1, 50_000) + "x\ty\n" + pullData(50_002, 60_000),
		"bad at first": "x\ty\n" + pullData(2, 60_000),
		"bad at last":  pullData(1, 60_000) + "x\ty",
		"too long":     pullData(1, 40_000) + "40001\t" + strings.Repeat("y", 81) + "\n" + pullData(40_002, 60_000),
		"twice":        pullData(1, 40_000) + "7\ty\n",
		"few columns":  pullData(1, 40_000) + "40001\n",
		"many columns": pullData(1, 40_000) + "40001\ta\tb\n",
	} {
		want, got := copyIn(direct, "COPY t FROM STDIN", strings.NewReader(data)), copyIn(proxied, "COPY t FROM STDIN", strings.NewReader(data))
		if want.err == nil || got.err == nil || facts(got.err) != facts(want.err) {
			t.Errorf("%s: got\n%s\ndirectly\n%s", name, got, want)
		}
		if n := must(t, proxied, "SELECT count(*) FROM t"); n != "0" {
			t.Errorf("%s: %s rows are in", name, n)
		}
	}
}

// facts are what must be the same: segments name themselves in messages, with the
// process that it was.
func facts(e *pgconn.PgError) string {
	message, _, _ := strings.Cut(e.Message, "  (seg")
	return strings.Join([]string{e.Severity, e.Code, message, e.Detail, e.Hint, e.Where, e.ConstraintName}, "|")
}

// TestPulledInTransaction: a load that fails or is rolled back leaves the block as
// COPY does.
func TestPulledInTransaction(t *testing.T) {
	t.Parallel()
	b := newPullBed(t, nil)
	c := b.proxied()
	must(t, c, "CREATE TABLE t (a int, b text) DISTRIBUTED BY (a)")
	must(t, c, "BEGIN; INSERT INTO t VALUES (0, 'before'); SAVEPOINT s")
	if o := copyIn(c, "COPY t FROM STDIN", strings.NewReader(pullData(1, 50_000)+"x\ty\n")); o.err == nil || o.err.Code != "22P02" {
		t.Errorf("bad data: %s", o)
	}
	if c.TxStatus() != 'E' {
		t.Errorf("the block is %c", c.TxStatus())
	}
	must(t, c, "ROLLBACK TO s")
	if o := copyIn(c, "COPY t FROM STDIN", strings.NewReader(pullData(1, 50_000))); o.tag != "COPY 50000" {
		t.Errorf("good data: %s", o)
	}
	if got := must(t, c, "SELECT count(*) FROM t"); got != "50001" {
		t.Errorf("%s rows within the block", got)
	}
	must(t, c, "ROLLBACK TO s; COMMIT")
	if got := must(t, c, "SELECT count(*) FROM t"); got != "1" {
		t.Errorf("%s rows behind it", got)
	}
}

// endless is data whose client goes on until an error stops it.
type endless struct {
	next int
	seen chan struct{} // has one when enough was sent
}

// Read implements io.Reader.
func (e *endless) Read(p []byte) (int, error) {
	if e.next == 100_000 {
		e.seen <- struct{}{}
	}
	e.next++
	return copy(p, fmt.Sprintf("%d\trow %d of some length, so that the data is more than one file\n", e.next, e.next)), nil
}

// TestPulledCancel: by the user, and by the timeout.
func TestPulledCancel(t *testing.T) {
	t.Parallel()
	b := newPullBed(t, nil)
	for _, timeout := range []bool{false, true} {
		c := b.proxied()
		must(t, c, "DROP TABLE IF EXISTS t; CREATE TABLE t (a int, b text) DISTRIBUTED BY (a)")
		data := &endless{seen: make(chan struct{}, 1)}
		if timeout {
			must(t, c, "SET statement_timeout = '2s'")
		} else {
			go func() {
				<-data.seen
				_ = c.CancelRequest(t.Context())
			}()
		}
		o := copyIn(c, "COPY t FROM STDIN", data)
		if o.err == nil || o.err.Code != "57014" {
			t.Errorf("timeout %t: %s", timeout, o)
		}
		if got := must(t, c, "SET statement_timeout = 0; SELECT count(*) FROM t"); got != "0" {
			t.Errorf("timeout %t: %s rows are in", timeout, got)
		}
	}
}

// TestPulledByMany: loads beside each other, none of which loses or doubles a row.
func TestPulledByMany(t *testing.T) {
	t.Parallel()
	b := newPullBed(t, func(c *config.Config) { c.Stage.MemoryBytes = 32 << 20 })
	must(t, b.direct(), "CREATE TABLE t (a int, b text) DISTRIBUTED BY (a)")
	const loads, rows = 8, 20_000
	var wg sync.WaitGroup
	for i := range loads {
		c := b.proxied()
		wg.Go(func() {
			if o := copyIn(c, "COPY t FROM STDIN", strings.NewReader(pullData(i*rows+1, (i+1)*rows))); o.tag != fmt.Sprintf("COPY %d", rows) {
				t.Errorf("load %d: %s", i, o)
			}
		})
	}
	wg.Wait()
	const n = loads * rows
	if got := must(t, b.direct(), sumOfRows); got != fmt.Sprintf("%d %d %d", n, n, int64(n)*(n+1)/2) {
		t.Errorf("the table has %s", got)
	}
}

// TestPulledProxyDies: nothing of a load stays whose proxy is gone.
func TestPulledProxyDies(t *testing.T) {
	t.Parallel()
	b := newPullBed(t, func(c *config.Config) { c.DrainTimeout = 0 })
	c := b.proxied()
	must(t, c, "CREATE TABLE t (a int, b text) DISTRIBUTED BY (a)")
	data := &endless{seen: make(chan struct{}, 1)}
	copied := make(chan outcome, 1)
	go func() { copied <- copyIn(c, "COPY t FROM STDIN", data) }()
	<-data.seen
	b.stop()
	if o := <-copied; o.err == nil && o.lost == nil {
		t.Errorf("the load ended with %s", o)
	}
	if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows are in", got)
	}
}
