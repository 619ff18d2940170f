package proxy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// noticed connects through the proxy and collects notices.
func (b *bed) noticed() (*pgconn.PgConn, *[]*pgconn.Notice) {
	b.t.Helper()
	cfg, err := pgconn.ParseConfig(b.via())
	if err != nil {
		b.t.Fatal(err)
	}
	var got []*pgconn.Notice
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { got = append(got, n) }
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { hangUp(c) })
	return c, &got
}

// limitCase is a COPY of five rows, of which three are bad.
type limitCase struct {
	setting, options string
	want             string // the error's message, "" is none
}

var limitCases = []limitCase{
	{"3", "", ""},
	{"2", "", "pgbulkproxy: skipped more than pgbulk.max_error_records (2) rows"},
	{"0", "", `invalid input syntax for type integer: "x"`},
	{"1", " (ON_ERROR stop)", `option "on_error" not recognized`},
	{"1", " (ON_ERROR ignore)", ""},
	{"1", " (ON_ERROR ignore, REJECT_LIMIT 3)", ""},
	{"5", " (ON_ERROR ignore, REJECT_LIMIT 2)", "pgbulkproxy: skipped more than REJECT_LIMIT (2) rows"},
}

const limitData = "1\ta\nx\tb\n3\tforbidden\n4\td\n1\te\n"

// check runs the case behind some SQL.
func (tc limitCase) check(b *bed, c *pgconn.PgConn, notices *[]*pgconn.Notice, block string) {
	b.t.Helper()
	admin := b.direct()
	defer hangUp(admin)
	must(b.t, admin, "TRUNCATE t; DELETE FROM pgbulk.reject")
	*notices = nil
	must(b.t, c, "SET pgbulk.max_error_records = "+tc.setting+"; "+block)
	o := copyIn(c, "COPY t FROM STDIN"+tc.options, strings.NewReader(limitData))
	status := byte('I')
	if block != "" {
		status = 'T'
		if tc.want != "" {
			status = 'E'
		}
	}
	if c.TxStatus() != status {
		b.t.Errorf("%v %s: status %c, want %c", tc, block, c.TxStatus(), status)
	}
	if tc.want != "" && strings.Contains(block, "SAVEPOINT") {
		must(b.t, c, "ROLLBACK TO SAVEPOINT pgbulkproxy") // the client's own
	}
	if block != "" {
		must(b.t, c, "COMMIT")
	}
	got := must(b.t, admin, "SELECT concat_ws(' ', (SELECT count(*) FROM t WHERE id < 100), (SELECT count(*) FROM relyt_sys.relyt_loader_rejects))")
	if tc.want == "" {
		if o.tag != "COPY 2" || got != "2 3" || len(*notices) != 1 || (*notices)[0].Message != "pgbulkproxy: 3 rows were skipped" {
			b.t.Errorf("%v %s: %s, %s rows and rejects, notices %v", tc, block, o, got, *notices)
		}
		return
	}
	const detail = `The first is line 2, column id: invalid input syntax for type integer: "x" (SQLSTATE 22P02)`
	ours := strings.HasPrefix(tc.want, "pgbulkproxy")
	if o.err == nil || o.err.Message != tc.want || got != "0 0" || len(*notices) != 0 || ours && (o.err.Code != "22P02" || o.err.Detail != detail) {
		b.t.Errorf("%v %s: %s, %s rows and rejects, notices %v", tc, block, o, got, *notices)
	}
}

