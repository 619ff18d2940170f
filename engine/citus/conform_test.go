package citus_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/citus"
	"github.com/pgbulkproxy/pgbulkproxy/engine/enginetest"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// installed makes a database with schema pgbulk.
func installed(t *testing.T) (pg *testenv.PG, db string, admin *pgx.Conn) {
	t.Helper()
	pg = testenv.Citus(t)
	db = pg.NewDatabase(t)
	admin = pg.Connect(t, db, "postgres")
	before, after := citus.New().(engine.Installer).AroundInstall()
	sql := "BEGIN; " + before + sealed.InstallSQL("") + checkpoint.InstallSQL("") + after + "COMMIT"
	if _, err := admin.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return pg, db, admin
}

// TestConforms runs the suite with tables of the coordinator. Distributed ones are
// compared with COPY by the scripts of TestDifferentialCitus: COPY gives all errors
// of a worker as XX000, and names the shard, where the suite compares with a twin.
func TestConforms(t *testing.T) {
	t.Parallel()
	pg, db, admin := installed(t)
	var key []byte
	if err := admin.QueryRow(t.Context(), sealed.SecretSQL).Scan(&key); err != nil {
		t.Fatal(err)
	}
	enginetest.Run(t, enginetest.Config{
		Engine:    citus.New(),
		DSN:       func(role string) string { return pg.DSN(db, role) },
		Superuser: "postgres",
		NewRole:   func(tb testing.TB) string { return pg.NewRole(tb, "NOSUPERUSER") },
		Store:     testenv.S3(t).Store(t),
		Key:       key,
	})
}

// TestStaysOnTheCoordinator: neither the functions nor the secret reach the
// workers, nor does what the functions make.
func TestStaysOnTheCoordinator(t *testing.T) {
	t.Parallel()
	_, _, admin := installed(t)
	if _, err := admin.PgConn().Exec(t.Context(), "CREATE TABLE t (a int); SELECT create_distributed_table('t', 'a'); SELECT pgbulk.version()").ReadAll(); err != nil {
		t.Fatal(err)
	}
	var found string
	err := admin.QueryRow(t.Context(), `SELECT pg_catalog.string_agg(result, ' ') FROM pg_catalog.run_command_on_workers(
		'SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname ~ ''^(pgbulk|relyt_sys)''')`).Scan(&found)
	if err != nil || found != "0 0" {
		t.Errorf("schemas on the workers: %s, %v", found, err)
	}
}
