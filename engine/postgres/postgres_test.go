package postgres

import (
	"os"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine/enginetest"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestConforms(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	admin := pg.Connect(t, db, "postgres")
	if _, err := admin.PgConn().Exec(t.Context(), "BEGIN; "+sealed.InstallSQL("")+checkpoint.InstallSQL("")+"COMMIT").ReadAll(); err != nil {
		t.Fatal(err)
	}
	var key []byte
	if err := admin.QueryRow(t.Context(), sealed.SecretSQL).Scan(&key); err != nil {
		t.Fatal(err)
	}
	enginetest.Run(t, enginetest.Config{
		Engine:    New(),
		DSN:       func(role string) string { return pg.DSN(db, role) },
		Superuser: "postgres",
		NewRole:   func(tb testing.TB) string { return pg.NewRole(tb, "NOSUPERUSER") },
		Store:     testenv.S3(t).Store(t),
		Key:       key,
	})
}
