package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// usualRuns are how many COPYs make the next ones of their text usual.
const usualRuns = 3

// warm runs small COPYs of a text.
func warm(t testing.TB, c *pgconn.PgConn, sql string, data func(i int) string) {
	t.Helper()
	for i := range usualRuns {
		if o := copyIn(c, sql, strings.NewReader(data(-1-i))); o.err != nil || o.lost != nil {
			t.Fatalf("%s: %s", sql, o)
		}
	}
}

func oneRow(i int) string { return fmt.Sprintf("%d\tnote\n", i) }

// usual is how many COPYs were relayed without an inspection.
func (b *bed) usual() float64 {
	b.t.Helper()
	return b.metric(b.t, "pgbulk_statements_total", "kind", "copy", "reason", "small_before")
}

// usualCase is what has become of a table or a session between small COPYs.
type usualCase struct{ name, admin, before, data, after string }

func usualCases(role string) []usualCase {
	return []usualCase{
		{name: "good"},
		{name: "block", before: "BEGIN", after: "COMMIT"},
		{name: "undone", before: "BEGIN", after: "ROLLBACK"},
		{name: "savepoint", before: "BEGIN; SAVEPOINT a", data: "x\ty\n", after: "ROLLBACK TO a; COMMIT"},
		{name: "failed block", before: "BEGIN; SAVEPOINT a", data: "1\ta\n1\tb\n"},
		{name: "serializable", before: "BEGIN ISOLATION LEVEL SERIALIZABLE", after: "COMMIT"},
		{name: "read only", before: "SET default_transaction_read_only = on"},
		{name: "read only block", before: "BEGIN READ ONLY"},
		{name: "bad row", data: "1\ta\nx\ty\n"},
		{name: "key", data: "1\ta\n1\tb\n"},
		{name: "check", data: "1\tforbidden\n"},
		{name: "short row", data: "1\n"},
		{name: "nothing", data: "\\.\n"},
		{name: "no table", admin: "DROP TABLE t"},
		{name: "view", admin: "ALTER TABLE t RENAME TO u; CREATE VIEW t AS SELECT * FROM u"},
		{name: "partitioned", admin: "DROP TABLE t; CREATE TABLE t (id int, note text) PARTITION BY RANGE (id)"},
		{name: "column more", admin: "ALTER TABLE t ADD COLUMN more int"},
		{name: "column less", admin: "ALTER TABLE t DROP COLUMN note"},
		{name: "generated", admin: "ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (id + 1) STORED"},
		{name: "no right", admin: "REVOKE INSERT ON t FROM " + role},
		{name: "row security", admin: "ALTER TABLE t ENABLE ROW LEVEL SECURITY"},
		{name: "trigger", admin: `CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% %', TG_WHEN, TG_LEVEL; RETURN NEW; END $$;
			CREATE TRIGGER a BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION tell(); CREATE TRIGGER b AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION tell()`},
		{name: "deferred", admin: "CREATE TABLE k (id int PRIMARY KEY); ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES k DEFERRABLE INITIALLY DEFERRED NOT VALID"},
		{name: "other table", admin: "CREATE SCHEMA other; CREATE TABLE other.t (n int); GRANT USAGE ON SCHEMA other TO PUBLIC; GRANT INSERT ON other.t TO PUBLIC", before: "SET search_path = other", data: "5\n"},
		{name: "encoding", before: "SET client_encoding = 'LATIN1'", data: "1\t\xe9\n"},
		{name: "timeout", admin: "SELECT 1", before: "SET statement_timeout = 60000"},
	}
}

// TestUsualCopies: a COPY whose like were small before does and says what it does
// directly, whatever has become of the table and the session since.
func TestUsualCopies(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = mib })
	role := b.pg.NewRole(t, "")
	for _, tc := range usualCases(role) {
		admin := b.direct()
		var out, rows [2]string
		for i, connect := range []func() *pgconn.PgConn{b.direct, b.proxied} {
			must(t, admin, "DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS other CASCADE; CREATE SCHEMA public; "+
				createT+"; GRANT USAGE ON SCHEMA public TO PUBLIC; GRANT INSERT, SELECT ON t TO "+role)
			c := connect()
			must(t, c, "SET ROLE "+role)
			for n := range 2 {
				warm(t, c, copyText, func(i int) string { return oneRow(i - 10*n) })
			}
			if tc.admin != "" {
				must(t, admin, tc.admin)
			}
			if tc.before != "" {
				must(t, c, tc.before)
			}
			data := tc.data
			if data == "" {
				data = oneRow(5)
			}
			before := b.usual()
			o := copyIn(c, copyText, strings.NewReader(data))
			if got := b.usual() - before; i == 1 && got != 1 {
				t.Errorf("%s: %g COPYs are relayed at once", tc.name, got)
			}
			out[i] = fmt.Sprintf("%s, status %c", o, c.TxStatus())
			if tc.after != "" {
				must(t, c, tc.after)
			}
			if c.TxStatus() != 'I' {
				must(t, c, "ROLLBACK")
			}
			hangUp(c)
			if tc.name != "no table" && tc.name != "view" {
				rows[i] = must(t, admin, fingerprint)
			}
		}
		hangUp(admin)
		if out[0] != out[1] || rows[0] != rows[1] {
			t.Errorf("%s\ndirect:  %s, rows %s\nproxied: %s, rows %s", tc.name, out[0], rows[0], out[1], rows[1])
		}
	}
}

