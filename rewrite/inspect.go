package rewrite

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
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
	// Omitted: a column is not among Columns, and gets its default.
	Omitted bool
	// Generated: the table has generated columns.
	Generated bool

	// InsertPrivilege is the whole table's, ColumnPrivilege that of any column.
	InsertPrivilege, ColumnPrivilege bool
	// RowSecurity is in force for the current role.
	RowSecurity bool
	// Rules are ON INSERT; Triggers are the user's, enabled, for INSERT, like
	// the next ones on the table or any of its partitions.
	Rules, Triggers bool
	// ForeignKeys are those that the table's rows point with; SelfReference is one
	// that may point to rows of the table itself.
	ForeignKeys, SelfReference bool
	// StatementTriggers are those of Triggers that see the whole statement.
	StatementTriggers     bool
	Deferrable, Exclusion bool
	ForeignPartition      bool

	// Types are those of Columns, and UserCode says that the table runs code which
	// is not the server's own; both for an INSERT only.
	Types    []values.Column
	UserCode bool

	// Definitions are the types of Columns with their collations, as a CREATE TABLE
	// of this session has them; Keys are the unique indexes, and Truncate says that
	// the role may TRUNCATE. All of them for a COPY with extensions only.
	Definitions []string
	Keys        []Key
	Truncate    bool
	// AppendOptimised: the table is one of Greenplum's that only grows. ChangeRules:
	// it has rules ON UPDATE or DELETE. DistributedBy are the columns by which its rows
	// are spread, and Distribution is the clause; where they are not spread by columns,
	// or nobody has asked, there are none. With the fields above.
	AppendOptimised, ChangeRules bool
	DistributedBy                []string
	Distribution                 string

	// Routing is nil where the table has no routing table. Otherwise RoutingSQL has
	// to be run and its row given to AddRouting, which may find out the same.
	Routing *Routing
	// routesHidden: InspectSQL could not tell whether there is one.
	routesHidden bool

	// Sharding is nil but for tables of Citus. Spread says that the database has
	// Citus, so that the session's transaction may be one of other servers, too.
	Sharding *Sharding
	Spread   bool

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
	// ArrayNulls is array_nulls: the word NULL in an array is no text.
	ArrayNulls bool
	// Segmented: each statement is made known to many servers, since this is
	// Greenplum or what was made from it, of any version. Nobody can set a setting
	// of that name elsewhere: it has no dot.
	Segmented bool
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
	// Settings are the values of inspectSettings, null where unknown.
	Settings       []*string `json:"settings"`
	ClientEncoding string    `json:"client_encoding"`
	ServerEncoding string    `json:"server_encoding"`
	CopyEncoding   string    `json:"copy_encoding"`
	Role           string    `json:"role"`
	SessionUser    string    `json:"session_user"`
	Database       string    `json:"database"`
	PID            uint32    `json:"pid"`
	Installed      bool      `json:"installed"`
	EventTriggers  bool      `json:"event_triggers"`

	Wanted []string `json:"wanted"`
	// Routed: there is a routing table of the table's name, or there may be one.
	Routed bool `json:"routed"`
	// RoutesHidden: the role may not look it up.
	RoutesHidden bool      `json:"routes_hidden"`
	Found        *tableRow `json:"found"`
}

type tableRow struct {
	OID         uint32 `json:"oid"`
	Kind        string `json:"kind"`
	Schema      string `json:"schema"`
	Table       string `json:"table"`
	Persistence string `json:"persistence"`
	// Columns are attgenerated, attidentity and attname, with a space between.
	Columns       []string `json:"columns"`
	Insert        bool     `json:"insert"`
	InsertColumns bool     `json:"insert_columns"`
	RowSecurity   bool     `json:"row_security"`
	Rules         bool     `json:"rules"`
	// Triggers are five letters each, t or f: internal, of a foreign key,
	// deferrable, of a foreign key into the table itself, of the statement or with
	// all its rows. Indexes are two: of an exclusion constraint, deferrable.
	Triggers         []string `json:"triggers"`
	Indexes          []string `json:"indexes"`
	ForeignPartition bool     `json:"foreign_partition"`
	// Types are one for each of Columns, or none.
	Types []values.Column `json:"types"`
	// Definitions are one for each of Columns, or none.
	Definitions []string `json:"definitions"`
	Keys        []Key    `json:"keys"`
	Truncate    bool     `json:"truncate"`
	// Appends, ChangeRules, DistributedBy and Distribution are those of an Inspection.
	Appends       bool     `json:"append_optimised"`
	ChangeRules   bool     `json:"change_rules"`
	DistributedBy []string `json:"distributed_by"`
	Distribution  string   `json:"distribution"`
	// UserTypes are types of columns, UserCode is that of functions.
	UserTypes bool `json:"user_types"`
	UserCode  bool `json:"user_code"`
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
		ClientEncoding: r.ClientEncoding, ServerEncoding: r.ServerEncoding, CopyEncoding: r.CopyEncoding,
		Role: r.Role, SessionUser: r.SessionUser, Database: r.Database, BackendPID: r.PID,
		Installed: r.Installed, EventTriggers: r.EventTriggers,
	}}
	if err := in.settings(r.Settings); err != nil {
		return nil, fmt.Errorf("decode inspection: %w", err)
	}
	if r.Found == nil {
		return in, nil
	}
	in.table(r.Found)
	in.routesHidden = r.Routed && r.RoutesHidden
	if r.Routed && (in.Kind == "r" || in.Kind == "p") && in.Persistence != "t" && len(in.Table) <= MaxRoutedName {
		in.Routing = &Routing{Problem: "the routing of this table is not known", Code: pgerr.InternalError}
	}
	if err := in.columns(r.Found, r.Wanted); err != nil {
		return nil, fmt.Errorf("decode inspection: %w", err)
	}
	return in, nil
}

