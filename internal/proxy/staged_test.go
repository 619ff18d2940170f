package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	installer "github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

const setStaged = "SET pgbulk.ack = 'staged'"

// newStagedBed starts a proxy that notices everything soon.
func newStagedBed(t *testing.T, o Options, change func(*config.Config)) *bed {
	t.Helper()
	return newBed(t, o, func(c *config.Config) {
		c.Lease.Timeout, c.Load.ImportErrorSleepTime = time.Second, 20*time.Millisecond
		if change != nil {
			change(c)
		}
	})
}

const flush = "SELECT pgbulk.flush()"

// TestStagedAcknowledged: the answer comes before the rows, which come in the
// order of the loads, with the rights and settings of who sent them.
func TestStagedAcknowledged(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "csv", "binary"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			b := newStagedBed(t, Options{}, nil)
			admin, c := b.direct(), b.proxied()
			must(t, admin, createT+"; CREATE TABLE source AS SELECT i AS id, 'note '||i AS note FROM generate_series(1, 30000) i")
			must(t, c, setStaged)
			var data bytes.Buffer
			if _, err := admin.CopyTo(t.Context(), &data, "COPY source TO STDOUT (FORMAT "+format+")"); err != nil {
				t.Fatal(err)
			}
			if o := copyIn(c, "COPY t FROM STDIN (FORMAT "+format+")", &data); o.tag != "COPY 30000" {
				t.Fatal(o)
			}
			if got := must(t, admin, "SELECT string_agg(format('%s %s', ack, files), ' ') FROM pgbulk.load"); !strings.HasPrefix(got, "staged") {
				t.Errorf("the ledger shows %q", got)
			}
			must(t, c, flush)
			if got := must(t, admin, "SELECT count(*) FROM (TABLE t INTERSECT TABLE source) x"); got != "30000" {
				t.Errorf("%s rows are right", got)
			}
			b.wantLedger(map[string]int{"COMPLETED": 1})
			b.wantMetric(1, "pgbulk_imports_total", "result", "ok")
			b.wantSwept()
		})
	}
}

// TestStagedInTransactions: a load that is rolled back is never imported, one
// that is committed is; within the block its rows are not there yet.
func TestStagedInTransactions(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, nil)
	c := b.proxied()
	must(t, c, createT+"; "+setStaged)
	for _, tc := range []struct{ before, after string }{
		{"BEGIN", "ROLLBACK"},
		{"BEGIN; SAVEPOINT a", "ROLLBACK TO a; COMMIT"},
		{"BEGIN", "PREPARE TRANSACTION '" + b.db + "'; ROLLBACK PREPARED '" + b.db + "'"},
	} {
		must(t, c, tc.before)
		if o := copyIn(c, copyText, bytes.NewReader(textRows(3000))); o.tag != "COPY 3000" {
			t.Fatal(o)
		}
		if got := must(t, c, "SELECT count(*) FROM t"); got != "0" {
			t.Errorf("%s rows are visible before the import", got)
		}
		for _, sql := range strings.Split(tc.after, "; ") {
			must(t, c, sql)
		}
		must(t, c, flush)
	}
	if got := must(t, c, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows of transactions that were rolled back", got)
	}
	must(t, c, "BEGIN")
	for i := range 3 {
		data := generate(100, func(j int) string { return fmt.Sprintf("%d\tload %d\n", 100*i+j, i) })
		if o := copyIn(c, copyText, bytes.NewReader(data)); o.tag != "COPY 100" {
			t.Fatal(o)
		}
	}
	must(t, c, "PREPARE TRANSACTION '"+b.db+"'")
	must(t, c, "COMMIT PREPARED '"+b.db+"'")
	must(t, c, flush)
	if got := must(t, c, "SELECT count(*)::text || ' ' || (array_agg(DISTINCT note))::text FROM t"); got != `300 {"load 0","load 1","load 2"}` {
		t.Errorf("rows: %s", got)
	}
	if got := must(t, c, "SELECT bool_and(i.imported_at >= p) FROM (SELECT imported_at, lag(imported_at) OVER (ORDER BY s.seq) p FROM pgbulk.import JOIN pgbulk.staged s USING (process_id)) i"); got != "t" {
		t.Error("the loads were imported out of order")
	}
	b.wantLedger(map[string]int{"COMPLETED": 3, "CANCELLED": 3})
	b.wantSwept()
}

