package relyt

import (
	"fmt"
	"regexp"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/engine/external"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

type relyt struct{}

// New returns the engine relyt. It is an engine.Preparer.
func New() engine.Engine { return relyt{} }

// Name implements engine.Engine.
func (relyt) Name() string { return "relyt" }

// Caps implements engine.Engine. With Access, files are read only where an operator
// asks for it by name: nobody has tried it on a real server.
func (relyt) Caps() engine.Caps {
	return engine.Caps{
		External:      true,
		Formats:       external.Formats(),
		Access:        true,
		Transactional: true,
		InSession:     true,
		Parallel:      true,
		TagIsExact:    true,
	}
}

// readers is how many files a group has: nobody knows how many processes of the server
// read at once. Their bytes are held until the rows were counted.
const readers = 4

// prepareSQL asks for the encoding of the database, if it is the session's as well, since
// nobody knows which of them external tables take for the files'; and whether the role may
// make tables where the target is. Temporary tables are of a schema of the session's, in
// which an external table may not be what it says.
const prepareSQL = `SELECT %s,
 CASE WHEN pg_catalog.pg_client_encoding() OPERATOR(pg_catalog.=) pg_catalog.getdatabaseencoding() THEN pg_catalog.getdatabaseencoding() END,
 EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) %d AND relpersistence OPERATOR(pg_catalog.<>) 't' AND pg_catalog.has_schema_privilege(relnamespace, 'CREATE'))`

// PrepareSQL implements engine.Preparer.
func (relyt) PrepareSQL(t engine.Target, encoding string) string {
	return fmt.Sprintf(prepareSQL, external.FactsSQL(t, encoding), t.OID)
}

// Prepare implements engine.Preparer.
func (relyt) Prepare(t engine.Target, row [][]byte) (engine.Target, error) {
	t, own, why := external.ReadFacts(t, row, 2)
	switch {
	case why != "":
	case t.OverridingSystem:
		why = "an identity column that takes no values" // COPY sets it; whether the INSERT can is not known
	case t.Encoding != string(own[0]):
		why = "another encoding than the database's" // their grammar has no ENCODING
	case !external.Yes(own[1]):
		why = "a temporary table, or no privilege to make tables beside the target"
	}
	if why != "" {
		return t, fmt.Errorf("engine relyt: %w: %s", engine.ErrUnsupported, why)
	}
	t.Readers = readers
	return t, nil
}

// Plan implements engine.Engine. It needs no key, and it holds the store's credentials.
//
// The table is beside the target, as that database's own loader makes it: temporary
// external tables are not in the documented grammar.
func (relyt) Plan(t engine.Target, stmt *rewrite.CopyStatement, _ engine.Session, g engine.Group, _ []byte, _ time.Time) (engine.Plan, error) {
	if len(t.Columns) == 0 || len(t.Types) != len(t.Columns) || t.OverridingSystem || len(g.Files) == 0 {
		return engine.Plan{}, fmt.Errorf("engine relyt: %w: a target that was not prepared", engine.ErrUnsupported)
	}
	format, why := external.Format(t, stmt, g, false)
	if why != "" {
		return engine.Plan{}, fmt.Errorf("engine relyt: %w: %s", engine.ErrUnsupported, why)
	}
	where, why := location(g)
	if why != "" {
		return engine.Plan{}, fmt.Errorf("engine relyt: %w: %s", engine.ErrUnsupported, why)
	}
	table := pgident.Qualified(t.Schema, external.Name(g.Files[0]))
	return engine.Plan{
		Open:   "CREATE EXTERNAL TABLE " + table + " (" + external.Columns(t) + ") LOCATION (" + pgident.Literal(where) + ") " + format,
		Insert: external.Insert(t, table),
		Close:  "DROP FOREIGN TABLE " + table,
	}, nil
}

// secretPattern is what may stand behind a sign of equality. Credentials are base64 at
// most.
var secretPattern = regexp.MustCompile(`\A[A-Za-z0-9+/=_.-]+\z`)

// location is the one URL of the external table, with the credentials. why never has
// the text, which may be a secret.
func location(g engine.Group) (url, why string) {
	where, why := external.Location(g)
	switch {
	case why != "":
		return "", why
	case !secretPattern.MatchString(g.Access.ID) || !secretPattern.MatchString(g.Access.Secret):
		return "", "credentials that the s3 protocol does not take"
	case g.Access.Token != "" && !secretPattern.MatchString(g.Access.Token):
		return "", "a token that the s3 protocol does not take"
	}
	where += " accessid=" + g.Access.ID + " secret=" + g.Access.Secret
	if g.Access.Token != "" {
		where += " token=" + g.Access.Token
	}
	return where + " region=" + g.Region + " version=2", ""
}
