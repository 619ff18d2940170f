package values

import "bytes"

// word reads a cell that begins with a letter: a word of SQL, E'…', CAST or a
// type's name with a string.
func (l *Lexer) word(i int, c *Cell) (int, error) {
	end := l.wordEnd(i)
	if end == i+1 {
		if next, ok, err := l.prefixed(i, c); ok || err != nil {
			return next, err
		}
	}
	switch w := l.sql[i:end]; {
	case constantWord(w, c):
	case isWord(w, "default"):
		c.Kind = Default
		l.defaults = true
	case isWord(w, "cast"):
		return l.castCall(end, c)
	default:
		return l.typed(i, c)
	}
	return end, nil
}

// constantWord says whether w alone is a constant, and then sets its kind.
func constantWord(w []byte, c *Cell) bool {
	switch {
	case isWord(w, "null"):
		c.Kind = Null
	case isWord(w, "true"):
		c.Kind = True
	case isWord(w, "false"):
		c.Kind = False
	default:
		return false
	}
	return true
}

// prefixed reads E'…' at i and refuses other letters at a quote; ok says that
// there was a string.
func (l *Lexer) prefixed(i int, c *Cell) (next int, ok bool, err error) {
	switch l.sql[i] | 0x20 {
	case 'e':
		if l.byteAt(i+1) == '\'' {
			next, err = l.quoted(i+2, c, true)
			return next, true, err
		}
	case 'b', 'x', 'n':
		if l.byteAt(i+1) == '\'' {
			return i, false, ErrStringForm
		}
	case 'u':
		if l.byteAt(i+1) == '&' {
			return i, false, ErrStringForm
		}
	}
	return i, false, nil
}

// castCall reads (constant AS type) behind CAST.
func (l *Lexer) castCall(i int, c *Cell) (int, error) {
	if i = l.skip(i); l.byteAt(i) != '(' {
		return i, ErrSyntax
	}
	i, err := l.castable(l.skip(i+1), c)
	if err != nil {
		return i, err
	}
	i = l.skip(i)
	end := l.wordEnd(i)
	if !isWord(l.sql[i:end], "as") {
		return i, ErrExpression
	}
	if i, err = l.cast(end, c); err != nil {
		return i, err
	}
	if i = l.skip(i); l.byteAt(i) != ')' {
		return i, ErrExpression
	}
	return i + 1, nil
}

// castable reads a constant that has no cast of its own.
func (l *Lexer) castable(i int, c *Cell) (int, error) {
	b := l.byteAt(i)
	switch {
	case b == '\'':
		return l.quoted(i+1, c, false)
	case b == '$':
		return l.dollar(i, c)
	case classes[b]&digit != 0 || b == '.':
		return l.number(i, i, c)
	case b == '-' || b == '+':
		return l.signed(i, c)
	case classes[b]&word == 0:
		return i, ErrExpression
	}
	end := l.wordEnd(i)
	if next, ok, err := l.prefixed(i, c); ok || err != nil {
		return next, err
	}
	if !constantWord(l.sql[i:end], c) {
		return i, ErrExpression
	}
	return end, nil
}

// cast reads the type behind :: or AS, with its array bounds.
func (l *Lexer) cast(i int, c *Cell) (int, error) {
	i = l.skip(i)
	end, ok := l.typeName(i)
	if !ok {
		return i, ErrExpression
	}
	for {
		at := l.space(end)
		if l.byteAt(at) != '[' {
			break
		}
		at = l.space(at + 1)
		if n := l.smallNumber(at); n > at {
			at = l.space(n)
		}
		if l.byteAt(at) != ']' {
			return i, ErrExpression
		}
		end = at + 1
	}
	c.Cast = l.sql[i:end]
	return end, nil
}

// typed reads type 'x'. CHAR 'x' and BIT 'x' are refused: without a length they
// are unlimited, and char(1) and bit(1) as a cast.
func (l *Lexer) typed(i int, c *Cell) (int, error) {
	end, ok := l.typeName(i)
	if !ok || l.sql[end-1] != ')' && l.sql[i] != '"' && typeForm(l.sql[i:l.wordEnd(i)]) == formVarying {
		return i, ErrExpression
	}
	c.Cast = l.sql[i:end]
	at := l.space(end)
	switch b := l.byteAt(at); {
	case b == '\'':
		return l.quoted(at+1, c, false)
	case b == '$' && classes[l.byteAt(at+1)]&digit == 0:
		return l.dollarString(at, c)
	case classes[b]&word != 0:
		if next, ok, err := l.prefixed(at, c); ok || err != nil {
			return next, err
		}
	}
	return at, ErrExpression
}

