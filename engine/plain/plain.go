package plain

import (
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

type plain struct{}

// New returns the engine plain.
func New() engine.Engine { return plain{} }

// Name implements engine.Engine.
func (plain) Name() string { return "plain" }

// Caps implements engine.Engine.
func (plain) Caps() engine.Caps {
	return engine.Caps{Transactional: true, InSession: true, OnConflict: true, Returning: true, Ordered: true, TagIsExact: true}
}

// Plan implements engine.Engine: there is none.
func (plain) Plan(engine.Target, *rewrite.CopyStatement, engine.Session, engine.Group, []byte, time.Time) (engine.Plan, error) {
	return engine.Plan{}, fmt.Errorf("engine plain: %w: external tables", engine.ErrUnsupported)
}
