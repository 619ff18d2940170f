package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/pgbulkproxy/pgbulkproxy/routing"
)

// print prints the summary: with JSON one object a table, else a line each, and
// before them the groups of a dry run and those that could not be moved.
func (c *migrateCmd) print(a *app, all []migrated) error {
	if c.JSON {
		for _, m := range all {
			if err := printJSON(a.stdout, m); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, m := range all {
		for _, g := range m.Moves {
			fmt.Fprintf(w, "%s\t%s\t%d rows\tto %s\n", oneLine(m.Table), oneLine(moveName(g)), g.Rows, destination(g))
		}
		for _, f := range m.Failed {
			fmt.Fprintf(w, "%s\t%s\tnot moved: %s\n", oneLine(m.Table), oneLine(groupName(f.Group)), f.Error)
		}
	}
	// A blank line ends the columns of what is above.
	if err := w.Flush(); err != nil {
		return err
	}
	verb := "MOVED"
	if c.DryRun {
		verb = "TO MOVE"
	}
	fmt.Fprintf(w, "TABLE\tGROUPS %s\tROWS\tNOT MOVED\tTIME\tROWS/S\n", verb)
	for _, m := range all {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\n", oneLine(m.Table), m.Groups, m.Rows, len(m.Failed),
			took(time.Duration(m.Seconds*float64(time.Second))), rate(m.Rows, m.Seconds, c.DryRun))
	}
	return w.Flush()
}

func moveName(g routing.Move) string {
	if g.Null {
		return groupName(nil)
	}
	return groupName(&g.Group)
}

func destination(g routing.Move) string {
	if g.ToAux {
		return "auxiliary table"
	}
	return "main table"
}

func rate(rows int64, seconds float64, dry bool) string {
	if dry || rows == 0 || seconds <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", float64(rows)/seconds)
}

// migrateDisplay shows how far the migration of one table is.
type migrateDisplay interface {
	show(p routing.MigrateProgress)
	// close leaves the last state on the screen, and no goroutine.
	close()
}

// newMigrateDisplay draws a bar on a terminal. Elsewhere it says on stderr what
// is waited for, once each: what was moved is in the summary.
func newMigrateDisplay(a *app, table string, asJSON bool) migrateDisplay {
	if _, height := terminalSize(a.stdout); height > 0 && !asJSON {
		return newMigrateBar(a.stdout, table)
	}
	return &migrateLines{w: a.stderr, said: map[string]bool{}}
}

type migrateLines struct {
	w    io.Writer
	said map[string]bool
}

func (d *migrateLines) show(p routing.MigrateProgress) {
	if p.Waiting != "" && !d.said[p.Waiting] {
		d.said[p.Waiting] = true
		// Where stderr is gone, the migration is still wanted.
		_, _ = fmt.Fprintln(d.w, "pgbulkproxy: migrate: waiting for "+oneLine(p.Waiting))
	}
}

func (d *migrateLines) close() {}

// migrateBar is one bar. The library draws it from a goroutine of its own, and
// reads its text while it does; close waits for it.
type migrateBar struct {
	progress *mpb.Progress
	bar      *mpb.Bar
	table    string
	began    time.Time
	mu       sync.Mutex
	tail     string
}

func newMigrateBar(w io.Writer, table string) *migrateBar {
	d := &migrateBar{table: table, tail: " counting", began: time.Now()}
	d.progress = mpb.New(mpb.WithOutput(w), mpb.WithRefreshRate(pollEvery/2), mpb.WithAutoRefresh())
	d.bar = d.progress.New(0, mpb.BarStyle(),
		mpb.PrependDecorators(decor.Name(cut(oneLine(table), 24)+" ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.tail
		})))
	return d
}

func (d *migrateBar) show(p routing.MigrateProgress) {
	var tail strings.Builder
	if p.Plan != nil {
		fmt.Fprintf(&tail, " %d/%d groups %d/%d rows", p.Groups, len(p.Plan.Moves), p.Rows, p.Plan.Rows)
		if per := float64(p.Rows) / time.Since(d.began).Seconds(); per > 0 {
			fmt.Fprintf(&tail, " %.0f/s", per)
			if left := p.Plan.Rows - p.Rows; left > 0 {
				fmt.Fprintf(&tail, " ETA %s", took(time.Duration(float64(left)/per*float64(time.Second)).Round(time.Second)))
			}
		}
		// A plan of routes alone has no rows.
		d.bar.SetTotal(max(p.Plan.Rows, 1), false)
		d.bar.SetCurrent(p.Rows)
	}
	if p.Waiting != "" {
		tail.WriteString(" waiting for " + cut(oneLine(p.Waiting), 40))
	}
	d.mu.Lock()
	d.tail = tail.String()
	d.mu.Unlock()
}

func (d *migrateBar) close() {
	d.bar.SetTotal(-1, true) // as far as it came
	d.progress.Wait()
}
