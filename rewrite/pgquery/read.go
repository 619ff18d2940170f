package pgquery

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// MaxReadTokens bounds a statement that is read. Each token costs a few stack
// frames of C at most; a main thread's 8 MB overflow at some 50,000.
const MaxReadTokens = 10_000

// ErrReadTooLong is ParseRead's answer to a text over MaxReadTokens.
var ErrReadTooLong = errors.New("statement has too many tokens")

// ReadKind says what kind of statement ParseRead met.
type ReadKind int

// The kinds. ReadSelect is one SELECT or more, and INSERT … SELECT, EXPLAIN, DECLARE
// CURSOR and COPY … TO of one.
const (
	ReadOther ReadKind = iota
	ReadMulti
	ReadSelect
	ReadUpdate
	ReadDelete
)

// RawRead is what a statement reads and changes, as the grammar sees it: where the
// names of relations stand in its text.
type RawRead struct {
	Kind ReadKind
	// Refs are read; Target is what an UPDATE or DELETE changes, and Changed what
	// an INSERT and statements in a WITH clause do.
	Refs    []RawRef
	Target  *RawRef
	Changed []RawRef
	Levels  []RawLevel
	// Names are the references to columns, wherever they stand.
	Names []RawName
	// LocksAll: rows of everything are locked; Locked are the names whose are.
	LocksAll bool
	Locked   []string
	// Set are the columns that an UPDATE sets.
	Set       []string
	Returning bool
	// CurrentOf is WHERE CURRENT OF. Natural is a NATURAL JOIN.
	CurrentOf, Natural bool
	// Strange: something in it has no place here.
	Strange bool
	// Explain: an EXPLAIN of whatever Kind says; Cursor a DECLARE.
	Explain, Cursor bool
	// Copy: COPY Refs[0] TO, whose list of columns is part of the reference's text.
	Copy        bool
	CopyColumns []string
	// Where and WhereEnd are where the condition of an UPDATE or DELETE begins and
	// ends; Where is -1 where it has none, and WhereEnd where it would stand.
	Where, WhereEnd int
	// Params counts how often each $n stands in the text.
	Params map[int]int
	// LongName is as in RawCopy.
	LongName bool
}

// RawRef is one reference to a relation.
type RawRef struct {
	Catalog, Schema, Table string
	// Name is what the rest of its query calls it; HasAlias that the text says so,
	// and Renamed that its columns have other names there, too.
	Name              string
	HasAlias, Renamed bool
	Only              bool
	// Command: the text is TABLE and the name, in place of a SELECT.
	Command bool
	Sampled bool
	// Start and End bound what names the relation, with ONLY and the star.
	Start, End int
	// Level is the query in whose FROM it stands.
	Level int
}

// RawLevel is one query: the statement itself or one within.
type RawLevel struct {
	Grouped bool
	Pins    []RawPin
}

// RawPin is a condition that all rows of a query meet: a column is one of some
// constants or parameters.
type RawPin struct {
	Qualifier, Column string
	Values            []RawValue
}

// RawValue is a constant or parameter.
type RawValue struct {
	// Text is the constant as written, with its sign or quotes; empty for a
	// parameter. Start is where it stands.
	Text    string
	Start   int
	Integer bool
	// Param is its number; Array says that it is an array, of = ANY.
	Param int
	Array bool
	// Cast is the type that the text casts it to: int2, int4, int8, text, varchar,
	// uuid.
	Cast string
}

// RawName is a reference to a column, or with Star to all of them.
type RawName struct {
	Fields []string
	Star   bool
}

