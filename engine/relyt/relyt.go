package relyt

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

type relyt struct{}

// New returns the engine relyt.
func New() engine.Engine { return relyt{} }

// Name implements engine.Engine.
func (relyt) Name() string { return "relyt" }

// Caps implements engine.Engine. External stays off until somebody has tried Plan on
// a real server.
func (relyt) Caps() engine.Caps { return engine.Caps{Transactional: true} }

// Plan implements engine.Engine. It needs Group's Prefix, Endpoint, Region and
// Access, and a Target with its types.
func (relyt) Plan(t engine.Target, stmt *rewrite.CopyStatement, _ engine.Session, g engine.Group, _ []byte, _ time.Time) (engine.Plan, error) {
	if len(t.Columns) == 0 || len(t.Types) != len(t.Columns) || t.OverridingSystem || len(g.Files) == 0 {
		return engine.Plan{}, fmt.Errorf("engine relyt: %w: a target that was not prepared", engine.ErrUnsupported)
	}
	if why := unsupported(stmt, g); why != "" {
		return engine.Plan{}, fmt.Errorf("engine relyt: %w: %s", engine.ErrUnsupported, why)
	}
	where, err := location(g)
	if err != nil {
		return engine.Plan{}, err
	}
	columns := make([]string, len(t.Columns))
	for i, name := range t.Columns {
		columns[i] = pgident.Quote(name) + " " + t.Types[i]
	}
	table := pgident.Qualified(t.Schema, "pgbulk_"+g.Files[0].ProcessID+"_"+strconv.Itoa(g.Files[0].Number))
	list := pgident.List(t.Columns)
	return engine.Plan{
		Open: "CREATE EXTERNAL TABLE " + table + " (" + strings.Join(columns, ", ") + ") LOCATION (" + pgident.Literal(where) +
			") FORMAT 'CSV' (DELIMITER " + char(stmt.Delimiter) + " NULL " + pgident.Literal(stmt.Null) +
			" QUOTE " + char(stmt.Quote) + " ESCAPE " + char(stmt.Escape) + ")",
		Insert: "INSERT INTO " + pgident.Qualified(t.Schema, t.Table) + " (" + list + ") SELECT " + list + " FROM " + table,
		Close:  "DROP FOREIGN TABLE " + table,
	}, nil
}

func char(b byte) string { return pgident.Literal(string(rune(b))) }

// unsupported names the first thing that these external tables are not known to do
// as COPY does. Only csv is known to be read.
func unsupported(stmt *rewrite.CopyStatement, g engine.Group) string {
	switch {
	case stmt.Format != rewrite.FormatCSV:
		return "format " + string(stmt.Format)
	case stmt.Where || stmt.Freeze || stmt.DefaultSet || stmt.OnError != "" && stmt.OnError != "stop" || stmt.RejectLimit != 0:
		return "an option of COPY that external tables do not have"
	case stmt.Header || stmt.HeaderMatch || stmt.HeaderLines > 0:
		return "HEADER"
	case stmt.Encoding != "":
		return "ENCODING"
	case min(stmt.Delimiter, stmt.Quote, stmt.Escape) == 0 || max(stmt.Delimiter, stmt.Quote, stmt.Escape) > 0x7F:
		return "a delimiter, quote or escape that is not ASCII"
	case strings.Contains(stmt.Null, "'") || slices.Contains([]byte{stmt.Delimiter, stmt.Quote, stmt.Escape}, '\''):
		return "an apostrophe as an option"
	case len(stmt.ForceNull)+len(stmt.ForceNotNull) > 0 || stmt.ForceNullAll || stmt.ForceNotNullAll:
		return "FORCE_NULL or FORCE_NOT_NULL"
	case g.EOL != "" && g.EOL != "\n":
		return "an end of line of that kind"
	}
	return ""
}

// What may stand in a LOCATION, which the protocol takes apart at blanks and signs
// of equality. Credentials are base64 at most.
var (
	endpointPattern = regexp.MustCompile(`\A[A-Za-z0-9._-]+(:[0-9]{1,5})?\z`)
	prefixPattern   = regexp.MustCompile(`\As3://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+/\z`)
	regionPattern   = regexp.MustCompile(`\A[A-Za-z0-9-]+\z`)
	secretPattern   = regexp.MustCompile(`\A[A-Za-z0-9+/=_.-]+\z`)
)

// location is the one URL of the external table.
func location(g engine.Group) (string, error) {
	for what, ok := range map[string]bool{
		"an endpoint": endpointPattern.MatchString(g.Endpoint), "a prefix": prefixPattern.MatchString(g.Prefix),
		"a region":    regionPattern.MatchString(g.Region),
		"credentials": secretPattern.MatchString(g.Access.ID) && secretPattern.MatchString(g.Access.Secret),
		"a token":     g.Access.Token == "" || secretPattern.MatchString(g.Access.Token),
	} {
		if !ok { // without the text, which may be a secret
			return "", fmt.Errorf("engine relyt: %w: %s that the s3 protocol does not take", engine.ErrUnsupported, what)
		}
	}
	where := "s3://" + g.Endpoint + "/" + strings.TrimPrefix(g.Prefix, "s3://") + " accessid=" + g.Access.ID + " secret=" + g.Access.Secret
	if g.Access.Token != "" {
		where += " token=" + g.Access.Token
	}
	return where + " region=" + g.Region + " version=2", nil
}
