package registry

import (
	"strings"
	"testing"
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