// TestStagedBadRow: rows that the table refuses make the load fail after it was
// acknowledged: it is kept, and says why; others go on.
func TestStagedBadRow(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, nil)
	c := b.proxied()
	must(t, c, createT+"; "+setStaged)
	for _, data := range []string{"1\ta\n", "1\ttwice\n", "2\tb\n"} {
		if o := copyIn(c, copyText, strings.NewReader(data)); o.tag != "COPY 1" {
			t.Fatal(o)
		}
	}
	_, err := c.Exec(t.Context(), flush).ReadAll()
	if err == nil || !strings.Contains(err.Error(), "23505") || !strings.Contains(err.Error(), "t_pkey") {
		t.Errorf("flush: %v", err)
	}
	eventually(t, copyLimit, func() string {
		if got := must(t, c, "SELECT string_agg(note, ' ' ORDER BY id) FROM t"); got != "a b" {
			return "rows: " + got
		}
		return ""
	})
	b.wantLedger(map[string]int{"COMPLETED": 2, "FAILED": 1})
	// Its row is there now: a retry brings the same error, a cancel ends it.
	must(t, c, "DELETE FROM t WHERE id = 1")
	id := must(t, b.direct(), "SELECT process_id FROM relyt_sys.relyt_loader_checkpoint WHERE status = 'FAILED'")
	db, _ := b.dbs.Lookup(t.Context(), b.db, true)
	if status, err := db.Ledger.Retry(t.Context(), id); err != nil || status != "RUNNING" {
		t.Errorf("retry: %s, %v", status, err)
	}
	b.importer.Wake()
	must(t, c, flush)
	if got := must(t, c, "SELECT string_agg(note, ' ' ORDER BY id) FROM t"); got != "twice b" {
		t.Errorf("rows after the retry: %s", got)
	}
	b.wantSwept()
}

// TestStagedTakenOver: what a proxy has acknowledged and not imported, another
// one imports when the lease has passed.
func TestStagedTakenOver(t *testing.T) {
	t.Parallel()
	first := newStagedBed(t, Options{}, func(c *config.Config) { c.Load.Concurrency = 1 })
	c := first.proxied()
	must(t, c, createT+"; "+setStaged)
	blocker := first.direct()
	must(t, blocker, "BEGIN; LOCK TABLE pgbulk.import") // so that it is not imported
	if o := copyIn(c, copyText, bytes.NewReader(textRows(2000))); o.tag != "COPY 2000" {
		t.Fatal(o)
	}
	hangUp(c)
	first.stop()
	first.stopWork() // it dies, as far as the ledger can see
	first.working.Wait()
	must(t, blocker, "ROLLBACK")
	if got := must(t, first.direct(), "SELECT count(*) FROM t"); got != "0" {
		t.Fatalf("%s rows already", got)
	}
	second := &bed{t: t, pg: first.pg, db: first.db, prefix: first.prefix}
	second.running = start(t, first.pg, Options{}, func(c *config.Config) {
		c.Store = testenv.S3(t).URL(first.prefix)
		c.Lease.Timeout, c.Lease.Discover = time.Second, true
	})
	eventually(t, copyLimit, func() string {
		if got := must(t, second.direct(), "SELECT count(*) FROM t"); got != "2000" {
			return got + " rows"
		}
		return ""
	})
	second.wantLedger(map[string]int{"COMPLETED": 1})
	second.wantSwept()
}