// ParseRead reads a statement that may read or change relations.
func ParseRead(sql string) (*RawRead, error) {
	if strings.IndexByte(sql, 0) >= 0 || !utf8.ValidString(sql) {
		return nil, errors.New("parse read: text is not UTF-8")
	}
	res, err := pg_query.Scan(sql)
	if err != nil {
		return nil, fmt.Errorf("scan read: %w", err)
	}
	if len(res.Tokens) > MaxReadTokens {
		return nil, ErrReadTooLong
	}
	w := &readWalk{sql: sql, seen: map[int]bool{}, raw: &RawRead{Where: -1, Params: map[int]int{}}}
	w.scan(res.Tokens)
	tree, err := pg_query.Parse(sql)
	if err != nil {
		return nil, fmt.Errorf("parse read: %w", err)
	}
	w.statements(tree.Stmts)
	return w.raw, nil
}

// readWalk is a walk over the tree.
type readWalk struct {
	sql  string
	toks []*pg_query.ScanToken // without comments
	raw  *RawRead
	seen map[int]bool // where Refs begin
}

func (w *readWalk) scan(all []*pg_query.ScanToken) {
	w.toks = make([]*pg_query.ScanToken, 0, len(all))
	for _, t := range all {
		switch t.Token {
		case pg_query.Token_SQL_COMMENT, pg_query.Token_C_COMMENT:
			continue
		case pg_query.Token_PARAM:
			n := 0
			_, _ = fmt.Sscanf(w.sql[t.Start:t.End], "$%d", &n) // the scanner has read it
			w.raw.Params[n]++
		}
		w.raw.LongName = w.raw.LongName || tooLong(w.sql, t)
		w.toks = append(w.toks, t)
	}
	w.toks = trimSemicolons(w.toks)
}

func (w *readWalk) statements(stmts []*pg_query.RawStmt) {
	if len(stmts) == 1 {
		w.top(stmts[0].GetStmt())
		return
	}
	// Several SELECTs, in a transaction perhaps, find the same relations by the
	// same names; everything else may change what a name means.
	for _, s := range stmts {
		switch n := s.GetStmt().GetNode().(type) {
		case *pg_query.Node_TransactionStmt:
		case *pg_query.Node_SelectStmt:
			w.selectStmt(n.SelectStmt, nil)
		default:
			w.raw.Kind = ReadMulti
			return
		}
		w.raw.Kind = ReadSelect
	}
}

// top walks over the one statement of the text.
func (w *readWalk) top(node *pg_query.Node) {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		w.raw.Kind = ReadSelect
		w.selectStmt(n.SelectStmt, nil)
	case *pg_query.Node_UpdateStmt:
		w.raw.Kind = ReadUpdate
		w.update(n.UpdateStmt)
	case *pg_query.Node_DeleteStmt:
		w.raw.Kind = ReadDelete
		w.delete(n.DeleteStmt)
	case *pg_query.Node_InsertStmt:
		w.raw.Kind = ReadSelect
		w.insert(n.InsertStmt, nil)
	case *pg_query.Node_ExplainStmt:
		w.raw.Explain = true
		w.top(n.ExplainStmt.Query)
	case *pg_query.Node_DeclareCursorStmt:
		w.raw.Cursor = true
		w.top(n.DeclareCursorStmt.Query)
	case *pg_query.Node_CopyStmt:
		w.copyTo(n.CopyStmt)
	}
}

func (w *readWalk) update(s *pg_query.UpdateStmt) {
	sc, level := w.with(s.WithClause, nil), w.level()
	w.target(s.Relation)
	for _, node := range s.TargetList {
		w.raw.Set = append(w.raw.Set, node.GetResTarget().GetName())
	}
	w.froms(s.FromClause, sc, level)
	w.exprs(s.TargetList, sc)
	w.condition(s.WhereClause, sc, level)
	w.exprs(s.ReturningList, sc)
	w.change(len(s.ReturningList) > 0)
}

func (w *readWalk) delete(s *pg_query.DeleteStmt) {
	sc, level := w.with(s.WithClause, nil), w.level()
	w.target(s.Relation)
	w.froms(s.UsingClause, sc, level)
	w.condition(s.WhereClause, sc, level)
	w.exprs(s.ReturningList, sc)
	w.change(len(s.ReturningList) > 0)
}

