package relyt

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

var update = flag.Bool("update", false, "rewrite testdata/plan.golden")

func sample() (engine.Target, rewrite.CopyStatement, engine.Group) {
	return engine.Target{Schema: "public", Table: `t"x`, Columns: []string{"a", "b c"}, Types: []string{"integer", "text"}, Encoding: "UTF8", Readers: readers},
		rewrite.CopyStatement{Format: rewrite.FormatCSV, Delimiter: ',', Quote: '"', Escape: '"'},
		engine.Group{
			Files:  []engine.File{{ProcessID: "0e4c8a8e-0000-4000-8000-000000000001", Number: 3}, {ProcessID: "0e4c8a8e-0000-4000-8000-000000000001", Number: 4}},
			Prefix: "s3://bucket/2026-01-02/0e4c8a8e/0001/", Endpoint: "s3.example.com:9000", Region: "eu-1",
			Access: engine.Access{ID: "AKIAKEY", Secret: "s3cr3t+/="},
		}
}

// TestPlan holds the SQL of an engine that can't be run here.
func TestPlan(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for _, c := range []struct {
		name   string
		change func(*rewrite.CopyStatement, *engine.Group)
	}{
		{"csv", func(*rewrite.CopyStatement, *engine.Group) {}},
		{"temporary credentials", func(_ *rewrite.CopyStatement, g *engine.Group) { g.Access.Token = "T0ken/+==" }},
		{"text", func(s *rewrite.CopyStatement, _ *engine.Group) {
			*s = rewrite.CopyStatement{Format: rewrite.FormatText, Delimiter: '\t', Null: `\N`}
		}},
		{"first file of csv with all options", func(s *rewrite.CopyStatement, g *engine.Group) {
			s.Header, s.HeaderLines, s.ForceNotNull, s.Null, s.Escape, g.EOL = true, 1, []string{"b c"}, "x", '\\', "\n"
			g.Files = g.Files[:1]
			g.Files[0].First = true
		}},
	} {
		target, stmt, g := sample()
		c.change(&stmt, &g)
		plan, err := New().Plan(target, &stmt, engine.Session{}, g, nil, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s:\n%s;\n%s;\n%s;\nmasked: %s;\n\n", c.name, plan.Open, plan.Insert, plan.Close, engine.MaskURL(plan.Open))
		masked := engine.MaskURL(plan.SQL())
		for _, secret := range []string{"AKIAKEY", "s3cr3t", "T0ken"} {
			if strings.Contains(masked, secret) {
				t.Errorf("%s shows: %s", secret, masked)
			}
		}
		if text := fmt.Sprintf("%v %+v %#v %s", g, g, g, g.Access); strings.Contains(text, "s3cr3t") || strings.Contains(text, "T0ken") {
			t.Errorf("a secret shows: %s", text)
		}
	}
	const file = "testdata/plan.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// TestPlanRefuses: what is not known to be exact, and what would break out of the
// LOCATION.
func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for i, change := range []func(*engine.Target, *rewrite.CopyStatement, *engine.Group){
		func(target *engine.Target, _ *rewrite.CopyStatement, _ *engine.Group) { target.Types = nil },
		func(target *engine.Target, _ *rewrite.CopyStatement, _ *engine.Group) { target.OverridingSystem = true },
		func(_ *engine.Target, s *rewrite.CopyStatement, _ *engine.Group) { s.Format = rewrite.FormatBinary },
		func(_ *engine.Target, s *rewrite.CopyStatement, g *engine.Group) {
			s.Header, g.Files[0].First = true, true
		},
		func(_ *engine.Target, s *rewrite.CopyStatement, _ *engine.Group) { s.Where = true },
		func(_ *engine.Target, s *rewrite.CopyStatement, _ *engine.Group) { s.Null = "'" },
		func(_ *engine.Target, s *rewrite.CopyStatement, _ *engine.Group) { s.Delimiter = 0 },
		func(_ *engine.Target, s *rewrite.CopyStatement, _ *engine.Group) { s.ForceNullAll = true },
		func(_ *engine.Target, _ *rewrite.CopyStatement, g *engine.Group) { g.EOL = "\r\n" },
		func(_ *engine.Target, _ *rewrite.CopyStatement, g *engine.Group) { g.Files = nil },
		func(_ *engine.Target, _ *rewrite.CopyStatement, g *engine.Group) { g.Prefix = "s3://bucket/a" },
		func(_ *engine.Target, _ *rewrite.CopyStatement, g *engine.Group) { g.Endpoint = "h/x" },
		func(_ *engine.Target, _ *rewrite.CopyStatement, g *engine.Group) { g.Region = "" },
		func(_ *engine.Target, _ *rewrite.CopyStatement, g *engine.Group) { g.Access = engine.Access{} },
		func(_ *engine.Target, _ *rewrite.CopyStatement, g *engine.Group) {
			g.Access.Secret = "s3cr3t config=/etc"
		},
		func(_ *engine.Target, _ *rewrite.CopyStatement, g *engine.Group) { g.Access.Token = "s3cr3t'" },
	} {
		target, stmt, g := sample()
		change(&target, &stmt, &g)
		_, err := New().Plan(target, &stmt, engine.Session{}, g, nil, time.Time{})
		if !errors.Is(err, engine.ErrUnsupported) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("change %d: %v", i, err)
		}
	}
}

// TestPrepare: what the answers lead to.
func TestPrepare(t *testing.T) {
	t.Parallel()
	answer := func() [][]byte {
		return [][]byte{[]byte("UTF8"), []byte(`["integer","text"]`), []byte("f"), []byte("UTF8"), []byte("t")}
	}
	p := New().(engine.Preparer)
	target := engine.Target{Columns: []string{"a", "b"}}
	got, err := p.Prepare(target, answer())
	if err != nil || got.Readers != readers || got.Encoding != "UTF8" || len(got.Types) != 2 || got.Types[1] != "text" {
		t.Errorf("got %+v, %v", got, err)
	}
	for i, change := range []func(*engine.Target, [][]byte) [][]byte{
		func(_ *engine.Target, r [][]byte) [][]byte { return r[:4] },
		func(_ *engine.Target, r [][]byte) [][]byte { r[0] = []byte("LATIN1"); return r },
		func(_ *engine.Target, r [][]byte) [][]byte { r[1] = nil; return r },
		func(_ *engine.Target, r [][]byte) [][]byte { r[1] = []byte(`["integer"]`); return r },
		func(_ *engine.Target, r [][]byte) [][]byte { r[2] = []byte("t"); return r },
		func(_ *engine.Target, r [][]byte) [][]byte { r[4] = []byte("f"); return r },
		func(t *engine.Target, r [][]byte) [][]byte { t.OverridingSystem = true; return r },
	} {
		changed := target
		row := change(&changed, answer())
		if _, err := p.Prepare(changed, row); !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("change %d: %v", i, err)
		}
	}
}
