package rewrite

import (
	"fmt"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// Native returns a COPY … FROM STDIN that means what the client's statement
// means, on the table and columns that the inspection found. With cont it is
// for a later part of the same data, which has no header lines.
//
// Only what differs from COPY's defaults is written, so that the text suits
// every server version that accepted the statement.
func (c *CopyStatement) Native(in *Inspection, cont bool) string {
	var b strings.Builder
	b.WriteString("COPY " + pgident.Qualified(in.Schema, in.Table))
	if len(in.Columns) > 0 {
		b.WriteString(" (" + pgident.List(in.Columns) + ")")
	}
	b.WriteString(" FROM STDIN")
	if options := c.nativeOptions(cont); len(options) > 0 {
		b.WriteString(" WITH (" + strings.Join(options, ", ") + ")")
	}
	if c.Where {
		// On lines of its own: the text may hold a comment up to its line's end.
		b.WriteString(" WHERE\n" + c.WhereSQL + "\n")
	}
	return b.String()
}

func (c *CopyStatement) nativeOptions(cont bool) []string {
	var out []string
	add := func(used bool, format string, args ...any) {
		if used {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	lit := pgident.Literal
	char := func(c byte) string { return lit(string([]byte{c})) }
	csv, text := c.Format == FormatCSV, c.Format == FormatText

	add(!text, "FORMAT %s", c.Format)
	add(text && c.Delimiter != '\t' || csv && c.Delimiter != ',', "DELIMITER %s", char(c.Delimiter))
	add(text && c.Null != `\N` || csv && c.Null != "", "NULL %s", lit(c.Null))
	add(csv && c.Quote != '"', "QUOTE %s", char(c.Quote))
	add(csv && c.Escape != c.Quote, "ESCAPE %s", char(c.Escape))
	add(!cont && c.HeaderMatch, "HEADER MATCH")
	add(!cont && c.HeaderLines > 1, "HEADER %d", c.HeaderLines)
	add(!cont && c.Header && !c.HeaderMatch && c.HeaderLines <= 1, "HEADER")
	add(c.Encoding != "", "ENCODING %s", lit(c.Encoding))
	add(len(c.ForceNull) > 0, "FORCE_NULL (%s)", pgident.List(c.ForceNull))
	add(c.ForceNullAll, "FORCE_NULL *")
	add(len(c.ForceNotNull) > 0, "FORCE_NOT_NULL (%s)", pgident.List(c.ForceNotNull))
	add(c.ForceNotNullAll, "FORCE_NOT_NULL *")
	add(c.Freeze, "FREEZE")
	add(c.DefaultSet, "DEFAULT %s", lit(c.Default))
	add(c.OnError != "", "ON_ERROR %s", c.OnError)
	add(c.RejectLimit > 0, "REJECT_LIMIT %d", c.RejectLimit)
	// DEFAULT is a keyword, as a bare word only newer servers take it.
	add(c.LogVerbosity != "", "LOG_VERBOSITY %s", lit(c.LogVerbosity))
	return out
}
