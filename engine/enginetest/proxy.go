package enginetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
)

// ProxyConfig is what RunProxy runs against: one database, in which it makes
// schemas of its own.
type ProxyConfig struct {
	// Proxy and Direct are connection strings of one role that may make schemas,
	// through the proxy and past it.
	Proxy, Direct string
	// Caps are those of the proxy's engine.
	Caps engine.Caps
	// Rows is how many rows of a hundred bytes the largest load has, and one file
	// of it is to be much smaller. Default 40,000.
	Rows int
	// Distribute returns what goes behind CREATE TABLE of a table by its first column,
	// such as " DISTRIBUTED BY (a)"; nil is nothing.
	Distribute func(table string) string
	// Except says of parts of the suite why they are not for this server.
	Except map[string]string
}

// RunProxy runs the same statements through a whole proxy and past it: results,
// errors and what is in the table at the end have to be the same. Its parts run in
// parallel.
func RunProxy(t *testing.T, c ProxyConfig) {
	for _, one := range proxyCases(c) {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			if one.needs != nil && !one.needs(c.Caps) {
				t.Skip("the engine's flags (Caps) do not promise it")
			}
			if why := c.Except[one.name]; why != "" {
				t.Skip(why)
			}
			one.run(t, c)
		})
	}
	for seed := range uint64(randomBlocks) {
		t.Run(fmt.Sprintf("random block %d", seed), func(t *testing.T) {
			t.Parallel()
			if !transactional(c.Caps) {
				t.Skip("the engine's flags (Caps) do not promise transactions")
			}
			randomBlock(seed, c.Caps).run(t, c)
		})
	}
	t.Run("routed tables", func(t *testing.T) {
		t.Parallel()
		if why := c.Except["routed tables"]; why != "" {
			t.Skip(why)
		}
		proxyRouted(t, c)
	})
	t.Run("cancel", func(t *testing.T) { t.Parallel(); proxyCancel(t, c) })
	t.Run("side by side", func(t *testing.T) { t.Parallel(); proxySideBySide(t, c) })
}

// step is one statement; with data, where it is a COPY.
type step struct {
	sql  string
	data func() io.Reader
}

// proxyCase runs its steps on both sides, or twin past the proxy, where the proxy's
// steps are extensions: then only what is left in the table is compared.
type proxyCase struct {
	name        string
	needs       func(engine.Caps) bool
	steps, twin []step
}

func sql(text string) step { return step{sql: text} }

// in is a COPY of these bytes.
func in(statement, data string) step {
	return step{statement, func() io.Reader { return strings.NewReader(data) }}
}

// session is one side of a case: a connection whose search_path is a schema with
// table t (a int primary key, b text).
func (c ProxyConfig) session(t *testing.T, dsn string) (*pgconn.PgConn, string) {
	t.Helper()
	admin := dial(t, c.Direct)
	schema := "p_" + strings.ToLower(rand.Text()[:12])
	exec(t, admin, "CREATE SCHEMA "+schema+"; CREATE TABLE "+schema+".t (a int PRIMARY KEY, b text)"+c.distribute(schema+".t"))
	t.Cleanup(func() { exec(t, dial(t, c.Direct), "DROP SCHEMA "+schema+" CASCADE") })
	conn := dial(t, dsn)
	exec(t, conn, "SET search_path = "+schema)
	return conn, schema
}

func dial(t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgconn.PgConn, text string) string {
	t.Helper()
	out, err := run(conn, text)
	if err != nil {
		t.Fatalf("%.300s: %v", text, err)
	}
	return out
}

// outcome runs a step and says what a client sees of it.
func (s step) outcome(conn *pgconn.PgConn) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := "", error(nil)
	if s.data != nil {
		var tag pgconn.CommandTag
		tag, err = conn.CopyFrom(ctx, s.data(), s.sql)
		out = tag.String()
	} else {
		out, err = run(conn, s.sql)
	}
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e):
		out = e.Severity + " " + e.Code + " " + shardNumber.ReplaceAllString(e.ConstraintName, "")
	case err != nil:
		out = "lost: " + err.Error()
	}
	return fmt.Sprintf("%.80s: %.300s %c", s.sql, out, conn.TxStatus())
}

