package rewrite

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Inspection is what the catalogs and the session say about one statement.
type Inspection struct {
	// Found: the table exists and its schema is open to the role. The fields up
	// to IdentityAlways are zero otherwise.
	Found         bool
	OID           uint32
	Schema, Table string
	// Kind is pg_class.relkind: r table, p partitioned, v view, f foreign table.
	Kind string
	// Persistence is pg_class.relpersistence: p, u unlogged, t temporary.
	Persistence string
	// Columns are those that the data has, in its order; nil where BadColumns.
	Columns []string
	// BadColumns: a column of the client's list is missing, generated or named
	// twice.
	BadColumns bool
	// IdentityAlways: a GENERATED ALWAYS AS IDENTITY column is among Columns.
	IdentityAlways bool
	// Generated: the table has generated columns.
	Generated bool

	// InsertPrivilege is the whole table's, ColumnPrivilege that of any column.
	InsertPrivilege, ColumnPrivilege bool
	// RowSecurity is in force for the current role.
	RowSecurity bool
	// Rules are ON INSERT; Triggers are the user's, enabled, for INSERT, like
	// the next ones on the table or any of its partitions.
	Rules, Triggers bool
	// ForeignKeys are those that the table's rows point with.
	ForeignKeys           bool
	Deferrable, Exclusion bool
	ForeignPartition      bool

	// Session is what holds without a table.
	Session
}

// Session is the part of an Inspection that is about the session.
type Session struct {
	// Version is server_version_num.
	Version   int
	ReadOnly  bool
	Isolation string
	// ClientEncoding, ServerEncoding and CopyEncoding are canonical names;
	// CopyEncoding is empty where the statement gives none, or an unknown one.
	ClientEncoding, ServerEncoding, CopyEncoding string
	// StandardStrings is standard_conforming_strings.
	StandardStrings bool
	// The timeouts are zero where they are off or unknown to the server.
	StatementTimeout, IdleInTransactionTimeout time.Duration
	IdleSessionTimeout, TransactionTimeout     time.Duration
	// Role is the effective role, SessionUser the one that SET ROLE left.
	Role, SessionUser, Database string
	BackendPID                  uint32
	// Installed: function pgbulk.version() is there and open to the role.
	Installed bool
	// EventTriggers that DDL would fire.
	EventTriggers bool
	// The settings pgbulk.*, empty where not set.
	Mode, Ack, OnConflict, MaxErrorRecords, Label, Coalesce string
}

// inspectionRow is the JSON that InspectSQL builds.
type inspectionRow struct {
	Version                  int     `json:"version"`
	ReadOnly                 string  `json:"read_only"`
	Isolation                string  `json:"isolation"`
	ClientEncoding           string  `json:"client_encoding"`
	ServerEncoding           string  `json:"server_encoding"`
	CopyEncoding             *string `json:"copy_encoding"`
	Strings                  string  `json:"strings"`
	StatementTimeout         string  `json:"statement_timeout"`
	IdleInTransactionTimeout *string `json:"idle_in_transaction_session_timeout"`
	IdleSessionTimeout       *string `json:"idle_session_timeout"`
	TransactionTimeout       *string `json:"transaction_timeout"`
	Role                     string  `json:"role"`
	SessionUser              string  `json:"session_user"`
	Database                 string  `json:"database"`
	PID                      uint32  `json:"pid"`
	Mode                     *string `json:"mode"`
	Ack                      *string `json:"ack"`
	OnConflict               *string `json:"on_conflict"`
	MaxErrorRecords          *string `json:"max_error_records"`
	Label                    *string `json:"label"`
	Coalesce                 *string `json:"coalesce"`
	Installed                bool    `json:"installed"`
	EventTriggers            bool    `json:"event_triggers"`

	Wanted []string  `json:"wanted"`
	Found  *tableRow `json:"found"`
}

type tableRow struct {
	OID           uint32      `json:"oid"`
	Kind          string      `json:"kind"`
	Schema        string      `json:"schema"`
	Table         string      `json:"table"`
	Persistence   string      `json:"persistence"`
	Columns       [][3]string `json:"columns"`
	Insert        bool        `json:"insert"`
	InsertColumns bool        `json:"insert_columns"`
	RowSecurity   bool        `json:"row_security"`
	Rules         bool        `json:"rules"`
	Tree          struct {
		Triggers *struct {
			User       bool `json:"user"`
			ForeignKey bool `json:"foreign_key"`
			Deferrable bool `json:"deferrable"`
		} `json:"triggers"`
		Exclusion        bool `json:"exclusion"`
		Deferrable       bool `json:"deferrable"`
		ForeignPartition bool `json:"foreign_partition"`
	} `json:"tree"`
}

