package citus

import (
	"fmt"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

type citus struct{}

// New returns the engine citus. Where the URL of a file can be seen is said at
// postgres.New; of the hosts it is the coordinator's.
func New() engine.Engine { return citus{} }

// Name implements engine.Engine.
func (citus) Name() string { return "citus" }

// Caps implements engine.Engine.
func (citus) Caps() engine.Caps {
	return engine.Caps{
		External:      true,
		Formats:       []rewrite.Format{rewrite.FormatText, rewrite.FormatCSV, rewrite.FormatBinary},
		Slow:          []rewrite.Format{rewrite.FormatText, rewrite.FormatCSV, rewrite.FormatBinary}, // docs/engines.md
		InstallNeeded: true,
		Transactional: true,
		InSession:     true,
		OnConflict:    true,
		Returning:     true,
		Ordered:       true,
		TagIsExact:    true, // of an INSERT without ON CONFLICT
		Sharded:       true,
	}
}

// Plan implements engine.Engine: it is that of engine postgres. The coordinator
// reads the program's output, and sends each row to the shard where it belongs.
func (citus) Plan(t engine.Target, stmt *rewrite.CopyStatement, s engine.Session, g engine.Group, key []byte, expires time.Time) (engine.Plan, error) {
	p, err := sealed.Plan(t, stmt, s, g, key, expires)
	if err != nil {
		return engine.Plan{}, fmt.Errorf("engine citus: %w", err)
	}
	return p, nil
}

// The extension would run our DDL on the workers, too.
const (
	local      = "SET LOCAL citus.enable_ddl_propagation = off;\n"
	everywhere = " SET citus.enable_ddl_propagation = off;\n"
)

// AroundInstall implements engine.Installer: schema pgbulk, its functions and
// its secret stay on the coordinator, and so does what the functions make.
func (citus) AroundInstall() (before, after string) {
	for _, f := range []string{
		"check_current(oid, text)", "make_table(jsonb, text)", "close_file(text, text, text)",
		"make_runner(text, text)", "check_left_behind()", "finish_import(text, bigint[])",
	} {
		after += "ALTER FUNCTION pgbulk." + f + everywhere
	}
	return local, after
}
