package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/routing"
)

// routingCmd is the family of commands about tables with an auxiliary table.
type routingCmd struct {
	Enable  routingEnableCmd  `cmd:"" help:"Give a table an auxiliary table and routes, or check those that it has."`
	Disable routingDisableCmd `cmd:"" help:"Make it an ordinary table again."`
	Show    routingShowCmd    `cmd:"" help:"Show the pair of tables, what is wrong with it, and the groups in the auxiliary table."`
}

// routingFlags are the flags that all of them have.
type routingFlags struct {
	DSN    string `name:"dsn" help:"Database, as the tables' owner or a superuser (URL or keyword form; PG… variables fill what is missing)." placeholder:"DSN"`
	Table  string `help:"The main table, as public.t." required:"" placeholder:"TABLE"`
	Column string `help:"The routing column of tables that have neither routing_id nor group_id, as the proxy's routing.column." placeholder:"NAME"`
	JSON   bool   `name:"json" help:"Print JSON."`
}

func (f routingFlags) target() routing.MigrateTarget {
	return routing.MigrateTarget{Table: f.Table, Column: f.Column}
}

// use connects and runs work, which is one transaction at a time.
func (f routingFlags) use(a *app, name string, work func(context.Context, *pgx.Conn) error) error {
	return a.untilSignal(func(ctx context.Context) error {
		cfg, err := pgx.ParseConfig(f.DSN)
		if err != nil {
			return fmt.Errorf("routing %s: %w", name, errDSN)
		}
		cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // nothing is prepared: there may be a pooler in between
		cfg.RuntimeParams["application_name"] = "pgbulkproxy routing"
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			return fmt.Errorf("routing %s: connect: %w", name, plainError(err))
		}
		defer conn.Close(context.WithoutCancel(ctx))
		err = work(ctx, conn)
		if ctx.Err() != nil {
			err = errInterrupted
		}
		if err != nil {
			return fmt.Errorf("routing %s: %w", name, migrateError(err))
		}
		return nil
	})
}

// routingEnableCmd makes or checks a pair.
type routingEnableCmd struct {
	routingFlags `embed:""`
	Allow        bool `name:"allow-duplicates-across" help:"Accept unique keys without the routing column: the same key may then stand in both tables, in rows of different groups."`
}

// Help implements kong.HelpProvider.
func (routingEnableCmd) Help() string {
	return "Makes TABLE_relyt_massive_group like TABLE (columns, defaults, keys, checks, foreign keys, owner, privileges), the routing table " +
		"relyt_sys.TABLE_relyt_routing, and the view TABLE_relyt_all over both, in one transaction; or checks what is there, and adds what is missing. " +
		"No row is moved: that is for pgbulkproxy migrate. Run it again after privileges on the table have changed. It also installs what routing needs in schema pgbulk, if it is missing."
}

// Run implements the command.
func (c *routingEnableCmd) Run(a *app) error {
	return c.use(a, "enable", func(ctx context.Context, conn *pgx.Conn) error {
		if err := routing.Manages(conn); err != nil {
			return err
		}
		installed, err := routing.Installed(ctx, conn)
		if err != nil {
			return err
		}
		if !installed {
			if err := install.Run(ctx, conn.PgConn(), install.RoutingSQL()); err != nil {
				return fmt.Errorf("install what routing needs: %w", routing.ExplainDenied(ctx, conn, c.target(), err))
			}
		}
		e, err := routing.Enable(ctx, conn, c.target(), routing.EnableOptions{AllowDuplicates: c.Allow})
		if err != nil {
			return routing.ExplainDenied(ctx, conn, c.target(), err)
		}
		if c.JSON {
			return printJSON(a.stdout, map[string]any{
				"table": e.Main(), "auxiliary_table": e.Aux(), "routing_table": e.Routes(), "view": e.View(),
				"routing_column": e.Column, "auxiliary_routing_column": e.AuxColumn,
				"made_auxiliary_table": e.MadeAux, "made_routing_table": e.MadeRoutes, "made_view": e.MadeView, "registered": e.Registered,
			})
		}
		var text strings.Builder
		for _, l := range []struct {
			what, name string
			made       bool
		}{
			{"auxiliary table", e.Aux(), e.MadeAux}, {"routing table", e.Routes(), e.MadeRoutes}, {"view", e.View(), e.MadeView},
		} {
			verb := "checked"
			if l.made {
				verb = "made"
			}
			_, _ = fmt.Fprintf(&text, "%s %s: %s\n", l.what, oneLine(l.name), verb)
		}
		_, _ = fmt.Fprintf(&text, "%s is routed by column %s\n", oneLine(e.Main()), oneLine(e.Column))
		_, err = io.WriteString(a.stdout, text.String())
		return err
	})
}

