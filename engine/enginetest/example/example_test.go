package example

import (
	"bytes"
	"os"
	"path/filepath"
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
		Engine: New(), DSN: func(role string) string { return pg.DSN(db, role) }, Superuser: "postgres",
		NewRole: func(tb testing.TB) string { return pg.NewRole(tb, "NOSUPERUSER IN ROLE pg_execute_server_program") },
		Store:   testenv.S3(t).Store(t), Key: key,
		Except: map[string]string{
			"prepare transaction": "the server prepares no transaction that has used temporary tables",
			"changed table":       "the plan does not look at the table again; bulk has it locked",
		},
	})
}

// TestSmall: a new engine, its tests among it, takes less than 200 lines.
func TestSmall(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	lines := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(text, []byte("\n"))
	}
	if lines >= 200 {
		t.Errorf("%d lines", lines)
	}
}
