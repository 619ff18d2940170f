package bulk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// groupEngine reads as many files at once as it is told when it asks.
type groupEngine struct {
	readers string
	// changes are made to its flags; lies: the tag is no count.
	change func(*engine.Caps)
	lies   bool
}

func (groupEngine) Name() string { return "groups" }

func (e groupEngine) Caps() engine.Caps {
	c := fakeEngine{}.Caps()
	c.Parallel, c.TagIsExact = true, !e.lies
	if e.change != nil {
		e.change(&c)
	}
	return c
}

func (e groupEngine) PrepareSQL(engine.Target, string) string { return "ANSWER " + e.readers }

func (groupEngine) Prepare(t engine.Target, row [][]byte) (engine.Target, error) {
	if _, err := fmt.Sscan(string(row[0]), &t.Readers); err != nil {
		return t, engine.ErrUnsupported
	}
	return t, nil
}

func (e groupEngine) Plan(t engine.Target, _ *rewrite.CopyStatement, _ engine.Session, g engine.Group, _ []byte, _ time.Time) (engine.Plan, error) {
	if t.Readers == 0 || !strings.HasPrefix(g.Prefix, "s3://bucket/") || !strings.HasSuffix(g.Prefix, "/") {
		return engine.Plan{}, fmt.Errorf("target %+v, group %+v", t, g)
	}
	var records int64
	open := "OPEN"
	for _, f := range g.Files {
		records += f.Records
		open += fmt.Sprintf(" %d", f.Number)
	}
	folder := g.Prefix[strings.LastIndex(strings.TrimSuffix(g.Prefix, "/"), "/")+1:]
	p := engine.Plan{Open: fmt.Sprintf("%s in %s %q", open, folder, g.EOL), Insert: fmt.Sprintf("INSERT %d", records), Close: "CLOSE"}
	if g.Config != "" {
		p.Open += " by " + g.Config
	}
	if a := g.Access; a != (engine.Access{}) {
		p.Open += fmt.Sprintf(" at %s %s accessid=%s secret=%s token=%s", g.Endpoint, g.Region, a.ID, a.Secret, a.Token)
	}
	if e.lies {
		p.Insert, p.Count = "INSERT 0", fmt.Sprintf("ANSWER %d", records)
	}
	return p, nil
}

// fakeConfigs counts what is open.
type fakeConfigs struct{ opened, open int }

func (c *fakeConfigs) Open(int) (string, func()) {
	c.opened++
	c.open++
	return fmt.Sprintf("url%d", c.opened), func() { c.open-- }
}

func (*fakeConfigs) Place() (host, region string) { return "host", "region" }

const (
	askTwo    = "SAVE; ANSWER 2; RELEASE"
	groupOne  = `SAVE; OPEN 1 2 in 0001/ "\n"; INSERT 4; CLOSE`
	groupTwo  = `RELEASE; SAVE; OPEN 3 in 0002/ "\n"; INSERT 1; CLOSE`
	recordAll = "SAVE; RECORD; RECORD; RECORD; RELEASE"
)

// twos has the engine read two files at once, and the server answer by rules.
func twos(e groupEngine, r ...rule) func(*bed) {
	e.readers = "2"
	return func(b *bed) { b.engineOf, b.sess.rules = always(e), r }
}

