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
	"sync"
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
	// Distributed is for a server of several nodes that can't do all that is in the
	// scripts: rows come in no order, errors name the node and its process or shard, and a case that
	// the server itself can't set up or wait for is left out.
	Distributed bool
	// Waits is what such a server is asked in place of LockWait; "" is that.
	Waits string
	// Memory, if set, has the oracle run a case once for all comparisons that share it.
	Memory *Memory
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
		script: script,
		other:  newSide(t, direct, proxied, options),
		memory: options.Memory, distributed: options.Distributed,
	}
	pair.other.proxied = true
	pair.begin(t, pair.other)
	pair.oracle = sync.OnceValue(func() *side {
		oracle := newSide(t, direct, direct, options)
		pair.begin(t, oracle)
		return oracle
	})
	var golden strings.Builder
	for _, c := range script.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if reason := pair.skip(t.Context(), script, c, options); reason != "" {
				t.Skip(reason)
			}
			transcript := pair.diffCase(t, c)
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
	return &side{target: target, admin: admin, database: database, extended: options.Extended, timeout: options.Timeout, pairs: options.Pairs, distributed: options.Distributed, waits: options.Waits,
		before: options.BeforeSetup, after: options.AfterSetup}
}

// pair is the two sides of a script.
type pair struct {
	script *Script
	// oracle makes its side when it is first needed.
	oracle      func() *side
	other       *side
	memory      *Memory
	distributed bool
}

// begin runs what a script wants once on its databases.
func (p *pair) begin(t *testing.T, s *side) {
	t.Helper()
	if _, err := s.admin.PgConn().Exec(t.Context(), s.expand(p.script.Database)).ReadAll(); err != nil {
		p.impossible(t, fmt.Errorf("%s: database: %w", p.script.Path, err))
	}
}

// passing are the classes of errors that say nothing of what a server can do: it could
// another time (08 connection, 40 deadlock, 53 no room, 57 canceled, 58 system).
var passing = []string{"08", "40", "53", "57", "58"}

// impossible ends a case that can't be run. Only a distributed server may refuse a
// case, which was written for PostgreSQL.
func (p *pair) impossible(t *testing.T, err error) {
	t.Helper()
	var e *pgconn.PgError
	if asPgError(err, &e) && p.distributed && !slices.Contains(passing, e.Code[:min(2, len(e.Code))]) {
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
	major, _ := strconv.Atoi(strings.FieldsFunc(p.other.admin.PgConn().ParameterStatus("server_version"), notDigit)[0])
	if o := c.options; major < o.minVersion || o.maxVersion > 0 && major > o.maxVersion {
		return fmt.Sprintf("server version is %d, case is for %d to %d", major, o.minVersion, o.maxVersion)
	}
	for _, name := range c.options.extensions {
		var available bool
		err := p.other.admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = $1)`, name).Scan(&available)
		if err != nil || !available {
			return "extension " + name + " is not available"
		}
	}
	return ""
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// diffCase runs a case on both sides, one after the other, and returns the
// oracle's transcript.
func (p *pair) diffCase(t *testing.T, c *Case) []string {
	t.Helper()
	want := p.memory.recall(p.script, c, p.other.extended, func() []string { return p.transcript(t, p.oracle(), c) })
	got := p.transcript(t, p.other, c)
	if report := compare(want, got, "direct", p.other.target.Name); report != "" {
		t.Errorf("%s, case %s\n%s", p.script.Path, c.Name, report)
	}
	return want
}

// transcript runs a case on one side.
func (p *pair) transcript(t *testing.T, s *side, c *Case) []string {
	t.Helper()
	if err := p.reset(t, s, c.options.setup); err != nil {
		p.impossible(t, fmt.Errorf("%s, %s: %w", p.script.Path, s.target.Name, err))
	}
	lines, err := s.run(t.Context(), c)
	if err != nil {
		err = fmt.Errorf("%s, %s: %w\n%s", p.script.Path, s.target.Name, err, strings.Join(tail(lines), "\n"))
	}
	switch {
	case err != nil && !s.proxied:
		p.impossible(t, err)
	case err != nil:
		t.Fatal(err)
	case s.stuck && !s.proxied && p.distributed:
		t.Skip("the server does not come to what the script waits for")
	case s.stuck && !s.proxied:
		t.Fatalf("%s: the script hangs on the oracle itself:\n%s", p.script.Path, strings.Join(tail(lines), "\n"))
	}
	if s.pairs != nil {
		lines = s.pairs.comparable(lines)
	}
	if p.distributed {
		lines = comparableNodes(lines)
	}
	return lines
}

// reset makes the database of one side as the case wants it. The nodes of a
// distributed server may lock each other out while scripts beside this one change
// their own schemas: then it is made again.
func (p *pair) reset(t *testing.T, side *side, setup string) error {
	t.Helper()
	for try := 1; ; try++ {
		err := side.reset(t.Context(), setup)
		var e *pgconn.PgError
		if !p.distributed || try == 3 || !asPgError(err, &e) || !strings.HasPrefix(e.Code, "40") {
			return err
		}
		t.Log("set up once more: ", err)
	}
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
