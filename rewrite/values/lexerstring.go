package values

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// plain reads '…' from its opening quote. Nearly every string has nothing to
// decode and is followed by a comma or bracket.
func (l *Lexer) plain(i int, c *Cell) (int, error) {
	n := bytes.IndexByte(l.sql[i+1:], '\'')
	if n < 0 {
		return l.unterminated()
	}
	body, end := l.sql[i+1:i+1+n], i+n+2
	if b := l.byteAt(end); b != ',' && b != ')' || !l.opts.StandardStrings {
		return l.quoted(i+1, c, false)
	}
	c.Kind, c.Text = String, body
	return end, nil
}

// quoted reads a string from behind its opening quote, with backslash escapes
// or without. It points into the text where it can, and decodes where it must.
func (l *Lexer) quoted(i int, c *Cell, escapes bool) (int, error) {
	c.Kind = String
	from, piece, quote := len(l.decoded), 0, -1
	bytesEscaped := false
	for ; ; piece++ {
		if quote < i {
			n := bytes.IndexByte(l.sql[i:], '\'')
			if n < 0 {
				return l.unterminated()
			}
			quote = i + n
		}
		part := l.sql[i:quote]
		if n := bytes.IndexByte(part, '\\'); n >= 0 && escapes {
			l.put(part[:n]...)
			next, high, err := l.escape(i + n)
			if err != nil {
				return i + n, err
			}
			i, bytesEscaped = next, bytesEscaped || high
			continue
		} else if n >= 0 && !l.opts.StandardStrings {
			return i + n, ErrStringSyntax
		}
		if l.byteAt(quote+1) == '\'' {
			l.put(l.sql[i : quote+1]...)
			i = quote + 2
			continue
		}
		if next := l.continued(quote + 1); next > 0 {
			l.put(part...)
			i = next
			continue
		}
		if piece > 0 {
			l.put(part...)
		}
		// Where nothing was decoded the part is empty too, and not nil.
		if c.Text = part; len(l.decoded) > from {
			c.Text = l.decoded[from:]
		}
		if bytesEscaped && !l.skipping && !utf8.Valid(c.Text) {
			return i, ErrEscape
		}
		return quote + 1, nil
	}
}

func (l *Lexer) unterminated() (int, error) {
	l.sawEnd = true
	return len(l.sql), ErrSyntax
}

// continued returns the place behind the next opening quote, if there is one
// that continues the string which ended before i: behind at least one line end.
// A comment between the two is allowed there too, and refused here.
func (l *Lexer) continued(i int) int {
	next := l.space(i)
	if next > i && l.byteAt(next) == '\'' && bytes.ContainsAny(l.sql[i:next], "\r\n") {
		return next + 1
	}
	return 0
}

func (l *Lexer) put(b ...byte) {
	if !l.skipping {
		l.decoded = append(l.decoded, b...)
	}
}

// escape decodes the escape of E'…' that begins at the backslash at i. high says
// that it gave a byte beyond ASCII by its number.
func (l *Lexer) escape(i int) (next int, high bool, err error) {
	switch b := l.byteAt(i + 1); b {
	case 'b':
		l.put('\b')
	case 'f':
		l.put('\f')
	case 'n':
		l.put('\n')
	case 'r':
		l.put('\r')
	case 't':
		l.put('\t')
	case '0', '1', '2', '3', '4', '5', '6', '7':
		return l.escapedByte(i+1, i+1, 8, 3)
	case 'x':
		if classes[l.byteAt(i+2)]&hex != 0 {
			return l.escapedByte(i+2, i+2, 16, 2)
		}
		l.put('x')
	case 'u', 'U':
		next, err = l.unicode(i)
		return next, false, err
	case 0, '\'', 'v':
		// \' is an error where backslash_quote is off, \v was a v before
		// PostgreSQL 16.
		return i, false, ErrEscape
	default:
		l.put(b)
		// What this does to the rest of a character, the check at the end sees.
		return i + 2, b >= 0x80, l.beyond(b >= 0x80)
	}
	return i + 2, false, nil
}

