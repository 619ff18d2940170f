package external

import (
	"slices"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// Formats are those of external tables that are read as COPY reads them: there is
// no binary.
func Formats() []rewrite.Format { return []rewrite.Format{rewrite.FormatText, rewrite.FormatCSV} }

// Format turns the COPY options into a FORMAT clause, or says why it can't. Every
// field of the statement is either consumed here or refused: an option that is
// dropped would load other values than COPY. newline says that the server's grammar
// has NEWLINE; without it lines end as in Unix.
func Format(t engine.Target, stmt *rewrite.CopyStatement, g engine.Group, newline bool) (clause, why string) {
	if why := unsupported(t, stmt, g); why != "" {
		return "", why
	}
	eol := map[string]string{"": "LF", "\n": "LF", "\r\n": "CRLF", "\r": "CR"}[g.EOL]
	if eol == "" || !newline && eol != "LF" {
		return "", "an end of line of that kind"
	}
	options := "DELIMITER " + char(stmt.Delimiter) + " NULL " + pgident.Literal(stmt.Null)
	name := "TEXT"
	if stmt.Format == rewrite.FormatCSV {
		name = "CSV"
		options += " QUOTE " + char(stmt.Quote) + " ESCAPE " + char(stmt.Escape)
		if len(stmt.ForceNotNull) > 0 {
			options += " FORCE NOT NULL " + pgident.List(stmt.ForceNotNull)
		}
	} else {
		options += ` ESCAPE E'\\'`
	}
	if stmt.Header && first(g) {
		options += " HEADER"
	}
	if newline {
		options += " NEWLINE '" + eol + "'"
	}
	return "FORMAT '" + name + "' (" + options + ")", ""
}

func char(b byte) string { return pgident.Literal(string(rune(b))) }

// first says that the group has the load's first file.
func first(g engine.Group) bool {
	return slices.ContainsFunc(g.Files, func(f engine.File) bool { return f.First })
}

// unsupported names the first thing in a statement that these external tables
// can't do exactly as COPY does.
func unsupported(t engine.Target, stmt *rewrite.CopyStatement, g engine.Group) string {
	text := stmt.Format == rewrite.FormatText
	switch {
	case !text && stmt.Format != rewrite.FormatCSV:
		return "format " + string(stmt.Format)
	case stmt.Where:
		return "WHERE"
	case stmt.Freeze:
		return "FREEZE"
	case stmt.DefaultSet:
		return "DEFAULT"
	case stmt.OnError != "" && stmt.OnError != "stop" || stmt.RejectLimit != 0:
		return "ON_ERROR"
	case stmt.HeaderMatch || stmt.HeaderLines > 1 || text && stmt.Header:
		return "HEADER with several lines, in text, or with MATCH"
	case stmt.Header && first(g) && len(g.Files) > 1:
		return "HEADER, which every file of the group would need"
	case stmt.Delimiter == 0 || max(stmt.Delimiter, stmt.Quote, stmt.Escape) > 0x7F:
		return "a delimiter, quote or escape that is not ASCII"
	case strings.Contains(stmt.Null, "'") || slices.Contains([]byte{stmt.Delimiter, stmt.Quote, stmt.Escape}, '\''):
		return "an apostrophe as an option: the catalog keeps all options as one string"
	case text && (stmt.Quote != 0 || stmt.Escape != 0):
		return "QUOTE or ESCAPE without csv"
	case !text && (stmt.Quote == 0 || stmt.Escape == 0):
		return "csv without QUOTE or ESCAPE"
	case len(stmt.ForceNull) > 0 || stmt.ForceNullAll || stmt.ForceNotNullAll:
		return "FORCE_NULL"
	case len(stmt.ForceNotNull) > 0 && (text || slices.ContainsFunc(stmt.ForceNotNull, func(n string) bool { return !slices.Contains(t.Columns, n) })):
		return "FORCE_NOT_NULL for a column that is not loaded"
	}
	return ""
}
