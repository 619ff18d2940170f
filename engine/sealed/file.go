package sealed

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// header is what every message to the SQL functions has. The names of the fields
// are known to files.sql.
type header struct {
	Version   int    `json:"v"`
	Op        string `json:"op"`
	PID       uint32 `json:"pid"`
	Database  string `json:"database"`
	Role      string `json:"role"`
	Expires   *int64 `json:"expires,omitempty"`
	ProcessID string `json:"id"`
	File      int    `json:"file"`
}

// message is what is said of one file.
type message struct {
	header

	OID          uint32            `json:"oid,omitempty"`
	Schema       string            `json:"schema,omitempty"`
	Table        string            `json:"table,omitempty"`
	Columns      []string          `json:"columns,omitempty"`
	Options      map[string]string `json:"options,omitempty"`
	ForceNull    []string          `json:"force_null,omitempty"`
	ForceNotNull []string          `json:"force_not_null,omitempty"`
	// Object is the URL without its secret half, for whoever reads a log.
	Object string `json:"object,omitempty"`

	Records int64  `json:"records"`
	Bytes   int64  `json:"bytes"`
	CRC32C  uint32 `json:"crc32c"`
}

var uuidPattern = regexp.MustCompile(`\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\z`)

// newHeader binds a message to a session. file is 0 where the message is about
// the load.
func newHeader(op string, s engine.Session, processID string, file int) (header, error) {
	if !uuidPattern.MatchString(processID) || file < 0 || file > 999_999_999 {
		return header{}, fmt.Errorf("seal: process id %q, file %d", processID, file)
	}
	if err := checkText(s.Database, s.Role); err != nil {
		return header{}, err
	}
	return header{Version: 1, Op: op, PID: s.BackendPID, Database: s.Database, Role: s.Role, ProcessID: processID, File: file}, nil
}

func newMessage(op string, s engine.Session, f engine.File) (message, error) {
	if f.Number < 1 {
		return message{}, fmt.Errorf("seal: process id %q, file %d", f.ProcessID, f.Number)
	}
	h, err := newHeader(op, s, f.ProcessID, f.Number)
	return message{header: h, Object: withoutQuery(f.URL), Records: f.Records, Bytes: f.Bytes, CRC32C: f.CRC32C}, err
}

// checkText refuses what JSON cannot carry: names in an encoding other than
// UTF-8, and NUL, which no name has.
func checkText(texts ...string) error {
	for _, t := range texts {
		if !utf8.ValidString(t) {
			return fmt.Errorf("%w: a name that is not UTF-8", engine.ErrUnsupported)
		}
		for i := range len(t) {
			if t[i] == 0 {
				return fmt.Errorf("%w: a name with a NUL byte", engine.ErrUnsupported)
			}
		}
	}
	return nil
}

// Plan returns how a group of one file is loaded by the functions of schema pgbulk.
// key is the database's secret (see Sealer); the open message is obeyed until expires.
func Plan(t engine.Target, stmt *rewrite.CopyStatement, s engine.Session, g engine.Group, key []byte, expires time.Time) (engine.Plan, error) {
	f, err := g.One()
	if err != nil {
		return engine.Plan{}, err
	}
	open, err := openSQL(t, stmt, s, f, key, expires)
	if err != nil {
		return engine.Plan{}, err
	}
	closing, err := closeSQL(s, f, key)
	if err != nil {
		return engine.Plan{}, err
	}
	return engine.Plan{Open: open, Insert: insertSQL(t, f), Close: closing}, nil
}

// openSQL returns the statement that makes the external table of a file.
func openSQL(t engine.Target, stmt *rewrite.CopyStatement, s engine.Session, f engine.File, key []byte, expires time.Time) (string, error) {
	sealer, err := NewSealer(key)
	if err != nil {
		return "", err
	}
	m, err := openMessage(t, stmt, s, f, expires)
	if err != nil {
		return "", err
	}
	if f.URL == "" {
		return "", errors.New("seal: no URL")
	}
	args, err := sealer.Seal(m, f.URL)
	if err != nil {
		return "", err
	}
	return "SELECT pgbulk.open_file(" + args.args() + ")", nil
}

// closeSQL returns the statement that drops the external table of a file and
// records its import.
func closeSQL(s engine.Session, f engine.File, key []byte) (string, error) {
	sealer, err := NewSealer(key)
	if err != nil {
		return "", err
	}
	m, err := newMessage("close", s, f)
	if err != nil {
		return "", err
	}
	args, err := sealer.Seal(m, "")
	if err != nil {
		return "", err
	}
	return "SELECT pgbulk.close_file(" + args.args() + ")", nil
}

// insertSQL returns the INSERT that reads the external table of a file.
func insertSQL(t engine.Target, f engine.File) string {
	columns := pgident.List(t.Columns)
	overriding := ""
	if t.OverridingSystem {
		overriding = " OVERRIDING SYSTEM VALUE"
	}
	return "INSERT INTO " + pgident.Qualified(t.Schema, t.Table) + " (" + columns + ")" + overriding +
		" SELECT " + columns + " FROM " + pgident.Qualified("pgbulk", tableName(f))
}

// tableName is the external table's, unique to the file. files.sql makes the
// same.
func tableName(f engine.File) string { return "f_" + f.ProcessID + "_" + strconv.Itoa(f.Number) }

func openMessage(t engine.Target, stmt *rewrite.CopyStatement, s engine.Session, f engine.File, expires time.Time) (message, error) {
	m, err := newMessage("open", s, f)
	if err != nil {
		return message{}, err
	}
	if t.OID == 0 || t.Schema == "" || len(t.Columns) == 0 {
		return message{}, fmt.Errorf("%w: a target without oid, schema or columns", engine.ErrUnsupported)
	}
	if err := checkText(append([]string{t.Schema, t.Table}, t.Columns...)...); err != nil {
		return message{}, err
	}
	m.Options, err = tableOptions(stmt, f.First)
	if err != nil {
		return message{}, err
	}
	if m.ForceNull, err = forced(t, stmt.ForceNull, stmt.ForceNullAll); err != nil {
		return message{}, err
	}
	if m.ForceNotNull, err = forced(t, stmt.ForceNotNull, stmt.ForceNotNullAll); err != nil {
		return message{}, err
	}
	epoch := expires.Unix()
	m.Expires, m.OID, m.Schema, m.Table, m.Columns = &epoch, t.OID, t.Schema, t.Table, t.Columns
	return m, nil
}

// ImportSQL returns the statement that records, in the transaction in which it
// runs, that the rows of a file are in the table: for files that were not
// loaded by a Plan, whose Close does that. key and expires are Plan's.
func ImportSQL(s engine.Session, f engine.File, key []byte, expires time.Time) (string, error) {
	sealer, err := NewSealer(key)
	if err != nil {
		return "", err
	}
	m, err := newMessage("record", s, f)
	if err != nil {
		return "", err
	}
	epoch := expires.Unix()
	m.Expires = &epoch
	args, err := sealer.Seal(m, "")
	if err != nil {
		return "", err
	}
	return "SELECT pgbulk.record_import(" + args.args() + ")", nil
}