// routingDisableCmd undoes a pair.
type routingDisableCmd struct {
	routingFlags `embed:""`
	Drop         bool `help:"Drop the auxiliary table, too: it is empty."`
}

// Help implements kong.HelpProvider.
func (routingDisableCmd) Help() string {
	return "Drops the view, the routing table and the registration, in one transaction. Refuses to while the auxiliary table has rows " +
		"or groups are routed to it: pgbulkproxy migrate --back moves them to the main table."
}

// Run implements the command.
func (c *routingDisableCmd) Run(a *app) error {
	return c.use(a, "disable", func(ctx context.Context, conn *pgx.Conn) error {
		d, err := routing.Disable(ctx, conn, c.target(), c.Drop)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(a.stdout, map[string]any{
				"table": d.Names.Main(), "dropped_view": d.View, "dropped_routing_table": d.Routes,
				"dropped_auxiliary_table": d.Aux, "was_registered": d.Registered,
			})
		}
		var done []string
		for _, l := range []struct {
			is   bool
			name string
		}{{d.View, d.Names.View()}, {d.Routes, d.Names.Routes()}, {d.Aux, d.Names.Aux()}} {
			if l.is {
				done = append(done, "dropped "+l.name)
			}
		}
		if len(done) == 0 && !d.Registered {
			done = append(done, "there was nothing to undo")
		}
		_, err = fmt.Fprintf(a.stdout, "%s is not routed: %s\n", oneLine(d.Names.Main()), oneLine(strings.Join(done, ", ")))
		return err
	})
}

// routingShowCmd shows a pair.
type routingShowCmd struct {
	routingFlags `embed:""`
}

// Run implements the command.
func (c *routingShowCmd) Run(a *app) error {
	return c.use(a, "show", func(ctx context.Context, conn *pgx.Conn) error {
		s, err := routing.Show(ctx, conn, c.target())
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(a.stdout, s)
		}
		_, err = io.WriteString(a.stdout, routingText(s))
		return err
	})
}

// routingText is a pair as people read it. A strings.Builder takes everything.
func routingText(s *routing.Shown) string {
	var text strings.Builder
	if !s.Routed {
		return oneLine(s.Table) + " is not routed\n"
	}
	column := s.Column
	if s.AuxColumn != s.Column {
		column += ", in the auxiliary table " + s.AuxColumn
	}
	registered := "no, the pair was made by hand"
	if s.Registered != nil {
		registered = s.Registered.Local().Format(time.DateTime)
	}
	for _, l := range [][2]string{
		{"table", s.Table}, {"auxiliary table", s.Aux}, {"routing table", s.Routes}, {"view", s.View},
		{"routing column", column}, {"registered", registered}, {"loads fail", s.Fatal},
	} {
		if l[1] != "" {
			_, _ = fmt.Fprintf(&text, "%-16s %s\n", l[0]+":", oneLine(l[1]))
		}
	}
	for _, p := range s.Problems {
		_, _ = fmt.Fprintf(&text, "%-16s %s\n", "problem:", oneLine(p))
	}
	if s.Fatal != "" && len(s.Groups) == 0 {
		return text.String()
	}
	_, _ = fmt.Fprintf(&text, "%-16s %d\n", "auxiliary rows:", s.AuxRows)
	if len(s.Groups) > 0 {
		text.WriteString("\n")
		columns := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
		_, _ = fmt.Fprintln(columns, "GROUP\tROWS\tSTATE")
		for _, g := range s.Groups {
			state := "routed"
			if !g.Routed {
				state = "out of place: its route does not say so"
			}
			if g.Moving {
				state += ", moving"
			}
			_, _ = fmt.Fprintf(columns, "%s\t%d\t%s\n", oneLine(strings.TrimPrefix(groupName(g.Group), "group ")), g.Rows, state)
		}
		_ = columns.Flush()
	}
	return text.String()
}
