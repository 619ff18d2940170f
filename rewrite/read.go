package rewrite

import (
	"errors"
	"slices"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// ReadStatement is a statement that may read or change routed tables, with the
// names that have to be looked up before that is known.
type ReadStatement struct {
	SQL string
	raw *pgquery.RawRead
	// names are the different names of relations, of which all that stand at refs
	// are; target and changed are those of what is changed.
	names   []relationName
	refs    []int // for each of raw.Refs the index in names, or -1
	target  int
	changed []int
}

type relationName struct{ schema, table string }

// ReadOptions say how ParseRead reads.
type ReadOptions struct {
	MaxBytes int
	// May says whether a table of this name may be routed.
	May func(table string) bool
	// StandardStrings and UTF8 are as in values.Options.
	StandardStrings, UTF8 bool
}

// ParseRead parses a statement. ReasonNotRouted says that it names no table that
// may be routed, and is no more than a statement that is relayed.
func ParseRead(sql string, o ReadOptions) (*ReadStatement, Reason) {
	if len(sql) > o.MaxBytes {
		return nil, ReasonTooLong
	}
	if !o.StandardStrings && strings.IndexByte(sql, '\\') >= 0 {
		return nil, ReasonStringSyntax
	}
	if !o.UTF8 && !isASCII(sql) {
		return nil, ReasonNameEncoding
	}
	raw, err := pgquery.ParseRead(sql)
	switch {
	case errors.Is(err, pgquery.ErrReadTooLong):
		return nil, ReasonTooLong
	case err != nil:
		return nil, ReasonParseError
	case raw.Kind == pgquery.ReadOther:
		return nil, ReasonNotRead
	case raw.Kind == pgquery.ReadMulti:
		return nil, ReasonMultiStatement
	}
	s := &ReadStatement{SQL: sql, raw: raw, target: -1}
	for _, ref := range raw.Refs {
		s.refs = append(s.refs, s.name(ref, o.May))
	}
	for _, ref := range raw.Changed {
		s.changed = append(s.changed, s.name(ref, o.May))
	}
	if raw.Target != nil {
		s.target = s.name(*raw.Target, o.May)
	}
	switch {
	case len(s.names) == 0:
		return nil, ReasonNotRouted
	case raw.Strange:
		return nil, ReasonReadForm
	case raw.LongName:
		return nil, ReasonLongName
	}
	return s, ReasonNone
}

// name returns the index of a relation's name, or -1 for one that is not routed.
func (s *ReadStatement) name(ref pgquery.RawRef, may func(string) bool) int {
	if ref.Catalog != "" || !may(ref.Table) {
		return -1
	}
	n := relationName{ref.Schema, ref.Table}
	if i := slices.Index(s.names, n); i >= 0 {
		return i
	}
	s.names = append(s.names, n)
	return len(s.names) - 1
}

// Changes says that the statement is an UPDATE or DELETE.
func (s *ReadStatement) Changes() bool {
	return s.raw.Kind == pgquery.ReadUpdate || s.raw.Kind == pgquery.ReadDelete
}
