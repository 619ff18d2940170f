package loaderconfig

import (
	_ "embed"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

//go:embed sql/install.sql
var installSQL string

// InstallSQL returns the statements that make the function and the table that it
// reads, where there is no function of that name yet: to be run by a superuser in
// one transaction, behind the ledger's. serviceRole may read the settings; empty:
// a superuser is the service role.
func InstallSQL(serviceRole string) string {
	if serviceRole == "" {
		return installSQL
	}
	role := pgident.Quote(serviceRole)
	return installSQL +
		"\nGRANT USAGE ON SCHEMA relyt_sys TO " + role + ";" +
		"\nGRANT EXECUTE ON FUNCTION relyt_sys.loader_config() TO " + role + ";\n"
}
