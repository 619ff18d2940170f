package checkpoint

import (
	_ "embed"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// FormatVersion is the version of the ledger's tables.
const FormatVersion = 2

//go:embed sql/install.sql
var installSQL string

//go:embed sql/rejects.sql
var rejectsSQL string

//go:embed sql/views.sql
var viewsSQL string

//go:embed sql/functions.sql
var functionsSQL string

//go:embed sql/uninstall.sql
var uninstallSQL string

// InstallSQL returns the statements that install the ledger, to be run in one
// transaction after the engine's. serviceRole is the role of the proxy's
// service connection; it must exist. Empty: the installing role is it.
func InstallSQL(serviceRole string) string {
	text := strings.ReplaceAll(installSQL, "{{version}}", strconv.Itoa(FormatVersion)) +
		"\n" + rejectsSQL + "\n" + viewsSQL + "\n" + functionsSQL
	if serviceRole != "" {
		role := pgident.Quote(serviceRole)
		text += "\nGRANT SELECT ON pgbulk.format, pgbulk.import, pgbulk.staged, pgbulk.known_file TO " + role + ";" +
			"\nGRANT UPDATE (done) ON pgbulk.staged TO " + role + ";" +
			"\nGRANT SELECT, INSERT, UPDATE ON pgbulk.load, pgbulk.load_file TO " + role + ";" +
			"\nGRANT SELECT, INSERT, UPDATE, DELETE ON pgbulk.proxy TO " + role + ";" +
			"\nGRANT SELECT, DELETE ON pgbulk.label TO " + role + ";" +
			"\nGRANT EXECUTE ON FUNCTION pgbulk.fence(text, text, int), pgbulk.is_staged(text)," +
			" pgbulk.settle(text, text, text, bigint, text, int), pgbulk.cancel(text) TO " + role + ";"
	}
	return text + grantRejects(serviceRole)
}

// RejectsInstallSQL is InstallSQL with nothing but the table of rejected rows and
// its view. It runs from PostgreSQL 9.4 on.
func RejectsInstallSQL(serviceRole string) string {
	return "SET LOCAL search_path = pg_catalog, pg_temp;\n" + rejectsSQL + grantRejects(serviceRole)
}

// grantRejects lets the service role see all rejected rows.
func grantRejects(serviceRole string) string {
	if serviceRole == "" {
		return ""
	}
	role := pgident.Quote(serviceRole)
	return "\nGRANT SELECT ON pgbulk.reject TO " + role + ";\nGRANT USAGE ON SCHEMA relyt_sys TO " + role + ";\n"
}

// UninstallSQL returns the statements that remove the ledger with all its rows,
// to be run in one transaction.
func UninstallSQL() string { return uninstallSQL }
