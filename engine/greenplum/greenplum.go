package greenplum

import (
	"fmt"
	"regexp"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/external"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

type greenplum struct{}

// New returns the engine greenplum. It is an engine.Preparer.
func New() engine.Engine { return greenplum{} }

// Name implements engine.Engine.
func (greenplum) Name() string { return "greenplum" }

// Caps implements engine.Engine.
func (greenplum) Caps() engine.Caps {
	return engine.Caps{
		External:      true,
		Formats:       external.Formats(),
		Slow:          external.Formats(), // COPY is faster on one host: docs/engines.md
		RejectsOnly:   true,
		Config:        true,
		Transactional: true,
		InSession:     true,
		Returning:     true,
		Parallel:      true,
		TagIsExact:    true,
		Pull:          true,
	}
}

// Plan implements engine.Engine. It needs no key, and its URL ends by itself.
func (greenplum) Plan(t engine.Target, stmt *rewrite.CopyStatement, _ engine.Session, g engine.Group, _ []byte, _ time.Time) (engine.Plan, error) {
	if t.OverridingSystem && t.Readers == 0 || len(t.Columns) == 0 || len(t.Types) != len(t.Columns) || t.Encoding == "" {
		return engine.Plan{}, fmt.Errorf("engine greenplum: %w: a target that was not prepared", engine.ErrUnsupported)
	}
	if len(g.Files) == 0 {
		return engine.Plan{}, fmt.Errorf("engine greenplum: %w: a group without files", engine.ErrUnsupported)
	}
	where, err := location(g)
	if g.Pull != "" {
		where, err = pullLocation(g)
	}
	if err != nil {
		return engine.Plan{}, err
	}
	format, why := external.Format(t, stmt, g, true)
	if why != "" {
		return engine.Plan{}, fmt.Errorf("engine greenplum: %w: %s", engine.ErrUnsupported, why)
	}
	table := pgident.Qualified("pg_temp", external.Name(g.Files[0]))
	return engine.Plan{
		Open: "CREATE READABLE EXTERNAL TEMP TABLE " + table + " (" + external.Columns(t) + ") LOCATION (" +
			pgident.Literal(where) + ") " + format + " ENCODING " + pgident.Literal(t.Encoding),
		Insert: external.Insert(t, table),
		Close:  "DROP EXTERNAL TABLE " + table,
	}, nil
}

// configPattern is what package s3conf makes, and may stand in a LOCATION.
var configPattern = regexp.MustCompile(`\Ahttps?://[A-Za-z0-9.:_\[\]-]+/[A-Za-z0-9._~/-]+\z`)

// pullPattern is what package gpfdist makes.
var pullPattern = regexp.MustCompile(`\Agpfdist://[A-Za-z0-9.:_\[\]-]+/[0-9a-f]+\z`)

// pullLocation is that of rows which the segments pull.
func pullLocation(g engine.Group) (string, error) {
	if !pullPattern.MatchString(g.Pull) {
		return "", fmt.Errorf("engine greenplum: %w: a URL that the gpfdist protocol does not take", engine.ErrUnsupported)
	}
	return g.Pull, nil
}

// location is the one URL of the external table.
func location(g engine.Group) (string, error) {
	where, why := external.Location(g)
	if why == "" && !configPattern.MatchString(g.Config) {
		why = "a configuration that the s3 protocol does not take" // without the URL, which is for the server alone
	}
	if why != "" {
		return "", fmt.Errorf("engine greenplum: %w: %s", engine.ErrUnsupported, why)
	}
	return where + " region=" + g.Region + " config_server=" + g.Config, nil
}
