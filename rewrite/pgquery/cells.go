package pgquery

import (
	"errors"
	"fmt"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// CellKind says what a cell of a VALUES list is.
type CellKind byte

const (
	// CellExpression is none of the others.
	CellExpression CellKind = iota
	// CellConstant is a parameter or constant, perhaps with casts.
	CellConstant
	// CellDefault is the word DEFAULT.
	CellDefault
)

// RawCell is where a cell stands in its text.
type RawCell struct {
	From, To int
	Kind     CellKind
}

// RawRow is a row with its brackets.
type RawRow struct {
	From, To int
	Cells    []RawCell
}

// ErrRows says that what stands there is no list of rows.
var ErrRows = errors.New("no list of rows")

// Rows finds the rows of a VALUES list, whose word ends at from, by the server's
// own tokens. Whether the cells are expressions at all it leaves to the server.
func Rows(sql string, from int) ([]RawRow, error) {
	res, err := pg_query.Scan(sql)
	if err != nil {
		return nil, fmt.Errorf("scan rows: %w", err)
	}
	var toks []*pg_query.ScanToken
	for _, t := range res.Tokens {
		if int(t.Start) >= from && t.Token != pg_query.Token_SQL_COMMENT && t.Token != pg_query.Token_C_COMMENT {
			toks = append(toks, t)
		}
	}
	var rows []RawRow
	for {
		row, n := rowOf(toks)
		if n == 0 {
			return nil, ErrRows
		}
		rows, toks = append(rows, row), toks[n:]
		if len(toks) == 0 || toks[0].Token != pg_query.Token_ASCII_44 {
			return rows, nil
		}
		toks = toks[1:]
	}
}

// rowOf reads one row, and says how many tokens it has; 0 is none.
func rowOf(toks []*pg_query.ScanToken) (row RawRow, n int) {
	if len(toks) == 0 || toks[0].Token != pg_query.Token_ASCII_40 {
		return row, 0
	}
	depth, first := 0, 1
	for i, t := range toks {
		switch t.Token {
		case pg_query.Token_ASCII_40, pg_query.Token_ASCII_91:
			depth++
			continue
		case pg_query.Token_ASCII_41, pg_query.Token_ASCII_93:
			depth--
		case pg_query.Token_ASCII_44:
			if depth != 1 {
				continue
			}
		default:
			continue
		}
		if depth > 1 {
			continue
		}
		if i == first {
			return row, 0
		}
		if depth == 0 || t.Token == pg_query.Token_ASCII_44 {
			cell := toks[first:i]
			row.Cells = append(row.Cells, RawCell{int(cell[0].Start), int(cell[len(cell)-1].End), kindOf(cell)})
			first = i + 1
		}
		if depth == 0 {
			row.From, row.To = int(toks[0].Start), int(t.End)
			return row, i + 1
		}
	}
	return row, 0
}

// kindOf looks at the tokens of a cell.
func kindOf(toks []*pg_query.ScanToken) CellKind {
	if len(toks) == 1 && toks[0].Token == pg_query.Token_DEFAULT {
		return CellDefault
	}
	if t := toks[0].Token; len(toks) > 1 && (t == pg_query.Token_ASCII_43 || t == pg_query.Token_ASCII_45) {
		toks = toks[1:]
	}
	switch toks[0].Token {
	case pg_query.Token_PARAM, pg_query.Token_ICONST, pg_query.Token_FCONST, pg_query.Token_SCONST, pg_query.Token_USCONST,
		pg_query.Token_BCONST, pg_query.Token_XCONST, pg_query.Token_NULL_P, pg_query.Token_TRUE_P, pg_query.Token_FALSE_P:
	default:
		return CellExpression
	}
	for len(toks) > 1 {
		n := castOf(toks[1:])
		if n == 0 {
			return CellExpression
		}
		toks = toks[n:]
	}
	return CellConstant
}

// castOf says how many tokens of a :: with its type stand at the front.
func castOf(toks []*pg_query.ScanToken) int {
	if toks[0].Token != pg_query.Token_TYPECAST {
		return 0
	}
	n := 1
	for ; n < len(toks); n++ {
		t := toks[n]
		switch {
		case t.Token == pg_query.Token_IDENT, t.KeywordKind != pg_query.KeywordKind_NO_KEYWORD,
			t.Token == pg_query.Token_ASCII_46, t.Token == pg_query.Token_ASCII_40, t.Token == pg_query.Token_ASCII_41,
			t.Token == pg_query.Token_ASCII_91, t.Token == pg_query.Token_ASCII_93, t.Token == pg_query.Token_ASCII_44,
			t.Token == pg_query.Token_ICONST:
			continue
		}
		break
	}
	if n < len(toks) && toks[n].Token != pg_query.Token_TYPECAST {
		return 0
	}
	return n
}
