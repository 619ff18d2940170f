// Package install puts together what a database needs for the proxy, from the
// parts that engine, checkpoint and routing own, and runs it in one transaction. The
// command `install` and `serve --auto-install` share it.
//
// It never decides whether to install, and makes no connections.
package install

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/loaderconfig"
	"github.com/pgbulkproxy/pgbulkproxy/routing"
)

// lockKey is "pgbulk" in ASCII. The advisory lock keeps two installers apart:
// CREATE … IF NOT EXISTS alone fails when both find nothing.
const lockKey = 0x706762756c6b

// SQL returns the transaction that installs or upgrades: to be run by a
// superuser. serviceRole is the role of the proxy's service connection; empty
// means a superuser is. An engine that needs nothing has no SQL: "".
func SQL(e engine.Engine, serviceRole string) string {
	switch {
	case e.Caps().RejectsOnly:
		return transaction(sealed.RejectsInstallSQL(serviceRole), checkpoint.RejectsInstallSQL(serviceRole))
	case !e.Caps().InstallNeeded:
		return ""
	}
	var before, after string
	if i, ok := e.(engine.Installer); ok {
		before, after = i.AroundInstall()
	}
	return transaction(before, sealed.InstallSQL(serviceRole), checkpoint.InstallSQL(serviceRole), routing.InstallSQL(serviceRole), after)
}

// LoaderConfigSQL returns the transaction that makes relyt_sys.LOADER_CONFIG(),
// and the table that it reads.
func LoaderConfigSQL(serviceRole string) string {
	return transaction(loaderconfig.InstallSQL(serviceRole))
}

// RoutingSQL returns the transaction that installs what routed tables need, and
// nothing else: for databases of engines that need nothing.
func RoutingSQL() string { return transaction(routing.InstallSQL("")) }

// UninstallSQL returns the transaction that removes it all, the ledger's rows
// among it.
func UninstallSQL(e engine.Engine) string {
	if c := e.Caps(); !c.InstallNeeded && !c.RejectsOnly {
		return ""
	}
	return transaction(routing.UninstallSQL(), checkpoint.UninstallSQL(), sealed.UninstallSQL())
}

// transaction states its modes, for databases with other defaults.
func transaction(parts ...string) string {
	text := "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;\n" +
		fmt.Sprintf("SELECT pg_catalog.pg_advisory_xact_lock(%d);\n", lockKey)
	for _, p := range parts {
		text += p + "\n"
	}
	return text + "COMMIT;\n"
}

// Run runs a transaction of this package on conn, which is outside any. After
// an error nothing has changed and conn can be used again, unless it is lost.
// A server's error is a *pgconn.PgError in the chain.
func Run(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	_, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil && !conn.IsClosed() && conn.TxStatus() != 'I' {
		if _, rollbackErr := conn.Exec(ctx, "ROLLBACK").ReadAll(); rollbackErr != nil {
			return fmt.Errorf("%w (and the rollback: %w)", err, rollbackErr)
		}
	}
	return err
}
