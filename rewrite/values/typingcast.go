package values

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// spelling is a type as SQL writes it, taken apart so that two spellings of one
// type become equal. The zero spelling is of none.
type spelling struct {
	// system: a keyword of the grammar, which means a type of pg_catalog in
	// every session; name is then that in pg_type.
	system bool
	// quoted: the name stands in quotes, since it may need them; schemaQuoted
	// likewise.
	quoted, schemaQuoted bool

	schema, name string
	// modifier is what restricts it, without blanks: "10,2", "hour".
	modifier string
	array    bool
}

// casts says whether the cell's cast changes nothing: the column's input
// function then reads the same text with the same modifier. The cells of a
// column mostly have one cast, so the last answer is kept.
func (c *column) casts(cell *Cell) bool {
	if cell.Kind != String && cell.Kind != Null {
		return false // '-1::int2' negates behind the cast
	}
	if c.cast == nil || !bytes.Equal(c.cast, cell.Cast) {
		c.cast = append(c.cast[:0], cell.Cast...)
		c.match = c.fits(parseSpelling(cell.Cast))
	}
	return c.match
}

func (c *column) fits(cast spelling) bool {
	if cast.name == "" || c.own.name == "" {
		return false
	}
	if cast == (spelling{system: true, name: "varchar"}) && (c.Base == oidText || c.Base == oidBPChar) {
		return true // both are the same bytes, and the assignment does the rest
	}
	if cast.modifier != c.own.modifier {
		// Without a modifier the assignment applies the column's; but that of an
		// interval says what the text means.
		if cast.modifier != "" || c.Base == oidInterval {
			return false
		}
	}
	if cast.array != c.own.array || cast.name != c.own.name {
		return false
	}
	if cast.name == "json" && cast.schema == "" {
		// A keyword since PostgreSQL 17, and a name like any other before.
		if c.Base != oidJSON && c.Base != oidJSONArray || cast.quoted && !c.Visible {
			return false
		}
	}
	if cast.system == c.own.system && cast.schema == c.own.schema {
		return (cast.quoted || !c.own.quoted) && (cast.schemaQuoted || !c.own.schemaQuoted)
	}
	// A keyword's type by its name in pg_type.
	return c.own.system && (cast.schema == "pg_catalog" || cast.schema == "" && c.Visible)
}

// keywords are the grammar's own type names. Words that stand with them (with
// time zone) are dealt with by parseWords.
var keywords = map[string]string{
	"int": "int4", "integer": "int4", "smallint": "int2", "bigint": "int8",
	"real": "float4", "double precision": "float8", "float": "float8", "boolean": "bool",
	"numeric": "numeric", "decimal": "numeric", "dec": "numeric",
	"char": "bpchar", "character": "bpchar", "nchar": "bpchar", "national char": "bpchar", "national character": "bpchar",
	"varchar": "varchar", "char varying": "varchar", "character varying": "varchar", "nchar varying": "varchar",
	"national char varying": "varchar", "national character varying": "varchar",
	"bit": "bit", "bit varying": "varbit",
	"time": "time", "time without time zone": "time", "time with time zone": "timetz",
	"timestamp": "timestamp", "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
	"interval": "interval",
}

// parseSpelling reads a type's name. What it doesn't know is the zero spelling:
// comments, U&"…", SETOF, %TYPE, ARRAY, bounds of arrays.
func parseSpelling(text []byte) spelling {
	tokens, ok := tokens(text)
	if !ok || len(tokens) == 0 {
		return spelling{}
	}
	var s spelling
	for len(tokens) > 2 && tokens[len(tokens)-1] == "]" && tokens[len(tokens)-2] == "[" {
		s.array, tokens = true, tokens[:len(tokens)-2]
	}
	switch {
	case len(tokens) >= 3 && tokens[1] == ".":
		s.schema, s.schemaQuoted = identifier(tokens[0])
		s.name, s.quoted = identifier(tokens[2])
		tokens = tokens[3:]
		if s.schema == "" || s.name == "" || len(tokens) > 0 {
			return spelling{}
		}
		return s
	case tokens[0] == "interval":
		s.system, s.name = true, "interval"
		s.modifier = strings.Join(tokens[1:], " ")
		return s
	}
	return s.words(tokens)
}

// words reads what isn't qualified: words, and a modifier behind them or, with a
// time zone, behind the first.
func (s spelling) words(tokens []string) spelling {
	words := tokens
	if from, to := slices.Index(tokens, "("), slices.Index(tokens, ")"); from >= 0 {
		if timed := tokens[0] == "time" || tokens[0] == "timestamp"; timed && from != 1 || !timed && to+1 != len(tokens) || to < from+2 {
			return spelling{}
		}
		s.modifier = strings.Join(tokens[from+1:to], "")
		words = slices.Concat(tokens[:from], tokens[to+1:])
	}
	if name, ok := keywords[strings.Join(words, " ")]; ok {
		s.system, s.name = true, name
		return s.defaults(words)
	}
	if len(words) != 1 {
		return spelling{}
	}
	if s.name, s.quoted = identifier(words[0]); s.name == "" {
		return spelling{}
	}
	return s
}

// defaults completes the modifier of a keyword as the grammar does.
func (s spelling) defaults(words []string) spelling {
	switch {
	case s.modifier == "" && (s.name == "bpchar" || s.name == "bit"):
		s.modifier = "1"
	case s.name == "numeric" && s.modifier != "" && !strings.Contains(s.modifier, ","):
		s.modifier += ",0"
	case words[0] == "float" && s.modifier != "":
		n, err := strconv.Atoi(s.modifier)
		if err != nil || n < 1 || n > 53 {
			return spelling{}
		}
		if s.modifier = ""; n <= 24 {
			s.name = "float4"
		}
	}
	return s
}

// identifier returns the name that a token means, empty if it is none.
func identifier(token string) (name string, quoted bool) {
	if inner, ok := strings.CutPrefix(token, `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `""`, `"`), true
	}
	if c := token[0]; c == '_' || 'a' <= c && c <= 'z' {
		return token, false
	}
	return "", false
}

// tokens splits a type's name: words in lower case, "names", numbers, and ( ) ,
// . [ ]. Words beyond ASCII are not taken, since how they fold depends on the
// server's locale.
func tokens(text []byte) (list []string, ok bool) {
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case strings.IndexByte(" \t\n\r\f", c) >= 0:
			i++
		case strings.IndexByte("(),.[]", c) >= 0:
			list = append(list, string(c))
			i++
		case c == '"':
			n := quotedRun(text[i:])
			if n < 3 {
				return nil, false
			}
			list = append(list, string(text[i:i+n]))
			i += n
		case wordByte(c):
			start := i
			for i < len(text) && wordByte(text[i]) {
				i++
			}
			list = append(list, strings.ToLower(string(text[start:i])))
		default:
			return nil, false
		}
	}
	return list, true
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// quotedRun returns the length of the quoted name at the beginning of text, 0
// if it doesn't end.
func quotedRun(text []byte) int {
	for i := 1; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		if i+1 == len(text) || text[i+1] != '"' {
			return i + 1
		}
		i++
	}
	return 0
}
