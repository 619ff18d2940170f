package proxy

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

const createUpserted = `CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t VALUES (1, 'one'), (2, 'two')`

// content is table t as one text.
const content = "SELECT string_agg(concat_ws(' ', id, note), ',' ORDER BY id) FROM t"

// TestMergeRefusesOperations: a row that can't be obeyed fails the whole load.
func TestMergeRefusesOperations(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	c := b.proxied()
	must(t, c, createUpserted)
	for data, want := range map[string]string{
		"1\tx\tI\n2\ty\tX\n3\tz\tQ\n":   "22023 pgbulkproxy: row 2 of the data has no operation I, U or D in its OPERATION_COLUMN",
		"1\tx\tI\n2\ty\t\\N\n":          "22023 pgbulkproxy: row 2 of the data has no operation I, U or D in its OPERATION_COLUMN",
		"1\tx\tI\n1\ty\tU\n\\N\tz\td\n": "23502 pgbulkproxy: row 3 of the data deletes by a key with NULL",
		"1\tx\tI\n\\N\tz\tu\n":          `23502 null value in column "id" of relation "t" violates not-null constraint`,
	} {
		for _, block := range []string{"", "BEGIN; INSERT INTO t VALUES (9, 'nine')"} {
			must(t, c, block)
			o := copyIn(c, "COPY t FROM STDIN (MODE merge, OPERATION_COLUMN op)", strings.NewReader(data))
			if o.err == nil || o.err.Code+" "+o.err.Message != want {
				t.Errorf("%q: %s, want %s", data, o, want)
			}
			if got, want := c.TxStatus(), map[bool]byte{true: 'I', false: 'E'}[block == ""]; got != want {
				t.Errorf("%q: status %c, want %c", data, got, want)
			}
			must(t, c, "ROLLBACK")
			if got := must(t, c, content); got != "1 one,2 two" {
				t.Errorf("%q: %s", data, got)
			}
		}
	}
	b.wantSwept()
}

// TestUpsertInTransactions: the rows share the fate of the client's transaction
// and its savepoints, by both protocols.
func TestUpsertInTransactions(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"postgres", "plain"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) { c.Engine = engine })
			must(t, b.direct(), createUpserted)
			for _, tc := range []struct{ before, after, want string }{
				{"BEGIN", "ROLLBACK", "1 one,2 two"},
				{"BEGIN", "COMMIT", "1 new,2 two,3 three"},
				{"BEGIN; SAVEPOINT a", "ROLLBACK TO a; COMMIT", "1 one,2 two"},
				{"BEGIN; DELETE FROM t WHERE id = 2; SAVEPOINT pgbulkproxy", "RELEASE pgbulkproxy; COMMIT", "1 new,3 three"},
				{"", "", "1 new,2 two,3 three"},
			} {
				for _, extended := range []bool{false, true} {
					c := b.proxied()
					must(t, c, "TRUNCATE t; INSERT INTO t VALUES (1, 'one'), (2, 'two'); "+tc.before)
					const sql = "COPY t FROM STDIN (ON_CONFLICT update)"
					r := raw(t, c)
					if extended {
						r.fe.Send(&pgproto3.Parse{Query: sql})
						r.fe.Send(&pgproto3.Bind{})
						r.fe.Send(&pgproto3.Execute{})
					} else {
						r.fe.Send(&pgproto3.Query{String: sql})
					}
					if err := r.fe.Flush(); err != nil {
						t.Fatal(err)
					}
					if _, e, err := r.until(isCopyIn); e != nil || err != nil {
						t.Fatal(e, err)
					}
					r.fe.Send(&pgproto3.CopyData{Data: []byte("1\tnew\n3\tthree\n")})
					r.fe.Send(&pgproto3.CopyDone{})
					if extended {
						r.fe.Send(&pgproto3.Sync{})
					}
					if err := r.fe.Flush(); err != nil {
						t.Fatal(err)
					}
					if _, e, err := r.until(isReady); e != nil || err != nil {
						t.Fatal(e, err)
					}
					if tc.after != "" {
						r.query(tc.after)
						if _, e, err := r.until(isReady); e != nil || err != nil {
							t.Fatal(e, err)
						}
					}
					_ = r.Close()
					if got := must(t, b.direct(), content); got != tc.want {
						t.Errorf("%s, %s, extended %t: %s, want %s", tc.before, tc.after, extended, got, tc.want)
					}
				}
			}
			b.wantSwept()
		})
	}
}

