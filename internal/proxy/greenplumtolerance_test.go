package proxy

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine/greenplum"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	installer "github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// newTolerantBedGreenplum is a proxy in front of a database with the table of rejected
// rows.
func newTolerantBedGreenplum(t *testing.T) *bed {
	t.Helper()
	pg := testenv.Greenplum(t)
	b := newPlainBed(t, pg, Options{}, func(c *config.Config) {
		c.Engine, c.ServiceDSN, c.Stage.FileBytes = "greenplum", pg.TCPDSN("postgres", "postgres"), 500
	})
	// Cases empty schema public, where the installation would make the extension.
	must(t, b.direct(), "CREATE SCHEMA crypt; CREATE EXTENSION pgcrypto WITH SCHEMA crypt")
	conn := pg.Connect(t, b.db, "postgres")
	for range 2 { // again upgrades in place
		if err := installer.Run(t.Context(), conn.PgConn(), installer.SQL(greenplum.New(), "")); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// notTolerantOnGreenplum are cases whose tables Greenplum 6 can't have.
var notTolerantOnGreenplum = map[string]string{
	"many kinds": "it has no generated columns", "partitions": "its partitions have a grammar of their own",
}

// TestToleranceGreenplum: where the table of rejected rows is installed, the same rows
// are skipped and written down as with one COPY a row.
func TestToleranceGreenplum(t *testing.T) {
	t.Parallel()
	b := newTolerantBedGreenplum(t)
	for _, given := range tolerances {
		tc := given
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			if why := notTolerantOnGreenplum[tc.name]; why != "" {
				t.Skip(why)
			}
			tc.ddl = strings.ReplaceAll(tc.ddl, "EXECUTE FUNCTION", "EXECUTE PROCEDURE")
			tc.check(t, b)
		})
	}
	for seed := range uint64(2) {
		tc := randomTolerant(seed, tolerantDDL)
		t.Run("random_"+tc.name, func(t *testing.T) { tc.check(t, b) })
	}
}

// TestRejectsGreenplum: a role that loads sees its own rejected rows, and can neither
// see others' nor make any up.
func TestRejectsGreenplum(t *testing.T) {
	t.Parallel()
	b := newTolerantBedGreenplum(t)
	loader, other := b.pg.NewRole(t, "NOSUPERUSER"), b.pg.NewRole(t, "NOSUPERUSER")
	admin := b.direct()
	must(t, admin, "CREATE TABLE t (id int, note text); GRANT INSERT ON t TO "+loader)
	for range 2 { // the second one from what is remembered of the database
		c := b.proxied()
		must(t, c, "SET ROLE "+loader+"; SET pgbulk.max_error_records = 10; BEGIN")
		if o := copyIn(c, "COPY t FROM STDIN", strings.NewReader("1\ta\nx\tb\n2\tc\n")); o.tag != "COPY 2" {
			t.Fatal(o)
		}
		must(t, c, "COMMIT")
	}
	for role, want := range map[string]string{loader: "2", other: "0", "": "2"} {
		c := b.direct()
		if role != "" {
			must(t, c, "SET ROLE "+role)
		}
		if got := must(t, c, "SELECT count(*) FROM relyt_sys.relyt_loader_rejects WHERE line = 2 AND sqlstate = '22P02' AND column_name = 'id'"); got != want {
			t.Errorf("role %q sees %s rows, want %s", role, got, want)
		}
		if role == "" {
			continue
		}
		for _, sql := range []string{
			"SELECT pgbulk.add_rejects('{}', repeat('0', 32), repeat('0', 64), '[]')", "SELECT pgbulk.sha256('x')",
			"SELECT * FROM pgbulk.secret", "INSERT INTO pgbulk.reject (process_id) VALUES ('x')", "SELECT * FROM pgbulk.reject",
			"SELECT pgbulk.unseal('rejects', '{}', '', '')", "CREATE FUNCTION pgbulk.digest(bytea, text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
		} {
			_, err := c.Exec(t.Context(), sql).ReadAll()
			if e := (*pgconn.PgError)(nil); !errors.As(err, &e) || e.Code != "42501" {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
	// No ledger: nothing is taken for one, and a label is refused.
	if o := copyIn(b.proxied(), "COPY t FROM STDIN (LABEL 'x')", strings.NewReader("1\ta\n")); o.err == nil || o.err.Code != "0A000" {
		t.Error(o)
	}
	b.wantMetric(0, "pgbulk_ledger_errors_total")
	conn := b.pg.Connect(t, b.db, "postgres")
	if err := installer.Run(t.Context(), conn.PgConn(), installer.UninstallSQL(greenplum.New())); err != nil {
		t.Fatal(err)
	}
	c := b.proxied()
	must(t, c, "SET pgbulk.max_error_records = 10")
	if o := copyIn(c, "COPY t FROM STDIN", strings.NewReader("1\ta\nx\tb\n")); o.tag != "COPY 1" {
		t.Error(o)
	}
}
