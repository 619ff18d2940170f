package pgquery

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// Rename replaces an identifier wherever it stands in a text that is a part of a
// statement; to is its new text, quoted. What stands behind AS stays: it is a
// label.
func Rename(sql, from, to string) (string, error) {
	tokens, err := scan(sql)
	if err != nil {
		return "", err
	}
	return tokens.replace(to, func(i int) bool {
		return tokens.name(i) == from && (i == 0 || tokens.list[i-1].Token != pg_query.Token_AS)
	}), nil
}

// tokens are those of a text.
type tokens struct {
	sql  string
	list []*pg_query.ScanToken
}

func scan(sql string) (tokens, error) {
	if sql == "" {
		return tokens{}, nil
	}
	res, err := pg_query.Scan(sql)
	if err != nil {
		return tokens{}, fmt.Errorf("scan clause: %w", err)
	}
	return tokens{sql, res.Tokens}, nil
}

// word is a token's text, or "" where there is none.
func (t tokens) word(i int) string {
	if i < 0 || i >= len(t.list) {
		return ""
	}
	return t.sql[t.list[i].Start:t.list[i].End]
}

// name is what a token names, or "".
func (t tokens) name(i int) string { return identifier(t.word(i)) }

// replace returns the text with to in the place of some of its tokens.
func (t tokens) replace(to string, which func(i int) bool) string {
	var out strings.Builder
	at := 0
	for i, token := range t.list {
		if which(i) {
			out.WriteString(t.sql[at:token.Start] + to)
			at = int(token.End)
		}
	}
	return out.String() + t.sql[at:]
}

// identifier is what a token names, or "".
func identifier(token string) string {
	if token == "" {
		return ""
	}
	switch b := token[0]; {
	case b == '"' && len(token) > 2:
		return strings.ReplaceAll(token[1:len(token)-1], `""`, `"`)
	case b == '_' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80:
		return strings.ToLower(token)
	}
	return ""
}

// Requalify replaces the name of a table where it qualifies a column in a text that is
// a part of a statement; to is its new text, quoted. It fails where the text has a
// query in it, in which the name may mean something else.
func Requalify(sql, from, to string) (string, error) {
	tokens, err := scan(sql)
	if err != nil {
		return "", err
	}
	found := false
	out := tokens.replace(to, func(i int) bool {
		qualifies := tokens.word(i+1) == "." && tokens.word(i-1) != "." && tokens.name(i) == from
		found = found || qualifies
		return qualifies
	})
	if found && slices.ContainsFunc(tokens.list, beginsQuery) {
		return "", errQuery
	}
	return out, nil
}

func beginsQuery(t *pg_query.ScanToken) bool {
	switch t.Token {
	case pg_query.Token_SELECT, pg_query.Token_TABLE, pg_query.Token_VALUES, pg_query.Token_WITH:
		return true
	}
	return false
}

var errQuery = errors.New("a query in a clause")