var groupCases = []loadCase{
	{
		name: "groups", rows: 5, settle: "COMPLETED", notified: 2, setup: twos(groupEngine{}),
		sess: []string{askTwo, groupOne, groupTwo, commit},
	},
	{
		name: "in a block", inBlock: true, rows: 5, settle: "COMPLETED", notified: 2, setup: twos(groupEngine{}),
		sess: []string{askTwo, groupOne, groupTwo, "RELEASE; "},
	},
	{
		name: "one reader", rows: 5, settle: "COMPLETED", notified: 3,
		setup: func(b *bed) { b.engineOf = always(groupEngine{readers: "1"}) },
		sess: []string{
			"SAVE; ANSWER 1; RELEASE", `SAVE; OPEN 1 in 0001/ "\n"; INSERT 2; CLOSE`, `RELEASE; SAVE; OPEN 2 in 0002/ "\n"; INSERT 2; CLOSE`,
			`RELEASE; SAVE; OPEN 3 in 0003/ "\n"; INSERT 1; CLOSE`, commit,
		},
	},
	{
		name: "one group", rows: 5, settle: "COMPLETED", notified: 1,
		setup: func(b *bed) { b.engineOf = always(groupEngine{readers: "100"}) },
		sess:  []string{"SAVE; ANSWER 100; RELEASE", `SAVE; OPEN 1 2 3 in 0001/ "\n"; INSERT 5; CLOSE`, commit},
	},
	{
		name: "no rows", data: "-", settle: "COMPLETED", notified: 1, setup: twos(groupEngine{}),
		sess: []string{askTwo, `SAVE; OPEN 1 in 0001/ "\n"; INSERT 0; CLOSE`, commit},
	},
	{
		name: "another count of the first group", rows: 5, settle: "COMPLETED", fallback: "count",
		setup: twos(groupEngine{}, rule{match: "OPEN 1", rows: "3"}),
		sess:  []string{askTwo, groupOne, back, native, "end c: " + string(lines(5)), recordAll, "COMMIT"},
	},
	{
		name: "another count of the second group", rows: 5, settle: "COMPLETED", notified: 1, fallback: "count",
		setup: twos(groupEngine{}, rule{match: "OPEN 3", rows: "0"}),
		sess:  []string{askTwo, groupOne, groupTwo, back, continuation, "end c: " + string(lines(5)[40:]), recordOne, "COMMIT"},
	},
	{
		name: "a tag that lies", rows: 5, settle: "COMPLETED", notified: 2, setup: twos(groupEngine{lies: true}),
		sess: []string{askTwo, `SAVE; OPEN 1 2 in 0001/ "\n"; INSERT 0; ANSWER 4; CLOSE`, `RELEASE; SAVE; OPEN 3 in 0002/ "\n"; INSERT 0; ANSWER 1; CLOSE`, commit},
	},
	{
		name: "another count than the tag's", rows: 5, settle: "COMPLETED", fallback: "count",
		setup: twos(groupEngine{lies: true}, rule{match: "OPEN 1", rows: "3"}),
		sess: []string{
			askTwo, `SAVE; OPEN 1 2 in 0001/ "\n"; INSERT 0; ANSWER 4; CLOSE`, back, native, "end c: " + string(lines(5)), recordAll, "COMMIT",
		},
	},
	{
		name: "a plan without a count", rows: 5, settle: "COMPLETED", fallback: "engine",
		setup: twos(groupEngine{change: func(c *engine.Caps) { c.TagIsExact = false }}),
		sess:  []string{askTwo, native, "end c: " + string(lines(5)), recordAll, "COMMIT"},
	},
	{
		name: "engine fails", rows: 5, settle: "COMPLETED", fallback: "engine",
		setup: twos(groupEngine{}, rule{match: "OPEN 1", at: 2, err: boom("38000")}),
		sess:  []string{askTwo, groupOne, back, native, "end c: " + string(lines(5)), recordAll, "COMMIT"},
	},
	{
		name: "store fails", rows: 5, settle: "COMPLETED", fallback: "store",
		setup: func(b *bed) { b.engineOf, b.store.putErr = always(groupEngine{readers: "2"}), errors.New("down") },
		sess:  []string{askTwo, native, "end c: " + string(lines(5)), recordAll, "COMMIT"},
	},
	{
		name: "the last lines are irregular", data: string(lines(3)) + "a\r\nb", rows: 4, settle: "COMPLETED", notified: 1, fallback: "irregular",
		setup: twos(groupEngine{}),
		// The server of the test counts line feeds.
		sess: []string{askTwo, `SAVE; OPEN 1 in 0001/ "\n"; INSERT 2; CLOSE`, "RELEASE", continuation, "end c: " + string(lines(3)[20:]) + "a\r\nb", recordOne, "COMMIT"},
	},
	{
		name: "lines end otherwise, the last one not at all", data: "a\r\nb", rows: 2, settle: "COMPLETED", notified: 1, setup: twos(groupEngine{}),
		sess: []string{askTwo, `SAVE; OPEN 1 in 0001/ "\r\n"; INSERT 2; CLOSE`, commit},
	},
	{
		name: "a header is alone", rows: 4, settle: "COMPLETED", notified: 2,
		setup: func(b *bed) {
			twos(groupEngine{})(b)
			b.spec.Statement.Format, b.spec.Statement.Delimiter, b.spec.Statement.Null = rewrite.FormatCSV, ',', ""
			b.spec.Statement.Quote, b.spec.Statement.Escape, b.spec.Statement.Header, b.spec.Statement.HeaderLines = '"', '"', true, 1
		},
		sess: []string{askTwo, `SAVE; OPEN 1 in 0001/ "\n"; INSERT 1; CLOSE`, `RELEASE; SAVE; OPEN 2 3 in 0002/ "\n"; INSERT 3; CLOSE`, commit},
	},
	{
		name: "the target is not for it", rows: 5, settle: "COMPLETED",
		setup: func(b *bed) { b.engineOf = always(groupEngine{readers: "none"}) },
		sess:  []string{"SAVE; ANSWER none; RELEASE", native, "end c: " + string(lines(5)), recordAll, "COMMIT"},
	},
	{
		name: "the question fails", rows: 5, settle: "COMPLETED",
		setup: twos(groupEngine{}, rule{match: "ANSWER", at: 1, err: boom("42501")}),
		sess:  []string{askTwo, back, native, "end c: " + string(lines(5)), recordAll, "COMMIT"},
	},
	{
		name: "without functions of ours", rows: 5, settle: "COMPLETED", notified: 2,
		setup: twos(groupEngine{change: func(c *engine.Caps) { c.InstallNeeded = false }}),
		sess:  []string{askTwo, groupOne, groupTwo, "RELEASE; " + recordAll, "COMMIT"},
	},
	{
		name: "without functions of ours, and the ledger's rows fail", rows: 5, settle: "COMPLETED", notified: 2,
		setup: twos(groupEngine{change: func(c *engine.Caps) { c.InstallNeeded = false }}, rule{match: "RECORD", at: 3, err: boom("42501")}),
		sess:  []string{askTwo, groupOne, groupTwo, "RELEASE; " + recordAll, back, "COMMIT"},
	},
	{
		name: "without functions of ours, and the savepoint fails", code: "53100", settle: "FAILED", notified: 2,
		setup: twos(groupEngine{change: func(c *engine.Caps) { c.InstallNeeded = false }}, rule{match: "RECORD", at: 1, err: boom("53100")}),
		sess:  []string{askTwo, groupOne, groupTwo, "RELEASE; " + recordAll, "ROLLBACK"},
	},
	{
		name: "the connection is lost", lost: true, settle: "FAILED",
		setup: twos(groupEngine{}, rule{match: "OPEN 1", at: 2, err: errLost}),
		sess:  []string{askTwo, groupOne},
	},
}