// settings reads the values of inspectSettings.
func (s *Session) settings(values []*string) error {
	names := strings.Split(inspectSettings, ",")
	if len(values) != len(names) {
		return fmt.Errorf("%d settings for %d names", len(values), len(names))
	}
	var readOnly, strs string
	var err error
	for i, name := range names {
		if values[i] == nil {
			continue
		}
		v := *values[i]
		switch name {
		case "server_version_num":
			s.Version, err = strconv.Atoi(v)
		case "transaction_read_only":
			readOnly = v
		case "transaction_isolation":
			s.Isolation = v
		case "standard_conforming_strings":
			strs = v
		case "array_nulls":
			s.ArrayNulls = v == "on"
		case "gp_role":
			s.Segmented = v != ""
		case "statement_timeout":
			s.StatementTimeout, err = parseTimeout(v)
		case "idle_in_transaction_session_timeout":
			s.IdleInTransactionTimeout, err = parseTimeout(v)
		case "idle_session_timeout":
			s.IdleSessionTimeout, err = parseTimeout(v)
		case "transaction_timeout":
			s.TransactionTimeout, err = parseTimeout(v)
		default:
			s.own(name, v)
		}
		if err != nil {
			return err
		}
	}
	s.ReadOnly, s.StandardStrings = readOnly != "off", strs == "on"
	return nil
}

// own keeps a setting of pgbulkproxy's own.
func (s *Session) own(name, value string) {
	switch name {
	case "pgbulk.mode":
		s.Mode = value
	case "pgbulk.ack":
		s.Ack = value
	case "pgbulk.on_conflict":
		s.OnConflict = value
	case "pgbulk.max_error_records":
		s.MaxErrorRecords = value
	case "pgbulk.label":
		s.Label = value
	case "pgbulk.coalesce":
		s.Coalesce = value
	}
}

// IsEnum says that a column's type is an enum: what is not the server's own, in a table
// whose types are no others of users'.
func (in *Inspection) IsEnum(column int) bool {
	return !in.UserCode && in.Types[column].Base >= firstUserOID
}

func (in *Inspection) table(t *tableRow) {
	in.Found, in.OID = true, t.OID
	in.Schema, in.Table, in.Kind, in.Persistence = t.Schema, t.Table, t.Kind, t.Persistence
	in.InsertPrivilege, in.ColumnPrivilege = t.Insert, t.InsertColumns
	in.RowSecurity, in.Rules = t.RowSecurity, t.Rules
	in.Keys, in.Truncate = t.Keys, t.Truncate
	in.AppendOptimised, in.ChangeRules = t.Appends, t.ChangeRules
	in.DistributedBy, in.Distribution = t.DistributedBy, t.Distribution
	in.ForeignPartition, in.UserCode = t.ForeignPartition, t.UserCode || t.UserTypes
	for _, g := range t.Triggers {
		if len(g) == 5 {
			in.StatementTriggers = in.StatementTriggers || g[0] != 't' && g[4] == 't'
			in.Triggers = in.Triggers || g[0] != 't'
			in.ForeignKeys = in.ForeignKeys || g[1] == 't'
			in.Deferrable = in.Deferrable || g[2] == 't'
			in.SelfReference = in.SelfReference || g[3] == 't'
		}
	}
	for _, i := range t.Indexes {
		if len(i) == 2 {
			in.Exclusion = in.Exclusion || i[0] == 't'
			in.Deferrable = in.Deferrable || i[1] == 't'
		}
	}
}

// columns resolves the client's list, or COPY's own: all columns but generated
// ones.
func (in *Inspection) columns(t *tableRow, wanted []string) error {
	for _, n := range []int{len(t.Types), len(t.Definitions)} {
		if n > 0 && n != len(t.Columns) {
			return fmt.Errorf("%d types for %d columns", n, len(t.Columns))
		}
	}
	definitions := make(map[string]string, len(t.Definitions))
	identity := make(map[string]string, len(t.Columns))
	types := make(map[string]values.Column, len(t.Types))
	var names []string
	for i, col := range t.Columns {
		part := strings.SplitN(col, " ", 3)
		if len(part) != 3 {
			return fmt.Errorf("column %q", col)
		}
		if part[0] != "" {
			in.Generated = true
			continue
		}
		identity[part[2]] = part[1]
		names = append(names, part[2])
		if len(t.Types) > 0 {
			types[part[2]] = t.Types[i]
		}
		if len(t.Definitions) > 0 {
			definitions[part[2]] = t.Definitions[i]
		}
	}
	if wanted != nil {
		names = wanted
	}
	for _, name := range names {
		kind, ok := identity[name]
		if !ok {
			in.BadColumns, in.IdentityAlways = true, false
			return nil
		}
		delete(identity, name)
		in.IdentityAlways = in.IdentityAlways || kind == "a"
		if len(t.Types) > 0 {
			in.Types = append(in.Types, types[name])
		}
		if len(t.Definitions) > 0 {
			in.Definitions = append(in.Definitions, definitions[name])
		}
	}
	in.Columns, in.Omitted = names, len(identity) > 0
	return nil
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
				return 0, fmt.Errorf("timeout %q: %w", s, err)
			}
			return time.Duration(n) * u.unit, nil
		}
	}
	return 0, fmt.Errorf("timeout %q has no unit", s)
}
