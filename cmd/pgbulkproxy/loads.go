package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vbauerster/mpb/v8/cwriter"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// loadsCmd is the family of commands about one database's ledger.
type loadsCmd struct {
	List   loadsListCmd   `cmd:"" help:"List loads, the newest first."`
	Show   loadsShowCmd   `cmd:"" help:"Show all of one load, with its files."`
	Wait   loadsWaitCmd   `cmd:"" help:"Wait until loads are in, with their progress."`
	Retry  loadsRetryCmd  `cmd:"" help:"Try staged loads again that failed or wait."`
	Cancel loadsCancelCmd `cmd:"" help:"Give up staged loads: their rows will not be loaded."`
	Clean  loadsCleanCmd  `cmd:"" help:"Delete what the ledger knows of old loads."`
}

// ledgerFlags are the flags that all of them have.
type ledgerFlags struct {
	DSN  string `name:"dsn" help:"Database whose ledger it is (URL or keyword form; PG… variables fill what is missing). A role sees its own loads, the service role and superusers all." placeholder:"DSN"`
	JSON bool   `name:"json" help:"Print JSON, one object a line."`
}

// errInterrupted ends a command after Ctrl-C.
var errInterrupted = codedError{code: exitStopped, text: "interrupted"}

// codedError is an error with an exit code of its own.
type codedError struct {
	code int
	text string
}

// Error implements error.
func (e codedError) Error() string { return e.text }

// ExitCode implements kong.ExitCoder.
func (e codedError) ExitCode() int { return e.code }

// use connects, looks at the ledger's version and runs work. The first signal
// ends it: whatever the work does is one transaction at a time.
func (f ledgerFlags) use(a *app, name string, work func(context.Context, *checkpoint.Admin) error) error {
	return a.untilSignal(func(ctx context.Context) error {
		conn, err := connectLedger(ctx, f.DSN)
		if err == nil {
			// What was sent is committed or rolled back by then.
			defer conn.Close(context.WithoutCancel(ctx))
			admin := checkpoint.NewAdmin(conn)
			if err = admin.Check(ctx); err == nil {
				err = work(ctx, admin)
			}
		}
		var own codedError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			err = errInterrupted
		case !errors.As(err, &own):
			err = plainError(err)
		}
		return fmt.Errorf("loads %s: %w", name, err)
	})
}

// loadJSON is a load as --json prints it.
type loadJSON struct {
	checkpoint.Entry
	// Files is there where one load is shown.
	Files []checkpoint.EntryFile `json:"files,omitempty"`
}

// printJSON prints one object on one line.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// terminalSize is the size of the terminal behind w; zeros if there is none.
func terminalSize(w io.Writer) (width, height int) {
	f, ok := w.(*os.File)
	if !ok || !cwriter.IsTerminal(int(f.Fd())) {
		return 0, 0
	}
	width, height, err := cwriter.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// oneLine makes text that may be anybody's fit for one line of a terminal.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }), " ")
}

// stamp is a time as people read it, in their time zone.
func stamp(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// took is a duration as people read it: three digits are enough.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// size is a number of bytes as people read it.
func size(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n)/1024, 0
	for v >= 999.95 && unit < 4 {
		v, unit = v/1024, unit+1
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + "KMGTP"[unit:unit+1] + "iB"
}

// span is a length of time in flags: Go's form, and days as in 7d or 1d12h.
type span time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *span) UnmarshalText(text []byte) error {
	days, rest, found := strings.Cut(string(text), "d")
	if !found {
		days, rest = "0", string(text)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	d := time.Duration(0)
	if err == nil && (rest != "" || !found) {
		d, err = time.ParseDuration(rest)
	}
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no length of time (as 90s, 2h or 7d)", text)
	}
	*s = span(time.Duration(n)*24*time.Hour + d)
	return nil
}
