package rewrite

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Edit replaces a part of a text.
type Edit struct {
	Start, End int
	Text       string
}

// Edited is a text with some parts replaced. It keeps what is needed to say where
// in the client's own text a position in the new one was.
type Edited struct {
	SQL      string
	original string
	edits    []Edit
	// constants are what of the original stands in edits, too.
	constants []constant
}

// constant is a constant of the client's, and where it stands.
type constant struct {
	text  string
	start int
}

// edit applies edits that do not overlap.
func edit(sql string, edits []Edit) Edited {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b Edit) int { return a.Start - b.Start })
	var b strings.Builder
	at := 0
	for _, e := range edits {
		b.WriteString(sql[at:e.Start])
		b.WriteString(e.Text)
		at = e.End
	}
	b.WriteString(sql[at:])
	return Edited{SQL: b.String(), original: sql, edits: edits}
}

// Position translates a position in the new text, as an error has it: counted in
// characters, from 1. What was put in belongs to the begin of what it replaced,
// but for the client's own constants.
func (e *Edited) Position(p int) int {
	if p < 1 {
		return p
	}
	offset := byteOffset(e.SQL, p-1)
	shift := 0 // from the original to the new text
	for _, x := range e.edits {
		from := x.Start + shift
		if offset < from {
			break
		}
		if offset < from+len(x.Text) {
			at := x.Start
			for _, c := range e.constants {
				if strings.HasPrefix(e.SQL[offset:], c.text) {
					at = c.start
					break
				}
			}
			return utf8.RuneCountInString(e.original[:at]) + 1
		}
		shift += len(x.Text) - (x.End - x.Start)
	}
	offset = min(max(offset-shift, 0), len(e.original))
	return utf8.RuneCountInString(e.original[:offset]) + 1
}

// byteOffset returns where the n-th character of a text begins.
func byteOffset(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}
