package sealed_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func code(err error) string {
	if e, ok := err.(*pgconn.PgError); ok {
		return e.Code
	}
	return ""
}

func TestInstallTwiceKeepsTheSecret(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	service, user := pg.NewRole(t, ""), pg.NewRole(t, "")
	db := pg.NewDatabase(t)
	admin := pg.Connect(t, db, "postgres")
	// A session with unusual settings installs the same.
	mustExec(t, admin, "CREATE SCHEMA other; SET search_path = other; SET standard_conforming_strings = off; SET bytea_output = escape")
	mustExec(t, admin, installation(""))
	key := secret(t, admin)
	mustExec(t, admin, installation(service))
	if len(key) != sealed.KeySize || !bytes.Equal(key, secret(t, admin)) {
		t.Error("the secret has changed")
	}
	var version int
	if err := admin.QueryRow(t.Context(), sealed.VersionSQL).Scan(&version); err != nil || version != sealed.InstallVersion {
		t.Errorf("version %d, %v", version, err)
	}
	if !bytes.Equal(key, secret(t, pg.Connect(t, db, service))) {
		t.Error("the service role reads another secret")
	}
	if err := exec(t, pg.Connect(t, db, user), sealed.SecretSQL); code(err) != "42501" {
		t.Errorf("a user reads the secret: %v", err)
	}
	if err := exec(t, pg.Connect(t, db, user), sealed.VersionSQL); err != nil {
		t.Errorf("a user reads the version: %v", err)
	}
	var path string
	if err := admin.QueryRow(t.Context(), "SHOW search_path").Scan(&path); err != nil || path != "other" {
		t.Errorf("search_path is %q afterwards, %v", path, err)
	}
}

func TestUninstall(t *testing.T) {
	t.Parallel()
	pg, db, _ := installed(t, "")
	admin := pg.Connect(t, db, "postgres")
	for range 2 {
		mustExec(t, admin, uninstallation())
	}
	var left string
	err := admin.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_namespace WHERE nspname IN ('pgbulk', 'pgbulk_run', 'relyt_sys')) || ' ' ||
		(SELECT count(*) FROM pg_foreign_server) || ' ' || (SELECT count(*) FROM pg_extension WHERE extname = 'file_fdw')`).Scan(&left)
	if err != nil || left != "0 0 1" {
		t.Errorf("left %q, %v", left, err)
	}
	mustExec(t, admin, installation(""))
	mustExec(t, admin, "CREATE TABLE relyt_sys.theirs (a int)")
	mustExec(t, admin, uninstallation())
	mustExec(t, admin, "SELECT * FROM relyt_sys.theirs")
	if err := exec(t, admin, sealed.VersionSQL); code(err) != "3F000" {
		t.Errorf("version without an installation: %v", err)
	}
}

func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	for _, c := range []struct{ name, prepare, user, code, message string }{
		{"no superuser", "", "nobody", "42501", "needs a superuser"},
		{"foreign schema", "CREATE SCHEMA pgbulk AUTHORIZATION nobody", "postgres", "42501", "no superuser"},
		{"open schema", "CREATE SCHEMA pgbulk; GRANT CREATE ON SCHEMA pgbulk TO nobody", "postgres", "42501", "has rights"},
		{"public schema", "CREATE SCHEMA pgbulk; GRANT CREATE ON SCHEMA pgbulk TO PUBLIC", "postgres", "42501", "has rights"},
		{"foreign runners", "CREATE SCHEMA pgbulk_run AUTHORIZATION nobody", "postgres", "42501", "schema pgbulk_run exists"},
		{"visible runners", "CREATE SCHEMA pgbulk_run; GRANT USAGE ON SCHEMA pgbulk_run TO nobody", "postgres", "42501", "schema pgbulk_run"},
		{"newer version", "CREATE SCHEMA pgbulk; CREATE FUNCTION pgbulk.version() RETURNS int LANGUAGE sql AS 'SELECT 1000'", "postgres", "55000", "version 1000"},
		{"newer ledger", "CREATE SCHEMA pgbulk; CREATE TABLE pgbulk.format (name text PRIMARY KEY, version int); INSERT INTO pgbulk.format VALUES ('ledger', 1000)",
			"postgres", "55000", "format version 1000"},
		{"other loader", "CREATE SCHEMA relyt_sys; CREATE TABLE relyt_sys.relyt_loader_checkpoint (a int)", "postgres", "42P07", "is no view"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db, nobody := pg.NewDatabase(t), pg.NewRole(t, "")
			admin := pg.Connect(t, db, "postgres")
			mustExec(t, admin, strings.ReplaceAll(c.prepare, "nobody", nobody))
			err := exec(t, pg.Connect(t, db, strings.Replace(c.user, "nobody", nobody, 1)), installation(""))
			if code(err) != c.code || !strings.Contains(err.Error(), c.message) {
				t.Errorf("got %v", err)
			}
			var n int
			if err := admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_class WHERE relname = 'secret'").Scan(&n); err != nil || n != 0 {
				t.Errorf("a refused installation left something: %d, %v", n, err)
			}
		})
	}
}

// TestInstallKeepsLoaderConfigPrivate: the schema may be all that protects the
// credentials which an older LOADER_CONFIG() returns.
func TestInstallKeepsLoaderConfigPrivate(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db, user := pg.NewDatabase(t), pg.NewRole(t, "")
	admin := pg.Connect(t, db, "postgres")
	mustExec(t, admin, "CREATE SCHEMA relyt_sys; CREATE FUNCTION relyt_sys.LOADER_CONFIG() RETURNS text LANGUAGE sql AS 'SELECT ''key'''")
	mustExec(t, admin, installation(""))
	if err := exec(t, pg.Connect(t, db, user), "SELECT relyt_sys.LOADER_CONFIG()"); code(err) != "42501" {
		t.Errorf("got %v", err)
	}
	mustExec(t, admin, "REVOKE EXECUTE ON FUNCTION relyt_sys.LOADER_CONFIG() FROM PUBLIC")
	mustExec(t, admin, installation(""))
	mustExec(t, pg.Connect(t, db, user), "SELECT * FROM relyt_sys.relyt_loader_checkpoint")
}
