package values

import (
	"errors"
	"io"
)

// What the lexer refuses. Each means: relay the statement, the server knows.
var (
	// ErrSyntax: the text is not a list of rows, or ends within one.
	ErrSyntax = errors.New("syntax error in the list of values")
	// ErrExpression: a cell is not a constant.
	ErrExpression = errors.New("a cell is an expression")
	// ErrRagged: the rows differ in length.
	ErrRagged = errors.New("rows of different lengths")
	// ErrStringForm: B'', X'', N'' or U&''.
	ErrStringForm = errors.New("a bit string, national or U& string")
	// ErrStringSyntax: a backslash where standard_conforming_strings is off.
	ErrStringSyntax = errors.New("a backslash in a nonstandard string")
	// ErrEscape: an escape in E'' that is invalid, or whose meaning depends on
	// what is not known here: the server's version, backslash_quote, encodings.
	ErrEscape = errors.New("an escape of unsure meaning")
	// ErrNumberForm: junk behind a number, or a form that PostgreSQL 16 began to
	// read as one number and older servers read as two tokens.
	ErrNumberForm = errors.New("a number of unsure meaning")
	// ErrParameter: $0, or a number that no Bind can have.
	ErrParameter = errors.New("an impossible parameter")
)

// maxParam is the largest number of parameters that the protocol can carry.
const maxParam = 65535

// Options say how the session reads strings.
type Options struct {
	// StandardStrings is standard_conforming_strings.
	StandardStrings bool
	// UTF8 says that client and server encoding are both UTF8. Where they are
	// not, escapes for characters beyond ASCII are refused.
	UTF8 bool
}

// Lexer reads rows of constants from the text of a statement. It keeps no more
// than a buffer for what had to be decoded, and neither changes the text nor
// copies what it can point into.
type Lexer struct {
	sql     []byte
	opts    Options
	at      int
	rows    int
	width   int
	decoded []byte
	// skipping says that nobody looks at the cells: nothing is decoded.
	skipping bool
	sawEnd   bool

	maxParam int
	defaults bool
}

// New returns a lexer that begins at sql[at], behind the word VALUES. The text
// must not change while its cells are in use, must have no zero byte, and must
// be in an encoding whose bytes below 0x80 always are ASCII.
func New(sql []byte, at int, opts Options) *Lexer {
	return &Lexer{sql: sql, at: at, opts: opts}
}

// Reset makes the lexer begin anew, in another text too, and keeps its buffer.
func (l *Lexer) Reset(sql []byte, at int) {
	*l = Lexer{sql: sql, at: at, opts: l.opts, decoded: l.decoded[:0]}
}

// Offset returns the place behind the last row; after a refusal, about where
// the reason stands.
func (l *Lexer) Offset() int { return l.at }

// SawEnd says whether the lexer looked for more behind the end of the text. If
// not, more text would not have changed what it said.
func (l *Lexer) SawEnd() bool { return l.sawEnd }

// MaxParam returns the greatest n of the $n read so far, or 0.
func (l *Lexer) MaxParam() int { return l.maxParam }

// HasDefault says whether a cell read so far was the word DEFAULT.
func (l *Lexer) HasDefault() bool { return l.defaults }

// Row reads the next row into cells, whose array it uses again if it is large
// enough. The end of the list is io.EOF; every other error is a refusal, after
// which Row must not be called again.
func (l *Lexer) Row(cells []Cell) ([]Cell, error) {
	cells = cells[:0]
	i, err := l.open()
	for more := true; more && err == nil; {
		cells = append(cells, Cell{})
		i, more, err = l.next(i, &cells[len(cells)-1])
	}
	if l.at = i; err == nil {
		err = l.close(len(cells))
	}
	return cells, err
}

// Skip reads one row as Row does and forgets it. It never allocates; since it
// does not decode, it takes escapes too whose bytes are no characters together.
func (l *Lexer) Skip() error {
	l.skipping = true
	n := 0
	i, err := l.open()
	for more := true; more && err == nil; n++ {
		var c Cell
		i, more, err = l.next(i, &c)
	}
	l.skipping = false
	if l.at = i; err == nil {
		err = l.close(n)
	}
	return err
}

// open returns the place behind the bracket that opens the next row.
func (l *Lexer) open() (int, error) {
	l.decoded = l.decoded[:0]
	i := l.skip(l.at)
	if l.rows > 0 {
		if l.byteAt(i) != ',' {
			return l.at, io.EOF
		}
		i = l.skip(i + 1)
	}
	if l.byteAt(i) != '(' {
		return i, ErrSyntax
	}
	return i + 1, nil
}