// TestLabels: a label is loaded once, however often and from wherever it is sent.
func TestLabels(t *testing.T) {
	t.Parallel()
	for _, ack := range []string{"loaded", "staged"} {
		t.Run(ack, func(t *testing.T) {
			t.Parallel()
			b := newStagedBed(t, Options{}, nil)
			must(t, b.direct(), createT)
			const sql = "COPY t FROM STDIN (LABEL 'daily')"
			var wg sync.WaitGroup
			for range 4 {
				c := b.proxied()
				must(t, c, "SET pgbulk.ack = '"+ack+"'")
				wg.Add(1)
				go func() {
					defer wg.Done()
					for range 2 {
						if o := copyIn(c, sql, bytes.NewReader(textRows(2000))); o.tag != "COPY 2000" {
							t.Error(o)
						}
					}
					if _, err := c.Exec(context.Background(), flush).ReadAll(); err != nil {
						t.Error(err)
					}
				}()
			}
			wg.Wait()
			c := b.proxied()
			eventually(t, copyLimit, func() string {
				if got := must(t, c, "SELECT count(*) FROM t"); got != "2000" {
					return got + " rows"
				}
				return ""
			})
			b.wantLedger(map[string]int{"COMPLETED": 1, "CANCELLED": 7})

			// What is rolled back was not loaded; another label and table are others.
			must(t, c, "BEGIN")
			if o := copyIn(c, "COPY t FROM STDIN (LABEL 'other')", strings.NewReader("-1\ta\n")); o.tag != "COPY 1" {
				t.Error(o)
			}
			must(t, c, "ROLLBACK; SET pgbulk.label = 'other'")
			if o := copyIn(c, copyText, strings.NewReader("-1\ta\n-2\tb\n")); o.tag != "COPY 2" {
				t.Error(o)
			}
			if got := must(t, c, "SELECT count(*) FROM t WHERE id < 0"); got != "2" {
				t.Errorf("%s rows of the label that was rolled back first", got)
			}
			b.wantSwept()
		})
	}
}

// TestLabelNeedsLedger: without a ledger a label is refused.
func TestLabelNeedsLedger(t *testing.T) {
	t.Parallel()
	b := newPlainBed(t, testenv.Postgres(t), Options{}, nil)
	c := b.proxied()
	must(t, c, createT)
	o := copyIn(c, "COPY t FROM STDIN (LABEL 'a')", strings.NewReader("1\ta\n"))
	if o.err == nil || o.err.Code != "0A000" || !strings.Contains(o.err.Message, "not_installed") {
		t.Error(o)
	}
}

// TestStagedImportTimeout: an import that takes too long is ended, even if it
// ignores a cancel, and tried again.
func TestStagedImportTimeout(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, func(c *config.Config) { c.Load.ImportTimeout = time.Second })
	c := b.proxied()
	must(t, c, createT+`; CREATE TABLE slow (on_ bool); INSERT INTO slow VALUES (true);
		CREATE FUNCTION check_note(text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
			WHILE (SELECT on_ FROM public.slow) LOOP
				BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END;
			END LOOP; RETURN true; END $$;
		ALTER TABLE t ADD CHECK (check_note(note))`)
	must(t, c, setStaged)
	if o := copyIn(c, copyText, strings.NewReader("1\ta\n")); o.tag != "COPY 1" {
		t.Fatal(o)
	}
	eventually(t, copyLimit, func() string {
		if b.metric(t, "pgbulk_imports_total", "result", "retry") == 0 {
			return "no import was tried again"
		}
		return ""
	})
	must(t, b.direct(), "UPDATE slow SET on_ = false")
	must(t, c, flush)
	if got := must(t, c, "SELECT count(*) FROM t"); got != "1" {
		t.Errorf("%s rows", got)
	}
	b.wantSwept()
}

// TestKeepFiles: what was loaded stays, with a manifest; what was not, goes.
func TestKeepFiles(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, func(c *config.Config) { c.Sweep.Keep = config.KeepAlways })
	c := b.proxied()
	must(t, c, createT)
	for i, ack := range []string{"loaded", "staged"} {
		must(t, c, "SET pgbulk.ack = '"+ack+"'")
		data := generate(3000, func(j int) string { return fmt.Sprintf("%d\tnote that makes files of some length\n", 10000*i+j) })
		if o := copyIn(c, copyText, bytes.NewReader(data)); o.tag != "COPY 3000" {
			t.Fatal(o)
		}
		must(t, c, flush)
		must(t, c, "BEGIN")
		if o := copyIn(c, copyText, strings.NewReader("-1\ta\n")); o.tag != "COPY 1" {
			t.Fatal(o)
		}
		must(t, c, "ROLLBACK")
	}
	st := testenv.S3(t).Store(t)
	want := must(t, b.direct(), `SELECT string_agg(key, ' ' ORDER BY key) FROM (
		SELECT key FROM pgbulk.load_file JOIN pgbulk.load USING (process_id) WHERE status = 'COMPLETED'
		UNION SELECT regexp_replace(key, '[^/]*$', 'manifest.json') FROM pgbulk.load_file JOIN pgbulk.load USING (process_id) WHERE status = 'COMPLETED') x`)
	eventually(t, copyLimit, func() string {
		var keys []string
		for info, err := range st.List(context.Background(), b.prefix) {
			if err != nil {
				return err.Error()
			}
			keys = append(keys, info.Key)
		}
		if got := strings.Join(keys, " "); got != want {
			return "the store has " + got + ", want " + want
		}
		return ""
	})
	for _, key := range strings.Fields(want) {
		if !strings.HasSuffix(key, "manifest.json") {
			continue
		}
		r, err := st.Open(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Version, Rows int
			Table         string
			Files         []struct{ Key, Checksum string }
		}
		if err := json.NewDecoder(r).Decode(&m); err != nil || m.Version != 1 || m.Rows != 3000 || m.Table != "t" || len(m.Files) == 0 || !strings.Contains(want, m.Files[0].Key) {
			t.Errorf("manifest %+v, %v", m, err)
		}
		_ = r.Close()
	}
}

