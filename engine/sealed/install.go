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
)

//go:embed sql/install.sql
var installSQL string

//go:embed sql/staged.sql
var stagedSQL string

//go:embed sql/ledger.sql
var ledgerSQL string

//go:embed sql/uninstall.sql
var uninstallSQL string

// InstallSQL returns the statements that install or upgrade this package's part
// of schema pgbulk: to be run by a superuser in one transaction, together with
// the ledger's. serviceRole is the role of the proxy's service connection; it
// must exist, and may read the secret. Empty: a superuser is the service role.
func InstallSQL(serviceRole string) string {
	text := strings.ReplaceAll(installSQL, "{{version}}", strconv.Itoa(InstallVersion)) +
		"\n" + stagedSQL + "\n" + ledgerSQL
	if serviceRole != "" {
		role := pgident.Quote(serviceRole)
		text += "\nGRANT SELECT ON pgbulk.secret TO " + role + ";" +
			"\nGRANT EXECUTE ON FUNCTION pgbulk.open_staged(text, text, text), pgbulk.import_staged(text, text, int) TO " + role + ";\n"
	}
	return text
}

// UninstallSQL returns the statements that remove it again, to be run in one
// transaction. The schema goes with whichever part is removed last.
func UninstallSQL() string { return uninstallSQL }
