package rewrite

import "unicode/utf8"

// insertHead is what stands before the rows of an INSERT.
type insertHead struct {
	// list is the place behind the word VALUES.
	list int
	// wrapped says that the word stands in SELECT … FROM (VALUES.
	wrapped bool
	// open says that the scan came to the end of the text: more of it may change
	// what was found.
	open bool
}

// scanInsertHead finds the word VALUES by the tokens before it, without
// allocation. It only has to be right about where the word stands: the parser
// judges the head later.
func scanInsertHead(sql []byte) (insertHead, Reason) {
	c := headCursor{sql: sql}
	h, reason := c.scan()
	h.open = c.end >= len(sql)
	return h, reason
}

func (c *headCursor) scan() (insertHead, Reason) {
	c.next()
	for c.is(';') {
		c.next()
	}
	switch {
	case c.word("with"):
		return insertHead{}, ReasonWith
	case !c.word("insert"):
		return insertHead{}, ReasonNotInsert
	}
	if c.next(); !c.word("into") {
		return insertHead{}, ReasonParseError
	}
	into := c.end
	if !c.name() {
		return insertHead{}, ReasonParseError
	}
	c.into, c.alias, c.target = into, c.named, c.named
	if c.word("as") {
		c.next() // any word may be an alias
		c.alias, c.target = c.end, c.end
		c.next()
	}
	if c.is('(') {
		if reason := c.columns(); reason != ReasonNone {
			return insertHead{}, reason
		}
	}
	if c.word("overriding") {
		c.next()
		c.next()
		c.next()
	}
	switch {
	case c.word("values"):
		return insertHead{list: c.end}, ReasonNone
	case c.word("default"):
		return insertHead{}, ReasonDefaultValues
	case c.word("select"):
		return c.wrapped()
	case c.word("with"), c.word("table"), c.is('('):
		return insertHead{}, ReasonInsertSelect
	}
	return insertHead{}, ReasonParseError
}

// NamePosition returns the place of the table's name in the statement, counted
// in characters from 1, as errors tell it.
func (s *InsertStatement) NamePosition() int {
	c := headCursor{sql: s.SQL}
	_, _ = c.scan() // it was scanned before
	at, _ := skipSpace(s.SQL, c.into)
	return utf8.RuneCount(s.SQL[:at]) + 1
}

// The kinds of tokens in a head.
type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenQuoted
	tokenNumber
	// tokenByte is punctuation.
	tokenByte
	// tokenOther is what no head has.
	tokenOther
)

// headCursor stands at one token of a head.
type headCursor struct {
	sql        []byte
	kind       tokenKind
	start, end int
	into       int // the place behind INTO, once it was passed
	named      int // behind the table's name
	alias      int // behind the table's name and its alias
	target     int // behind the table's name, its alias and its columns, as far as they were passed
}

func (c *headCursor) next() {
	at, ok := skipSpace(c.sql, c.end)
	c.start, c.end, c.kind = at, at+1, tokenEnd
	if !ok || at >= len(c.sql) {
		c.end = len(c.sql)
		return
	}
	switch b := c.sql[at]; {
	case b >= '0' && b <= '9':
		c.kind = tokenNumber
		c.run()
	case b != '$' && isWordByte(b):
		c.kind = tokenWord
		c.run()
	case b == '"':
		c.quoted()
	case b == '(' || b == ')' || b == ',' || b == '.' || b == ';' || b == '[' || b == ']' || b == ':':
		c.kind = tokenByte
	default:
		c.kind = tokenOther
	}
}

func (c *headCursor) run() {
	for c.end < len(c.sql) && isWordByte(c.sql[c.end]) {
		c.end++
	}
}

func (c *headCursor) quoted() {
	for ; c.end < len(c.sql); c.end++ {
		if c.sql[c.end] != '"' {
			continue
		}
		if c.end++; c.end == len(c.sql) || c.sql[c.end] != '"' {
			c.kind = tokenQuoted
			return
		}
	}
}

func (c *headCursor) word(lower string) bool {
	return c.kind == tokenWord && isWord(c.sql[c.start:c.end], lower)
}

func (c *headCursor) is(b byte) bool { return c.kind == tokenByte && c.sql[c.start] == b }

// name steps over INTO and the table's name.
func (c *headCursor) name() bool {
	for {
		if c.next(); c.kind != tokenWord && c.kind != tokenQuoted {
			return false
		}
		c.named = c.end
		if c.next(); !c.is('.') {
			return true
		}
	}
}

// columns steps over the brackets behind the table's name.
func (c *headCursor) columns() Reason {
	c.next()
	if c.word("select") || c.word("with") || c.word("table") || c.is('(') {
		return ReasonInsertSelect
	}
	for ; !c.is(')'); c.next() {
		switch {
		case c.is('('):
			return ReasonInsertSelect // (VALUES (…
		case c.is(';'), c.kind == tokenEnd, c.kind == tokenOther:
			return ReasonParseError
		}
	}
	c.target = c.end
	c.next()
	return ReasonNone
}

// wrapped steps from SELECT to FROM (VALUES, over names and casts only.
func (c *headCursor) wrapped() (insertHead, Reason) {
	depth := 0
	for {
		switch c.next(); {
		case c.kind == tokenEnd, c.kind == tokenOther, c.is(';'), c.word("select"), depth > 1:
			return insertHead{}, ReasonInsertSelect
		case c.is('('):
			depth++
		case c.is(')'):
			depth--
		case c.word("from"):
			if c.next(); c.is('(') {
				if c.next(); c.word("values") {
					return insertHead{list: c.end, wrapped: true}, ReasonNone
				}
			}
			return insertHead{}, ReasonInsertSelect
		}
	}
}

// skipSpace returns the place behind blanks and comments. ok is false where the
// text ends inside a comment.
func skipSpace(p []byte, at int) (next int, ok bool) {
	for at < len(p) {
		switch b := p[at]; {
		case b == ' ' || b >= '\t' && b <= '\r' && b != '\v':
			at++
		case b == '-' && at+1 < len(p) && p[at+1] == '-':
			for at < len(p) && p[at] != '\n' && p[at] != '\r' {
				at++
			}
		case b == '/' && at+1 < len(p) && p[at+1] == '*':
			if at, ok = skipComment(p, at); !ok {
				return at, false
			}
		default:
			return at, true
		}
	}
	return at, true
}
