package proxy

import (
	"bytes"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	installer "github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

func databasesFor(t *testing.T, dsn, installSQL string) *databases {
	t.Helper()
	d := newDatabases(dsn, installSQL, slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(d.close)
	return d
}

func serviceDSN(pg *testenv.PG) string { return pg.TCPDSN("postgres", "postgres") }

// lookup demands a reason, and a database where there is none.
func lookup(t *testing.T, d *databases, db string, installed bool, want rewrite.Reason) []byte {
	t.Helper()
	found, reason := d.Lookup(t.Context(), db, installed)
	if reason != want || (found == nil) != (want != rewrite.ReasonNone) {
		t.Fatalf("found %v, reason %q, want %q", found != nil, reason, want)
	}
	if found == nil {
		return nil
	}
	return found.Key
}

func TestDatabasesNotThere(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	lookup(t, databasesFor(t, "", ""), "postgres", true, rewrite.ReasonNoServiceDSN)
	d := databasesFor(t, serviceDSN(pg), "")
	lookup(t, d, pg.NewDatabase(t), false, rewrite.ReasonNotInstalled)
	lookup(t, d, "no such database", true, rewrite.ReasonServiceFailed)
	lookup(t, databasesFor(t, "password=secret port=x", ""), "postgres", true, rewrite.ReasonServiceFailed)
}

// TestDatabasesAutoInstall: the load that met an empty database does without;
// the next one finds it installed.
func TestDatabasesAutoInstall(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	d := databasesFor(t, serviceDSN(pg), installer.SQL(postgres.New(), ""))
	lookup(t, d, db, false, rewrite.ReasonNotInstalled)
	if len(lookup(t, d, db, true, rewrite.ReasonNone)) != sealed.KeySize || len(d.ledgers()) != 1 {
		t.Error("nothing was installed")
	}
}

// TestDatabasesUpgrade: an older ledger is upgraded where the proxy may install,
// and else not used.
func TestDatabasesUpgrade(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	install(t, pg, db)
	old, err := os.ReadFile("../../checkpoint/testdata/version1.sql")
	if err != nil {
		t.Fatal(err)
	}
	admin := pg.Connect(t, db, "postgres")
	if _, err := admin.PgConn().Exec(t.Context(), "BEGIN; "+checkpoint.UninstallSQL()+string(old)+"COMMIT").ReadAll(); err != nil {
		t.Fatal(err)
	}
	lookup(t, databasesFor(t, serviceDSN(pg), ""), db, true, rewrite.ReasonServiceFailed)
	lookup(t, databasesFor(t, serviceDSN(pg), installer.SQL(postgres.New(), "")), db, true, rewrite.ReasonNone)
	lookup(t, databasesFor(t, serviceDSN(pg), ""), db, true, rewrite.ReasonNone)
}

// TestDatabasesDropped: nobody asks for ever what to sweep in a database that
// is gone.
func TestDatabasesDropped(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	install(t, pg, db)
	d := databasesFor(t, serviceDSN(pg), "")
	old := lookup(t, d, db, true, rewrite.ReasonNone)
	ledger := d.ledgers()[0]
	admin := pg.Connect(t, "postgres", "postgres")
	remake := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	remake("DROP DATABASE " + db + " WITH (FORCE)")
	if due, err := ledger.Due(t.Context(), time.Now(), 1); err != nil || len(due) > 0 {
		// The first use of a connection that was ended may say so.
		t.Log("first:", err)
		if due, err = ledger.Due(t.Context(), time.Now(), 1); err != nil || len(due) > 0 {
			t.Fatal(due, err)
		}
	}
	if err := ledger.MarkSwept(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	if n := len(d.ledgers()); n != 0 {
		t.Errorf("%d ledgers are left", n)
	}
	remake("CREATE DATABASE " + db)
	install(t, pg, db)
	if bytes.Equal(lookup(t, d, db, true, rewrite.ReasonNone), old) {
		t.Error("the new database has the old secret")
	}
}

// TestDatabasesSecretChanged: it is read again after a while.
func TestDatabasesSecretChanged(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	install(t, pg, db)
	d := databasesFor(t, serviceDSN(pg), "")
	old := lookup(t, d, db, true, rewrite.ReasonNone)
	if _, err := pg.Connect(t, db, "postgres").Exec(t.Context(), "UPDATE pgbulk.secret SET key = sha256(key)"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(lookup(t, d, db, true, rewrite.ReasonNone), old) {
		t.Error("it was read at once")
	}
	d.byName[db].read = time.Now().Add(-refreshAfter)
	if bytes.Equal(lookup(t, d, db, true, rewrite.ReasonNone), old) {
		t.Error("it was not read again")
	}
}
