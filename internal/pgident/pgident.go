// Package pgident quotes SQL identifiers and literals. It is the only package
// that may do so: every piece of SQL that pgbulkproxy sends to a server is put
// together with these functions.
package pgident

import (
	"bytes"
	"strings"
)

// Quote returns name as a double-quoted identifier with inner quotes doubled.
// It always quotes, so keywords and upper case need no special case. A NUL byte
// cannot stand in an identifier and is removed.
func Quote(name string) string {
	name = strings.ReplaceAll(name, "\x00", "")
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// Qualified returns schema.name, both quoted. An empty schema is left out.
func Qualified(schema, name string) string {
	if schema == "" {
		return Quote(name)
	}
	return Quote(schema) + "." + Quote(name)
}

// List returns the names quoted and separated by ", ".
func List(names []string) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(Quote(n))
	}
	return b.String()
}

// Literal returns s as a string constant that means the same whatever
// standard_conforming_strings is: where s holds a backslash the E form is
// used. NUL bytes, which no Postgres string can hold, are removed.
func Literal(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	s = strings.ReplaceAll(s, "'", "''")
	if strings.Contains(s, `\`) {
		return `E'` + strings.ReplaceAll(s, `\`, `\\`) + `'`
	}
	return "'" + s + "'"
}

// LiteralArray returns ARRAY['a', 'b']::pg_catalog.text[], also for no items.
func LiteralArray(items []string) string {
	var b strings.Builder
	b.WriteString("ARRAY[")
	for i, s := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(Literal(s))
	}
	b.WriteString("]::pg_catalog.text[]")
	return b.String()
}

// AppendElement appends one element of an array constant: the text between
// quotes, as it stands inside '{…}' inside an E'…' string, which means the same
// whatever standard_conforming_strings is.
func AppendElement(dst, text []byte) []byte {
	dst = append(dst, '"')
	for {
		n := bytes.IndexAny(text, "\"\\'")
		if n < 0 {
			dst = append(dst, text...)
			return append(dst, '"')
		}
		dst = append(dst, text[:n]...)
		switch text[n] {
		case '"':
			dst = append(dst, `\\"`...)
		case '\\':
			dst = append(dst, `\\\\`...)
		default:
			dst = append(dst, `''`...)
		}
		text = text[n+1:]
	}
}
