package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// pollEvery is how often wait asks the ledger: a quarter of a second is at once
// for a person, and nothing for a server.
const pollEvery = 250 * time.Millisecond

// errTimedOut is the cause of a context that --timeout ended.
var errTimedOut = errors.New("timed out")

// loadsWaitCmd waits for loads.
type loadsWaitCmd struct {
	ledgerFlags `embed:""`
	IDs         []string `arg:"" name:"id" optional:"" help:"Process ids."`
	All         bool     `help:"Wait for all loads that are not in now."`
	Table       string   `help:"Wait for all loads into this table that are not in now." placeholder:"TABLE"`
	Timeout     span     `help:"Wait at most so long, as 90s or 2h; then the exit code is 2. 0s: for ever." placeholder:"SPAN"`
}

// Help implements kong.HelpProvider.
func (loadsWaitCmd) Help() string {
	return "On a terminal it draws bars; elsewhere it prints one line whenever a load has changed. " +
		"Loads that begin later are not waited for; staged loads that failed before and were not cancelled are an error. " +
		"Exit codes: 0 all are in, 1 one failed or was cancelled, 2 timed out, 130 interrupted."
}

// Run implements the command.
func (c *loadsWaitCmd) Run(a *app) error {
	if n := count(len(c.IDs) > 0, c.All, c.Table != ""); n != 1 {
		return codedError{code: exitUsage, text: "loads wait: give process ids, or --all, or --table"}
	}
	return c.use(a, "wait", func(ctx context.Context, admin *checkpoint.Admin) error {
		if c.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(c.Timeout), errTimedOut)
			defer cancel()
		}
		entries, err := c.chosen(ctx, admin)
		if err == nil {
			entries, err = watch(ctx, admin, entries, newDisplay(a, c.JSON))
		}
		if err != nil && context.Cause(ctx) == errTimedOut {
			text := "timed out"
			if len(entries) > 0 {
				text += fmt.Sprintf(": %d of %d loads are not in", len(unsettled(entries)), len(entries))
			}
			return codedError{code: exitUsage, text: text}
		}
		if err != nil {
			return err
		}
		return verdict(entries)
	})
}

// chosen returns the loads to wait for.
func (c *loadsWaitCmd) chosen(ctx context.Context, admin *checkpoint.Admin) ([]checkpoint.Entry, error) {
	if len(c.IDs) > 0 {
		return find(ctx, admin, c.IDs)
	}
	return admin.List(ctx, checkpoint.Filter{Table: c.Table, Open: true})
}

// watch shows the loads until none of them is under way, and returns them as
// they are then, or were last.
func watch(ctx context.Context, admin *checkpoint.Admin, entries []checkpoint.Entry, d display) ([]checkpoint.Entry, error) {
	defer d.close()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ProcessID
	}
	for {
		if err := d.show(entries); err != nil {
			return entries, err
		}
		if len(unsettled(entries)) == 0 {
			return entries, nil
		}
		select {
		case <-ctx.Done():
			return entries, ctx.Err()
		case <-tick.C:
		}
		now, err := find(ctx, admin, ids)
		if err != nil {
			return entries, err
		}
		entries = now
	}
}

// unsettled are the loads that are still under way.
func unsettled(entries []checkpoint.Entry) []checkpoint.Entry {
	var still []checkpoint.Entry
	for _, e := range entries {
		if e.Status == checkpoint.Running {
			still = append(still, e)
		}
	}
	return still
}

// verdict is an error if one of the loads is not in.
func verdict(entries []checkpoint.Entry) error {
	var first *checkpoint.Entry
	n := 0
	for i, e := range entries {
		if e.Status != checkpoint.Completed {
			if n++; first == nil {
				first = &entries[i]
			}
		}
	}
	if n == 0 {
		return nil
	}
	text := fmt.Sprintf("%d of %d loads are not in: %s into %s is %s", n, len(entries), first.ProcessID, first.Table, first.Status)
	if first.Error != "" {
		text += ": " + first.Error
	}
	return errors.New(oneLine(text))
}

// count returns how many of them are true.
func count(those ...bool) int {
	n := 0
	for _, t := range those {
		if t {
			n++
		}
	}
	return n
}
