package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/routing"
)

// migrateCmd moves groups between main and auxiliary tables.
type migrateCmd struct {
	DSN       string   `name:"dsn" help:"Database, as a role that may read and write both tables and the routes (URL or keyword form; PG… variables fill what is missing). Not through a pooler that shares sessions." placeholder:"DSN"`
	Tables    []string `help:"The main tables, as public.t." required:"" placeholder:"TABLE,…"`
	Threshold int64    `help:"Groups with at least so many rows belong into the auxiliary table." placeholder:"N"`
	Back      bool     `help:"Move groups from the auxiliary table back to the main one: those with fewer rows than --threshold, or all without it."`
	DryRun    bool     `help:"Only say what would be moved. Changes nothing."`
	BatchRows int64    `help:"Move groups together up to so many rows in one transaction, for which their loads wait. Default: 100000, or half of the table for groups with a fiftieth of it each, and where no index on the routing column finds a group's rows." placeholder:"N"`
	Column    string   `help:"The routing column of tables that have neither routing_id nor group_id, as the proxy's routing.column." placeholder:"NAME"`
	JSON      bool     `name:"json" help:"Print JSON, one object a table."`
}

// Help implements kong.HelpProvider.
func (migrateCmd) Help() string {
	return "Loads and reads may go on. A group's rows and its route change in one transaction, which waits for the loads of that group " +
		"that are under way; loads of other groups wait for none. Ended at any point, it leaves each group in one place, and the next run goes on. " +
		"Rows that are not where the route of their group says are brought there, too; where both tables have a row of the same key, " +
		"the group stays as it is and is named. " +
		"Exit codes: 0 all is where it belongs, 1 an error or a group that could not be moved, 2 wrong usage, 130 interrupted."
}

// migrated is what was done with one table.
type migrated struct {
	Table   string         `json:"table"`
	DryRun  bool           `json:"dry_run"`
	Groups  int64          `json:"groups"`
	Rows    int64          `json:"rows"`
	Seconds float64        `json:"seconds"`
	Moves   []routing.Move `json:"moves,omitempty"` // of a dry run
	Failed  []failedMove   `json:"failed,omitempty"`
}

type failedMove struct {
	Group *string `json:"group"`
	Error string  `json:"error"`
}

// Run implements the command.
func (c *migrateCmd) Run(a *app) error {
	switch {
	case c.Threshold < 0 || c.Threshold == 0 && !c.Back:
		return codedError{code: exitUsage, text: "migrate: --threshold must be at least 1 (only --back goes without)"}
	case c.BatchRows < 0:
		return codedError{code: exitUsage, text: "migrate: --batch-rows must be at least 1"}
	}
	return a.untilSignal(func(ctx context.Context) error {
		err := c.run(ctx, a)
		if ctx.Err() != nil {
			err = errInterrupted
		}
		if err != nil {
			return fmt.Errorf("migrate: %w", migrateError(err))
		}
		return nil
	})
}

func (c *migrateCmd) run(ctx context.Context, a *app) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// Nothing is moved if one of the names is wrong.
	missing := false
	for _, t := range c.Tables {
		installed, err := routing.CheckMigration(ctx, conn, c.target(t), c.options())
		if err != nil {
			return err
		}
		missing = missing || !installed
	}
	if missing && !c.DryRun {
		if err := install.Run(ctx, conn.PgConn(), install.RoutingSQL()); err != nil {
			return fmt.Errorf("install what migrations need: %w", err)
		}
	}
	var all []migrated
	for _, t := range c.Tables {
		var done migrated
		if done, err = c.one(ctx, a, conn, t); err == nil || done.Groups > 0 {
			all = append(all, done)
		}
		if err != nil {
			break
		}
	}
	return errors.Join(c.print(a, all), err, unmoved(all))
}

// connect opens the migration's session.
func (c *migrateCmd) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(c.DSN)
	if err != nil {
		return nil, errDSN
	}
	cfg.RuntimeParams["application_name"] = "pgbulkproxy migrate"
	routing.MigrateConfig(cfg)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", plainError(err))
	}
	return conn, nil
}

func (c *migrateCmd) target(table string) routing.MigrateTarget {
	return routing.MigrateTarget{Table: table, Column: c.Column}
}

func (c *migrateCmd) options() routing.MigrateOptions {
	return routing.MigrateOptions{Threshold: c.Threshold, Back: c.Back, BatchRows: c.BatchRows}
}

// one plans or migrates one table.
func (c *migrateCmd) one(ctx context.Context, a *app, conn *pgx.Conn, table string) (migrated, error) {
	began := time.Now()
	done := migrated{Table: table, DryRun: c.DryRun}
	o := c.options()
	if c.DryRun {
		plan, err := routing.PlanMigration(ctx, conn, c.target(table), o)
		if err != nil {
			return done, err
		}
		done.Moves, done.Groups, done.Rows = plan.Moves, int64(len(plan.Moves)), plan.Rows
		done.Seconds = time.Since(began).Seconds()
		return done, nil
	}
	d := newMigrateDisplay(a, table, c.JSON)
	defer d.close()
	o.Notify = d.show
	o.Unseen = func(ctx context.Context, table string) ([]string, error) {
		return checkpoint.RoutingUnseenBy(ctx, conn, table)
	}
	result, err := routing.Migrate(ctx, conn, c.target(table), o)
	if result != nil {
		done.Groups, done.Rows = result.Groups, result.Rows
		for _, f := range result.Failed {
			failed := failedMove{Error: oneLine(migrateError(f.Err).Error())}
			if !f.Move.Null {
				failed.Group = &f.Move.Group
			}
			done.Failed = append(done.Failed, failed)
		}
	}
	done.Seconds = time.Since(began).Seconds()
	return done, err
}

// unmoved is an error if a group could not be moved.
func unmoved(all []migrated) error {
	n := 0
	var first failedMove
	for _, m := range all {
		if n == 0 && len(m.Failed) > 0 {
			first = m.Failed[0]
		}
		n += len(m.Failed)
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d groups could not be moved: %s: %s", n, groupName(first.Group), first.Error)
}

// migrateError keeps what helps of the server's errors and of our own.
func migrateError(err error) error {
	var coded codedError
	if own := pgerr.As(err); own != nil && !errors.As(err, &coded) {
		text := own.Error()
		if hint := own.Get('H'); hint != "" {
			text += ". " + hint
		}
		return errors.New(text)
	}
	return plainError(err)
}

// groupName is a group as people read it; nil are the rows without.
func groupName(group *string) string {
	if group == nil {
		return "rows without a group"
	}
	return fmt.Sprintf("group %q", *group)
}
