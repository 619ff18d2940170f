package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func TestRegistryNames(t *testing.T) {
	t.Parallel()
	valid := regexp.MustCompile(`^[a-z0-9-]+$`)
	seen := map[string]bool{}
	for _, s := range registry() {
		if seen[s.name] || !valid.MatchString(s.name) || s.summary == "" || s.run == nil {
			t.Errorf("scenario %q: its name must be new and plain, and it must say what it does", s.name)
		}
		seen[s.name] = true
	}
}

func TestSelectScenarios(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]int{".": len(registry()), "^copy-text": 4, "^pgbench-simple": 3, "nothing": 0} {
		if got := len(selectScenarios(registry(), pattern)); got != want {
			t.Errorf("%q selects %d scenarios, want %d", pattern, got, want)
		}
	}
}

func testLab(rounds int, out *strings.Builder) *lab {
	return &lab{opts: options{Rounds: rounds}, out: out, rng: rand.New(rand.NewPCG(1, 0)), report: &Report{}}
}

func TestAlternate(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	calls := map[string]int{}
	counting := func(name string, factor float64) way {
		return way{name, func(context.Context) ([]float64, error) {
			calls[name]++
			return []float64{factor, factor * float64(calls[name])}, nil
		}}
	}
	results, err := testLab(3, &out).alternate(t.Context(), "G", []measure{{"one", "s", lower}, {"two", "tps", higher}},
		[]way{counting("a", 1), counting("b", 10)})
	if err != nil {
		t.Fatal(err)
	}
	// The first call of each is the warm-up, which is not in the values.
	want := map[string][][]float64{"one": {{1, 1, 1}, {10, 10, 10}}, "two": {{2, 3, 4}, {20, 30, 40}}}
	for _, r := range results {
		got := [][]float64{r.Series[0].Values, r.Series[1].Values}
		if !reflect.DeepEqual(got, want[r.Name]) || r.Series[0].Name != "a" || r.Group != "G" {
			t.Errorf("%s: got %v, want %v", r.Name, r, want[r.Name])
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines of progress, want one a round:\n%s", n, out.String())
	}
}

func TestAlternateStopsAtAnError(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	broken := errors.New("broken")
	for failing := 1; failing <= 3; failing++ {
		calls := 0
		w := way{"a", func(context.Context) ([]float64, error) {
			if calls++; calls == failing {
				return nil, broken
			}
			return []float64{1}, nil
		}}
		if _, err := testLab(2, &out).alternate(t.Context(), "G", []measure{{"m", "s", lower}}, []way{w}); !errors.Is(err, broken) {
			t.Errorf("call %d fails: got %v, want its error", failing, err)
		}
		if calls != failing {
			t.Errorf("%d calls after the error of call %d", calls-failing, failing)
		}
	}
}

func TestRunAllReportsEveryOutcome(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	l := testLab(1, &out)
	ctx, cancel := context.WithCancel(t.Context())
	returning := func(name string, results []Result, err error) scenario {
		return scenario{name: name, run: func(context.Context, *lab) ([]Result, error) { return results, err }}
	}
	interrupted := scenario{name: "interrupted", run: func(ctx context.Context, _ *lab) ([]Result, error) {
		cancel()
		return nil, ctx.Err()
	}}
	l.runAll(ctx, []scenario{
		returning("good", []Result{{Name: "good"}}, nil),
		returning("absent", nil, skipError("no such tool")),
		returning("bad", nil, errors.New("wrong rows")),
		interrupted,
		returning("never", []Result{{Name: "never"}}, nil),
	})
	want := &Report{
		Results: []Result{{Name: "good"}},
		Skipped: []Outcome{{"absent", "no such tool"}},
		Failed:  []Outcome{{"bad", "wrong rows"}, {"interrupted", "interrupted"}},
	}
	if !reflect.DeepEqual(l.report, want) {
		t.Errorf("got %+v, want %+v", l.report, want)
	}
}

func TestOptionsValidate(t *testing.T) {
	t.Parallel()
	good := options{Run: ".", Rounds: 1, Crowd: 1, Rows: leastRows, InsertRows: batchRows, MigrateRows: 1e6, Seconds: 1, Memory: []float64{0.5}}
	if err := good.Validate(); err != nil {
		t.Errorf("good options: %v", err)
	}
	for name, spoil := range map[string]func(*options){
		"rounds": func(o *options) { o.Rounds = 0 }, "rows": func(o *options) { o.Rows = leastRows - 1 },
		"insert-rows": func(o *options) { o.InsertRows = batchRows - 1 },
		"seconds":     func(o *options) { o.Seconds = 0 }, "memory": func(o *options) { o.Memory = []float64{1, 0} },
		"run": func(o *options) { o.Run = "(" },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "--"+name) {
			t.Errorf("%s: got %v, want an error that names the flag", name, err)
		}
	}
}

func TestParseTPS(t *testing.T) {
	t.Parallel()
	const out = "scaling factor: 10\nlatency average = 0.157 ms\ninitial connection time = 14.1 ms\n" +
		"tps = 50902.123456 (without initial connection time)\n"
	got, err := parseTPS(out)
	if err != nil || !reflect.DeepEqual(got, []float64{50902.123456}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := parseTPS("pgbench: error"); err == nil {
		t.Errorf("no tps: got %v, want an error", got)
	}
}
