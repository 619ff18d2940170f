package bulk

import (
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// TestBreaker reads a script: f and s are a failure and a success, + passes half
// the cool-down, y and n are what Allow must answer.
func TestBreaker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script string
		failures     int
	}{
		{"closed", "yyyy", 3},
		{"opens at the third", "fyfyfn", 3},
		{"a success starts over", "ffsyffyfn", 3},
		{"one try after the cool-down", "fffn+n+yn+n+yn", 3},
		{"the try fails", "fff++yfn+n+y", 3},
		{"the try works", "fff++ysyyyffy", 3},
		{"failures while open prolong", "fff+f+n+y", 3},
		{"the first opens", "yfn++y", 1},
		{"below 1 means 1", "yfn", -5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now := time.Unix(1000, 0)
			b := NewBreaker(c.failures, 2*time.Second)
			b.now = func() time.Time { return now }
			for i, step := range c.script {
				switch step {
				case 'f':
					b.Failure()
				case 's':
					b.Success()
				case '+':
					now = now.Add(time.Second)
				default:
					if got := b.Allow(); got != (step == 'y') {
						t.Fatalf("step %d of %s: allowed is %v", i, c.script, got)
					}
				}
			}
		})
	}
}

// TestDecideTriesNothing: a decision alone does not use up the one try after the
// cool-down, a load does; those beside it do without.
func TestDecideTriesNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	now := time.Now()
	store, external := b.storeBreaker, b.breaker("")
	for _, breaker := range []*Breaker{store, external} {
		breaker.now = func() time.Time { return now }
		for range 3 {
			breaker.Failure()
		}
	}
	decide := func() rewrite.Decision { return b.Decide(t.Context(), b.spec.Statement, b.spec.Inspection, false) }
	b.spec.Inspection.Kind, b.spec.Inspection.InsertPrivilege, b.spec.Inspection.Version = "r", true, 150000
	b.spec.Inspection.Installed = true
	b.spec.Inspection.ClientEncoding, b.spec.Inspection.ServerEncoding = "UTF8", "UTF8"
	if d := decide(); d.Reason != rewrite.ReasonStoreBreaker {
		t.Fatalf("while it is open: %+v", d)
	}
	now = now.Add(time.Hour)
	for range 2 {
		if d := decide(); d.Method != rewrite.MethodExternal {
			t.Fatalf("after the cool-down: %+v", d)
		}
	}
	first, second := b.begin(t), b.begin(t)
	if first.noUploads.Load() || first.spec.Decision.Method != rewrite.MethodExternal {
		t.Error("the first load does not try")
	}
	if !second.noUploads.Load() || second.spec.Decision.Method != rewrite.MethodCopy {
		t.Error("the second load tries, too")
	}
	first.Abort()
	second.Abort()
	b.end(t)
}

func TestShiftLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ where, want string }{
		{"", ""},
		{"COPY t, line 3", "COPY t, line 103"},
		{`COPY t, line 3, column a: "x"`, `COPY t, line 103, column a: "x"`},
		{`COPY t, line 3: "COPY t, line 3"`, `COPY t, line 103: "COPY t, line 3"`},
		{"PL/pgSQL function f() line 2 at RAISE\nCOPY t, line 9", "PL/pgSQL function f() line 2 at RAISE\nCOPY t, line 109"},
		{"COPY t, line 1\nCOPY t, line 2", "COPY t, line 101\nCOPY t, line 102"},
		{"COPY other, line 3", "COPY other, line 3"},
		{"COPY t, line ", "COPY t, line "},
		{"COPY t, line x", "COPY t, line x"},
		{"COPY t, line 99999999999999999999", "COPY t, line 99999999999999999999"},
		{"SQL statement \"COPY t, line 3\"", "SQL statement \"COPY t, line 3\""},
	} {
		if got := shiftLines(c.where, "t", 100); got != c.want {
			t.Errorf("%q became %q, not %q", c.where, got, c.want)
		}
	}
	if got := shiftLines("COPY t, line 1, x", "t, line 1", 5); got != "COPY t, line 1, x" {
		t.Errorf("a table named like a line: %q", got)
	}
}

func TestParseCount(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{"0": 0, "5": 5, "1234567890123": 1234567890123, "x": -1, "5x": -1, "-5": -1} {
		if got := parseCount(s); got != want {
			t.Errorf("%q is %d, not %d", s, got, want)
		}
	}
}
