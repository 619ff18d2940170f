package rewrite

import (
	"slices"
	"strings"
)

// Caps is what Classify needs to know about the engine and the moment.
type Caps struct {
	// External: the engine reads staged files itself, in these Formats.
	External bool
	Formats  []Format
	// Slow are those of them that the server's COPY takes faster; Prefer says to
	// take one method wherever both are exact, MethodNone to go by Slow.
	Slow   []Format
	Prefer Method
	// InstallNeeded: only where schema pgbulk is installed.
	InstallNeeded bool
	// Unordered: rows that it reads draw their defaults in another order.
	Unordered bool
	// InBlock: the client is inside a transaction block of its own, so that the
	// snapshot may be older than this statement.
	InBlock bool
	// Params: the values of an INSERT's parameters are known.
	Params bool
	// Several: the INSERT stands for several of the client's.
	Several bool
}

// firstUserOID is FirstNormalObjectId: below it are system objects.
const firstUserOID = 16384

// Classify decides how the statement goes. It is pure, and it passes whatever
// it doesn't know. A statement that asks for more than PostgreSQL has never
// passes: it is staged or refused.
func Classify(c *CopyStatement, in *Inspection, caps Caps) Decision {
	if reason := modeReason(in.Mode); reason != ReasonNone && !in.Routed() {
		return Decision{Way: Pass, Reason: reason}
	}
	x, problem := c.resolve(in)
	if problem != "" {
		return c.refuse(&Refusal{Problem: problem}, ReasonBadExtension)
	}
	for _, a := range x.Asks {
		if !Supported(a.Feature) {
			return c.refuse(&Refusal{Feature: a.By}, ReasonUnsupportedExtension)
		}
	}
	if x.IgnoreErrors {
		if reason := c.toleranceReason(in, &x); reason != ReasonNone {
			return c.WithoutErrors().refuse(&Refusal{Feature: x.errorsBy(), Because: reason}, reason)
		}
		c = c.WithoutErrors()
	}
	for _, check := range []func(*CopyStatement, *Inspection, Caps) Reason{
		tableReason, wordReason, columnReason, sessionReason, encodingReason, versionReason,
	} {
		if reason := check(c, in, caps); reason != ReasonNone && x.Ours() {
			return c.refuse(&Refusal{Feature: x.Asks[0].By, Because: reason}, reason)
		} else if reason != ReasonNone && in.Routed() {
			return c.refuseRouted(reason)
		} else if reason != ReasonNone {
			return Decision{Way: Pass, Reason: reason}
		}
	}
	if in.Routed() {
		return c.classifyRouted(in, x, caps)
	}
	if x.needsTable() {
		return c.classifyTable(in, x)
	}
	if x.IgnoreErrors {
		return Decision{Way: Stage, Method: MethodCopy, Reason: ReasonErrors, Ext: x}
	}
	if reason := copyReason(c, in, caps, &x); reason != ReasonNone {
		return Decision{Way: Stage, Method: MethodCopy, Reason: reason, Ext: x}
	}
	if caps.Prefer == MethodPull {
		return Decision{Way: Stage, Method: MethodPull, Reason: ReasonPull, Ext: x}
	}
	return Decision{Way: Stage, Method: MethodExternal, Reason: ReasonExternal, Ext: x}
}

// refuse is a decision to refuse, unless the server refuses the rest of the
// statement, too.
func (c *CopyStatement) refuse(r *Refusal, reason Reason) Decision {
	r.Native = c.Native(&Inspection{Schema: c.Schema, Table: c.Table, Columns: c.Columns}, false)
	return Decision{Way: Refuse, Reason: reason, Refusal: r}
}

// RefuseFeature is the decision for a statement that asks for a feature which is
// not to be had here, for a reason.
func (c *CopyStatement) RefuseFeature(x Extensions, f Feature, reason Reason) Decision {
	for _, a := range x.Asks {
		if a.Feature == f {
			return c.refuse(&Refusal{Feature: a.By, Because: reason}, reason)
		}
	}
	return c.refuse(&Refusal{Feature: string(f), Because: reason}, reason)
}

