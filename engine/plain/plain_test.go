package plain

import (
	"errors"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
)

func TestPlanIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := New().Plan(engine.Target{}, nil, engine.Session{}, engine.Group{}, nil, time.Now()); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}