// TestStagedInsert: a large INSERT is answered when it is staged, too; one with
// RETURNING when its rows are in the table.
func TestStagedInsert(t *testing.T) {
	t.Parallel()
	b := newStagedBed(t, Options{}, func(c *config.Config) { c.Insert.StageBytes = 1000 })
	c := b.proxied()
	must(t, c, createT+"; "+setStaged)
	insert := func(from, n int) string {
		return "INSERT INTO t VALUES " + strings.TrimSuffix(string(generate(n, func(i int) string {
			return fmt.Sprintf("(%d, 'a note of some length'),", from+i)
		})), ",")
	}
	for _, block := range []string{"BEGIN", "COMMIT"} {
		must(t, c, block)
		results, err := c.Exec(t.Context(), insert(len(block)*1000, 100)).ReadAll()
		if err != nil || results[0].CommandTag.String() != "INSERT 0 100" {
			t.Fatal(err)
		}
	}
	must(t, c, flush)
	if got := must(t, c, "SELECT count(*) FROM t"); got != "200" {
		t.Errorf("%s rows", got)
	}
	if got := must(t, c, insert(0, 100)+" RETURNING id"); got != "0" {
		t.Errorf("RETURNING began with %s", got)
	}
	if got := must(t, c, "SELECT count(*) FROM t"); got != "300" {
		t.Errorf("%s rows right after RETURNING", got)
	}
	if got := must(t, b.direct(), "SELECT count(*) FROM pgbulk.staged WHERE done AND NOT void"); got != "2" {
		t.Errorf("%s INSERTs were staged", got)
	}
	b.wantSwept()
}

// TestStagedServiceRole: the service role is no superuser and has no right to the
// users' tables. The rows come with the rights of who sent them.
func TestStagedServiceRole(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	service, user := pg.NewRole(t, ""), pg.NewRole(t, "")
	b := &bed{t: t, pg: pg, db: pg.NewDatabase(t), prefix: testenv.S3(t).Prefix(t)}
	admin := b.direct()
	conn := pg.Connect(t, b.db, "postgres")
	if err := installer.Run(t.Context(), conn.PgConn(), installer.SQL(postgres.New(), service)); err != nil {
		t.Fatal(err)
	}
	b.running = start(t, pg, Options{}, func(c *config.Config) {
		c.Store, c.ServiceDSN = testenv.S3(t).URL(b.prefix), pg.TCPDSN(b.db, service)
		c.Lease.Timeout = time.Second
	})
	must(t, admin, "CREATE SCHEMA own; GRANT ALL ON SCHEMA own TO "+user+
		"; CREATE TABLE own.t (id int PRIMARY KEY, note text, who text DEFAULT current_user)"+
		"; ALTER TABLE own.t OWNER TO "+user)
	c := b.connect(b.dsn(pg, b.db, user))
	must(t, c, setStaged+"; SET search_path = own")
	if o := copyIn(c, "COPY t (id, note) FROM STDIN", bytes.NewReader(textRows(3000))); o.tag != "COPY 3000" {
		t.Fatal(o)
	}
	must(t, c, flush)
	if got := must(t, c, "SELECT count(*)::text || ' ' || min(who) FROM t"); got != "3000 "+user {
		t.Errorf("rows: %s", got)
	}
	b.wantMetric(1, "pgbulk_imports_total", "result", "ok")
	b.wantSwept()
}
