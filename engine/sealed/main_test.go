package sealed_test

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// installation is what the install command runs.
func installation(serviceRole string) string {
	return "BEGIN; " + sealed.InstallSQL(serviceRole) + checkpoint.InstallSQL(serviceRole) + "COMMIT"
}

func uninstallation() string {
	return "BEGIN; " + checkpoint.UninstallSQL() + sealed.UninstallSQL() + "COMMIT"
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
	if err := conn.QueryRow(t.Context(), sealed.SecretSQL).Scan(&key); err != nil {
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
