package rewrite

import (
	"slices"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// judge says why a statement can't be rewritten, if it can't.
func (s *ReadStatement) judge(r *ReadInspection) Reason {
	if !r.Routed() {
		return ReasonNotRouted
	}
	for _, i := range s.changed {
		if s.table(r, i) != nil {
			return ReasonChangeInWith
		}
	}
	if reason := s.judgeTarget(r); reason != ReasonNone {
		return reason
	}
	for i, ref := range s.raw.Refs {
		t := s.table(r, s.refs[i])
		if t == nil {
			continue
		}
		if reason := s.judgeRef(&ref, t); reason != ReasonNone {
			return reason
		}
	}
	return ReasonNone
}

// judgeTarget is about what an UPDATE or DELETE changes.
func (s *ReadStatement) judgeTarget(r *ReadInspection) Reason {
	t := s.table(r, s.target)
	if t == nil {
		return ReasonNone
	}
	routing := t.in.Routing
	switch {
	case s.raw.Explain:
		return ReasonExplainChange
	case len(s.changed) > 0:
		return ReasonChangeInWith // the WITH clause would run twice
	case routing.Problem != "":
		return ReasonRoutingProblem
	case s.raw.CurrentOf:
		return ReasonCurrentOf
	case slices.Contains(s.raw.Set, routing.Column):
		return ReasonSetsRouting
	case routing.AuxColumn != routing.Column && s.mentions(routing.Column):
		return ReasonAuxColumn
	}
	for _, i := range s.refs {
		if other := s.table(r, i); other != nil && other.in.OID == t.in.OID {
			return ReasonReadsItself
		}
	}
	return s.judgeNames(s.raw.Target, t)
}

// mentions says whether a column of this name, or all columns, stand anywhere.
func (s *ReadStatement) mentions(column string) bool {
	return slices.ContainsFunc(s.raw.Names, func(n pgquery.RawName) bool {
		return n.Star || len(n.Fields) > 0 && n.Fields[len(n.Fields)-1] == column
	})
}

func (s *ReadStatement) judgeRef(ref *pgquery.RawRef, t *readTable) Reason {
	switch {
	case t.in.Routing.Problem != "":
		return ReasonRoutingProblem
	case !t.readable:
		return ReasonReadPrivilege
	case t.secured:
		return ReasonRowSecurity
	case s.raw.LocksAll || slices.Contains(s.raw.Locked, ref.Name):
		return ReasonRowLocks
	case ref.Sampled:
		return ReasonSample
	case s.raw.Copy && t.kind != "r":
		return ReasonReadForm // the server says what it thinks of that
	}
	for _, c := range s.raw.CopyColumns {
		if !slices.Contains(t.columns, c) {
			return ReasonNoSuchColumn
		}
	}
	return s.judgeNames(ref, t)
}

// judgeNames is about how a table's columns are named. It does not look which
// query a name stands in: it may say too much.
func (s *ReadStatement) judgeNames(ref *pgquery.RawRef, t *readTable) Reason {
	for _, n := range s.raw.Names {
		f := n.Fields
		switch {
		case len(f) == 0:
		case len(f) == 1 && !n.Star:
			if slices.Contains(systemColumns, f[0]) {
				return ReasonSystemColumn
			}
			if f[0] == ref.Name && !slices.Contains(t.columns, f[0]) {
				return ReasonWholeRow
			}
		case len(f) == 2 && !n.Star && f[0] == ref.Name:
			if slices.Contains(systemColumns, f[1]) {
				return ReasonSystemColumn
			}
			if !ref.Renamed && !slices.Contains(t.columns, f[1]) {
				return ReasonNoSuchColumn
			}
		case len(f) > 2 && f[len(f)-2] == ref.Name, len(f) > 1 && f[len(f)-1] == ref.Name && (n.Star || f[0] == ref.Schema):
			return ReasonQualified
		}
	}
	return ReasonNone
}
