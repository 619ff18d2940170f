package proxy

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/common/expfmt"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// relytBed is a proxy with engine relyt, all of whose words are kept.
type relytBed struct {
	*bed
	log *wordLog
}

// wordLog keeps what is logged, at every level.
type wordLog struct {
	mu    sync.Mutex
	words bytes.Buffer
}

// Write implements io.Writer.
func (l *wordLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.words.Write(p)
}

func (l *wordLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.words.String()
}

// newRelytBed starts one before an address of a server, with a ledger.
func newRelytBed(t *testing.T, pg *testenv.PG, upstream string, change func(*config.Config)) *relytBed {
	t.Helper()
	s3 := testenv.S3(t)
	b := &relytBed{bed: &bed{t: t, pg: pg, db: pg.NewDatabase(t), prefix: s3.Prefix(t)}, log: new(wordLog)}
	install(t, pg, b.db)
	log := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.running = startLogging(t, pg, Options{}, log, func(c *config.Config) {
		c.Store, c.Upstream, c.Engine = s3.URL(b.prefix), upstream, "relyt"
		if change != nil {
			change(c)
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.log)
		}
	})
	return b
}

// ledger is all that the ledger says.
const ledger = `SELECT string_agg(x::text, ' ') FROM (SELECT c::text AS x FROM relyt_sys.relyt_loader_checkpoint c
	UNION ALL SELECT l::text FROM pgbulk.load l UNION ALL SELECT f::text FROM pgbulk.load_file f UNION ALL SELECT i::text FROM pgbulk.import i) t`

// wantNoSecret looks for the store's credentials in everything that the proxy says,
// and in what clients were told.
func (b *relytBed) wantNoSecret(told ...string) {
	b.t.Helper()
	var metrics bytes.Buffer
	families, err := b.reg.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&metrics, f); err != nil {
			b.t.Fatal(err)
		}
	}
	where := map[string]string{"the log": b.log.String(), "the ledger": must(b.t, b.direct(), ledger), "the metrics": metrics.String(), "a client": strings.Join(told, "\n")}
	for place, text := range where {
		for _, secret := range []string{testenv.S3(b.t).AccessKey, testenv.S3(b.t).SecretKey} {
			if strings.Contains(text, secret) {
				b.t.Errorf("%s has a credential: %s", place, text)
			}
		}
	}
	if where["the ledger"] == "" || where["the metrics"] == "" || where["the log"] == "" {
		b.t.Errorf("nothing was looked at: %q", where)
	}
}

// TestRelytWithoutItsGrammar has a server that is no Relyt: it can't parse the plan, and
// every load goes natively, also in a block; after some the plan is not tried any more.
func TestRelytWithoutItsGrammar(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	b := newRelytBed(t, pg, pg.Addr, func(c *config.Config) { c.Breaker.Failures = 3 })
	must(t, b.direct(), createT)
	for i, c := range []struct {
		before, after string
		data          []byte
	}{
		{"", "", textRows(5000)},
		{"BEGIN; SAVEPOINT mine; INSERT INTO t VALUES (-1, 'x')", "ROLLBACK TO mine; COMMIT", textRows(5000)},
		{"BEGIN; INSERT INTO t VALUES (-1, 'x')", "COMMIT", append(textRows(5000), "x\ty\n"...)},
		{"", "", textRows(5000)},
	} {
		o := b.sameIn(copyText, c.data, c.before, c.after)
		if (o.err != nil) != (i == 2) || o.lost != nil {
			t.Errorf("load %d: %s", i, o)
		}
		b.wantNoSecret(o.String())
	}
	b.wantMetric(3, "pgbulk_fallbacks_total", "reason", "engine")
	b.wantMetric(3, "pgbulk_statements_total", "kind", "copy", "reason", "external")
	b.wantMetric(1, "pgbulk_statements_total", "kind", "copy", "reason", "external_breaker")
	if n := strings.Count(b.log.String(), "SQLSTATE 42601"); n != 3 {
		t.Errorf("%d warnings", n)
	}
	if log := b.log.String(); strings.Count(log, "UNTESTED") != 1 || strings.Count(log, "the store's credentials stand in SQL") != 1 {
		t.Error("nobody was warned at start")
	}
	b.wantLedger(map[string]int{"COMPLETED": 2, "CANCELLED": 1, "FAILED": 1})
	b.wantSwept()
	b.wantNoSecret()
}

