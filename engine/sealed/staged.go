package sealed

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// Staged is a load that is acknowledged when it is staged: all that a proxy
// which never saw its client needs to import it.
type Staged struct {
	ProcessID string
	// Owner is the proxy that stages it.
	Owner  string
	Target engine.Target
	// Statement says how the files are to be read.
	Statement *rewrite.CopyStatement
	// Files are those of the load, numbered from 1.
	Files []StagedFile
	// Steps are what the import runs once all files' external tables are open;
	// nil: StagedInserts.
	Steps []Step
	// Label is the load's label, or empty.
	Label string
}

// StagedFile is one file of a staged load.
type StagedFile struct {
	Number int
	// Key is the S3 key, URL the s3:// address without any secret.
	Key, URL       string
	Records, Bytes int64
	CRC32C         uint32
}

// Step is one statement of an import. It runs with the rights and settings of
// the role that sent the load, and nothing else than what was recorded in that
// role's own transaction ever does.
type Step struct {
	SQL string
	// Rows is how many rows it has to write; negative: any number.
	Rows int64
}

// StagedInserts returns the steps of a load that only appends: one INSERT for
// each file.
func StagedInserts(l Staged) []Step {
	steps := make([]Step, len(l.Files))
	for i, f := range l.Files {
		steps[i] = Step{SQL: insertSQL(l.Target, engine.File{ProcessID: l.ProcessID, Number: f.Number}), Rows: f.Records}
	}
	return steps
}

// ExternalTable returns the name of a file's external table, for steps.
func ExternalTable(processID string, file int) string {
	return pgident.Qualified("pgbulk", tableName(engine.File{ProcessID: processID, Number: file}))
}

// stageMessage and what is in it is known to staged.sql, and stored: fields are
// added, never changed, or the statement's version changes.
type stageMessage struct {
	header
	Owner     string          `json:"owner"`
	Label     string          `json:"label,omitempty"`
	Statement stagedStatement `json:"statement"`
	Files     []stagedFile    `json:"files"`
}

type stagedStatement struct {
	Version      int               `json:"v"`
	Open         stagedOpen        `json:"open"`
	FirstOptions map[string]string `json:"first_options"`
	Options      map[string]string `json:"options"`
	Steps        []stagedStep      `json:"steps"`
}

type stagedOpen struct {
	OID          uint32   `json:"oid"`
	Schema       string   `json:"schema"`
	Table        string   `json:"table"`
	Columns      []string `json:"columns"`
	ForceNull    []string `json:"force_null,omitempty"`
	ForceNotNull []string `json:"force_not_null,omitempty"`
}

type stagedStep struct {
	SQL  string `json:"sql"`
	Rows *int64 `json:"rows,omitempty"`
}

type stagedFile struct {
	Number  int    `json:"file"`
	Key     string `json:"key"`
	URL     string `json:"url"`
	Records int64  `json:"records"`
	Bytes   int64  `json:"bytes"`
	CRC32C  uint32 `json:"crc32c"`
}

// maxMessage is what unseal takes: enough for a staged load of some thousand
// files.
const maxMessage = 1_000_000

// StageSQL returns the statement that, run in the client's transaction, makes a
// load staged when that transaction commits. It records the session's settings,
// too. engine.ErrUnsupported: the load cannot be acknowledged when staged. key and
// expires are Plan's.
func StageSQL(s engine.Session, l Staged, key []byte, expires time.Time) (string, error) {
	m, err := newStageMessage(s, l)
	if err != nil {
		return "", err
	}
	args, err := seal(m, "", key, expires)
	if err != nil {
		return "", err
	}
	return "SELECT pgbulk.record_staged(" + args + ", pg_catalog.current_setting('search_path'))", nil
}

func newStageMessage(s engine.Session, l Staged) (*stageMessage, error) {
	h, err := newHeader("stage", s, l.ProcessID, 0)
	if err != nil {
		return nil, err
	}
	if len(l.Files) == 0 {
		return nil, errors.New("stage: no files")
	}
	// The options of both kinds of files, and everything that is checked of them.
	first, err := openMessage(l.Target, l.Statement, s, engine.File{ProcessID: l.ProcessID, Number: 1, First: true}, time.Time{})
	if err != nil {
		return nil, err
	}
	rest, err := tableOptions(l.Statement, false)
	if err != nil {
		return nil, err
	}
	m := &stageMessage{header: h, Owner: l.Owner, Label: l.Label, Statement: stagedStatement{
		Version: 1, FirstOptions: first.Options, Options: rest,
		Open: stagedOpen{OID: first.OID, Schema: first.Schema, Table: first.Table, Columns: first.Columns,
			ForceNull: first.ForceNull, ForceNotNull: first.ForceNotNull},
	}}
	steps := l.Steps
	if steps == nil {
		steps = StagedInserts(l)
	}
	texts := []string{l.Owner, l.Label}
	for _, step := range steps {
		one := stagedStep{SQL: step.SQL}
		if step.Rows >= 0 {
			one.Rows = &step.Rows
		}
		m.Statement.Steps = append(m.Statement.Steps, one)
		texts = append(texts, step.SQL)
	}
	for i, f := range l.Files {
		if f.Number != i+1 {
			return nil, fmt.Errorf("stage: file %d has number %d", i+1, f.Number)
		}
		m.Files = append(m.Files, stagedFile(f))
		texts = append(texts, f.Key, f.URL)
	}
	return m, checkText(texts...)
}

// OpenStagedSQL returns the statement that opens the external table of one file
// of a staged load, in the import's transaction. url is pre-signed; s is the
// importing session, whose role is the service role.
func OpenStagedSQL(s engine.Session, processID string, file int, url string, key []byte, expires time.Time) (string, error) {
	if url == "" || file < 1 {
		return "", fmt.Errorf("open staged: no URL, or file %d", file)
	}
	h, err := newHeader("open_staged", s, processID, file)
	if err != nil {
		return "", err
	}
	m := message{header: h, Object: withoutQuery(url)}
	args, err := seal(&m, url, key, expires)
	if err != nil {
		return "", err
	}
	return "SELECT pgbulk.open_staged(" + args + ")", nil
}

// ImportTransaction returns one simple Query text that imports a staged load,
// and records it in the ledger, or does nothing: opens are its files' OpenStagedSQL.
// The session must not be used for anything afterwards: users' code ran on it,
// which may have changed its settings, prepared statements and temporary objects.
func ImportTransaction(opens []string, processID, owner string, epoch int) string {
	load := pgident.Literal(processID) + ", " + pgident.Literal(owner) + ", " + strconv.Itoa(epoch)
	var b strings.Builder
	b.WriteString("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pgbulk.fence(" + load + "); ")
	for _, open := range opens {
		b.WriteString(open + "; ")
	}
	b.WriteString("SELECT pgbulk.import_staged(" + load + "); COMMIT")
	return b.String()
}

// sealable is a message with a header.
type sealable interface{ until(t time.Time) }

func (h *header) until(t time.Time) {
	epoch := t.Unix()
	h.Expires = &epoch
}

// seal seals a message that is obeyed until expires, and returns its arguments.
func seal(m sealable, url string, key []byte, expires time.Time) (string, error) {
	sealer, err := NewSealer(key)
	if err != nil {
		return "", err
	}
	m.until(expires)
	sealed, err := sealer.Seal(m, url)
	if err != nil {
		return "", err
	}
	if len(sealed.Message) >= maxMessage {
		return "", fmt.Errorf("%w: a message of %d bytes", engine.ErrUnsupported, len(sealed.Message))
	}
	return sealed.args(), nil
}
