package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// scriptPassword is what scripts give to the roles they create. The servers
// are throw-away ones.
const scriptPassword = "pgtest-password"

// defaultTimeout is how long an awaited message may take. Locks and cancels in
// the scripts resolve within milliseconds; the rest is for a busy machine.
const defaultTimeout = 60 * time.Second

// contextLines is what a report shows around the first difference.
const contextLines = 8

// Target is one way to reach a server.
type Target struct {
	// Name is shown in reports.
	Name string
	// DSN returns a connection string for a database, as a superuser, in the
	// form "host=… port=…", which can be extended.
	DSN func(database string) string
	// NewDatabase creates an empty UTF8 database and returns its name. Only
	// the direct target needs it.
	NewDatabase func(t testing.TB) string
}

// Options of a comparison. The zero value is good.
type Options struct {
	// Timeout is how long an awaited message may take; default 60 s.
	Timeout time.Duration
	// Extended runs every copy step over the extended protocol.
	Extended bool
	// Golden, if set, is a folder that gets the oracle's transcripts.
	Golden string
	// Skip returns a reason to leave a case out, or "". May be nil.
	Skip func(script string, c *Case) string
	// Prepare is called for each fresh database of both sides before
	// the script's own database SQL, for instance to install what an engine
	// needs. May be nil.
	Prepare func(t testing.TB, database string)
	// AfterCase is called after a case has run on the proxied side. Cases of
	// one script run one after the other. May be nil.
	AfterCase func(t testing.TB, script, database string, c *Case)
	// BeforeSetup and AfterSetup are called for both sides around each case's setup,
	// with the schemas of the case before, and with those of this one. May be nil.
	BeforeSetup, AfterSetup func(ctx context.Context, admin *pgx.Conn) error
	// Pairs, if set, are made on the proxied side. May be nil.
	Pairs *Pairs
	// Distributed is for a server of several nodes that is older than the scripts:
	// rows come in no order, errors name the node and its process, and a case that
	// the server itself can't set up or wait for is left out.
	Distributed bool
	// Transcript is given what each side of a real client saw. May be nil.
	Transcript func(target string, lines []string)
}

// RunDir compares every script below dir. Scripts run in parallel with each
// other, the cases of one script in order.
func RunDir(t *testing.T, dir string, direct, proxied Target, options Options) {
	t.Helper()
	paths, err := scriptPaths(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.ToSlash(relative), ".txt"), func(t *testing.T) {
			t.Parallel()
			Diff(t, path, direct, proxied, options)
		})
	}
}

func scriptPaths(dir string) ([]string, error) {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(path) == ".txt" {
			paths = append(paths, path)
		}
		return err
	})
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("no script below %s", dir)
	}
	return paths, err
}

// Diff runs one script on both sides and reports every case that differs. Each
// case is a subtest.
func Diff(t *testing.T, path string, direct, proxied Target, options Options) {
	t.Helper()
	script, err := ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	diffScript(t, script, direct, proxied, options)
}

func diffScript(t *testing.T, script *Script, direct, proxied Target, options Options) {
	t.Helper()
	if options.Timeout == 0 {
		options.Timeout = defaultTimeout
	}
	pair := &pair{
		oracle:      newSide(t, direct, direct, options),
		other:       newSide(t, direct, proxied, options),
		distributed: options.Distributed,
	}
	pair.other.proxied = true
	for _, side := range []*side{pair.oracle, pair.other} {
		if _, err := side.admin.PgConn().Exec(t.Context(), side.expand(script.Database)).ReadAll(); err != nil {
			pair.impossible(t, fmt.Errorf("%s: database: %w", script.Path, err))
		}
	}
	var golden strings.Builder
	for _, c := range script.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if reason := pair.skip(t.Context(), script, c, options); reason != "" {
				t.Skip(reason)
			}
			transcript := pair.diffCase(t, script, c)
			fmt.Fprintf(&golden, "=== %s\n%s\n\n", c.Name, strings.Join(abridged(withoutStartup(transcript)), "\n"))
			if options.AfterCase != nil {
				options.AfterCase(t, script.Path, pair.other.database, c)
			}
		})
	}
	if options.Golden != "" {
		writeGolden(t, options.Golden, script.Path, golden.String())
	}
}

func newSide(t *testing.T, direct, target Target, options Options) *side {
	t.Helper()
	database := direct.NewDatabase(t)
	if options.Prepare != nil {
		options.Prepare(t, database)
	}
	admin, err := pgx.Connect(t.Context(), direct.DSN(database))
	if err != nil {
		t.Fatalf("connect to %s: %v", database, err)
	}
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	return &side{target: target, admin: admin, database: database, extended: options.Extended, timeout: options.Timeout, pairs: options.Pairs, distributed: options.Distributed,
		before: options.BeforeSetup, after: options.AfterSetup}
}

