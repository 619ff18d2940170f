package pgquery

import (
	"fmt"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// Rename replaces an identifier wherever it stands in a text that is a part of a
// statement; to is its new text, quoted. What stands behind AS stays: it is a
// label.
func Rename(sql, from, to string) (string, error) {
	if sql == "" {
		return "", nil
	}
	res, err := pg_query.Scan(sql)
	if err != nil {
		return "", fmt.Errorf("scan clause: %w", err)
	}
	var out strings.Builder
	at, label := 0, false
	for _, t := range res.Tokens {
		if !label && identifier(sql[t.Start:t.End]) == from {
			out.WriteString(sql[at:t.Start] + to)
			at = int(t.End)
		}
		label = t.Token == pg_query.Token_AS
	}
	return out.String() + sql[at:], nil
}

// identifier is what a token names, or "".
func identifier(token string) string {
	switch b := token[0]; {
	case b == '"' && len(token) > 2:
		return strings.ReplaceAll(token[1:len(token)-1], `""`, `"`)
	case b == '_' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80:
		return strings.ToLower(token)
	}
	return ""
}