// TestOverwritesSideBySide: overwrites wait for each other, none is a deadlock.
func TestOverwritesSideBySide(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	must(t, b.direct(), createUpserted)
	done := make(chan outcome)
	const sessions = 6
	for i := range sessions {
		c := b.proxied()
		go func() {
			done <- copyIn(c, "COPY t FROM STDIN (MODE overwrite)", strings.NewReader(fmt.Sprintf("%d\tx\n%d\ty\n", 10*i, 10*i+1)))
		}()
	}
	for range sessions {
		if o := <-done; o.tag != "COPY 2" {
			t.Error(o)
		}
	}
	if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != "2" {
		t.Errorf("%s rows, want those of the last", got)
	}
}

// TestOverwriteCancelled: an overwrite that waits for readers can be cancelled.
func TestOverwriteCancelled(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	reader := b.direct()
	must(t, reader, createUpserted)
	must(t, reader, "BEGIN; SELECT count(*) FROM t")
	c := b.proxied()
	done := make(chan outcome)
	go func() { done <- copyIn(c, "COPY t FROM STDIN (MODE overwrite)", strings.NewReader("1\tx\n")) }()
	watch := b.direct()
	eventually(t, patience, func() string {
		if must(t, watch, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted AND relation = 't'::regclass") == "0" {
			return "nobody waits"
		}
		return ""
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	if o := <-done; o.err == nil || o.err.Code != "57014" || c.TxStatus() != 'I' {
		t.Error(o, c.TxStatus())
	}
	must(t, reader, "COMMIT")
	if got := must(t, c, content); got != "1 one,2 two" {
		t.Error(got)
	}
}

// TestUpsertLedger: each file of an upsert has its import row, which counts the
// rows of the data.
func TestUpsertLedger(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	c := b.proxied()
	must(t, c, createUpserted)
	if o := copyIn(c, "COPY t FROM STDIN (ON_CONFLICT nothing)", strings.NewReader(upsertRows(20000))); o.tag != "COPY 19998" {
		t.Error(o)
	}
	b.wantLedger(map[string]int{"COMPLETED": 1})
	// How many files: what has arrived at once goes into one, however small files are.
	if got := must(t, b.direct(), "SELECT (count(*) > 1)::text || sum(records) FROM pgbulk.import"); got != "true20000" {
		t.Errorf("the ledger has %s, want several files of 20000 rows", got)
	}
	b.wantSwept()
}

// TestUpsertWithoutStore: an upsert does not need S3.
func TestUpsertWithoutStore(t *testing.T) {
	t.Parallel()
	b := newBed(t, at("http://127.0.0.1:1"), nil)
	c := b.proxied()
	must(t, c, createUpserted)
	for range 5 { // beyond what opens the breaker
		if o := copyIn(c, "COPY t FROM STDIN (ON_CONFLICT update)", strings.NewReader(upsertRows(5000))); o.tag != "COPY 5000" {
			t.Error(o)
		}
	}
	must(t, c, "SET pgbulk.on_conflict = 'nothing'")
	if o := copyIn(c, "COPY t FROM STDIN", strings.NewReader(upsertRows(5001))); o.tag != "COPY 1" {
		t.Error(o)
	}
}

// TestUpsertTimeout: statement_timeout is for both statements together, and holds
// again for the next ones of the transaction.
func TestUpsertTimeout(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	c := b.proxied()
	must(t, c, `CREATE DOMAIN slow AS text CHECK (VALUE = '' OR pg_sleep(0.7) IS NOT NULL);
		CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.7); RETURN NEW; END';
		CREATE TABLE t (id int PRIMARY KEY, note slow);
		CREATE TRIGGER wait BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id < 10) EXECUTE FUNCTION wait()`)
	const sql = "COPY t FROM STDIN (ON_CONFLICT nothing)"
	for _, block := range []string{"", "BEGIN"} {
		must(t, c, "SET statement_timeout = '1100ms'")
		must(t, c, block)
		if o := copyIn(c, sql, strings.NewReader("1\tx\n")); o.err == nil || o.err.Code != "57014" || !strings.Contains(o.err.Message, "statement timeout") {
			t.Errorf("0.7 s of the COPY and as many of the INSERT: %s", o)
		}
		must(t, c, "ROLLBACK")
		must(t, c, "SET statement_timeout = '20s'")
		must(t, c, block)
		if o := copyIn(c, sql, strings.NewReader("2\tx\n11\t\n")); o.tag != "COPY 2" {
			t.Error(o)
		}
		if got := must(t, c, "SHOW statement_timeout"); got != "20s" {
			t.Errorf("afterwards it is %s", got)
		}
		must(t, c, "ROLLBACK; TRUNCATE t")
	}
}
