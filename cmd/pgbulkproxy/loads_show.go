package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// loadsShowCmd shows one load.
type loadsShowCmd struct {
	ledgerFlags `embed:""`
	ID          string `arg:"" name:"id" help:"The load's process id."`
}

// Run implements the command.
func (c *loadsShowCmd) Run(a *app) error {
	return c.use(a, "show", func(ctx context.Context, admin *checkpoint.Admin) error {
		entries, err := find(ctx, admin, []string{c.ID})
		if err != nil {
			return err
		}
		files, err := admin.Files(ctx, c.ID)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(a.stdout, loadJSON{Entry: entries[0], Files: files})
		}
		return printLoad(a.stdout, entries[0], files)
	})
}

// find returns the loads of these ids; it is an error if one isn't there.
func find(ctx context.Context, admin *checkpoint.Admin, ids []string) ([]checkpoint.Entry, error) {
	entries, err := admin.List(ctx, checkpoint.Filter{IDs: ids})
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, e := range entries {
		found[e.ProcessID] = true
	}
	for _, id := range ids {
		if !found[id] {
			return nil, fmt.Errorf("the ledger has no load %q, or it belongs to another role", id)
		}
	}
	return entries, nil
}

// printLoad prints one load and its files.
func printLoad(w io.Writer, e checkpoint.Entry, files []checkpoint.EntryFile) error {
	var text strings.Builder
	lines := [][2]string{
		{"process id", e.ProcessID},
		{"table", oneLine(e.Table)},
		{"status", string(e.Status)},
		{"acknowledged", "when " + string(e.Ack)},
		{"label", oneLine(e.Label)},
		{"started", stamp(&e.Started)},
		{"last insert", stamp(e.Last)},
		{"ended", stamp(e.Ended)},
		{"duration", duration(e)},
		{"files", fmt.Sprintf("%d of %d imported", e.FilesImported, e.FilesTotal)},
		{"rows", fmt.Sprintf("%d of %d imported", e.RecordsImported, e.Records)},
		{"bytes", fmt.Sprintf("%s of %s imported", size(e.BytesImported), size(e.Bytes))},
	}
	if e.Attempts > 0 {
		lines = append(lines, [2]string{"attempts", fmt.Sprint(e.Attempts)})
	}
	if e.NextTry != nil {
		lines = append(lines, [2]string{"next try", stamp(e.NextTry)})
	}
	if e.ErrorRecords > 0 {
		lines = append(lines, [2]string{"rejected rows", fmt.Sprint(e.ErrorRecords)})
	}
	if e.Pending && e.Status == checkpoint.Failed {
		lines = append(lines, [2]string{"pending", "waits for loads retry or loads cancel"})
	}
	lines = append(lines, [2]string{"error", oneLine(e.Error)})
	// A strings.Builder takes everything.
	for _, l := range lines {
		if l[1] == "" {
			continue
		}
		_, _ = fmt.Fprintf(&text, "%-14s %s\n", l[0]+":", l[1])
	}
	if len(files) > 0 {
		text.WriteString("\n")
		columns := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
		_, _ = fmt.Fprintln(columns, "FILE\tSTATE\tROWS\tBYTES\tCHECKSUM\tCREATED\tIMPORTED\tURL")
		for _, f := range files {
			_, _ = fmt.Fprintf(columns, "%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", f.Number, f.State, f.Records, size(f.Bytes),
				f.Checksum, stamp(f.Created), stamp(f.Imported), oneLine(f.URL))
		}
		_ = columns.Flush()
	}
	_, err := io.WriteString(w, text.String())
	return err
}
