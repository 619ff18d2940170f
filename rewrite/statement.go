package rewrite

// Format is a COPY format.
type Format string

// The formats of PostgreSQL's COPY.
const (
	FormatText   Format = "text"
	FormatCSV    Format = "csv"
	FormatBinary Format = "binary"
)

// CopyStatement is one COPY … FROM STDIN, every option consumed. Zero values
// mean what PostgreSQL means when the option is absent; the Set flags say
// whether the client wrote it.
type CopyStatement struct {
	// SQL is the client's text, as sent.
	SQL string
	// Schema is empty where the client gave none.
	Schema, Table string
	// Columns is nil where the client gave no list.
	Columns []string

	Format Format
	// Delimiter is one byte; tab for text and comma for csv by default. Zero
	// for binary.
	Delimiter byte
	// Null is the NULL string; `\N` for text and empty for csv by default.
	Null string
	// Quote and Escape are '"' by default, and zero unless Format is csv.
	Quote, Escape byte
	// Header says that the first line is skipped; HeaderMatch that it is
	// compared with the column names too (PostgreSQL 15).
	Header, HeaderMatch bool
	// HeaderLines is the number of lines that are skipped: 1 for HEADER true,
	// more where PostgreSQL 19 gives a number.
	HeaderLines int
	// Encoding is empty where the client gave none: then client_encoding.
	Encoding string
	// ForceNull and ForceNotNull name columns; the …All flags are the `*`
	// form of PostgreSQL 17.
	ForceNull, ForceNotNull       []string
	ForceNullAll, ForceNotNullAll bool
	// Where says that there is a WHERE clause; WhereSQL is its text.
	Where    bool
	WhereSQL string
	Freeze   bool
	// Default is the DEFAULT marker of PostgreSQL 16.
	Default    string
	DefaultSet bool
	// OnError is "" or "stop" or "ignore" or "set_null" (PostgreSQL 17 and later).
	OnError string
	// RejectLimit is 0 where absent (PostgreSQL 18).
	RejectLimit int64
	// LogVerbosity is "" where absent (PostgreSQL 17).
	LogVerbosity string

	// Ext is what the options ask of pgbulkproxy; the session's settings may ask
	// for more.
	Ext Extensions
}

// Kind names a bulk statement in metrics and logs.
type Kind string

// The kinds of statements that metrics distinguish.
const (
	KindNone   Kind = ""
	KindCopy   Kind = "copy"
	KindInsert Kind = "insert"
	// KindRead is a statement that reads or changes a routed table.
	KindRead Kind = "read"
)

// Way is how a bulk statement goes.
type Way string

// The ways: Pass relays the statement untouched, Stream sends it on in another
// form, Stage goes through files. Refuse answers with an error, where the
// client asked for something of pgbulkproxy's own that is not implemented.
const (
	Pass   Way = "pass"
	Stream Way = "stream"
	Stage  Way = "stage"
	Refuse Way = "refuse"
)

// Method is how staged files reach the table.
type Method string

// The methods. External reads the files by the engine's external table, one
// INSERT … SELECT per file. Copy sends them through the client's own COPY on
// the session, as one statement, with S3 as a copy beside it: exact for
// whatever the server's COPY can do.
const (
	MethodNone     Method = ""
	MethodExternal Method = "external"
	MethodCopy     Method = "copy"
	// MethodTable is Copy into a temporary table, from which one statement then
	// takes the rows into the table: ON CONFLICT needs an INSERT.
	MethodTable Method = "table"
	// MethodPull lets the server pull the rows from the proxy while they come, by
	// one INSERT … SELECT from an external table.
	MethodPull Method = "pull"
)

// Decision says how a statement goes and why. Reason is a short snake_case
// word from the table in reasons.go; it becomes a metrics label, so it never
// holds anything of the client's.
type Decision struct {
	Way    Way
	Method Method
	Reason Reason
	// Refusal is what to answer where Way is Refuse, else nil.
	Refusal *Refusal
	// Ext is what options and settings together ask of pgbulkproxy.
	Ext Extensions
}

// CopyOnly says that a staged COPY does nothing but what the server's own does: all
// that it gains is the copy of its rows in the store.
func (d *Decision) CopyOnly(in *Inspection) bool {
	return d.Way == Stage && d.Method == MethodCopy && !d.Ext.Ours() && in.Routing == nil && !in.Forced()
}

// Forced says that the session wants to have its rows in the store, whoever reads them.
func (in *Inspection) Forced() bool { return in.Mode == "force" }

// Relayed is the decision to relay such a COPY since nobody would read that copy.
// A reason why there is no ledger to tell of it says more than that.
func (d *Decision) Relayed() Decision {
	switch d.Reason {
	case ReasonNotInstalled, ReasonNoServiceDSN, ReasonServiceFailed:
		return Decision{Way: Pass, Reason: d.Reason}
	}
	return Decision{Way: Pass, Reason: ReasonNoStore}
}

// Reason names why a statement passes or takes a method.
type Reason string
