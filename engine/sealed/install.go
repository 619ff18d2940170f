package sealed

import (
	_ "embed"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// InstallVersion is what pgbulk.version() answers where this package's
// InstallSQL was run.
const InstallVersion = 2

// SQL for the service connection.
const (
	// VersionSQL returns the installed version. It fails with 3F000
	// (invalid_schema_name) or 42883 (undefined_function) where nothing is
	// installed.
	VersionSQL = "SELECT pgbulk.version()"
	// SecretSQL returns the key for Sealer. Only the installer and the service
	// role may run it.
	SecretSQL = "SELECT key FROM pgbulk.secret"
	// RejectsOnlySQL says whether RejectsInstallSQL was run, and InstallSQL was not.
	RejectsOnlySQL = "SELECT pg_catalog.to_regclass('pgbulk.format') IS NULL AND pg_catalog.to_regprocedure('pgbulk.sha256(pg_catalog.bytea)') IS NOT NULL"
)

//go:embed sql/schema.sql
var schemaSQL string

//go:embed sql/digest.sql
var digestSQL string

//go:embed sql/seal.sql
var sealSQL string

//go:embed sql/files.sql
var filesSQL string

//go:embed sql/staged.sql
var stagedSQL string

//go:embed sql/labels.sql
var labelsSQL string

//go:embed sql/rejects.sql
var rejectsSQL string

//go:embed sql/uninstall.sql
var uninstallSQL string

// InstallSQL returns the statements that install or upgrade this package's part
// of schema pgbulk: to be run by a superuser in one transaction, together with
// the ledger's. serviceRole is the role of the proxy's service connection; it
// must exist, and may read the secret. Empty: a superuser is the service role.
func InstallSQL(serviceRole string) string {
	text := join(schemaSQL, sealSQL, filesSQL, stagedSQL, labelsSQL, rejectsSQL) + grantSecret(serviceRole)
	if serviceRole != "" {
		text += "GRANT EXECUTE ON FUNCTION pgbulk.open_staged(text, text, text), pgbulk.import_staged(text, text, int) TO " +
			pgident.Quote(serviceRole) + ";\n"
	}
	return text
}

// RejectsInstallSQL is InstallSQL with nothing but what writes rejected rows down.
// It runs from PostgreSQL 9.4 on, where it needs pgcrypto.
func RejectsInstallSQL(serviceRole string) string {
	own := strings.ReplaceAll(join(sealSQL, rejectsSQL), "sha256(", "pgbulk.sha256(")
	return join(schemaSQL, digestSQL) + own + grantSecret(serviceRole)
}

func join(parts ...string) string {
	return strings.ReplaceAll(strings.Join(parts, "\n"), "{{version}}", strconv.Itoa(InstallVersion)) + "\n"
}

func grantSecret(serviceRole string) string {
	if serviceRole == "" {
		return ""
	}
	role := pgident.Quote(serviceRole)
	return "GRANT USAGE ON SCHEMA pgbulk TO " + role + ";\nGRANT SELECT ON pgbulk.secret TO " + role + ";\n"
}

// UninstallSQL returns the statements that remove it again, to be run in one
// transaction. The schema goes with whichever part is removed last.
func UninstallSQL() string { return uninstallSQL }
