package check

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestDetect: what version() says where, from the projects' own sources and from
// reports of their users.
func TestDetect(t *testing.T) {
	t.Parallel()
	detectors := map[string]func(Facts) string{
		"postgres": DetectPostgres, "plain": DetectPlain, "citus": DetectCitus, "greenplum": DetectGreenplum, "relyt": DetectRelyt,
	}
	for _, c := range []struct {
		facts Facts
		want  []string
		says  string
	}{
		{Facts{Version: "PostgreSQL 15.8 (Debian 15.8-1) on x86_64", Number: 150008, FileFDW: true}, []string{"postgres"}, "install"},
		{Facts{Version: "PostgreSQL 15.8 (pgEdge 5.0.10) on x86_64", Number: 150008, FileFDW: true, Installed: true}, []string{"postgres"}, "is installed"},
		{Facts{Version: "PostgreSQL 16.4 on x86_64", Number: 160004}, []string{"plain", "postgres"}, "without extension file_fdw"},
		{Facts{Version: "PostgreSQL 16.4 on x86_64", Number: 160004, Installed: true}, []string{"postgres"}, ""},
		{Facts{Version: "PostgreSQL 15.8 on x86_64", Number: 150008, FileFDW: true, Extensions: map[string]string{"citus": "13.2-1"}}, []string{"citus", "postgres"}, "citus 13.2-1"},
		{Facts{Version: "PostgreSQL 9.4.26 (Greenplum Database 6.24.3 build 1) on x86_64", Number: 90426}, []string{"greenplum", "plain"}, "greenplum 6.24.3"},
		{Facts{Version: "PostgreSQL 12.12 (Greenplum Database 7.0.0 build commit:0a) on x86_64", Number: 120012}, []string{"greenplum", "plain"}, "greenplum 7.0.0"},
		{Facts{Version: "PostgreSQL 9.4.26 (Greengage Database 6.26.35_arenadata53 build 2625) on x86_64", Number: 90426}, []string{"greenplum", "plain"}, "greengage 6.26.35"},
		{Facts{Version: "PostgreSQL 14.4 (WarehousePG 7.2.0 build commit:1) on x86_64", Number: 140004}, []string{"greenplum", "plain"}, "warehousepg 7.2.0"},
		{Facts{Version: "PostgreSQL 14.4 (Cloudberry Database 1.6.0 build dev) on x86_64", Number: 140004}, []string{"greenplum", "plain"}, "cloudberry 1.6.0"},
		{Facts{Version: "PostgreSQL 14.4 (Apache Cloudberry 2.0.0-incubating build 1) on aarch64", Number: 140004}, []string{"greenplum", "plain"}, "cloudberry 2.0.0"},
		{Facts{Version: "PostgreSQL 12.12 (Relyt Data Warehouse 1.2 build 7) on x86_64", Number: 120012}, []string{"relyt", "plain"}, "relyt 1.2"},
	} {
		found := map[string]string{}
		for name, detect := range detectors {
			if why := detect(c.facts); why != "" {
				found[name] = why
			}
		}
		for _, name := range c.want {
			if found[name] == "" {
				t.Errorf("%s: not taken by %s", c.facts.Version, name)
			}
		}
		if len(found) != len(c.want) {
			t.Errorf("%s: taken by %v, want %v", c.facts.Version, found, c.want)
		}
		if !strings.Contains(found[c.want[0]], c.says) {
			t.Errorf("%s: %q", c.facts.Version, found[c.want[0]])
		}
	}
}

func TestParseFacts(t *testing.T) {
	t.Parallel()
	f, err := ParseFacts([]string{"PostgreSQL 9.4.26 (Greenplum Database 6.24.3)", "90426", "plpgsql 1.0\nmy ext 2\n", "f", "t"})
	if err != nil || f.FileFDW || !f.Installed || f.Extensions["my ext"] != "2" || f.Extensions["plpgsql"] != "1.0" {
		t.Errorf("%+v, %v", f, err)
	}
	if f.Postgres() != "9.4.26" || f.Major() != 9 {
		t.Error(f.Postgres(), f.Major())
	}
	if _, err := ParseFacts([]string{"", "x", "", "", ""}); err == nil {
		t.Error("a version that is no number is taken")
	}
}

// TestOrder: what needs a failed check is skipped, a warning is no failure, and each
// failure has a remedy.
func TestOrder(t *testing.T) {
	t.Parallel()
	gives := func(r Result) func(context.Context, *Env) Result {
		return func(context.Context, *Env) Result { return r }
	}
	checks := []Check{
		{Name: "a", Run: gives(Doubtful("hm")), Remedy: "general"},
		{Name: "b", Needs: []string{"a", "earlier"}, Run: gives(Bad("no").With("own")), Remedy: "general"},
		{Name: "c", Needs: []string{"b"}, Run: gives(Good("never"))},
		{Name: "d", Needs: []string{"c"}, Run: gives(Good("never"))},
		{Name: "e", Needs: []string{"unknown"}, Run: gives(Good("never"))},
		{Name: "f", Run: gives(Good("yes")), Remedy: "general"},
	}
	var told []string
	results := RunAfter(context.Background(), []Result{{Name: "earlier", Status: OK}}, checks, &Env{}, func(r Result) {
		told = append(told, r.Name+" "+string(r.Status)+" "+r.Remedy)
	})
	want := "a warn general|b fail own|c skip |d skip |e skip |f ok "
	if got := strings.Join(told, "|"); got != want || len(results) != len(checks) {
		t.Errorf("got %s", got)
	}
	if !Failed(results) || Failed(results[:1]) {
		t.Error("verdict")
	}
}

// TestCurl reads what servers say of programs that failed.
func TestCurl(t *testing.T) {
	t.Parallel()
	for detail, want := range map[string]int{
		"child process exited with exit code 22": 22,
		"Kindprozess hat mit Code 7 beendet":     7,
		"command not found":                      127,
		"":                                       127,
		"child process exited with exit code 6, see log 12345": 6,
	} {
		if got := CurlExit(detail); got != want {
			t.Errorf("%q: %d, want %d", detail, got, want)
		}
	}
	for code := range 130 {
		r := CurlFailed(code)
		if r.Status != Fail || r.Detail == "" || r.Remedy == "" {
			t.Errorf("exit code %d: %+v", code, r)
		}
	}
}

// TestServed: the store of a running proxy is no failure.
func TestServed(t *testing.T) {
	t.Parallel()
	e := &Env{OpenStore: func(context.Context) (Store, error) { return nil, errors.Join(ErrServed) }}
	results := RunAfter(context.Background(), nil, Stores(), e, func(Result) {})
	for _, r := range results {
		if r.Status != Skip {
			t.Errorf("%+v", r)
		}
	}
}

// TestSkew: the bound is the shorter of what S3 and what the life of a URL allows.
func TestSkew(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ahead, ttl time.Duration
		want       Status
	}{
		{0, time.Hour, OK}, {30 * time.Second, time.Hour, OK}, {-2 * time.Minute, time.Hour, Warn},
		{16 * time.Minute, time.Hour, Fail}, {-16 * time.Minute, 0, Fail}, {90 * time.Second, time.Minute, Fail}, {14 * time.Minute, time.Hour, Warn},
	} {
		if r := skew("the server's", c.ahead, c.ttl, "bad"); r.Status != c.want {
			t.Errorf("%v of %v: %+v", c.ahead, c.ttl, r)
		}
	}
}