// RefuseAsked is the decision for a statement that could not be inspected: it
// passes, unless its options ask for more than PostgreSQL has.
func (c *CopyStatement) RefuseAsked(reason Reason) Decision {
	if !c.Ext.Asked() {
		return Decision{Way: Pass, Reason: reason}
	}
	r := &Refusal{Problem: c.Ext.problem, Because: reason}
	if len(c.Ext.Asks) > 0 {
		r.Feature = c.Ext.Asks[0].By
	}
	return c.refuse(r, reason)
}

// Refused is the decision to refuse a statement that could not be inspected.
func (c *CopyStatement) Refused(r *Refusal, reason Reason) Decision { return c.refuse(r, reason) }

// Inspectable says, from what the server reports by ParameterStatus, whether
// the inspection may be run for this statement; a reason other than ReasonNone
// means to relay the statement without it. param returns a parameter's value,
// or "" where the server has not reported it.
//
// It asks nothing that Classify does not ask again. But it saves the round
// trip, and InspectSQL with names that the server cannot convert would be an
// error.
func (c *CopyStatement) Inspectable(param func(name string) string) Reason {
	if embedsASCII(param("client_encoding")) {
		return ReasonClientEncoding
	}
	if !isASCII(c.SQL) && (param("client_encoding") != "UTF8" || param("server_encoding") != "UTF8") {
		return ReasonNameEncoding
	}
	if param("standard_conforming_strings") == "off" && hasOldStrings(c.SQL) {
		return ReasonStringSyntax
	}
	return ReasonNone
}

func modeReason(mode string) Reason {
	switch mode {
	case "", "auto", "force":
		return ReasonNone
	case "off":
		return ReasonModeOff
	}
	return ReasonUnknownMode
}

func tableReason(_ *CopyStatement, in *Inspection, _ Caps) Reason {
	switch {
	case !in.Found:
		return ReasonNoTable
	case in.Kind != "r" && in.Kind != "p":
		return ReasonNotATable
	case in.OID < firstUserOID:
		return ReasonSystemTable
	case in.BadColumns:
		return ReasonBadColumn
	case !in.InsertPrivilege && in.ColumnPrivilege:
		return ReasonColumnPrivileges
	case !in.InsertPrivilege:
		return ReasonNoPrivilege
	case in.RowSecurity:
		return ReasonRowSecurity
	case in.ForeignPartition:
		return ReasonForeignPartition
	}
	return ReasonNone
}

// columnReason checks the columns that options name.
func columnReason(c *CopyStatement, in *Inspection, _ Caps) Reason {
	for _, list := range [][]string{c.ForceNull, c.ForceNotNull} {
		for _, name := range list {
			if !slices.Contains(in.Columns, name) && (name != c.Ext.OperationColumn || name == "") {
				return ReasonBadColumn
			}
		}
	}
	return ReasonNone
}

func sessionReason(c *CopyStatement, in *Inspection, caps Caps) Reason {
	switch {
	case in.ReadOnly:
		return ReasonReadOnly
	case caps.InBlock && !in.Routed() && in.Isolation != "read committed" && in.Isolation != "read uncommitted":
		return ReasonOldSnapshot
	case c.Freeze:
		return ReasonFreeze
	case c.Where:
		return ReasonWhere
	}
	return ReasonNone
}

func encodingReason(c *CopyStatement, in *Inspection, _ Caps) Reason {
	switch {
	case embedsASCII(in.ClientEncoding):
		return ReasonClientEncoding
	case c.Encoding != "" && !copyEncodingFits(in):
		return ReasonCopyEncoding
	case !in.StandardStrings && hasOldStrings(c.SQL):
		return ReasonStringSyntax
	}
	if in.ClientEncoding == "UTF8" && in.ServerEncoding == "UTF8" {
		return ReasonNone
	}
	// Elsewhere the same name has different bytes on both sides.
	names := append([]string{c.SQL, in.Schema, in.Table, in.Role, in.Database}, in.Columns...)
	for _, name := range names {
		if !isASCII(name) {
			return ReasonNameEncoding
		}
	}
	return ReasonNone
}

