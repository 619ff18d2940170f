package relyt

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// TestPrepareFinds asks the catalogs of a PostgreSQL, which have all that is asked for.
func TestPrepareFinds(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	conn := pg.Connect(t, pg.NewDatabase(t), "postgres").PgConn()
	exec := func(sql string) []*pgconn.Result {
		t.Helper()
		results, err := conn.Exec(t.Context(), sql).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return results
	}
	role := pg.NewRole(t, "")
	exec(`CREATE SCHEMA mine; CREATE TABLE mine.t (a int, dropped text, "B'" varchar(3), s serial, n timestamptz DEFAULT now(), r float DEFAULT random());
		ALTER TABLE mine.t DROP COLUMN dropped; CREATE TEMP TABLE short (a int);
		GRANT USAGE ON SCHEMA mine TO ` + role + `; GRANT INSERT ON mine.t TO ` + role)
	p := New().(engine.Preparer)
	prepare := func(table, encoding string, columns ...string) (engine.Target, error) {
		t.Helper()
		oid, err := strconv.ParseUint(string(exec("SELECT '" + table + "'::regclass::oid")[0].Rows[0][0]), 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		target := engine.Target{OID: uint32(oid), Columns: columns}
		return p.Prepare(target, exec(p.PrepareSQL(target, encoding))[0].Rows[0])
	}
	got, err := prepare("mine.t", "", "B'", "a", "s", "r")
	if err != nil || strings.Join(got.Types, ",") != "character varying(3),integer,integer,double precision" || got.Encoding != "UTF8" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := prepare("mine.t", "UTF8", "a", "s", "r"); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ before, table, encoding, columns, why string }{
		{"", "mine.t", "", "a,r", "order"},
		{"", "mine.t", "", "a,s", "order"},
		{"", "mine.t", "LATIN1", "a,s,r", "encoding"},
		{"SET client_encoding = 'LATIN1'", "mine.t", "", "a,s,r", "encoding"},
		{"SET client_encoding = 'LATIN1'", "mine.t", "UTF8", "a,s,r", "encoding"},
		{"RESET client_encoding", "short", "", "a", "temporary"},
		{"SET ROLE " + role, "mine.t", "", "a,s,r", "privilege"},
	} {
		exec(c.before)
		if _, err := prepare(c.table, c.encoding, strings.Split(c.columns, ",")...); !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