func TestGroups(t *testing.T) {
	t.Parallel()
	for _, c := range groupCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t)
		})
	}
}

// TestGroupConfig: what a plan needs is served while the plan runs, and no longer.
func TestGroupConfig(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	needs := groupEngine{change: func(c *engine.Caps) { c.Config = true }}
	twos(needs, rule{match: "OPEN 3", at: 3, err: boom("38000")})(b)
	configs := &fakeConfigs{}
	b.configs = configs
	b.sess.onExec = func(sql string) {
		if plan := strings.Contains(sql, "OPEN"); plan != (configs.open == 1) {
			t.Errorf("%d are open at %s", configs.open, sql)
		}
	}
	ld := b.begin(t)
	rows, err := loadCase{}.load(t, ld, lines(5))
	b.end(t)
	if rows != 5 || err != nil || configs.opened != 2 || !strings.Contains(b.sess.history(), "by url2") {
		t.Errorf("%d rows, %v, %d configurations, %s, %s", rows, err, configs.opened, ld.run.fallback, b.sess.history())
	}
}

// TestGroupWithoutLedger: an engine that needs no functions of ours loads where
// nothing is installed, and none that does.
func TestGroupWithoutLedger(t *testing.T) {
	t.Parallel()
	for _, needed := range []bool{false, true} {
		b := newBed(t)
		twos(groupEngine{change: func(c *engine.Caps) { c.InstallNeeded = needed }})(b)
		b.dbs = nowhere{}
		ld := b.begin(t)
		rows, err := loadCase{}.load(t, ld, lines(5))
		b.end(t)
		if rows != 5 || err != nil {
			t.Errorf("%d rows, %v", rows, err)
		}
		if needed {
			b.want(t, native, "end c: "+string(lines(5)), "COMMIT")
		} else {
			b.want(t, askTwo, groupOne, groupTwo, commit)
		}
	}
}

// nowhere is installed nowhere.
type nowhere struct{}

func (nowhere) Lookup(context.Context, string, bool) (*Database, rewrite.Reason) {
	return nil, rewrite.ReasonNotInstalled
}

// TestGroupCancelled: a cancel while a group is collected meets the server in a
// COPY of what was collected.
func TestGroupCancelled(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.engineOf = always(groupEngine{readers: "100"})
	ld := b.begin(t)
	if err := ld.writeLines(5); err != nil {
		t.Fatal(err)
	}
	ld.Cancel()
	e := <-b.failed
	if err := ld.Fail(t.Context(), e); pgerr.As(err) == nil || pgerr.As(err).Code() != pgerr.QueryCanceled {
		t.Errorf("got %v", err)
	}
	b.end(t)
	b.want(t, "SAVE; ANSWER 100; RELEASE", native, "cancel", "ROLLBACK")
}

func TestGrouping(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		g    grouping
		want string
	}{
		{grouping{}, "1 2 3 4 5 6 7"},
		{grouping{size: 1}, "1 2 3 4 5 6 7"},
		{grouping{size: 1, header: true}, "1 2 3 4 5 6 7"},
		{grouping{size: 3}, "1 1 1 2 2 2 3"},
		{grouping{size: 3, header: true}, "1 2 2 2 3 3 3"},
	} {
		var got []string
		for i := range 7 {
			got = append(got, fmt.Sprint(c.g.of(i+1)))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: got %v", c.g, got)
		}
	}
}

// TestBlockFailed: where the savepoint itself fails the client's block has, and the
// error is the first one.
func TestBlockFailed(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	twos(groupEngine{}, rule{match: "ANSWER", err: pgerr.New("57014", "canceled")}, rule{match: "BACK", err: pgerr.New("3B001", "no such savepoint")})(b)
	b.spec.InBlock = true
	if _, err := b.Begin(t.Context(), b.spec, b.sess); !errors.Is(err, ErrBlockFailed) || pgerr.As(err).Code() != "57014" {
		t.Error(err)
	}
}
