package engine_test

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/enginetest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// installation is what the install command runs.
func installation(serviceRole string) string {
	return "BEGIN; " + engine.InstallSQL(serviceRole) + checkpoint.InstallSQL(serviceRole) + "COMMIT"
}

func uninstallation() string {
	return "BEGIN; " + checkpoint.UninstallSQL() + engine.UninstallSQL() + "COMMIT"
}

// installed makes a database with everything installed.
func installed(t testing.TB, serviceRole string) (*testenv.PG, string, []byte) {
	t.Helper()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	admin := pg.Connect(t, db, "postgres")
	mustExec(t, admin, installation(serviceRole))
	return pg, db, secret(t, admin)
}

func secret(t testing.TB, conn *pgx.Conn) []byte {
	t.Helper()
	var key []byte
	if err := conn.QueryRow(t.Context(), engine.SecretSQL).Scan(&key); err != nil {
		t.Fatal(err)
	}
	return key
}

// mustExec runs any number of statements by the simple protocol.
func mustExec(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if err := exec(t, conn, sql); err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
}

func exec(t testing.TB, conn *pgx.Conn, sql string) error {
	t.Helper()
	_, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil && conn.PgConn().TxStatus() == 'E' && strings.HasPrefix(sql, "BEGIN") {
		_, _ = conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll()
	}
	return err
}

func config(t testing.TB, s store.Store) enginetest.Config {
	pg, db, key := installed(t, "")
	return enginetest.Config{
		Engine:    engine.NewPostgres(),
		DSN:       func(role string) string { return pg.DSN(db, role) },
		Superuser: "postgres",
		NewRole:   func(tb testing.TB) string { return pg.NewRole(tb, "NOSUPERUSER") },
		Store:     s,
		Key:       key,
	}
}

func TestPostgresConforms(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, config(t, testenv.S3(t).Store(t)))
}
