package greenplum

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
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
		Formats:       formats(),
		Slow:          formats(), // COPY is faster on one host: docs/engines.md
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

// formats are those of external tables that are read as COPY reads them: there
// is no binary.
func formats() []rewrite.Format { return []rewrite.Format{rewrite.FormatText, rewrite.FormatCSV} }

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
	format, err := format(t, stmt, g)
	if err != nil {
		return engine.Plan{}, err
	}
	columns := make([]string, len(t.Columns))
	for i, name := range t.Columns {
		columns[i] = pgident.Quote(name) + " " + t.Types[i]
	}
	table := pgident.Qualified("pg_temp", tableName(g.Files[0]))
	list, overriding := pgident.List(t.Columns), ""
	if t.OverridingSystem {
		overriding = " OVERRIDING SYSTEM VALUE"
	}
	return engine.Plan{
		Open: "CREATE READABLE EXTERNAL TEMP TABLE " + table + " (" + strings.Join(columns, ", ") + ") LOCATION (" +
			pgident.Literal(where) + ") " + format + " ENCODING " + pgident.Literal(t.Encoding),
		Insert: "INSERT INTO " + pgident.Qualified(t.Schema, t.Table) + " (" + list + ")" + overriding + " SELECT " + list + " FROM " + table,
		Close:  "DROP EXTERNAL TABLE " + table,
	}, nil
}

// tableName is the external table's, unique to the group.
func tableName(first engine.File) string {
	return "pgbulk_" + first.ProcessID + "_" + strconv.Itoa(first.Number)
}

// What may stand in a LOCATION, which the protocol takes apart at blanks and
// signs of equality. It encodes the path itself, so nothing may be encoded yet.
var (
	endpointPattern = regexp.MustCompile(`\A[A-Za-z0-9._-]+(:[0-9]{1,5})?\z`)
	prefixPattern   = regexp.MustCompile(`\As3://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+/\z`)
	regionPattern   = regexp.MustCompile(`\A[A-Za-z0-9-]+\z`)
	configPattern   = regexp.MustCompile(`\Ahttps?://[A-Za-z0-9.:_\[\]-]+/[A-Za-z0-9._~/-]+\z`)
)

// pullPattern is what package gpfdist makes.
var pullPattern = regexp.MustCompile(`\Agpfdist://[A-Za-z0-9.:_\[\]-]+/[0-9a-f]+\z`)

// pullLocation is that of rows which the segments pull.
func pullLocation(g engine.Group) (string, error) {
	if !pullPattern.MatchString(g.Pull) {
		return "", fmt.Errorf("engine greenplum: %w: a URL that the gpfdist protocol does not take", engine.ErrUnsupported)
	}
	return g.Pull, nil
}

// location is the one URL of the external table: with several, files are lost.
// The prefix ends with a slash, since the store compares it as a string.
func location(g engine.Group) (string, error) {
	for what, ok := range map[string]bool{
		"an endpoint": endpointPattern.MatchString(g.Endpoint), "a prefix": prefixPattern.MatchString(g.Prefix),
		"a region": regionPattern.MatchString(g.Region), "a configuration": configPattern.MatchString(g.Config),
	} {
		if !ok {
			// Without the text: the configuration's URL is for the server alone.
			return "", fmt.Errorf("engine greenplum: %w: %s that the s3 protocol does not take", engine.ErrUnsupported, what)
		}
	}
	return "s3://" + g.Endpoint + "/" + strings.TrimPrefix(g.Prefix, "s3://") + " region=" + g.Region + " config_server=" + g.Config, nil
}
