package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// loadsListCmd lists loads.
type loadsListCmd struct {
	ledgerFlags `embed:""`
	Status      []string `help:"Only loads with one of these: running, completed, failed, cancelled." placeholder:"STATUS"`
	Table       string   `help:"Only loads into this table: schema.table, or table in any schema, as SQL writes it." placeholder:"TABLE"`
	Label       string   `help:"Only the load with this label."`
	Since       span     `help:"Only loads that began at most so long ago, as 90s, 2h or 7d." placeholder:"SPAN"`
	Limit       int      `help:"At most so many; 0: all." default:"50"`
}

// Run implements the command.
func (c *loadsListCmd) Run(a *app) error {
	filter := checkpoint.Filter{Table: c.Table, Label: c.Label, Since: time.Duration(c.Since), Limit: c.Limit}
	for _, text := range c.Status {
		status, err := checkpoint.ParseStatus(text)
		if err != nil {
			return fmt.Errorf("loads list: %w", err)
		}
		filter.Statuses = append(filter.Statuses, status)
	}
	return c.use(a, "list", func(ctx context.Context, admin *checkpoint.Admin) error {
		entries, err := admin.List(ctx, filter)
		if err != nil {
			return err
		}
		if !c.JSON {
			width, _ := terminalSize(a.stdout)
			return printTable(a.stdout, width, entries)
		}
		for _, e := range entries {
			if err := printJSON(a.stdout, loadJSON{Entry: e}); err != nil {
				return err
			}
		}
		return nil
	})
}

// printTable prints loads in columns. Where there is a terminal, its width cuts
// the last one, the error.
func printTable(w io.Writer, width int, entries []checkpoint.Entry) error {
	var text strings.Builder
	columns := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	// A strings.Builder takes everything.
	_, _ = fmt.Fprintln(columns, "PROCESS ID\tTABLE\tSTATUS\tSTARTED\tDURATION\tFILES\tROWS\tBYTES\tERROR")
	for _, e := range entries {
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\t%d/%d\t%d\t%s\t%s\n", e.ProcessID, oneLine(e.Table), e.Status,
			stamp(&e.Started), duration(e), e.FilesImported, e.FilesTotal, e.Records, size(e.Bytes), oneLine(e.Error))
	}
	_ = columns.Flush()
	for line := range strings.Lines(text.String()) {
		if _, err := io.WriteString(w, cut(strings.TrimRight(line, " \n"), width)+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// duration is how long a load took, or has been taking.
func duration(e checkpoint.Entry) string {
	switch {
	case e.Status == checkpoint.Running:
		return took(e.Age)
	case e.Ended == nil:
		return "-"
	}
	return took(e.Ended.Sub(e.Started))
}

// cut shortens a line to so many characters. 0: not at all.
func cut(s string, width int) string {
	if r := []rune(s); width > 0 && len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}