// TestToleranceLimit: as many bad rows as the limit are skipped, with a notice;
// one more, and nothing is loaded or written down. Both by the setting and by
// the options, which win.
func TestToleranceLimit(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	c, notices := b.noticed()
	must(t, c, createT)
	for _, tc := range limitCases {
		if b.pg.Version() >= 170000 && tc.options != "" {
			continue // the server's own
		}
		for _, block := range []string{"", "BEGIN", "BEGIN; SAVEPOINT pgbulkproxy; INSERT INTO t VALUES (100, 'mine')"} {
			tc.check(b, c, notices, block)
		}
	}
	must(t, c, "SET pgbulk.max_error_records = 3; SET client_min_messages = warning; TRUNCATE t")
	*notices = nil
	if o := copyIn(c, copyText, strings.NewReader(limitData)); o.tag != "COPY 2" || len(*notices) != 0 {
		t.Errorf("%s, notices %v", o, *notices)
	}
	eventually(t, patience, func() string { // the ledger's row comes beside the load
		const last = `SELECT concat_ws(' ', error_records, status, (SELECT sum((f ->> 'records')::int) FROM jsonb_array_elements(file_details) f))
			FROM relyt_sys.relyt_loader_checkpoint ORDER BY start_time DESC LIMIT 1`
		if got := must(t, c, last); got != "3 COMPLETED 2" {
			return "the ledger shows " + got
		}
		return ""
	})
}

// TestToleranceWithoutInstall: rows are skipped where there is nowhere to write
// them down, and the notice says so.
func TestToleranceWithoutInstall(t *testing.T) {
	t.Parallel()
	b := newPlainBed(t, testenv.Postgres(t), Options{}, func(c *config.Config) { c.Engine = "plain" })
	c, notices := b.noticed()
	must(t, c, createT+"; SET pgbulk.max_error_records = 1")
	if o := copyIn(c, copyText, strings.NewReader("1\ta\nx\tb\n")); o.tag != "COPY 1" {
		t.Fatal(o)
	}
	if n := *notices; len(n) != 1 || n[0].Message != "pgbulkproxy: 1 row was skipped" || !strings.Contains(n[0].Detail, "not written down") {
		t.Errorf("notices %v", n)
	}
}

// TestToleranceRefused: what can't be done is refused, and what is no row's
// fault ends the load in the server's words.
func TestToleranceRefused(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	c := b.proxied()
	must(t, c, `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'; CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TABLE t (id int, note text); CREATE TABLE raising (LIKE t); CREATE TRIGGER f BEFORE INSERT ON raising FOR EACH ROW EXECUTE FUNCTION f();
		CREATE TABLE stmt (LIKE t); CREATE TRIGGER f AFTER INSERT ON stmt EXECUTE FUNCTION f();
		CREATE TABLE trans (LIKE t); CREATE TRIGGER f AFTER INSERT ON trans REFERENCING NEW TABLE AS n FOR EACH ROW EXECUTE FUNCTION g();
		CREATE TABLE self (id int PRIMARY KEY, note int REFERENCES self); CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, note text);
		SET pgbulk.max_error_records = 10`)
	for _, tc := range []struct{ sql, data, want string }{
		{"COPY t FROM STDIN (FORMAT binary)", "", "0A000 pgbulkproxy: setting pgbulk.max_error_records is not supported here (errors_binary)"},
		{"COPY t FROM STDIN (FORMAT binary, DELIMITER ',')", "", "42601 cannot specify DELIMITER in BINARY mode"},
		{"COPY stmt FROM STDIN", "1\ta\n", "0A000 pgbulkproxy: setting pgbulk.max_error_records is not supported here (statement_triggers)"},
		{"COPY trans FROM STDIN", "1\ta\n", "0A000 pgbulkproxy: setting pgbulk.max_error_records is not supported here (statement_triggers)"},
		{"COPY self FROM STDIN", "1\t1\n", "0A000 pgbulkproxy: setting pgbulk.max_error_records is not supported here (self_reference)"},
		{"COPY t FROM STDIN WHERE id > 5", "1\ta\n", "0A000 pgbulkproxy: setting pgbulk.max_error_records is not supported here (where)"},
		{"COPY raising FROM STDIN", "x\ta\n1\ta\n", "P0001 no"},
		{"COPY late FROM STDIN", "x\ta\n1\ta\n1\ta\n", "23505 duplicate key value violates unique constraint \"late_id_key\""},
		{"COPY t FROM STDIN (FORMAT csv, HEADER match)", "id,nota\n1,a\n", `22P04 column name mismatch in header line field 2: got "nota", expected "note"`},
		{"COPY t FROM STDIN (FORMAT csv)", "x,a\n1,\"a\n", "22P02 invalid input syntax for type integer: \"x\""},
		{"COPY t FROM STDIN (FORMAT csv)", "1,a\n1,\"a\n", "22P04 unterminated CSV quoted field"},
	} {
		if strings.Contains(tc.sql, "match") && b.pg.Version() < 150000 {
			continue
		}
		o := copyIn(c, tc.sql, strings.NewReader(tc.data))
		if o.err == nil || o.err.Code+" "+o.err.Message != tc.want {
			t.Errorf("%s\n got %s\nwant %s", tc.sql, o, tc.want)
		}
	}
	if got := must(t, c, "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM late)"); got != "0" {
		t.Errorf("%s rows are left", got)
	}
}

