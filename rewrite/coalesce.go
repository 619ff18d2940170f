package rewrite

import (
	"bytes"
	"errors"
	"io"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// maxMention is how far into a statement MentionsCoalesce looks: it runs over every
// statement that is relayed.
const maxMention = 160

// MentionsCoalesce says whether the begin of a text names the setting
// pgbulk.coalesce, as a SET or an ALTER ROLE does. It may err: what is really set
// the inspection says. It never allocates.
func MentionsCoalesce(text []byte) bool {
	return bytes.Contains(text[:min(len(text), maxMention)], []byte("pgbulk.coalesce"))
}

// Coalesces says whether the session wants consecutive INSERTs loaded together.
func (s *Session) Coalesces() bool { return s.Coalesce == "transaction" }

// Exit says how a statement ends a transaction.
type Exit byte

// The exits.
const (
	// ExitNone: it doesn't, or not for sure.
	ExitNone Exit = iota
	// ExitRollback: it begins with ROLLBACK or ABORT, to a savepoint perhaps.
	ExitRollback
	// ExitCommit: it is COMMIT or END and nothing more.
	ExitCommit
)

// ExitOf reads the begin of a statement; complete says that head is all of it.
func ExitOf(head []byte, complete bool) Exit {
	word, rest := firstWord(head)
	switch {
	case len(word) == 0 || len(rest) == 0 && !complete:
	case isWord(word, "rollback"), isWord(word, "abort"):
		return ExitRollback
	case complete && (isWord(word, "commit") || isWord(word, "end")):
		if next, behind := firstWord(rest); isWord(next, "work") || isWord(next, "transaction") {
			rest = behind
		}
		if at, ok := skipBlank(rest); ok && at == len(rest) {
			return ExitCommit
		}
	}
	return ExitNone
}

// firstWord splits the first word off; without one it is empty.
func firstWord(p []byte) (word, rest []byte) {
	at, _ := skipBlank(p)
	end := at
	for end < len(p) && isWordByte(p[end]) {
		end++
	}
	return p[at:end], p[end:]
}

// ReadRows calls row with the cells of each row of a text that has this shape, and
// returns their number. Lexer and cells are used again from one text to the next.
// ok is false where the text is something else; row may have been called by then.
func (f *InsertShape) ReadRows(sql []byte, l *values.Lexer, cells *[]values.Cell, row func([]values.Cell) error) (n int, ok bool) {
	if !f.HasHead(sql) || f.stmt.Source != nil {
		return 0, false
	}
	l.Reset(sql, len(f.head))
	for {
		var err error
		*cells, err = l.Row(*cells)
		if errors.Is(err, io.EOF) {
			return n, l.MaxParam() == 0 && !l.HasDefault() && bytes.Equal(sql[l.Offset():], f.tail)
		}
		if err != nil || row(*cells) != nil {
			return n, false
		}
		n++
	}
}