// TestUsualCopySettings: settings that ask for something are heard by a COPY whose
// like were small before, too; also those that are set for a role.
func TestUsualCopySettings(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = mib })
	must(t, b.direct(), createT)
	for _, tc := range []struct{ set, data, want string }{
		{"pgbulk.on_conflict = 'nothing'", "1\ta\n1\tb\n", "COPY 1"},
		{"pgbulk.on_conflict = 'update'", oneRow(-1), "COPY 1"},
		{"pgbulk.max_error_records = '1'", "2\ta\nx\tb\n", "COPY 1"},
		{"pgbulk.label = 'once'", oneRow(3), "COPY 1"},
		{"pgbulk.label = 'once'", oneRow(3), "COPY 1"}, // it is not loaded again
		{"pgbulk.on_conflict = 'whatever'", oneRow(4), "must be nothing, update or error"},
		{"pgbulk.coalesce = 'whatever'", oneRow(4), "must be off or transaction"},
		{"pgbulk.mode = 'force'", oneRow(5), "COPY 1"},
		{"pgbulk.mode = 'off'", oneRow(6), "COPY 1"},
	} {
		for _, block := range []bool{false, true} {
			must(t, b.direct(), "TRUNCATE t")
			c := b.proxied()
			warm(t, c, copyText, oneRow)
			set := "SET " + tc.set
			if block {
				set = "BEGIN; SET LOCAL " + tc.set
			}
			must(t, c, set)
			before := b.usual()
			o := copyIn(c, copyText, strings.NewReader(tc.data))
			if got := o.tag; !strings.Contains(o.String(), tc.want) || b.usual() != before {
				t.Errorf("%s, in a block %t: %s %s", tc.set, block, got, o)
			}
			hangUp(c)
		}
	}
	c := b.proxied()
	warm(t, c, copyText, func(i int) string { return oneRow(100 + i) })
	must(t, c, "BEGIN; SET LOCAL pgbulk.on_conflict = 'nothing'")
	if o := copyIn(c, copyText, strings.NewReader(oneRow(99))); o.tag != "COPY 0" {
		t.Error(o)
	}
	must(t, c, "ROLLBACK")
	if o := copyIn(c, copyText, strings.NewReader(oneRow(99))); o.err == nil || o.err.Code != "23505" {
		t.Error(o)
	}
}