// close counts a row of so many cells.
func (l *Lexer) close(width int) error {
	if l.rows > 0 && width != l.width {
		return ErrRagged
	}
	l.width = width
	l.rows++
	return nil
}

// next reads one cell and the comma or bracket behind it.
func (l *Lexer) next(i int, c *Cell) (next int, more bool, err error) {
	if i < len(l.sql) && l.sql[i] == ' ' { // "1, 2", as many write it
		i++
	}
	if end := l.common(i, c); end > 0 {
		return end + 1, l.sql[end] == ',', nil
	}
	return l.cell(i, c)
}

// cell reads any cell and the comma or bracket behind it. A cell is a constant,
// with a cast or without.
func (l *Lexer) cell(i int, c *Cell) (next int, more bool, err error) {
	b := l.byteAt(i)
	if classes[b]&(blank|comment) != 0 {
		i = l.skip(i)
		b = l.byteAt(i)
	}
	signed := b == '-' || b == '+'
	switch {
	case b == '\'':
		i, err = l.plain(i, c)
	case b >= '0' && b <= '9' || b == '.':
		i, err = l.number(i, i, c)
	case signed:
		i, err = l.signed(i, c)
	case classes[b]&word != 0:
		i, err = l.word(i, c)
	case b == '$':
		i, err = l.dollar(i, c)
	case b == 0 || b == ',' || b == ')':
		err = ErrSyntax
	default:
		err = ErrExpression
	}
	if err != nil {
		return i, false, err
	}
	b = l.byteAt(i)
	if b != ',' && b != ')' {
		i = l.skip(i)
		if l.byteAt(i) == ':' {
			// The cast binds before the sign does: -1::int2 is an expression.
			if signed || c.Cast != nil || c.Kind == Default || l.byteAt(i+1) != ':' {
				return i, false, ErrExpression
			}
			if i, err = l.cast(i+2, c); err != nil {
				return i, false, err
			}
			i = l.skip(i)
		}
		b = l.byteAt(i)
	}
	switch b {
	case ',':
		return i + 1, true, nil
	case ')':
		return i + 1, false, nil
	case 0:
		return i, false, ErrSyntax
	}
	return i, false, ErrExpression
}

// byteAt returns the byte at i, or 0 behind the end of the text.
func (l *Lexer) byteAt(i int) byte {
	if i < len(l.sql) {
		return l.sql[i]
	}
	l.sawEnd = true
	return 0
}

// skip returns the place behind blanks and comments; the end of the text where
// a comment does not end.
func (l *Lexer) skip(i int) int {
	for i < len(l.sql) {
		switch b := l.sql[i]; {
		case classes[b]&blank != 0:
			i++
		case b == '-' && l.byteAt(i+1) == '-':
			for i < len(l.sql) && l.sql[i] != '\n' && l.sql[i] != '\r' {
				i++
			}
		case b == '/' && l.byteAt(i+1) == '*':
			i = l.comment(i)
		default:
			return i
		}
	}
	return i
}

// comment returns the place behind the comment that begins at i. They nest.
func (l *Lexer) comment(i int) int {
	depth := 0
	for i+1 < len(l.sql) {
		switch {
		case l.sql[i] == '/' && l.sql[i+1] == '*':
			depth++
			i += 2
		case l.sql[i] == '*' && l.sql[i+1] == '/':
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(l.sql)
}

// space returns the place behind blanks, not comments.
func (l *Lexer) space(i int) int {
	for i < len(l.sql) && classes[l.sql[i]]&blank != 0 {
		i++
	}
	return i
}

// A class is a set of bits: what a byte may be part of.
const (
	blank = 1 << iota
	// comment may begin one.
	comment
	// word begins an identifier, wordRest may follow.
	word
	wordRest
	digit
	hex
)

// classes is PostgreSQL's scanner's view of bytes. \v is no blank: it became
// one in PostgreSQL 16.
var classes = func() (t [256]byte) {
	for _, b := range []byte(" \t\n\r\f") {
		t[b] = blank
	}
	t['-'], t['/'] = comment, comment
	for b := range 256 {
		switch c := byte(b); {
		case c >= '0' && c <= '9':
			t[b] = digit | hex | wordRest
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			t[b] = hex | word | wordRest
		case c >= 'g' && c <= 'z', c >= 'G' && c <= 'Z', c == '_', c >= 0x80:
			t[b] = word | wordRest
		case c == '$':
			t[b] = wordRest
		}
	}
	return t
}()

// isWord compares without regard to ASCII case; lower is in lower case.
func isWord(w []byte, lower string) bool {
	if len(w) != len(lower) {
		return false
	}
	for i, c := range w {
		if c|0x20 != lower[i] {
			return false
		}
	}
	return true
}
