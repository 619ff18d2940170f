package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/registry"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/install"
)

// installCmd installs what an engine needs in one database.
type installCmd struct {
	DSN          string `name:"dsn" help:"Database to install in, as a superuser (URL or keyword form; PG… variables fill what is missing). Needed unless --print." placeholder:"DSN"`
	Engine       string `help:"The proxy's engine: auto, ${engines}." default:"auto"`
	ServiceRole  string `help:"Role of the proxy's service connection; it must exist. Without it, only superusers can be the service role." placeholder:"ROLE"`
	LoaderConfig bool   `help:"Make relyt_sys.LOADER_CONFIG() and the table behind it, too: for store=loader_config."`
	Print        bool   `help:"Print the SQL and connect nowhere."`
	Uninstall    bool   `help:"Remove it all, the ledger's rows too."`
}

// Help implements kong.HelpProvider.
func (installCmd) Help() string {
	return "Creates schema pgbulk (functions, secret, ledger) and the view relyt_sys.relyt_loader_checkpoint, in one transaction, " +
		"and the extension file_fdw. For engine greenplum it is the table of rejected rows alone, and pgcrypto where the server has no sha256. It is per database. Running it again upgrades in place and keeps the secret and the ledger."
}

// Run implements the command.
func (c *installCmd) Run(a *app) error {
	if c.Print {
		return c.print(a)
	}
	if c.DSN == "" {
		return errors.New("install: --dsn is required unless --print")
	}
	return a.untilSignal(func(ctx context.Context) error {
		if err := c.install(ctx, a); err != nil {
			return fmt.Errorf("install: %w", plainError(err))
		}
		return nil
	})
}

// sql returns what is to be run, and what that is called.
func (c *installCmd) sql(e engine.Engine) (sql, verb string) {
	if c.Uninstall {
		return install.UninstallSQL(e), "uninstalled"
	}
	sql = install.SQL(e, c.ServiceRole)
	if c.LoaderConfig {
		sql += install.LoaderConfigSQL(c.ServiceRole)
	}
	return sql, "installed"
}

// print asks no server: auto means postgres.
func (c *installCmd) print(a *app) error {
	name := c.Engine
	if name == config.EngineAuto {
		name = config.EnginePostgres
	}
	e, err := registry.ByName(name)
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	if sql, _ := c.sql(e); sql != "" {
		_, err := io.WriteString(a.stdout, sql)
		return err
	}
	return c.nothing(a, e)
}

func (installCmd) nothing(a *app, e engine.Engine) error {
	_, err := fmt.Fprintf(a.stdout, "nothing to install for engine %s; its loads have a ledger where engine postgres is installed\n", e.Name())
	return err
}

func (c *installCmd) install(ctx context.Context, a *app) error {
	conn, err := connect(ctx, c.DSN)
	if err != nil {
		return err
	}
	// All is committed or rolled back by then.
	defer conn.Close(context.WithoutCancel(ctx))
	e, err := engineFor(ctx, conn, c.Engine)
	if err == nil && c.Engine == config.EngineAuto && e.Name() == config.EnginePlain {
		// There is no file_fdw: postgres' own installation says what to do about it.
		e, err = registry.ByName(config.EnginePostgres)
	}
	if err != nil {
		return err
	}
	sql, verb := c.sql(e)
	if sql == "" {
		return c.nothing(a, e)
	}
	if err := install.Run(ctx, conn, sql); err != nil {
		return err
	}
	database, err := currentDatabase(ctx, conn)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s: engine %s, version %d, in database %s\n", verb, e.Name(), sealed.InstallVersion, database)
	return err
}

func currentDatabase(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	return queryText(ctx, conn, "SELECT pg_catalog.current_database()")
}