// target notes what the statement changes.
func (w *readWalk) target(rel *pg_query.RangeVar) {
	ref, ok := w.ref(rel)
	if !ok {
		w.raw.Strange = true
		return
	}
	ref.Level = len(w.raw.Levels) - 1
	w.raw.Target = &ref
}

// change finds where the condition of an UPDATE or DELETE stands. WHERE and
// RETURNING are reserved words: outside brackets they only name something behind
// a dot.
func (w *readWalk) change(returning bool) {
	w.raw.Returning = returning
	if w.raw.Target == nil || len(w.toks) == 0 {
		return
	}
	from := w.tokenAt(w.raw.Target.Start)
	end := len(w.toks)
	if returning {
		end = findKeyword(w.toks, from, pg_query.Token_RETURNING)
	}
	w.raw.WhereEnd = int(w.toks[end-1].End)
	if where := findKeyword(w.toks, from, pg_query.Token_WHERE); where < end {
		w.raw.Where = int(w.toks[where].End)
	}
}

// copyTo walks over COPY … TO.
func (w *readWalk) copyTo(s *pg_query.CopyStmt) {
	if s.IsFrom {
		return
	}
	w.raw.Kind = ReadSelect
	if s.Query != nil {
		w.top(s.Query)
		return
	}
	w.level()
	ref, ok := w.ref(s.Relation)
	if !ok {
		w.raw.Strange = true
		return
	}
	w.raw.Copy = true
	for _, node := range s.Attlist {
		w.raw.CopyColumns = append(w.raw.CopyColumns, node.GetString_().GetSval())
	}
	if len(s.Attlist) > 0 { // the reference ends behind the list
		for i := w.tokenAt(ref.End); i < len(w.toks); i++ {
			if w.toks[i].Token == pg_query.Token_ASCII_41 {
				ref.End = int(w.toks[i].End)
				break
			}
		}
	}
	w.raw.Refs = append(w.raw.Refs, ref)
}

// tokenAt returns the index of the first token that does not begin before an
// offset.
func (w *readWalk) tokenAt(offset int) int {
	lo, hi := 0, len(w.toks)
	for lo < hi {
		if mid := (lo + hi) / 2; int(w.toks[mid].Start) < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// ref reads one reference; ok is false where its text is not what it should be.
func (w *readWalk) ref(rel *pg_query.RangeVar) (ref RawRef, ok bool) {
	if rel == nil {
		return ref, false
	}
	ref = RawRef{
		Catalog: rel.Catalogname, Schema: rel.Schemaname, Table: rel.Relname, Name: rel.Relname, Only: !rel.Inh,
		Start: int(rel.Location), Level: len(w.raw.Levels) - 1,
	}
	if rel.Alias != nil {
		ref.Name, ref.HasAlias, ref.Renamed = rel.Alias.Aliasname, true, len(rel.Alias.Colnames) > 0
	}
	i := w.tokenAt(ref.Start)
	if i == len(w.toks) || int(w.toks[i].Start) != ref.Start {
		return ref, false
	}
	first := i
	parts := 1
	for _, s := range []string{rel.Schemaname, rel.Catalogname} {
		if s != "" {
			parts++
		}
	}
	i += 2 * (parts - 1)
	if i >= len(w.toks) {
		return ref, false
	}
	ref.End = int(w.toks[i].End)
	is := func(i int, t pg_query.Token) bool { return i >= 0 && i < len(w.toks) && w.toks[i].Token == t }
	switch {
	case ref.Only && is(first-1, pg_query.Token_ONLY):
		first--
	case ref.Only && is(first-2, pg_query.Token_ONLY) && is(i+1, pg_query.Token_ASCII_41):
		first, i = first-2, i+1
	case ref.Only:
		return ref, false
	case is(i+1, pg_query.Token_ASCII_42):
		i++
	}
	if ref.Command = is(first-1, pg_query.Token_TABLE); ref.Command {
		first--
	}
	ref.Start, ref.End = int(w.toks[first].Start), int(w.toks[i].End)
	return ref, true
}