// typeName returns the place behind a type's name at i, of the forms
//
//	name [(n [, n])]   schema.name [(n [, n])]
//	double precision   character varying [(n)]   bit varying [(n)]
//	timestamp [(n)] [with time zone | without time zone]   time likewise
//
// with blanks but no comments between the words.
func (l *Lexer) typeName(i int) (end int, ok bool) {
	end, ok = l.name(i)
	if !ok {
		return i, false
	}
	form := formGeneric
	if l.sql[i] != '"' {
		form = typeForm(l.sql[i:end])
	}
	if at := l.space(end); l.byteAt(at) == '.' {
		if end, ok = l.name(l.space(at + 1)); !ok || form > formDouble {
			return i, false
		}
		return l.modifiers(end, 2)
	}
	switch form {
	case formNone:
		return i, false
	case formBare:
		return end, true
	case formDouble:
		if next := l.words(end, "precision"); next > 0 {
			return next, true
		}
	case formVarying:
		if next := l.words(end, "varying"); next > 0 {
			end = next
		}
		return l.modifiers(end, 1)
	case formTime:
		if end, ok = l.modifiers(end, 1); !ok {
			return i, false
		}
		if next := l.words(end, "with", "time", "zone"); next > 0 {
			end = next
		} else if next := l.words(end, "without", "time", "zone"); next > 0 {
			end = next
		}
		return end, true
	case formLength:
		return l.modifiers(end, 1)
	}
	return l.modifiers(end, 2)
}

// maxName is NAMEDATALEN-1: the server truncates longer names, with a notice.
const maxName = 63

// name returns the place behind an identifier at i, quoted or not.
func (l *Lexer) name(i int) (end int, ok bool) {
	if l.byteAt(i) != '"' {
		end = l.wordEnd(i)
		// B'', E'', N'' and X'' are constants, also behind a dot, where the grammar has
		// none: a letter with a quote at it is no name.
		return end, end > i && end-i <= maxName && (end-i > 1 || l.byteAt(end) != '\'')
	}
	n := bytes.IndexByte(l.sql[i+1:], '"')
	l.sawEnd = l.sawEnd || n < 0
	end = i + 1 + n + 1
	// A doubled quote, or none, is more than a simple name has.
	if n <= 0 || n > maxName || l.byteAt(end) == '"' {
		return i, false
	}
	return end, true
}

// modifiers returns the place behind (n, n, …) at i, if there is one.
func (l *Lexer) modifiers(i, most int) (end int, ok bool) {
	at := l.space(i)
	if l.byteAt(at) != '(' {
		return i, true
	}
	for range most {
		from := l.space(at + 1)
		if at = l.smallNumber(from); at == from {
			return i, false
		}
		at = l.space(at)
		switch l.byteAt(at) {
		case ')':
			return at + 1, true
		case ',':
			continue
		}
		return i, false
	}
	return i, false
}

// smallNumber returns the place behind the digits at i, or i where there are
// none or too many for a 32-bit number.
func (l *Lexer) smallNumber(i int) int {
	end := i
	for classes[l.byteAt(end)]&digit != 0 {
		end++
	}
	if end-i > 9 || classes[l.byteAt(end)]&word != 0 {
		return i
	}
	return end
}

// words returns the place behind these words, or 0 where they don't follow.
func (l *Lexer) words(i int, want ...string) int {
	for _, w := range want {
		at := l.space(i)
		if i = l.wordEnd(at); !isWord(l.sql[at:i], w) {
			return 0
		}
	}
	return i
}

// wordEnd returns the place behind the identifier at i, or i.
func (l *Lexer) wordEnd(i int) int {
	if classes[l.byteAt(i)]&word == 0 {
		return i
	}
	for classes[l.byteAt(i)]&wordRest != 0 {
		i++
	}
	return i
}
