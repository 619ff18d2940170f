package postgres

import (
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

type postgres struct{}

// New returns the engine postgres.
//
// Where the URL of a file can be seen, and by whom: the client's SQL text, and
// so pg_stat_activity and the statement log, hold it encrypted. While the
// transaction runs, its own session can read it in pg_foreign_table, and the
// operating system's users on the database host in the process list. If the
// program fails, the server's log has it in the error's message. Extensions
// that record statements inside functions (pg_stat_statements.track = all,
// pgaudit) record it. It reads one object, for the life of its signature.
func New() engine.Engine { return postgres{} }

// Name implements engine.Engine.
func (postgres) Name() string { return "postgres" }

// Caps implements engine.Engine.
func (postgres) Caps() engine.Caps {
	return engine.Caps{
		External:      true,
		Formats:       []rewrite.Format{rewrite.FormatText, rewrite.FormatCSV, rewrite.FormatBinary},
		Slow:          []rewrite.Format{rewrite.FormatText, rewrite.FormatCSV, rewrite.FormatBinary}, // docs/decisions.md
		InstallNeeded: true,
		Transactional: true,
		InSession:     true,
		OnConflict:    true,
		Returning:     true,
		Ordered:       true,
		TagIsExact:    true,
	}
}

// Plan implements engine.Engine.
func (postgres) Plan(t engine.Target, stmt *rewrite.CopyStatement, s engine.Session, g engine.Group, key []byte, expires time.Time) (engine.Plan, error) {
	p, err := sealed.Plan(t, stmt, s, g, key, expires)
	if err != nil {
		return engine.Plan{}, fmt.Errorf("engine postgres: %w", err)
	}
	return p, nil
}