// copyEncodingFits says whether the server surely has a conversion from the
// statement's ENCODING, and the rows' boundaries can be seen in it.
func copyEncodingFits(in *Inspection) bool {
	e := in.CopyEncoding
	if e == "" || embedsASCII(e) || e == "MULE_INTERNAL" {
		return false
	}
	return e == in.ServerEncoding || in.ServerEncoding == "UTF8" || in.ServerEncoding == "SQL_ASCII"
}

// embedsASCII lists the client-only encodings of PostgreSQL: they use ASCII
// bytes, the backslash among them, inside characters.
func embedsASCII(encoding string) bool {
	switch strings.ToUpper(encoding) {
	case "SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004":
		return true
	}
	return false
}

// hasOldStrings says whether the text could mean something else while
// standard_conforming_strings is off.
func hasOldStrings(sql string) bool { return strings.ContainsAny(sql, `\&`) }

// versionReason finds options that the server does not know yet.
func versionReason(c *CopyStatement, in *Inspection, _ Caps) Reason {
	for _, o := range []struct {
		used  bool
		since int
	}{
		{c.Header && c.Format == FormatText, 150000},
		{c.HeaderMatch, 150000},
		{c.DefaultSet, 160000},
		{c.ForceNullAll || c.ForceNotNullAll, 170000},
		{c.OnError != "" || c.LogVerbosity != "", 170000},
		{c.LogVerbosity == "silent", 180000},
		{c.RejectLimit > 0, 180000},
		{c.OnError == "set_null", 190000},
		{c.HeaderLines > 1, 190000},
	} {
		if o.used && in.Version < o.since {
			return ReasonOptionVersion
		}
	}
	if c.OnError == "ignore" && c.Format == FormatBinary {
		return ReasonBadOption
	}
	return ReasonNone
}

// copyReason says why the files must go through the server's COPY, or
// ReasonNone where an external table does the same.
func copyReason(c *CopyStatement, in *Inspection, caps Caps, x *Extensions) Reason {
	switch {
	case !caps.External:
		return ReasonEnginePlain
	case caps.InstallNeeded && !in.Installed:
		return ReasonNotInstalled
	case !slices.Contains(caps.Formats, c.Format):
		return ReasonFormat
	case caps.Unordered && in.Omitted:
		return ReasonUnordered
	case caps.Prefer == MethodCopy && !x.Staged:
		return ReasonLoadMethod
	case caps.Prefer == MethodNone && slices.Contains(caps.Slow, c.Format) && !x.Staged:
		return ReasonSlowFormat
	}
	if reason := c.wholeReason(in); reason != ReasonNone {
		return reason
	}
	switch {
	case c.DefaultSet:
		return ReasonDefaultOption
	case c.OnError != "" || c.LogVerbosity != "" || c.RejectLimit != 0:
		return ReasonOnError
	case c.ForceNullAll || c.ForceNotNullAll:
		return ReasonForceAll
	case c.HeaderMatch:
		return ReasonHeaderMatch
	case c.HeaderLines > 1:
		return ReasonHeaderLines
	case in.Rules:
		return ReasonRules
	case in.EventTriggers:
		return ReasonEventTriggers
	}
	return ReasonNone
}

// wholeReason says why all rows must come by one statement.
func (c *CopyStatement) wholeReason(in *Inspection) Reason {
	switch {
	case len(in.Columns) == 0:
		return ReasonNoColumns
	case in.Triggers:
		return ReasonTriggers
	case in.ForeignKeys:
		return ReasonForeignKeys
	case in.Exclusion:
		return ReasonExclusion
	case in.Deferrable:
		return ReasonDeferrable
	}
	return ReasonNone
}
