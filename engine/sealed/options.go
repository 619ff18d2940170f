package sealed

import (
	"fmt"
	"slices"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// tableOptions turns the COPY options into those of a foreign table. Every
// field of the statement is either consumed here, or by Plan, or refused: an
// option that is dropped would load other values than COPY.
func tableOptions(stmt *rewrite.CopyStatement, first bool) (map[string]string, error) {
	if reason := unsupported(stmt); reason != "" {
		return nil, fmt.Errorf("%w: %s", engine.ErrUnsupported, reason)
	}
	if stmt.Format == rewrite.FormatBinary {
		return map[string]string{"format": "binary"}, nil
	}
	options := map[string]string{"null": stmt.Null}
	set := func(name string, b byte) {
		if b != 0 {
			options[name] = string(rune(b))
		}
	}
	set("delimiter", stmt.Delimiter)
	switch stmt.Format {
	case rewrite.FormatCSV:
		options["format"] = "csv"
		set("quote", stmt.Quote)
		set("escape", stmt.Escape)
	case rewrite.FormatText:
		options["format"] = "text"
	default:
		return nil, fmt.Errorf("%w: format %q", engine.ErrUnsupported, stmt.Format)
	}
	if stmt.Encoding != "" {
		options["encoding"] = stmt.Encoding
	}
	if first && stmt.HeaderMatch {
		options["header"] = "match"
	} else if first && stmt.Header {
		options["header"] = "true"
	}
	return options, nil
}

// unsupported names the first thing in a statement that a foreign table can't
// do, or not on every server version.
func unsupported(stmt *rewrite.CopyStatement) string {
	switch {
	case stmt.Where:
		return "WHERE"
	case stmt.Freeze:
		return "FREEZE"
	case stmt.DefaultSet:
		return "DEFAULT"
	case stmt.OnError != "" && stmt.OnError != "stop":
		return "ON_ERROR"
	case stmt.RejectLimit != 0:
		return "REJECT_LIMIT"
	case stmt.HeaderLines > 1:
		return "HEADER with several lines"
	case stmt.Delimiter > 0x7F || stmt.Quote > 0x7F || stmt.Escape > 0x7F:
		return "a delimiter, quote or escape that is not ASCII"
	case checkText(stmt.Null, stmt.Encoding) != nil:
		return "a NULL marker that is not UTF-8"
	case stmt.Format != rewrite.FormatCSV && (stmt.Quote != 0 || stmt.Escape != 0):
		return "QUOTE or ESCAPE without csv"
	case stmt.Format != rewrite.FormatCSV && (stmt.ForceNullAll || stmt.ForceNotNullAll ||
		len(stmt.ForceNull)+len(stmt.ForceNotNull) > 0):
		return "FORCE_NULL or FORCE_NOT_NULL without csv"
	}
	return ""
}

// forced returns the columns of a FORCE option.
func forced(t engine.Target, names []string, everyColumn bool) ([]string, error) {
	if everyColumn {
		return t.Columns, nil
	}
	for _, n := range names {
		if !slices.Contains(t.Columns, n) {
			return nil, fmt.Errorf("%w: FORCE option for a column that is not loaded", engine.ErrUnsupported)
		}
	}
	return names, nil
}
