package engine

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// Caps are what an engine can do. Code asks these flags, never the name.
type Caps struct {
	// External says that the engine reads files from S3 itself.
	External bool
	// Formats that its external tables read exactly as COPY FROM STDIN does.
	Formats []rewrite.Format
	// Slow are those of Formats that the server's COPY takes much faster than an
	// external table gives them, measured.
	Slow []rewrite.Format
	// Pull says that the server's segments can pull rows by Group.Pull.
	Pull bool
	// InstallNeeded: plans are made of functions of schema pgbulk, so External
	// works only where it is installed; Close writes the files' import rows, and
	// what is acknowledged when staged can be imported. Without it External works
	// without a ledger, and where there is one bulk writes the import rows.
	InstallNeeded bool
	// RejectsOnly: what can be installed in schema pgbulk is what writes rejected rows
	// down, and no ledger. Loads do without either.
	RejectsOnly bool
	// Config: a plan needs Group.Config.
	Config bool
	// Access: a plan needs Group.Access, and its Open holds it as plain text, which the
	// server may log and show. So External works only where load.method = external
	// asks for it by name, and Open is sent by itself (Plan.Pieces).
	Access bool
	// Transactional: a load takes part in the client's transaction, so that a count
	// that is wrong can be undone.
	Transactional bool
	// InSession: a load runs on the client's session, and so sees its temporary
	// tables, settings and role.
	InSession bool
	// OnConflict: the server has INSERT … ON CONFLICT, whatever its version and the
	// table. Loads do not need it.
	OnConflict bool
	// Returning: the server has INSERT … RETURNING.
	Returning bool
	// Ordered: the rows reach the table in the data's order, and so draw their
	// defaults in it.
	Ordered bool
	// Parallel: the server reads the files of a group at once, and groups have as
	// many files as Target.Readers says.
	Parallel bool
	// TagIsExact: the tag of Plan.Insert is the count of rows that were read. Else
	// plans have a Count.
	TagIsExact bool
	// Sharded: tables may be Citus', with rows on other servers than the session's.
	Sharded bool
}

// ForClassify is what package rewrite has to know, where a method is preferred. An
// engine reads files only where what it did can be undone, should the count show that
// it lost a row.
func (c Caps) ForClassify(prefer rewrite.Method) rewrite.Caps {
	asked := !c.Access || prefer == rewrite.MethodExternal
	return rewrite.Caps{
		External: c.External && c.Transactional && c.InSession && asked, Formats: c.Formats, Slow: c.Slow, Prefer: prefer,
		InstallNeeded: c.InstallNeeded, Unordered: !c.Ordered,
	}
}

// Target is what a load writes to, as the inspection found it.
type Target struct {
	Schema, Table string
	OID           uint32
	// Columns are the columns that the data has, in its order.
	Columns []string
	// OverridingSystem: a GENERATED ALWAYS identity column is among them.
	OverridingSystem bool
	// Types, Encoding and Readers are what a Preparer has found out, and zero for
	// other engines: the types of Columns as a CREATE TABLE of this session has
	// them, the encoding of the data, and how many processes of the server read
	// files at once.
	Types    []string
	Encoding string
	Readers  int
	// Pull: the rows come by Group.Pull.
	Pull bool
}

// Session is what binds a sealed message to one upstream session.
type Session struct {
	Database   string
	BackendPID uint32
	// Role is the effective role: SET ROLE's, else the session user.
	Role string
}

// File is one durable file of a load.
type File struct {
	// ProcessID is the load's id, a UUID; Number counts its files from 1.
	ProcessID string
	Number    int
	// URL is a pre-signed URL: a secret, seal it.
	URL string
	// First says that the file begins with the header lines, if there are any.
	First bool
	// Records, Bytes and CRC32C go into the ledger row of the import.
	Records, Bytes int64
	CRC32C         uint32
}