// ParseInspection reads the one column of InspectSQL's one row.
func ParseInspection(row string) (*Inspection, error) {
	data, err := hex.DecodeString(row)
	if err != nil {
		return nil, fmt.Errorf("decode inspection: %w", err)
	}
	return parseInspectionJSON(data)
}

func parseInspectionJSON(data []byte) (*Inspection, error) {
	var r inspectionRow
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("decode inspection: %w", err)
	}
	in := &Inspection{Session: Session{
		Version: r.Version, ReadOnly: r.ReadOnly != "off", Isolation: r.Isolation,
		ClientEncoding: r.ClientEncoding, ServerEncoding: r.ServerEncoding, CopyEncoding: deref(r.CopyEncoding),
		StandardStrings: r.Strings == "on",
		Role:            r.Role, SessionUser: r.SessionUser, Database: r.Database, BackendPID: r.PID,
		Installed: r.Installed, EventTriggers: r.EventTriggers,
		Mode: deref(r.Mode), Ack: deref(r.Ack), OnConflict: deref(r.OnConflict),
		MaxErrorRecords: deref(r.MaxErrorRecords), Label: deref(r.Label), Coalesce: deref(r.Coalesce),
	}}
	for _, t := range []struct {
		to   *time.Duration
		text string
	}{
		{&in.StatementTimeout, r.StatementTimeout},
		{&in.IdleInTransactionTimeout, deref(r.IdleInTransactionTimeout)},
		{&in.IdleSessionTimeout, deref(r.IdleSessionTimeout)},
		{&in.TransactionTimeout, deref(r.TransactionTimeout)},
	} {
		d, err := parseTimeout(t.text)
		if err != nil {
			return nil, err
		}
		*t.to = d
	}
	if r.Found != nil {
		in.table(r.Found)
		in.columns(r.Found.Columns, r.Wanted)
	}
	return in, nil
}

func (in *Inspection) table(t *tableRow) {
	in.Found, in.OID = true, t.OID
	in.Schema, in.Table, in.Kind, in.Persistence = t.Schema, t.Table, t.Kind, t.Persistence
	in.InsertPrivilege, in.ColumnPrivilege = t.Insert, t.InsertColumns
	in.RowSecurity, in.Rules = t.RowSecurity, t.Rules
	in.Exclusion, in.Deferrable = t.Tree.Exclusion, t.Tree.Deferrable
	in.ForeignPartition = t.Tree.ForeignPartition
	if g := t.Tree.Triggers; g != nil {
		in.Triggers, in.ForeignKeys = g.User, g.ForeignKey
		in.Deferrable = in.Deferrable || g.Deferrable
	}
}

// columns resolves the client's list, or COPY's own: all columns but generated
// ones. Each of all is name, attgenerated, attidentity.
func (in *Inspection) columns(all [][3]string, wanted []string) {
	byName := make(map[string][3]string, len(all))
	var names []string
	for _, col := range all {
		if col[1] != "" {
			in.Generated = true
			continue
		}
		byName[col[0]] = col
		names = append(names, col[0])
	}
	if wanted != nil {
		names = wanted
	}
	for _, name := range names {
		col, ok := byName[name]
		if !ok {
			in.BadColumns, in.IdentityAlways = true, false
			return
		}
		delete(byName, name)
		in.IdentityAlways = in.IdentityAlways || col[2] == "a"
	}
	in.Columns = names
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// parseTimeout reads what SHOW says of a setting in milliseconds: 0, or a whole
// number of the largest unit that fits.
func parseTimeout(s string) (time.Duration, error) {
	if s == "" || s == "0" {
		return 0, nil
	}
	for _, u := range []struct {
		suffix string
		unit   time.Duration
	}{
		{"ms", time.Millisecond}, {"min", time.Minute}, {"s", time.Second}, {"h", time.Hour}, {"d", 24 * time.Hour},
	} {
		if digits, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.ParseInt(digits, 10, 32)
			if err != nil {
				return 0, fmt.Errorf("decode inspection: timeout %q: %w", s, err)
			}
			return time.Duration(n) * u.unit, nil
		}
	}
	return 0, fmt.Errorf("decode inspection: timeout %q has no unit", s)
}
