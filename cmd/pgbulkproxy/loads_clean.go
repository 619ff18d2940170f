package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// loadsCleanCmd deletes rows of the ledger.
type loadsCleanCmd struct {
	ledgerFlags `embed:""`
	OlderThan   span `help:"Only loads that ended so long ago, as 90d." required:"" placeholder:"SPAN"`
	DryRun      bool `help:"Only say how many they are."`
}

// Help implements kong.HelpProvider.
func (loadsCleanCmd) Help() string {
	return "Deletes loads that have ended and whose staged files are deleted, too, with the rows that they rejected. " +
		"Loads that are under way, or wait for retry or cancel, stay; so do labels. As a superuser."
}

// cleaned is what clean prints.
type cleaned struct {
	Loads  int64 `json:"loads"`
	DryRun bool  `json:"dry_run"`
}

// Run implements the command.
func (c *loadsCleanCmd) Run(a *app) error {
	return c.use(a, "clean", func(ctx context.Context, admin *checkpoint.Admin) error {
		do, verb := admin.Clean, "deleted"
		if c.DryRun {
			do, verb = admin.Cleanable, "would delete"
		}
		n, err := do(ctx, time.Duration(c.OlderThan))
		if err != nil {
			return needRights(err, "a superuser")
		}
		if c.JSON {
			return printJSON(a.stdout, cleaned{Loads: n, DryRun: c.DryRun})
		}
		_, err = fmt.Fprintf(a.stdout, "%s: %d loads\n", verb, n)
		return err
	})
}
