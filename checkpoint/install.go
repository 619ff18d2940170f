package checkpoint

import (
	_ "embed"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// FormatVersion is the version of the ledger's tables.
const FormatVersion = 1

//go:embed sql/install.sql
var installSQL string

//go:embed sql/uninstall.sql
var uninstallSQL string

// InstallSQL returns the statements that install the ledger, to be run in one
// transaction after the engine's. serviceRole is the role of the proxy's
// service connection; it must exist. Empty: the installing role is it.
func InstallSQL(serviceRole string) string {
	text := strings.ReplaceAll(installSQL, "{{version}}", strconv.Itoa(FormatVersion))
	if serviceRole != "" {
		role := pgident.Quote(serviceRole)
		text += "\nGRANT SELECT ON pgbulk.format, pgbulk.import TO " + role + ";" +
			"\nGRANT SELECT, INSERT, UPDATE ON pgbulk.load, pgbulk.load_file TO " + role + ";" +
			"\nGRANT USAGE ON SCHEMA relyt_sys TO " + role + ";\n"
	}
	return text
}

// UninstallSQL returns the statements that remove the ledger with all its rows,
// to be run in one transaction.
func UninstallSQL() string { return uninstallSQL }
