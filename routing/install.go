package routing

import (
	_ "embed"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

//go:embed sql/install.sql
var installSQL string

//go:embed sql/uninstall.sql
var uninstallSQL string

// InstallSQL returns the statements that install what routed tables need in
// schema pgbulk, to be run in one transaction by who may create it. serviceRole
// is the role of the proxy's service connection; empty: the installing role is
// it.
func InstallSQL(serviceRole string) string {
	text := installSQL
	if serviceRole != "" {
		role := pgident.Quote(serviceRole)
		text += "\nGRANT SELECT ON pgbulk.routed TO " + role + ";" +
			"\nGRANT SELECT, INSERT, UPDATE, DELETE ON pgbulk.routing_moving TO " + role + ";" +
			"\nGRANT SELECT, INSERT, UPDATE ON pgbulk.routing_generation TO " + role + ";\n"
	}
	return text
}

// UninstallSQL returns the statements that remove it, to be run in one
// transaction. Routing tables, auxiliary tables and views stay.
func UninstallSQL() string { return uninstallSQL }
