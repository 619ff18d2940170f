package engine

import (
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// plain is any PostgreSQL, managed ones among them: the server reads nothing
// itself, the proxy sends the rows by COPY on the session.
type plain struct{}

// NewPlain returns the engine plain.
func NewPlain() Engine { return plain{} }

// Name implements Engine.
func (plain) Name() string { return "plain" }

// Caps implements Engine.
func (plain) Caps() Caps { return Caps{Transactional: true} }

// Plan implements Engine: there is none.
func (plain) Plan(Target, *rewrite.CopyStatement, Session, File, []byte, time.Time) (Plan, error) {
	return Plan{}, fmt.Errorf("engine plain: %w: external tables", ErrUnsupported)
}
