package relyt

import (
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
	return engine.Target{Schema: "public", Table: `t"x`, Columns: []string{"a", "b c"}, Types: []string{"integer", "text"}},
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
	for _, token := range []string{"", "T0ken=="} {
		target, stmt, g := sample()
		g.Access.Token = token
		plan, err := New().Plan(target, &stmt, engine.Session{}, g, nil, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s;\n%s;\n%s;\n\nmasked: %s;\n\n", plan.Open, plan.Insert, plan.Close, engine.MaskURL(plan.Open))
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
		func(_ *engine.Target, s *rewrite.CopyStatement, _ *engine.Group) { s.Format = rewrite.FormatText },
		func(_ *engine.Target, s *rewrite.CopyStatement, _ *engine.Group) { s.Header = true },
		func(_ *engine.Target, s *rewrite.CopyStatement, _ *engine.Group) { s.Where = true },
		func(_ *engine.Target, s *rewrite.CopyStatement, _ *engine.Group) { s.Encoding = "LATIN1" },
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
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("change %d: %v", i, err)
		}
	}
}