// shardNumber is what Citus adds to a constraint's name on a worker.
var shardNumber = regexp.MustCompile(`_[1-9][0-9]{5}$`)

const contents = "SELECT count(*), count(b), md5(string_agg(concat(a, '|', b), ',' ORDER BY a, b)) FROM "

func (p proxyCase) run(t *testing.T, c ProxyConfig) {
	proxied, one := c.session(t, c.Proxy)
	direct, two := c.session(t, c.Direct)
	for _, s := range p.steps {
		got := s.outcome(proxied)
		if p.twin != nil {
			if strings.Contains(got, "ERROR") || strings.Contains(got, "lost: ") {
				t.Errorf("got %s", got)
			}
		} else if want := s.outcome(direct); c.inOrder(got) != c.inOrder(want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, s := range p.twin {
		if got := s.outcome(direct); strings.Contains(got, "ERROR") {
			t.Fatal(got)
		}
	}
	if got, want := exec(t, dial(t, c.Direct), contents+one+".t"), exec(t, dial(t, c.Direct), contents+two+".t"); got != want {
		t.Errorf("the table has %s, not %s", got, want)
	}
}

func (c ProxyConfig) distribute(table string) string {
	if c.Distribute == nil {
		return ""
	}
	return c.Distribute(table)
}

// inOrder has the rows of an outcome in an order of their own, where the server's may
// be any.
func (c ProxyConfig) inOrder(outcome string) string {
	if c.Caps.Ordered {
		return outcome
	}
	rows := strings.FieldsFunc(outcome, func(r rune) bool { return r == '\n' || r == ' ' })
	slices.Sort(rows)
	return strings.Join(rows, " ")
}

// rowsOf reads n rows of a hundred bytes, made as they are read.
func rowsOf(from, n int) func() io.Reader {
	return func() io.Reader { return &rowReader{next: from, end: from + n} }
}

type rowReader struct {
	next, end int
	rest      string
}

// Read implements io.Reader.
func (r *rowReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if r.rest == "" && r.next == r.end {
			break
		}
		if r.rest == "" {
			r.rest = fmt.Sprintf("%d\t%s\n", r.next, strings.Repeat(string(rune('a'+r.next%26)), 90))
			r.next++
		}
		part := copy(p[n:], r.rest)
		n, r.rest = n+part, r.rest[part:]
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// proxyCancel cancels a COPY under way: it ends as natively, and nothing of it is
// there.
func proxyCancel(t *testing.T, c ProxyConfig) {
	conn, schema := c.session(t, c.Proxy)
	r, w := io.Pipe()
	go func() { // ends when the pipe is closed
		// A cancel that comes before the statement has begun is ignored, natively too.
		for from := 0; ; from += 20_000 {
			if _, err := io.Copy(w, rowsOf(from, 20_000)()); err != nil {
				return
			}
			_ = conn.CancelRequest(context.Background())
		}
	}()
	_, err := conn.CopyFrom(t.Context(), r, "COPY t FROM STDIN")
	r.Close()
	if pgError(err).Code != "57014" {
		t.Errorf("got %v", err)
	}
	if got := exec(t, dial(t, c.Direct), "SELECT count(*) FROM "+schema+".t"); got != "0" {
		t.Errorf("%s rows", got)
	}
}

// proxySideBySide loads on eight sessions at once.
func proxySideBySide(t *testing.T, c ProxyConfig) {
	_, schema := c.session(t, c.Proxy)
	var g errgroup.Group
	const rows = 5000
	for i := range 8 {
		conn := dial(t, c.Proxy)
		g.Go(func() error {
			tag, err := conn.CopyFrom(context.Background(), rowsOf(i*rows, rows)(), "COPY "+schema+".t FROM STDIN")
			if err == nil && tag.RowsAffected() != rows {
				err = errors.New(tag.String())
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if got := exec(t, dial(t, c.Direct), "SELECT count(*) FROM "+schema+".t"); got != fmt.Sprint(8*rows) {
		t.Errorf("%s rows", got)
	}
}