// TestRelytReads has a server with the grammar: the rows are those that COPY gives, in
// every form that external tables take.
func TestRelytReads(t *testing.T) {
	t.Parallel()
	pg, s := bedStub(t)
	b := newRelytBed(t, pg, s.addr, nil)
	must(t, b.direct(), `CREATE TABLE heard (text text); CREATE FUNCTION hear(int) RETURNS bool LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO heard SELECT current_query() WHERE $1 = 1; RETURN true; END $$;
		CREATE TABLE t (a int CHECK (hear(a)), b text, c varchar(20) DEFAULT 'x')`)
	rows := func(n int, format string) []byte {
		return generate(n, func(i int) string { return fmt.Sprintf(format, i, i) })
	}
	for i, c := range []struct{ sql, before, after, data string }{
		{"COPY t FROM STDIN", "", "", string(rows(20000, "%d\tsome text\\tof row %d\t\\N\n"))},
		{"COPY t FROM STDIN", "", "", "1\tx\t\\N"},
		{"COPY t (c, b, a) FROM STDIN (DELIMITER '|', NULL 'x')", "", "", strings.Repeat("c|text|7\nx|x|x\n", 15000)},
		{"COPY t FROM STDIN CSV", "", "", string(rows(20000, "%d,\"some, \"\"text\"\"\nof row %d\",\n"))},
		{"COPY t FROM STDIN CSV HEADER FORCE NOT NULL c", "", "", "a,b,c\n" + string(rows(20000, "%d,some text of row %d,\n"))},
		{"COPY t FROM STDIN CSV QUOTE '|' ESCAPE '\\' NULL 'n'", "", "", string(rows(9000, "%d,|row \\| %d|,n\n"))},
		{"COPY t FROM STDIN", "BEGIN; SAVEPOINT mine", "ROLLBACK TO mine; INSERT INTO t VALUES (1); COMMIT", string(rows(9000, "%d\trow %d\tx\n"))},
	} {
		before := len(s.seen())
		if o := b.sameIn(c.sql, []byte(c.data), c.before, c.after); o.err != nil || o.lost != nil {
			t.Errorf("%s: %s", c.sql, o)
		}
		b.wantMetric(float64(i+1), "pgbulk_loads_total", "engine", "relyt", "result", "ok")
		if n := len(s.seen()) - before; n < 1 || n < 2 && len(c.data) > 300_000 {
			t.Errorf("%s: %d plans for %d bytes", c.sql, n, len(c.data)) // groups of some files each
		}
	}
	plans := s.seen()
	if secret := " accessid=" + testenv.S3(t).AccessKey + " secret=" + testenv.S3(t).SecretKey + " region="; !strings.Contains(plans[0], secret) {
		t.Errorf("the plan: %s", plans[0])
	}
	b.wantLedger(map[string]int{"COMPLETED": 6, "CANCELLED": 1})
	for _, data := range []string{"x\ty\tz\n", "1\n"} {
		if o := b.same("COPY t FROM STDIN", append(rows(9000, "%d\trow %d\tx\n"), data...)); o.err == nil {
			t.Errorf("%q is taken: %s", data, o)
		}
	}
	s.change(nil, 1)
	if o := b.same("COPY t FROM STDIN", rows(9000, "%d\trow %d\tx\n")); o.err != nil {
		t.Errorf("a file is lost: %s", o)
	}
	b.wantMetric(1, "pgbulk_fallbacks_total", "reason", "count")
	b.wantSwept()
	heard := must(t, b.direct(), "SELECT string_agg(DISTINCT text, ' ') FROM heard")
	if !strings.Contains(heard, "DROP") {
		t.Error("nobody heard of the statement that reads")
	}
	b.wantNoSecret(heard)
}

