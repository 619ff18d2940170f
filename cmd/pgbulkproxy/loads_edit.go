package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// loadsRetryCmd has staged loads tried again.
type loadsRetryCmd struct {
	ledgerFlags `embed:""`
	IDs         []string `arg:"" name:"id" help:"Process ids."`
}

// Help implements kong.HelpProvider.
func (loadsRetryCmd) Help() string {
	return "For loads that were acknowledged when staged and failed, or wait for their next attempt. " +
		"A proxy takes them up at once; loads wait shows how they end. As the service role or a superuser."
}

// Run implements the command.
func (c *loadsRetryCmd) Run(a *app) error {
	return c.decide(a, "retry", c.IDs, (*checkpoint.Admin).Retry)
}

// loadsCancelCmd gives up staged loads.
type loadsCancelCmd struct {
	ledgerFlags `embed:""`
	IDs         []string `arg:"" name:"id" help:"Process ids."`
}

// Help implements kong.HelpProvider.
func (loadsCancelCmd) Help() string {
	return "For loads that were acknowledged when staged and are not imported: their rows will never be in the table, and their labels are free again. " +
		"An import that is under way ends first. As the service role or a superuser."
}

// Run implements the command.
func (c *loadsCancelCmd) Run(a *app) error {
	return c.decide(a, "cancel", c.IDs, (*checkpoint.Admin).Cancel)
}

// decision is what retry and cancel print for each load.
type decision struct {
	ProcessID string            `json:"process_id"`
	Status    checkpoint.Status `json:"status"`
}

// decide does one thing to each load and prints its status then. It goes on
// after a load to which it can't be done.
func (f ledgerFlags) decide(a *app, name string, ids []string,
	do func(*checkpoint.Admin, context.Context, string) (checkpoint.Status, error),
) error {
	return f.use(a, name, func(ctx context.Context, admin *checkpoint.Admin) error {
		var failed []error
		for _, id := range ids {
			status, err := do(admin, ctx, id)
			if errors.Is(err, checkpoint.ErrNothingToDo) || errors.Is(err, checkpoint.ErrUnknownLoad) {
				failed = append(failed, err)
				continue
			}
			if err != nil {
				return needRights(err, "the service role or a superuser")
			}
			if f.JSON {
				err = printJSON(a.stdout, decision{id, status})
			} else {
				_, err = fmt.Fprintf(a.stdout, "%s\t%s\n", id, status)
			}
			if err != nil {
				return err
			}
		}
		return errors.Join(failed...)
	})
}

// needRights says who has them, where they are missing.
func needRights(err error, who string) error {
	var e *pgconn.PgError
	if errors.As(err, &e) && e.Code == "42501" {
		return fmt.Errorf("%s (SQLSTATE %s): connect as %s", e.Message, e.Code, who)
	}
	return err
}