// TestToleranceEffort: a bad row costs few statements, and the rows are sent
// two or three times; a file of bad rows stops at the limit.
func TestToleranceEffort(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Engine, c.Stage.FileBytes = "plain", 16*mib })
	admin, c := b.direct(), b.proxied()
	rows := 200_000
	if testing.Short() {
		rows = 50_000
	}
	for _, bad := range []int{0, 1, 10, 1000, rows} {
		table := fmt.Sprintf("effort_%s_%d", b.db, bad)
		must(t, admin, "CREATE UNLOGGED TABLE "+table+" (id int, note text); ALTER DATABASE "+b.db+" SET log_statement = 'all'; ALTER DATABASE "+b.db+" SET log_min_error_statement = 'panic'")
		hangUp(c)
		c = b.proxied()
		every := rows
		if bad > 0 {
			every = rows / bad
		}
		data := generate(rows, func(i int) string {
			if bad > 0 && i%every == every/2 {
				return "x\ta row that is as long as the others are\n"
			}
			return fmt.Sprintf("%d\ta row that is as long as the others are\n", i)
		})
		limit := min(max(bad, 1), 1000)
		must(t, c, fmt.Sprintf("SET pgbulk.max_error_records = %d", limit))
		before := b.metric(t, "pgbulk_bytes_total", "leg", "server")
		began := time.Now()
		o := copyIn(c, "COPY "+table+" FROM STDIN", bytes.NewReader(data))
		took := time.Since(began)
		sent := b.metric(t, "pgbulk_bytes_total", "leg", "server") - before
		log, err := os.ReadFile(b.pg.LogFile())
		if err != nil {
			t.Fatal(err)
		}
		copies := strings.Count(string(log), `COPY "public"."`+table+`"`)
		t.Logf("%d of %d rows bad: %s, %d COPYs, %.2f of the bytes, %s", bad, rows, o, copies, sent/float64(len(data)), took)
		switch {
		case bad == rows:
			if o.err == nil || copies > limit+30 || sent > 3*mib {
				t.Errorf("all rows bad: %s, %d COPYs, %.0f bytes", o, copies, sent)
			}
			continue
		case o.tag != fmt.Sprintf("COPY %d", rows-bad):
			t.Errorf("%d bad rows: %s", bad, o)
		}
		const perBad = 6 // runs of a quarter, a half and the whole of the rows between two, and what failed
		if most := 5 + bad*perBad; copies > most || copies == 0 {
			t.Errorf("%d bad rows: %d COPYs, want at most %d", bad, copies, most)
		}
		// A row goes in a run that is in; and in one that failed, and its half before
		// the bad row again. The first file goes once in vain.
		if sent > 3*float64(len(data))+2*mib {
			t.Errorf("%d bad rows: %.0f bytes of %d sent", bad, sent, len(data))
		}
	}
}