// TestUsualCopyRouted: when a table becomes routed, the very next COPY knows it, also
// of a role that may not see the routes, and of a proxy that has not heard of it.
func TestUsualCopyRouted(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = mib })
	role := b.pg.NewRole(t, "")
	admin := b.direct()
	must(t, admin, "CREATE SCHEMA IF NOT EXISTS relyt_sys; REVOKE ALL ON SCHEMA relyt_sys FROM PUBLIC; "+knownTable+"; GRANT INSERT ON t TO "+role)
	mine, blind := b.proxied(), b.proxied()
	must(t, blind, "SET ROLE "+role)
	before := b.usual()
	for _, c := range []*pgconn.PgConn{mine, blind} {
		warm(t, c, copyText, oneRow)
		if o := copyIn(c, copyText, strings.NewReader("1\ta\n")); o.err != nil {
			t.Fatal(o)
		}
	}
	if got := b.usual() - before; got != 2 {
		t.Fatalf("%g COPYs are relayed at once", got)
	}
	must(t, admin, knownPair)
	if o := copyIn(mine, copyText, strings.NewReader("2\ta\n3\tb\n")); o.err != nil {
		t.Error(o)
	}
	if o := copyIn(blind, copyText, strings.NewReader("4\tb\n")); o.err == nil {
		t.Errorf("%s, by a role that can't see the routes", o)
	}
	got := must(t, admin, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t WHERE id > 1") + " and " +
		must(t, admin, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t_relyt_massive_group")
	if got != "2 and 3" {
		t.Errorf("the rows went to %s", got)
	}
}

// TestUsualCopyLarge: one that is large all the same goes natively, once; those who
// send small and large ones in turn have the large ones staged.
func TestUsualCopyLarge(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = mib })
	must(t, b.direct(), createT)
	large := func(at int) *bytes.Reader {
		return bytes.NewReader(generate(30_000, func(i int) string { return fmt.Sprintf("%d\t%060d\n", at+i, i) }))
	}
	c := b.proxied()
	staged := func() float64 { return b.metric(t, "pgbulk_statements_total", "kind", "copy", "decision", "stage") }
	load := func(at int, want float64) {
		t.Helper()
		before := staged()
		if o := copyIn(c, copyText, large(at)); o.tag != "COPY 30000" {
			t.Error(o)
		}
		if got := staged() - before; got != want {
			t.Errorf("%g of the COPYs are staged", got)
		}
	}
	small := 0
	for round := range 3 {
		for range usualRuns - 1 {
			small--
			if o := copyIn(c, copyText, strings.NewReader(oneRow(small))); o.err != nil {
				t.Fatal(o)
			}
		}
		load(round*30_000, 1)
	}
	warm(t, c, copyText, func(i int) string { return oneRow(i + small) })
	load(100_000, 0)
	load(200_000, 1)
	if got := must(t, b.direct(), "SELECT count(*) FROM t WHERE id >= 0"); got != "150000" {
		t.Errorf("%s rows", got)
	}
	b.wantMetric(1, "pgbulk_statements_total", "reason", "small_before")
}

// TestUsualCopyEager: a client may send its data without waiting to be asked for it,
// and more behind it.
func TestUsualCopyEager(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = mib })
	must(t, b.direct(), createT)
	for _, apart := range []bool{false, true} {
		r := raw(t, b.proxied())
		must(t, b.direct(), "TRUNCATE t")
		for i := range 40 {
			rows := oneRow(i)
			if i%10 == 9 {
				rows = "x\ty\n" // the server skips what follows
			}
			out := frame.AppendString(nil, 'Q', copyText)
			if apart {
				r.send(out)
				out = nil
			}
			out = append(append(out, copyData([]byte(rows))...), 'c', 0, 0, 0, 4)
			r.send(frame.AppendString(out, 'Q', "SELECT 1"))
			if _, e := r.answers(); (e != nil) != (i%10 == 9) {
				t.Fatalf("COPY %d: %v", i, e)
			}
			if _, e := r.answers(); e != nil {
				t.Fatal(e)
			}
		}
		if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != "36" {
			t.Errorf("%s rows", got)
		}
	}
	if b.usual() == 0 {
		t.Error("no COPY is relayed at once")
	}
}

// TestUsualCopyCanceled: a cancel that meets the question ends the COPY, and a block
// with it. The question is held up by a lock, where it has to look into the catalog.
func TestUsualCopyCanceled(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.MinBytes = mib })
	role := b.pg.NewRole(t, "")
	admin := b.direct()
	must(t, admin, "CREATE SCHEMA IF NOT EXISTS relyt_sys; REVOKE ALL ON SCHEMA relyt_sys FROM PUBLIC; "+createT+"; GRANT INSERT ON t TO "+role)
	c := b.proxied()
	must(t, c, "SET ROLE "+role)
	warm(t, c, copyText, oneRow)
	r := raw(t, c)
	for round, status := range []byte("IEIE") {
		r.query([]string{"", "BEGIN"}[round%2])
		r.answers()
		must(t, admin, "BEGIN; LOCK TABLE pg_catalog.pg_class")
		r.query(copyText)
		for must(t, admin, fmt.Sprintf("SELECT count(*) FROM pg_catalog.pg_locks WHERE NOT granted AND pid = %d", r.pid)) == "0" {
		}
		cancelRaw(t, r)
		if got, e := r.answers(); e == nil || e.Code != pgerr.QueryCanceled || e.Position != 0 || got != status {
			t.Errorf("round %d: %+v, status %c", round, e, got)
		}
		must(t, admin, "ROLLBACK")
		r.query("ROLLBACK")
		r.answers()
		r.startCopy(copyText)
		r.data([]byte(oneRow(round)))
		r.send([]byte{'c', 0, 0, 0, 4})
		if _, e := r.answers(); e != nil {
			t.Error(e)
		}
	}
	if got := must(t, admin, "SELECT count(*) FROM t"); got != "7" {
		t.Errorf("%s rows", got)
	}
}
