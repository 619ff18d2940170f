package sealed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// Label names a load into a table, so that it is loaded once.
type Label struct {
	ProcessID     string
	Schema, Table string
	Text          string
}

// labelMessage is known to labels.sql.
type labelMessage struct {
	header
	Schema  string `json:"schema"`
	Table   string `json:"table"`
	Label   string `json:"label"`
	Records int64  `json:"records"`
}

// ClaimLabelSQL returns the statement that, run in the load's transaction,
// claims a label: it answers NULL, or the number of rows of the load that has
// the label already; then nothing is to be loaded. It waits for a transaction
// that has claimed the label and not ended. key and expires are Plan's.
func ClaimLabelSQL(s engine.Session, l Label, key []byte, expires time.Time) (string, error) {
	return labelSQL("claim_label", s, l, 0, key, expires)
}

// FinishLabelSQL returns the statement that stores the number of rows with a
// label that this transaction has claimed, once it is known.
func FinishLabelSQL(s engine.Session, l Label, records int64, key []byte, expires time.Time) (string, error) {
	return labelSQL("finish_label", s, l, records, key, expires)
}

func labelSQL(op string, s engine.Session, l Label, records int64, key []byte, expires time.Time) (string, error) {
	h, err := newHeader(op, s, l.ProcessID, 0)
	if err != nil {
		return "", err
	}
	if err := checkText(l.Schema, l.Table, l.Text); err != nil {
		return "", err
	}
	args, err := seal(&labelMessage{h, l.Schema, l.Table, l.Text, records}, "", key, expires)
	if err != nil {
		return "", err
	}
	return "SELECT pgbulk." + op + "(" + args + ")", nil
}

// Reject is one row that a load skipped.
type Reject struct {
	// Line is the row's line as the server counts it, over the whole input from 1:
	// of a row of several lines the last.
	Line int64
	// Column is the column of the error, or empty.
	Column            string
	SQLState, Message string
	// Raw is the row as it was sent, of which maxRaw bytes are kept.
	Raw []byte
}

// maxRaw bounds what the ledger keeps of one row.
const maxRaw = 16 << 10

// rejectsMessage is known to rejects.sql.
type rejectsMessage struct {
	header
	Schema string `json:"schema"`
	Table  string `json:"table"`
	Digest string `json:"digest"`
}

// rejectRow is one element of the rows that the message's digest covers.
type rejectRow struct {
	Line     int64   `json:"line"`
	Column   *string `json:"column"`
	SQLState string  `json:"sqlstate"`
	Message  string  `json:"message"`
	Raw      string  `json:"raw"`
}

// RejectsSQL returns the statement that, run in the load's transaction, writes
// down rows that the load has skipped; some hundred at once. isUTF8 says that
// this is the database's encoding: in others, what is not ASCII is written as
// escapes, as bytes that are no text are everywhere. key and expires are Plan's.
func RejectsSQL(s engine.Session, processID, schema, table string, rows []Reject, isUTF8 bool, key []byte, expires time.Time) (string, error) {
	h, err := newHeader("rejects", s, processID, 0)
	if err != nil {
		return "", err
	}
	if err := checkText(schema, table); err != nil {
		return "", err
	}
	list := make([]rejectRow, len(rows))
	for i, r := range rows {
		list[i] = rejectRow{Line: r.Line, SQLState: printable([]byte(r.SQLState), isUTF8),
			Message: printable([]byte(r.Message), isUTF8), Raw: printable(r.Raw[:min(len(r.Raw), maxRaw)], isUTF8)}
		if r.Column != "" {
			column := printable([]byte(r.Column), isUTF8)
			list[i].Column = &column
		}
	}
	text, err := asciiJSON(list)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256([]byte(text))
	args, err := seal(&rejectsMessage{h, schema, table, hex.EncodeToString(digest[:])}, "", key, expires)
	if err != nil {
		return "", err
	}
	return "SELECT pgbulk.add_rejects(" + args + ", " + pgident.Literal(text) + ")", nil
}

// printable returns text that every database of that kind can store: bytes that
// it can't are written as \xE9.
func printable(text []byte, isUTF8 bool) string {
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if text[0] == 0 || r == utf8.RuneError && n == 1 || n > 1 && !isUTF8 {
			for _, c := range text[:n] {
				fmt.Fprintf(&b, `\x%02X`, c)
			}
		} else {
			b.Write(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}
