package rewrite

import (
	"slices"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// The methods of a streamed INSERT: both run on the session, as one statement.
const (
	// MethodRows sends the rows through COPY.
	MethodRows Method = "rows"
	// MethodArrays sends them as one array a column: INSERT … SELECT FROM unnest.
	// It is an INSERT still, with ON CONFLICT and RETURNING.
	MethodArrays Method = "arrays"
)

// ClassifyInsert decides how an INSERT goes. It is pure, and it passes whatever
// it doesn't know. in was asked for by the statement's own InspectSQL.
func ClassifyInsert(s *InsertStatement, in *Inspection, caps Caps) Decision {
	if reason := modeReason(in.Mode); reason != ReasonNone {
		return Decision{Way: Pass, Reason: reason}
	}
	for _, reason := range []Reason{
		tableReason(nil, in, caps), s.dialectReason(in), snapshotReason(in, caps), insertEncodingReason(s, in),
		insertTableReason(in), severalReason(in, caps), s.shapeReason(caps), s.columnsReason(in),
	} {
		if reason != ReasonNone {
			return Decision{Way: Pass, Reason: reason}
		}
	}
	rows := s.Conflict == ConflictError && s.Returning == "" && !in.UserCode
	if reason := in.shardingReason(!rows); reason != ReasonNone {
		return Decision{Way: Pass, Reason: reason}
	}
	switch {
	case rows:
		return Decision{Way: Stream, Method: MethodRows, Reason: ReasonRows}
	case in.Dialect() != Current:
		return Decision{Way: Pass, Reason: ReasonOldServer}
	case in.ArrayNulls && !slices.ContainsFunc(in.Types[:s.Targets()], func(c values.Column) bool { return c.ArrayType() == "" }):
		return Decision{Way: Stream, Method: MethodArrays, Reason: ReasonArrays}
	}
	return Decision{Way: Pass, Reason: ReasonNoArrays}
}

func snapshotReason(in *Inspection, caps Caps) Reason {
	switch {
	case in.ReadOnly:
		return ReasonReadOnly
	case caps.InBlock && in.Isolation != "read committed" && in.Isolation != "read uncommitted":
		return ReasonOldSnapshot
	}
	return ReasonNone
}

// insertTableReason finds what makes an INSERT do more than put rows in. COPY
// ignores rules; and triggers can see the statement's text.
func insertTableReason(in *Inspection) Reason {
	switch {
	case in.Rules:
		return ReasonRules
	case in.Triggers:
		return ReasonTriggers
	}
	return ReasonNone
}

// severalReason finds what makes several INSERTs differ from one: a row may point
// to one that comes later only if both are of one statement.
func severalReason(in *Inspection, caps Caps) Reason {
	if caps.Several && in.SelfReference {
		return ReasonSelfReference
	}
	return ReasonNone
}

// insertEncodingReason is encodingReason for what of an INSERT is not rows.
func insertEncodingReason(s *InsertStatement, in *Inspection) Reason {
	c := CopyStatement{SQL: string(s.SQL[:s.ListStart]) + string(s.SQL[s.ListEnd:])}
	return encodingReason(&c, in, Caps{})
}

// shapeReason finds what of the statement is not taken yet, or never.
func (s *InsertStatement) shapeReason(caps Caps) Reason {
	switch {
	case s.HasDefault:
		return ReasonDefaultCell
	case s.MaxParam > 0 && !caps.Params:
		return ReasonParameters
	case s.Overriding == "USER":
		return ReasonOverridingUser
	}
	return ReasonNone
}

// columnsReason compares the statement's columns with the table's. Without a
// list the cells go into the first columns, as many as there are; a generated
// one among them is an error that is the server's.
func (s *InsertStatement) columnsReason(in *Inspection) Reason {
	switch {
	case s.Columns == nil && (in.Generated || s.Targets() > len(in.Columns)):
		return ReasonBadColumn
	case len(in.Types) != len(in.Columns) || s.Targets() > len(in.Types):
		return ReasonInspectFailed
	case in.IdentityAlways && s.Overriding == "":
		return ReasonIdentityAlways
	}
	return ReasonNone
}

// Reusable says whether what was found stays true in the transaction while only
// such INSERTs into this table run there: the lock keeps others from changing
// the table (but not from attaching a partition), and no code of a user's runs
// that could change the session. Only the name may mean another table later:
// GuardSQL looks.
func (s *InsertStatement) Reusable(in *Inspection) bool {
	plain := !slices.ContainsFunc(s.Items, func(i ReturningItem) bool { return !i.Star && i.Column == "" })
	return plain && s.Conflict == ConflictError && in.Kind == "r" && !in.UserCode && !in.Triggers && !in.Rules
}

// InsertReadable says, from what the server reports by ParameterStatus, whether
// the bytes of INSERTs can be read at all: whether those below 0x80 are ASCII.
// And from a client that says SQL_ASCII COPY takes what is no text to the server.
func InsertReadable(param func(name string) string) bool {
	client := param("client_encoding")
	return !embedsASCII(client) && (client != "SQL_ASCII" || param("server_encoding") == client)
}

// ASCII says whether all but the rows is ASCII. Else its names have other bytes
// on the server, unless both sides are UTF-8.
func (s *InsertStatement) ASCII() bool {
	return isASCII(string(s.SQL[:s.ListStart])) && isASCII(string(s.SQL[s.ListEnd:]))
}

// Params says how parameters stand in the rows. repeats: one stands in two
// places, and its type is then that of the first place, and not asked for here.
// inOrder: the rows are $1, $2 and so on and nothing else, without casts.
func (s *InsertStatement) Params(opts values.Options) (repeats, inOrder bool) {
	if s.MaxParam == 0 {
		return false, false
	}
	inOrder = s.Source == nil
	seen := make([]bool, s.MaxParam+1)
	lexer := s.Lexer(opts)
	var cells []values.Cell
	next := 0
	for range s.Rows {
		var err error
		if cells, err = lexer.Row(cells); err != nil {
			return true, false
		}
		for _, c := range cells {
			next++
			inOrder = inOrder && c.Kind == values.Param && c.Number == next && c.Cast == nil
			if c.Kind == values.Param && seen[c.Number] {
				return true, false
			}
			seen[c.Number] = true
		}
	}
	return false, inOrder
}