// Group is what one Plan loads: files of one load, in the order of its rows.
type Group struct {
	// Files are one, but for engines with Caps.Parallel.
	Files []File
	// Prefix is where the store keeps exactly these files: s3://bucket/key, that
	// ends with "/". Engines that read one file by its URL don't need it, and it
	// may be empty for them.
	Prefix string
	// Endpoint and Region are the store's: a host, perhaps with a port, and what
	// requests are signed for. They may be empty where Prefix may.
	Endpoint, Region string
	// Config is the URL from which the server gets what it must know to read the
	// files: a secret for as long as it is served. Empty for engines that are told
	// by their SQL.
	Config string
	// Access are the store's credentials of the moment, for engines with Caps.Access.
	Access Access
	// Pull is the URL from which the server's segments pull the rows while they
	// come; then there need be no files. Their header lines are left out.
	Pull string
	// EOL is how the lines of text and csv end: "\n", "\r\n" or "\r"; empty is "\n".
	EOL string
}

// Access are credentials of a store; Token where they are temporary. It does not
// show them when printed.
type Access struct{ ID, Secret, Token string }

// String hides the credentials.
func (Access) String() string { return "***" }

// GoString hides them from %#v.
func (Access) GoString() string { return "***" }

// shortest is how long a credential has to be to be known for one wherever it stands.
const shortest = 8

// Mask returns a server's text about a statement that held these credentials without
// them: as MaskURL does, and in whatever form else the server shows them.
func (a Access) Mask(text string) string {
	for _, secret := range []string{a.Secret, a.Token, a.ID} {
		if len(secret) >= shortest {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return MaskURL(text)
}

// One returns the file of a group that has one.
func (g Group) One() (File, error) {
	if len(g.Files) != 1 {
		return File{}, fmt.Errorf("%w: a group of %d files", ErrUnsupported, len(g.Files))
	}
	return g.Files[0], nil
}

// Records is how many rows the group has.
func (g Group) Records() (n int64) {
	for _, f := range g.Files {
		n += f.Records
	}
	return n
}

// ErrUnsupported says that an engine cannot load these files this way. The rows
// can go another way.
var ErrUnsupported = errors.New("not supported by this engine")

// Plan is the SQL that loads one group. Each text is one statement without a
// semicolon.
type Plan struct {
	Open, Insert string
	// Count, where it is not empty, answers how many rows were read. Without it
	// the tag of Insert does.
	Count string
	Close string
}

// SQL returns the statements as one simple Query text.
func (p Plan) SQL() string {
	if p.Count != "" {
		return p.Open + "; " + p.Insert + "; " + p.Count + "; " + p.Close
	}
	return p.Open + "; " + p.Insert + "; " + p.Close
}

// Pieces are the same as several texts. The text that a statement came in is what its
// errors are logged with, and what functions of users are shown by current_query(): so
// credentials in Open are not seen by what reads the rows.
func (p Plan) Pieces() []string {
	return []string{p.Open, strings.TrimPrefix(p.SQL(), p.Open+"; ")}
}

// Engine is one dialect.
type Engine interface {
	// Name is the value of --engine.
	Name() string
	Caps() Caps
	// Plan returns the SQL for one group. key is the secret of the database (see
	// package sealed); expires bounds the life of what is told to the server.
	Plan(t Target, stmt *rewrite.CopyStatement, s Session, g Group, key []byte, expires time.Time) (Plan, error)
}

// Preparer is an Engine that must know more of a target than the inspection says.
type Preparer interface {
	// PrepareSQL is one SELECT of one row, to be run on the session when a load
	// begins. encoding is the canonical name of the COPY's own, or empty.
	PrepareSQL(t Target, encoding string) string
	// Prepare completes a target by that row. It fails with ErrUnsupported where
	// such a table can't be loaded by external tables exactly as COPY loads it.
	Prepare(t Target, row [][]byte) (Target, error)
}

// Installer is an Engine that needs more of an installation of schema pgbulk: texts
// before and behind it, in its transaction.
type Installer interface {
	AroundInstall() (before, after string)
}
