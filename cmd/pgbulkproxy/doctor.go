package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/doctor"
)

// doctorCmd tries everything that a load needs.
type doctorCmd struct {
	settingFlags `embed:""`
	Database     string `help:"Look at this database instead of that of service_dsn." placeholder:"NAME"`
	Role         string `help:"Look at the rights of this role of your clients, too." placeholder:"ROLE"`
	JSON         bool   `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (doctorCmd) Help() string {
	return "Takes the settings of serve, from the same places, and tries what the proxy would need with them: the server, its installation and ledger, " +
		"the store from the proxy and from the server itself, clocks, memory and limits. For each failure it says what to do. " +
		"It puts one small object into the store and deletes it, and leaves nothing in the database. The exit code is 1 if something failed."
}

// errIll is the summary behind the list of failures.
var errIll = errors.New("doctor: something that loads need does not work")

// Run implements the command.
func (c *doctorCmd) Run(a *app) error {
	cfg, err := config.Load(c.sources(a))
	if err != nil {
		return err
	}
	return a.untilSignal(func(ctx context.Context) error {
		o := doctor.Options{Database: c.Database, Role: c.Role}
		if !c.JSON {
			o.Tell = func(r check.Result) { printResult(a.stdout, r) }
		}
		report := doctor.Run(ctx, cfg, o)
		if ctx.Err() != nil {
			return errInterrupted
		}
		if c.JSON {
			if err := printJSON(a.stdout, report); err != nil {
				return err
			}
		}
		if !report.OK {
			return errIll
		}
		return nil
	})
}

// printResult prints a line as soon as it is known: some checks take their time.
// Where stdout is gone, the exit code still tells.
func printResult(w io.Writer, r check.Result) {
	_, _ = fmt.Fprintf(w, "%-4s  %-20s %s\n", r.Status, r.Name, oneLine(r.Detail))
	if r.Remedy != "" {
		_, _ = fmt.Fprintf(w, "      %-20s %s\n", "", oneLine(r.Remedy))
	}
}