// pair is the two sides of a script.
type pair struct {
	oracle, other *side
	distributed   bool
}

// impossible ends a case that can't be run.
func (p *pair) impossible(t *testing.T, err error) {
	t.Helper()
	if asPgError(err, new(*pgconn.PgError)) && p.distributed {
		t.Skip("the server can't: ", err)
	}
	t.Fatal(err)
}

func (p *pair) skip(ctx context.Context, script *Script, c *Case, options Options) string {
	if options.Skip != nil {
		if reason := options.Skip(script.Path, c); reason != "" {
			return reason
		}
	}
	if c.options.skip != "" {
		return c.options.skip
	}
	major, _ := strconv.Atoi(strings.FieldsFunc(p.oracle.admin.PgConn().ParameterStatus("server_version"), notDigit)[0])
	if o := c.options; major < o.minVersion || o.maxVersion > 0 && major > o.maxVersion {
		return fmt.Sprintf("server version is %d, case is for %d to %d", major, o.minVersion, o.maxVersion)
	}
	for _, name := range c.options.extensions {
		var available bool
		err := p.oracle.admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = $1)`, name).Scan(&available)
		if err != nil || !available {
			return "extension " + name + " is not available"
		}
	}
	return ""
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// diffCase runs a case on both sides, one after the other, and returns the
// oracle's transcript.
func (p *pair) diffCase(t *testing.T, script *Script, c *Case) []string {
	t.Helper()
	transcripts := make([][]string, 0, 2)
	for _, side := range []*side{p.oracle, p.other} {
		if err := side.reset(t.Context(), c.options.setup); err != nil {
			p.impossible(t, fmt.Errorf("%s, %s: %w", script.Path, side.target.Name, err))
		}
		lines, err := side.run(t.Context(), c)
		if err != nil && side == p.oracle {
			p.impossible(t, fmt.Errorf("%s, %s: %w\n%s", script.Path, side.target.Name, err, strings.Join(tail(lines), "\n")))
		}
		if err != nil {
			t.Fatalf("%s, %s: %v\n%s", script.Path, side.target.Name, err, strings.Join(tail(lines), "\n"))
		}
		if side == p.oracle && side.stuck && p.distributed {
			t.Skip("the server does not come to what the script waits for")
		}
		if side == p.oracle && side.stuck {
			t.Fatalf("%s: the script hangs on the oracle itself:\n%s", script.Path, strings.Join(tail(lines), "\n"))
		}
		if options := side.pairs; options != nil {
			lines = options.comparable(lines)
		}
		if p.distributed {
			lines = sortRows(lines)
		}
		transcripts = append(transcripts, lines)
	}
	if report := compare(transcripts[0], transcripts[1], p.oracle.target.Name, p.other.target.Name); report != "" {
		t.Errorf("%s, case %s\n%s", script.Path, c.Name, report)
	}
	return transcripts[0]
}

func tail(lines []string) []string { return lines[max(0, len(lines)-contextLines):] }

// compare returns "" for equal transcripts, else the surroundings of the first
// difference on both sides.
func compare(want, got []string, wantName, gotName string) string {
	if slices.Equal(want, got) {
		return ""
	}
	at := 0
	for at < len(want) && at < len(got) && want[at] == got[at] {
		at++
	}
	var report strings.Builder
	for _, line := range want[max(0, at-contextLines):at] {
		fmt.Fprintf(&report, "      %s\n", line)
	}
	for _, part := range []struct {
		name  string
		lines []string
	}{{wantName, want}, {gotName, got}} {
		fmt.Fprintf(&report, "  --- %s (%d lines)\n", part.name, len(part.lines))
		for _, line := range part.lines[at:min(len(part.lines), at+contextLines)] {
			fmt.Fprintf(&report, "      %s\n", line)
		}
	}
	return report.String()
}

// withoutStartup leaves out the parameters reported while connecting: they are
// compared, but would make a transcript unreadable.
func withoutStartup(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		_, rest, found := strings.Cut(line, ": ")
		name, _, assigned := strings.Cut(rest, "=")
		return found && assigned && !strings.Contains(name, " ") && !strings.HasPrefix(line, "|")
	})
}

// abridged keeps both ends of a transcript that nobody would read.
func abridged(lines []string) []string {
	const end = 30
	if len(lines) <= 3*end {
		return lines
	}
	short := append(slices.Clone(lines[:end]), fmt.Sprintf("... %d lines", len(lines)-2*end))
	return append(short, lines[len(lines)-end:]...)
}

func writeGolden(t *testing.T, dir, path, text string) {
	t.Helper()
	folder := filepath.Base(filepath.Dir(path))
	name := folder + "-" + strings.TrimSuffix(filepath.Base(path), ".txt") + ".golden"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func asPgError(err error, target **pgconn.PgError) bool { return errors.As(err, target) }
