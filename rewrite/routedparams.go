package rewrite

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// RoutedValues is an INSERT … VALUES of any cells, whose rows may be cut into
// statements of their own. Parameters may stand anywhere: all such statements get
// those of the client.
type RoutedValues struct {
	SQL []byte
	// Statement has one row of NULLs in the place of the rows, in a text of its own.
	Statement *InsertStatement
	rows      []pgquery.RawRow
}

// ParseRoutedValues reads a text, or says why its rows are not known.
func ParseRoutedValues(sql []byte, opts InsertOptions) (*RoutedValues, Reason) {
	head, reason := scanInsertHead(sql)
	switch {
	case reason != ReasonNone:
		return nil, reason
	case head.wrapped:
		return nil, ReasonInsertSelect
	case len(sql) > opts.MaxBytes:
		return nil, ReasonTooLong
	case !opts.Values.StandardStrings && hasStringSyntax(sql):
		return nil, ReasonStringSyntax
	case !opts.Values.UTF8 && !isASCII(string(sql)) || !utf8.Valid(sql):
		return nil, ReasonNameEncoding
	}
	rows, err := pgquery.Rows(string(sql), head.list)
	if err != nil {
		return nil, ReasonParseError
	}
	for _, r := range rows {
		if len(r.Cells) != len(rows[0].Cells) {
			return nil, ReasonRowLength
		}
	}
	skeleton := string(sql[:head.list]) + " (NULL" + strings.Repeat(",NULL", len(rows[0].Cells)-1) + ") " + string(sql[rows[len(rows)-1].To:])
	opts.TailParams = true
	stmt, reason := ParseInsert([]byte(skeleton), opts)
	if reason != ReasonNone {
		return nil, reason
	}
	return &RoutedValues{SQL: sql, Statement: stmt, rows: rows}, ReasonNone
}

// ParseRoutedAny reads an INSERT of any form, with parameters, that can go through
// a temporary table.
func ParseRoutedAny(sql []byte, opts InsertOptions) (*AnyInsert, Reason) {
	switch {
	case len(sql) > opts.MaxBytes:
		return nil, ReasonTooLong
	case !opts.Values.StandardStrings && hasStringSyntax(sql):
		return nil, ReasonStringSyntax
	case !opts.Values.UTF8 && !isASCII(string(sql)):
		return nil, ReasonNameEncoding
	}
	a := ParseAny(sql).Insert
	switch {
	case a == nil:
		return nil, ReasonRoutedText
	case !a.StandsAlone:
		return nil, ReasonRoutedClause
	}
	return a, ReasonNone
}

// Rows is how many there are.
func (v *RoutedValues) Rows() int { return len(v.rows) }

// Spans are the rows of a piece: of those that aux says are the piece's table's,
// where they stand in SQL.
func (v *RoutedValues) Spans(p RoutedPiece, aux []bool) [][2]int {
	var out [][2]int
	for i := p.From; i < p.To; i++ {
		if aux[i] == p.Aux {
			out = append(out, [2]int{v.rows[i].From, v.rows[i].To})
		}
	}
	return out
}

// Keys finds the cells of the routing column. known is false where one is an
// expression, which might be another at another time; left says that the column
// is left to its default.
func (v *RoutedValues) Keys(in *Inspection) (cells []string, left, known bool) {
	at := slices.Index(in.Columns, in.Routing.Column)
	if in.BadColumns || at < 0 || at >= len(v.rows[0].Cells) {
		return nil, true, !in.BadColumns
	}
	for _, r := range v.rows {
		c := r.Cells[at]
		switch c.Kind {
		case pgquery.CellDefault:
			left = true
			cells = append(cells, "NULL")
			continue
		case pgquery.CellExpression:
			return nil, false, false
		}
		cells = append(cells, string(v.SQL[c.From:c.To]))
	}
	return cells, left, true
}

// TakesOther is Routing.TakesOther for these rows.
func (v *RoutedValues) TakesOther(in *Inspection) bool {
	return in.Routing.TakesOther(in, v.Statement) || slices.ContainsFunc(in.Routing.OtherDefaults, func(name string) bool {
		at := slices.Index(in.Columns, name)
		return slices.ContainsFunc(v.rows, func(r pgquery.RawRow) bool { return at < len(r.Cells) && r.Cells[at].Kind == pgquery.CellDefault })
	})
}

func keysFrom(in *Inspection, cells []string, columns string) string {
	t := in.Routing.Type
	ordinality := ""
	if strings.Contains(columns, ",") {
		ordinality = " WITH ORDINALITY"
	}
	// A cell may end in a comment.
	return "ROWS FROM (pg_catalog.unnest(ARRAY[(" + strings.Join(cells, "\n)::"+t+", (") + "\n)::" + t + "]::" + t + "[]))" +
		ordinality + " AS pgbulkproxy_rows(" + columns + ")"
}

// WaitCellsSQL are the statements that wait for those of the moving groups that
// the cells name; none where nothing moves. The first has the client's parameters.
func (r *Routing) WaitCellsSQL(in *Inspection, moving, cells []string) []string {
	wait := r.WaitSQL(in, moving, keysFrom(in, cells, "k"), "pgbulkproxy_rows.k")
	if wait == "" {
		return nil
	}
	if again := strings.TrimSuffix(r.again(in), ";\n"); again != "" {
		return []string{strings.TrimSuffix(wait, ";\n"+again), again}
	}
	return []string{wait}
}

// AuxCellsSQL returns the ordinals of the cells, counted from 1, whose rows go to
// the auxiliary table. It has the client's parameters.
func (r *Routing) AuxCellsSQL(in *Inspection, cells []string) string {
	return r.auxRows(in, keysFrom(in, cells, "k, n"), "pgbulkproxy_rows.k")
}

// DefaultSQL asks whether the routing column has a default. Without one, rows that
// leave it out have no group.
func (r *Routing) DefaultSQL(in *Inspection) string {
	return in.Dialect().older("SELECT a.atthasdef OR a.attidentity OPERATOR(pg_catalog.<>) '' OR (SELECT t.typdefault IS NOT NULL FROM pg_catalog.pg_type t" +
		" WHERE t.oid OPERATOR(pg_catalog.=) a.atttypid) FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) " +
		strconv.FormatUint(uint64(in.OID), 10) + "::pg_catalog.oid AND a.attname OPERATOR(pg_catalog.=) " + pgident.Literal(r.Column) + "::pg_catalog.name")
}

// AnyPrepared stands for the name of any prepared statement.
const AnyPrepared = ""

// ExecutedSQL returns the names and texts of what EXECUTE of a name may run.
func ExecutedSQL(name string) string {
	sql := "SELECT p.name, p.statement FROM pg_catalog.pg_prepared_statements p"
	if name != AnyPrepared {
		sql += " WHERE p.name OPERATOR(pg_catalog.=) " + pgident.Literal(name)
	}
	return sql
}

// ExecuteText is an EXECUTE of a name, for its tables.
func ExecuteText(name string) []byte { return []byte("EXECUTE " + pgident.Quote(name)) }

// PreparedSQL returns the text of a prepared statement, and whether SQL's PREPARE
// stands in it, or no row.
func PreparedSQL(name string) string {
	return "SELECT p.statement, p.from_sql FROM pg_catalog.pg_prepared_statements p WHERE p.name OPERATOR(pg_catalog.=) " + pgident.Literal(name)
}