// TestRelytTellsSecrets has the server tell the statement in every field of what it
// says, and in other forms: nobody hears of it.
func TestRelytTellsSecrets(t *testing.T) {
	t.Parallel()
	pg, s := bedStub(t)
	b := newRelytBed(t, pg, s.addr, func(c *config.Config) { c.Breaker.Failures = 100 })
	must(t, b.direct(), "CREATE TABLE t (id int, note text)")
	var told []string
	cfg, err := pgconn.ParseConfig(b.via())
	if err != nil {
		t.Fatal(err)
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { told = append(told, fmt.Sprintf("%+v", *n)) }
	connect := func() *pgconn.PgConn {
		c, err := pgconn.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { hangUp(c) })
		return c
	}
	c := connect()
	raise := func(sql string) string { return "DO $x$ BEGIN " + sql + "; END $x$" }
	for name, answer := range map[string]func(string) (string, []byte){
		"message": func(l string) (string, []byte) {
			return raise("RAISE 'no: %', '" + l + "' USING ERRCODE = 'XX000'"), nil
		},
		"detail": func(l string) (string, []byte) {
			return raise("RAISE 'no' USING DETAIL = '" + l + "', ERRCODE = '38000'"), nil
		},
		"context":  func(l string) (string, []byte) { return raise("EXECUTE 'SELECT 1/0 /* " + l + " */'"), nil },
		"internal": func(l string) (string, []byte) { return raise("EXECUTE 'no sql /* " + l + " */'"), nil },
		"a list": func(l string) (string, []byte) {
			return raise("RAISE '%', '{" + strings.NewReplacer(" ", ",", "=", " -> ").Replace(l) + "}' USING ERRCODE = 'XX000'"), nil
		},
		"notice": func(l string) (string, []byte) { return "", notice("NOTICE", "00000", "reads "+l) },
	} {
		must(t, c, "TRUNCATE t")
		s.change(answer, 0)
		if o := copyIn(c, copyText, bytes.NewReader(textRows(3000))); o.tag != "COPY 3000" {
			t.Errorf("%s: %s", name, o)
			told = append(told, o.String())
		}
		if got := must(t, c, "SELECT count(*) FROM t"); got != "3000" {
			t.Errorf("%s: %s rows", name, got)
		}
	}
	if text := strings.Join(told, "\n"); !strings.Contains(text, "reads s3://") || !strings.Contains(text, "secret=***") {
		t.Errorf("the notice: %s", text)
	}
	for _, masked := range []string{"no: s3://", " accessid=*** secret=*** ", ",secret -> ***,"} {
		if !strings.Contains(b.log.String(), masked) {
			t.Errorf("the log has no %q", masked)
		}
	}
	s.change(func(l string) (string, []byte) { return "", notice("FATAL", "57P01", "ends "+l) }, 0)
	o := copyIn(c, copyText, bytes.NewReader(textRows(3000)))
	if text := o.String(); o.err == nil || o.err.Code != "57P01" || !strings.Contains(text, "ends s3://") {
		t.Errorf("the end of the session: %s", text)
	}
	b.wantNoSecret(append(told, o.String())...)
}

// TestRelytByDefault: no plan is sent that nobody has asked for, also where the answer
// may come before the rows, and where another setting asks for another engine.
func TestRelytByDefault(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"auto":   func(c *config.Config) { c.Load.Method = config.MethodAuto },
		"reader": func(c *config.Config) { byS3(c); c.Engine, c.Load.Method = "relyt", config.MethodAuto },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg, s := bedStub(t)
			b := newRelytBed(t, pg, s.addr, change)
			must(t, b.direct(), createT)
			for _, before := range []string{"", setStaged} {
				if o := b.sameIn(copyText, textRows(5000), before, ""); o.tag != "COPY 5000" {
					t.Error(o)
				}
			}
			if n := len(s.seen()); n != 0 {
				t.Errorf("%d plans", n)
			}
			b.wantMetric(0, "pgbulk_statements_total", "kind", "copy", "reason", "external")
			if log := b.log.String(); strings.Count(log, "UNTESTED") != 1 || strings.Contains(log, "credentials") {
				t.Error(log)
			}
		})
	}
}

// TestEngineRelyt runs the suite of whole proxies before a server with the grammar.
func TestEngineRelyt(t *testing.T) {
	t.Parallel()
	pg, s := bedStub(t)
	b := newRelytBed(t, pg, s.addr, func(c *config.Config) { c.Stage.FileBytes = 256 << 10 })
	runEngine(t, b.bed, "relyt", nil, nil)
	t.Cleanup(func() { // behind the parts, which run in parallel
		if left := must(t, b.direct(), "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgbulk!_%' ESCAPE '!'"); left != "0" {
			t.Errorf("%s relations left behind", left)
		}
		if read := b.metric(t, "pgbulk_loads_total", "engine", "relyt", "result", "ok"); read == 0 {
			t.Error("nothing was read from S3")
		}
		b.wantNoSecret()
	})
}
