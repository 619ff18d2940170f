package pgquery

import (
	"slices"
	"strings"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// skimmed is what the flat token list tells about a text.
type skimmed struct {
	shape                Shape
	whereStart, whereEnd int
	whereTokens          int
	longName, params     bool
}

// skim judges a text by its tokens. It needs no grammar for that: FROM, TO and
// WHERE are reserved words, so outside brackets they stand in a COPY only
// where its syntax puts them. It is also the only way to tell an empty file name
// from STDIN, which the parse tree shows alike.
func skim(sql string, all []*pg_query.ScanToken) skimmed {
	var s skimmed
	toks := make([]*pg_query.ScanToken, 0, len(all))
	for _, t := range all {
		switch t.Token {
		case pg_query.Token_SQL_COMMENT, pg_query.Token_C_COMMENT:
			continue
		case pg_query.Token_PARAM:
			s.params = true
		}
		if tooLong(sql, t) {
			s.longName = true
		}
		toks = append(toks, t)
	}
	toks = trimSemicolons(toks)
	if len(toks) == 0 || toks[0].Token != pg_query.Token_COPY {
		return s
	}
	s.direction(toks)
	s.where(toks)
	return s
}

// CopiesIn says whether one of the statements of a text is a COPY … FROM STDIN.
// sure is false where that can't be told: in other encodings than UTF-8. A text
// that can't be scanned is the server's to refuse.
func CopiesIn(sql string) (copies, sure bool) {
	if strings.IndexByte(sql, 0) >= 0 || !utf8.ValidString(sql) {
		return true, false
	}
	res, err := pg_query.Scan(sql)
	if err != nil {
		return false, true
	}
	toks := slices.DeleteFunc(res.Tokens, func(t *pg_query.ScanToken) bool {
		return t.Token == pg_query.Token_SQL_COMMENT || t.Token == pg_query.Token_C_COMMENT
	})
	for len(toks) > 0 {
		end := slices.IndexFunc(toks, func(t *pg_query.ScanToken) bool { return t.Token == pg_query.Token_ASCII_59 })
		one := toks
		if toks = nil; end >= 0 {
			one, toks = one[:end], one[end+1:]
		}
		if len(one) > 0 && one[0].Token == pg_query.Token_COPY {
			var s skimmed
			if s.direction(one); s.shape == CopyFrom {
				return true, true
			}
		}
	}
	return false, true
}

func trimSemicolons(toks []*pg_query.ScanToken) []*pg_query.ScanToken {
	for len(toks) > 0 && toks[0].Token == pg_query.Token_ASCII_59 {
		toks = toks[1:]
	}
	for len(toks) > 0 && toks[len(toks)-1].Token == pg_query.Token_ASCII_59 {
		toks = toks[:len(toks)-1]
	}
	return toks
}

// direction sets shape from the first FROM or TO outside brackets and the
// token behind it.
func (s *skimmed) direction(toks []*pg_query.ScanToken) {
	for _, t := range toks {
		if t.Token == pg_query.Token_ASCII_59 {
			s.shape = Multi
			return
		}
	}
	if len(toks) > 1 && toks[1].Token == pg_query.Token_ASCII_40 {
		s.shape = CopyQuery
		return
	}
	at := find(toks, 0, pg_query.Token_FROM, pg_query.Token_TO)
	if at < 0 || at+1 >= len(toks) {
		// No COPY at all; the parser's error is the answer.
		s.shape = CopyFrom
		return
	}
	next := toks[at+1].Token
	stream := next == pg_query.Token_STDIN || next == pg_query.Token_STDOUT
	switch {
	case toks[at].Token == pg_query.Token_TO && (stream || next == pg_query.Token_PROGRAM):
		s.shape = CopyTo
	case toks[at].Token == pg_query.Token_TO:
		s.shape = CopyToFile
	case stream:
		s.shape = CopyFrom
	case next == pg_query.Token_PROGRAM:
		s.shape = CopyProgram
	default:
		s.shape = CopyFile
	}
}

func (s *skimmed) where(toks []*pg_query.ScanToken) {
	at := find(toks, 0, pg_query.Token_WHERE)
	if at < 0 || at+1 >= len(toks) {
		return
	}
	s.whereStart, s.whereEnd = int(toks[at].End), int(toks[len(toks)-1].End)
	s.whereTokens = len(toks) - at - 1
}

// find returns the index of the first of the wanted tokens outside brackets,
// or -1.
func find(toks []*pg_query.ScanToken, from int, want ...pg_query.Token) int {
	depth := 0
	for i := from; i < len(toks); i++ {
		switch toks[i].Token {
		case pg_query.Token_ASCII_40:
			depth++
		case pg_query.Token_ASCII_41:
			depth--
		}
		for _, w := range want {
			if depth == 0 && toks[i].Token == w {
				return i
			}
		}
	}
	return -1
}

// tooLong says whether an identifier's text is longer than the server keeps.
// Doubled quotes and Unicode escapes make it say so too early, which only
// costs a relay.
func tooLong(sql string, t *pg_query.ScanToken) bool {
	if t.Token != pg_query.Token_IDENT && t.Token != pg_query.Token_UIDENT {
		return false
	}
	limit := maxIdent
	if strings.HasPrefix(sql[t.Start:], `"`) {
		limit += 2
	}
	return int(t.End-t.Start) > limit
}
