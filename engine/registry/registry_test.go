package registry

import (
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
)

func TestByName(t *testing.T) {
	t.Parallel()
	for _, r := range Rows() {
		e, err := ByName(r.Name)
		if err != nil || e.Name() != r.Name {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	if _, err := ByName("oracle"); err == nil || !strings.Contains(err.Error(), "postgres, plain") {
		t.Errorf("got %v", err)
	}
}

// TestDetect: every server gets one engine, and rows say what they must.
func TestDetect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		facts check.Facts
		want  string
	}{
		{check.Facts{Version: "PostgreSQL 15.8", Number: 150008, FileFDW: true}, "postgres"},
		{check.Facts{Version: "PostgreSQL 15.8", Number: 150008}, "plain"},
		{check.Facts{Version: "PostgreSQL 15.8 (Relyt 1)", Number: 150008}, "relyt"},
		{check.Facts{Version: "something else", Number: 150008, FileFDW: true}, "postgres"},
	} {
		r, why := Detect(c.facts)
		if _, there := Find(c.want); there && (r.Name != c.want || why == "") {
			t.Errorf("%+v: %s, %q", c.facts, r.Name, why)
		}
	}
	for _, r := range Rows() {
		if r.Detect == nil || r.Untested() != (r.Tested == "") {
			t.Errorf("row %s", r.Name)
		}
	}
}
