package rewrite

import "bytes"

// Prefilter says what kind of statement a text begins with, by its first word
// alone. It never allocates and never looks further than that word, so it may
// run over every statement of a session. KindInsert covers WITH too, whose body
// may be an INSERT.
func Prefilter(sql []byte) Kind {
	kind, _ := PrefilterHead(sql, true)
	return kind
}

// PrefilterHead is Prefilter for the first bytes of a statement. decided is
// false where the first word is not yet complete: more bytes may change the
// answer. complete says that head is the whole statement.
func PrefilterHead(head []byte, complete bool) (kind Kind, decided bool) {
	at, ok := skipBlank(head)
	if !ok || at == len(head) {
		// Nothing but blanks, or an open comment: no word so far.
		return KindNone, complete
	}
	end := at
	for end < len(head) && isWordByte(head[end]) {
		end++
		if end-at > len("insert") {
			return KindNone, true
		}
	}
	if end == len(head) && !complete {
		return KindNone, false
	}
	switch word := head[at:end]; {
	case isWord(word, "copy"):
		return KindCopy, true
	case isWord(word, "insert"), isWord(word, "with"):
		return KindInsert, true
	}
	return KindNone, true
}

// Inner says whether a text seems to go on behind a semicolon, and copies whether
// the word COPY follows one: the semicolon may stand in a string, too. It never
// allocates.
func Inner(sql []byte) (inner, copies bool) {
	for {
		i := bytes.IndexByte(sql, ';')
		if i < 0 {
			return inner, false
		}
		sql = sql[i+1:]
		at, ok := skipBlank(sql)
		if at == len(sql) {
			return inner || !ok, false // an open comment
		}
		inner = true
		if kind, _ := PrefilterHead(sql[at:], true); kind == KindCopy {
			return true, true
		}
	}
}

// skipBlank returns the offset of the first byte that belongs to a statement.
// ok is false where the text ends inside a comment, or at a byte that may begin
// one.
func skipBlank(p []byte) (at int, ok bool) {
	for at < len(p) {
		switch p[at] {
		case ' ', '\t', '\n', '\r', '\f', '\v', ';', '(':
			at++
		case '-':
			if at+1 == len(p) {
				return at, false
			}
			if p[at+1] != '-' {
				return at, true
			}
			for at < len(p) && p[at] != '\n' && p[at] != '\r' {
				at++
			}
		case '/':
			if at+1 == len(p) {
				return at, false
			}
			if p[at+1] != '*' {
				return at, true
			}
			if at, ok = skipComment(p, at); !ok {
				return at, false
			}
		default:
			return at, true
		}
	}
	return at, true
}

// skipComment returns the offset behind the comment that begins at p[at].
// PostgreSQL's comments nest.
func skipComment(p []byte, at int) (end int, ok bool) {
	depth := 0
	for at+1 < len(p) {
		switch {
		case p[at] == '/' && p[at+1] == '*':
			depth++
			at += 2
		case p[at] == '*' && p[at+1] == '/':
			depth--
			at += 2
			if depth == 0 {
				return at, true
			}
		default:
			at++
		}
	}
	return len(p), false
}

// isWordByte says whether c can continue a keyword or identifier.
func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '_' || c == '$' || c >= 0x80
}

// isWord compares without regard to ASCII case; lower is in lower case.
func isWord(word []byte, lower string) bool {
	if len(word) != len(lower) {
		return false
	}
	for i, c := range word {
		if c|0x20 != lower[i] {
			return false
		}
	}
	return true
}
