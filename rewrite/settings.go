package rewrite

import (
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// The settings pgbulk.* are about every COPY … FROM STDIN. One that can't be taken
// over is refused where they ask for more than the server does: relayed, it would
// do something else than was asked for.

// askingSettings are those that can ask for more than the server does, in the
// order of SettingsSQL's columns.
var askingSettings = []string{"pgbulk.on_conflict", "pgbulk.max_error_records", "pgbulk.label"}

// SettingsSQL returns one row for RefuseSettings. It needs no table.
func SettingsSQL(d Dialect) string {
	var b strings.Builder
	b.WriteString("SELECT " + d.setting("pgbulk.mode"))
	for _, name := range askingSettings {
		b.WriteString(", " + d.setting(name))
	}
	return b.String()
}

// RefuseSettings returns the refusal of a COPY that can't be taken over for a
// reason, and nil where the settings ask for nothing, or switch us off.
func RefuseSettings(row [][]byte, reason Reason) *Refusal {
	if len(row) != 1+len(askingSettings) || modeReason(string(row[0])) != ReasonNone {
		return nil
	}
	in := &Inspection{Session: Session{OnConflict: string(row[1]), MaxErrorRecords: string(row[2]), Label: string(row[3])}}
	x, problem := (&CopyStatement{}).resolve(in)
	switch {
	case problem != "":
		return &Refusal{Problem: problem}
	case len(x.Asks) > 0:
		return &Refusal{Feature: x.Asks[0].By, Because: reason}
	}
	return nil
}

// GuardSQL is a query that fails if the settings ask for something; the message
// of its error then holds the setting's name, for RefuseGuarded. Else it has no
// rows. It is for where nobody can wait for an answer.
func GuardSQL(d Dialect) string {
	var b strings.Builder
	b.WriteString("SELECT WHERE CASE")
	when := func(name, plain string) {
		b.WriteString(" WHEN " + d.setting(name) + " OPERATOR(pg_catalog.<>) ALL (" +
			pgident.Literal(plain) + "::pg_catalog.text[]) THEN ")
	}
	when("pgbulk.mode", `{"",auto,force}`)
	b.WriteString("false")
	for i, plain := range []string{`{"",error}`, `{"",0}`, `{""}`} {
		when(askingSettings[i], plain)
		// concat is not immutable: of a constant the cast would be made at once.
		b.WriteString("pg_catalog.concat(" + pgident.Literal(askingSettings[i]) + ")::pg_catalog.bool")
	}
	b.WriteString(" ELSE false END")
	return b.String()
}

// RoutedGuardSQL is a guard that always fails, for a COPY that names a table with
// an auxiliary one: relayed, it would put all its rows into the main table.
func RoutedGuardSQL() string {
	return "SELECT pg_catalog.concat(" + pgident.Literal(routedGuard) + ")::pg_catalog.bool"
}

const routedGuard = "pgbulkproxy: a routed table"

// RefuseRouted is the refusal of such a COPY.
func RefuseRouted(reason Reason) *Refusal {
	return &Refusal{Feature: "this COPY into a table with an auxiliary table", Because: reason}
}

// RefuseGuarded returns the refusal for an error of GuardSQL, given its SQLSTATE
// and message; nil where it says something else.
func RefuseGuarded(sqlstate, message string, reason Reason) *Refusal {
	for _, name := range askingSettings {
		if sqlstate == "22P02" && strings.Contains(message, name) {
			return &Refusal{Feature: "setting " + name, Because: reason}
		}
	}
	if sqlstate == "22P02" && strings.Contains(message, routedGuard) {
		return RefuseRouted(reason)
	}
	return nil
}

// CopiesIn says whether a text that is relayed for a reason of ParseCopy has, or
// may have, a COPY … FROM STDIN. alone: it surely is one, and nothing else.
func CopiesIn(sql string, reason Reason) (copies, alone bool) {
	switch reason {
	case ReasonModeOff, ReasonNotCopyFromStdin, ReasonCopyTo, ReasonCopyQuery, ReasonCopyProgram, ReasonCopyFile:
		return false, false
	}
	copies, sure := pgquery.CopiesIn(sql)
	return copies, copies && sure && reason != ReasonMultiStatement
}

// RefuseNamed returns the refusal of a text of several statements, of which one is
// a COPY and one names a setting that would be about it; nil where none does.
func RefuseNamed(sql string) *Refusal {
	text := strings.ToLower(sql)
	for _, name := range askingSettings {
		if strings.Contains(text, name) {
			return &Refusal{Feature: "setting " + name, Because: ReasonMultiStatement}
		}
	}
	return nil
}
