package rewrite

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// InsertTarget is an INSERT as it is for one of the two tables of a routed one.
type InsertTarget struct {
	// Statement has the client's clauses as they mean the same in this table.
	Statement *InsertStatement
	In        *Inspection
	// head and tail are what stands around the rows.
	head, tail string
}

// Main is the statement for the table that it names.
func (s *InsertStatement) Main(in *Inspection) InsertTarget {
	t := InsertTarget{Statement: s, In: in}
	if s.ListEnd > 0 {
		t.head, t.tail = string(s.SQL[:s.ListStart]), string(s.SQL[s.ListEnd:])
	}
	return t
}

// ErrClause says that a clause of an INSERT can't mean the same in the auxiliary
// table.
var ErrClause = errors.New("a clause can't be meant for the auxiliary table")

// Aux is the statement for the auxiliary table. It has the main table's name as
// an alias there, so that the clauses may go on using it; where the server knows no
// alias, they get the other name. constraint is what the constraint of ON CONFLICT ON
// CONSTRAINT is called there.
func (s *InsertStatement) Aux(in *Inspection, constraint string) (InsertTarget, error) {
	r := in.Routing
	stmt := *s
	if stmt.Alias == "" {
		stmt.Alias = s.Table
	}
	if r.Shuffled && stmt.showsOrder() {
		return InsertTarget{}, ErrClause
	}
	var err error
	if in.Dialect() != Current {
		if stmt.Returning, err = pgquery.Requalify(s.Returning, s.Table, pgident.Quote(r.Aux.Table)); err != nil {
			return InsertTarget{}, ErrClause
		}
		stmt.Alias = ""
	}
	if stmt.OnConflict, err = auxConflict(s.OnConflict, constraint); err != nil {
		return InsertTarget{}, err
	}
	if r.AuxColumn != r.Column {
		for _, clause := range []*string{&stmt.OnConflict, &stmt.Returning} {
			if *clause, err = pgquery.Rename(*clause, r.Column, pgident.Quote(r.AuxColumn)); err != nil {
				return InsertTarget{}, err
			}
		}
	}
	t := InsertTarget{Statement: &stmt, In: r.Table}
	if s.ListEnd > 0 {
		t.head = s.auxHead(&stmt, r)
		t.tail = s.auxTail(&stmt)
	}
	return t, nil
}

// showsOrder says whether RETURNING may have whole rows in it.
func (s *InsertStatement) showsOrder() bool {
	if s.Returning != "" && len(s.Items) == 0 {
		return true
	}
	return slices.ContainsFunc(s.Items, func(i ReturningItem) bool {
		return i.Star || i.Column == "" || i.Table == "" && i.Column == s.Alias
	})
}

// auxHead is the text up to the rows, with another table and, always, a list of
// columns.
func (s *InsertStatement) auxHead(stmt *InsertStatement, r *Routing) string {
	c := headCursor{sql: s.SQL}
	_, _ = c.scan() // it was scanned before
	alias := ""
	if stmt.Alias != "" {
		alias = " AS " + pgident.Quote(stmt.Alias)
	}
	return string(s.SQL[:c.into]) + " " + r.Aux.Name() + alias + " (" + pgident.List(r.Table.Columns[:s.Targets()]) + ") " + string(s.SQL[c.target:s.ListStart])
}

// auxTail is the text behind the rows with the clauses of stmt.
func (s *InsertStatement) auxTail(stmt *InsertStatement) string {
	tail := string(s.SQL[s.ListEnd:])
	first := s.OnConflict
	if first == "" {
		first = s.Returning
	}
	if first == "" {
		return tail
	}
	return tail[:strings.LastIndex(tail, first)] + stmt.clauses()
}

// clauses are those behind the rows, each on a line of its own: one may end in a
// comment.
func (s *InsertStatement) clauses() string {
	out := ""
	for _, clause := range []string{s.OnConflict, s.Returning} {
		if clause != "" {
			out += "\n" + clause
		}
	}
	if out != "" {
		out += "\n"
	}
	return out
}

// Constraint returns the name in ON CONFLICT ON CONSTRAINT, or "".
func (s *InsertStatement) Constraint() string {
	name, _, _ := conflictConstraint(s.OnConflict)
	return name
}

// conflictConstraint finds the name in ON CONFLICT ON CONSTRAINT name.
func conflictConstraint(clause string) (name string, start, end int) {
	c := headCursor{sql: []byte(clause)}
	for _, word := range []string{"on", "conflict", "on", "constraint"} {
		if c.next(); !c.word(word) {
			return "", 0, 0
		}
	}
	c.next()
	if c.kind != tokenWord && c.kind != tokenQuoted {
		return "", 0, 0
	}
	return c.identifier(), c.start, c.end
}

func auxConflict(clause, constraint string) (string, error) {
	name, start, end := conflictConstraint(clause)
	switch {
	case name == "":
		return clause, nil
	case constraint == "":
		return "", ErrClause
	}
	return clause[:start] + pgident.Quote(constraint) + clause[end:], nil
}

// RowTexts returns where each row of the statement's text begins and ends,
// without what stands between them.
func (s *InsertStatement) RowTexts(opts values.Options) ([][2]int, error) {
	l := s.Lexer(opts)
	spans := make([][2]int, 0, s.Rows)
	for range s.Rows {
		at, _ := skipSpace(s.SQL, l.Offset())
		if len(spans) > 0 {
			at++ // the comma
		}
		if err := l.Skip(); err != nil {
			return nil, err
		}
		spans = append(spans, [2]int{at, l.Offset()})
	}
	return spans, nil
}

// AppendText appends the statement with some of the client's rows.
func (t *InsertTarget) AppendText(dst []byte, sql []byte, rows [][2]int) []byte {
	dst = append(append(dst, t.head...), ' ')
	for i, row := range rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, sql[row[0]:row[1]]...)
	}
	return append(append(append(dst, ' '), t.tail...), '\n')
}

// ExplainText is the client's text behind EXPLAIN, which shows what the server has
// against it and does nothing. Positions in its errors are ExplainShift too large.
func ExplainText(sql []byte) string {
	at := 0
	for {
		at, _ = skipSpace(sql, at)
		if at >= len(sql) || sql[at] != ';' {
			break
		}
		at++
	}
	return string(sql[:at]) + explain + string(bytes.TrimRight(sql[at:], "\x00"))
}

const explain = "EXPLAIN "

// ExplainShift is the length of what ExplainText puts before the statement.
const ExplainShift = len(explain)