// beyond refuses what is beyond ASCII where the encodings are not UTF8.
func (l *Lexer) beyond(ascii bool) error {
	if ascii && !l.opts.UTF8 {
		return ErrEscape
	}
	return nil
}

// escapedByte decodes up to max digits at i into a byte. A zero byte, or an
// octal number over 377, is refused.
func (l *Lexer) escapedByte(start, i, base, max int) (next int, high bool, err error) {
	v := 0
	for ; i < start+max; i++ {
		d := digitValue(l.byteAt(i))
		if d >= base {
			break
		}
		v = v*base + d
	}
	if v == 0 || v > 0xff {
		return i, false, ErrEscape
	}
	l.put(byte(v))
	return i, v >= 0x80, l.beyond(v >= 0x80)
}

// unicode decodes \uXXXX or \UXXXXXXXX at i, or two of them that are a
// surrogate pair.
func (l *Lexer) unicode(i int) (int, error) {
	r, i, ok := l.codePoint(i)
	if ok && utf16.IsSurrogate(r) {
		var low rune
		low, i, ok = l.codePoint(i)
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return i, ErrEscape
		}
	}
	if !ok || r == 0 || !utf8.ValidRune(r) {
		return i, ErrEscape
	}
	var buf [utf8.UTFMax]byte
	l.put(buf[:utf8.EncodeRune(buf[:], r)]...)
	return i, l.beyond(r >= utf8.RuneSelf)
}

func (l *Lexer) codePoint(i int) (r rune, next int, ok bool) {
	n := 4
	switch {
	case l.byteAt(i) != '\\':
		return 0, i, false
	case l.byteAt(i+1) == 'U':
		n = 8
	case l.byteAt(i+1) != 'u':
		return 0, i, false
	}
	i += 2
	for end := i + n; i < end; i++ {
		d := digitValue(l.byteAt(i))
		if d > 15 || r > utf8.MaxRune {
			return 0, i, false
		}
		r = r<<4 | rune(d)
	}
	return r, i, true
}

// digitValue returns the value of a hexadecimal digit, or 255.
func digitValue(b byte) int {
	switch {
	case b >= '0' && b <= '9':
		return int(b - '0')
	case b >= 'a' && b <= 'f':
		return int(b - 'a' + 10)
	case b >= 'A' && b <= 'F':
		return int(b - 'A' + 10)
	}
	return 255
}

// dollar reads $n or $tag$…$tag$.
func (l *Lexer) dollar(i int, c *Cell) (int, error) {
	if b := l.byteAt(i + 1); b >= '0' && b <= '9' {
		return l.param(i+1, c)
	}
	return l.dollarString(i, c)
}

// dollarString reads $tag$…$tag$ at i, wherever a string may stand.
func (l *Lexer) dollarString(i int, c *Cell) (int, error) {
	end := i + 1
	if classes[l.byteAt(end)]&word != 0 {
		for classes[l.byteAt(end)]&wordRest != 0 && l.sql[end] != '$' {
			end++
		}
	}
	if l.byteAt(end) != '$' {
		return i, ErrSyntax
	}
	end++
	// The scanner looks at every dollar sign for the delimiter, as Index does.
	delim := l.sql[i:end]
	n := bytes.Index(l.sql[end:], delim)
	if n < 0 {
		return l.unterminated()
	}
	c.Kind, c.Text = String, l.sql[end:end+n]
	return end + n + len(delim), nil
}

func (l *Lexer) param(i int, c *Cell) (int, error) {
	n := 0
	for ; classes[l.byteAt(i)]&digit != 0; i++ {
		if n = n*10 + int(l.sql[i]-'0'); n > maxParam {
			return i, ErrParameter
		}
	}
	if n == 0 || classes[l.byteAt(i)]&word != 0 {
		return i, ErrParameter
	}
	c.Kind, c.Number = Param, n
	l.maxParam = max(l.maxParam, n)
	return i, nil
}
