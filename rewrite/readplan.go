package rewrite

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/pgquery"
)

// ReadPlan is what is sent in a ReadStatement's place.
type ReadPlan struct {
	// Main is the statement. Where Aux is not empty it is an UPDATE or DELETE of
	// the main table, and Aux the same of the auxiliary table, to run right behind
	// it in the same transaction; Locks come before both, and return no rows.
	Main, Aux Edited
	Locks     []string
	Returning bool
	// Tag is the first word of the command tag of an UPDATE or DELETE.
	Tag string
	// Doubtful: the server may refuse what it takes in the client's own text, with
	// 42803; then the statement passes with ReasonGrouping.
	Doubtful bool
	// Reason says how the tables are read.
	Reason Reason
}

// PlanOptions say how the plan will be used.
type PlanOptions struct {
	// Prepared: the statement may be run later, when names mean something else.
	Prepared bool
	// Params are the types of parameters that the client has declared, zero where
	// it has not.
	Params []uint32
}

// systemColumns belong to each table.
var systemColumns = []string{"ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"}

// Plan decides.
func (s *ReadStatement) Plan(r *ReadInspection, o PlanOptions) (*ReadPlan, Reason) {
	if reason := s.judge(r); reason != ReasonNone {
		return nil, reason
	}
	p := &ReadPlan{Reason: ReasonUnion, Tag: "SELECT"}
	g := gates{s: s, o: o}
	var edits []Edit
	pinned := true
	for i, ref := range s.raw.Refs {
		t := s.table(r, s.refs[i])
		if t == nil {
			continue
		}
		p.Doubtful = p.Doubtful || s.raw.Levels[ref.Level].Grouped
		main, aux, ok := g.gate(&ref, t)
		pinned = pinned && ok
		edits = append(edits, s.union(&ref, t, main, aux, o))
	}
	if len(edits) > 0 && pinned {
		p.Reason = ReasonPinned
	}
	t := s.table(r, s.target)
	if t == nil {
		p.Main = s.edit(&g, edits)
		return p, ReasonNone
	}
	s.changePlan(p, t, edits, &g)
	return p, ReasonNone
}

// changePlan makes two statements of an UPDATE or DELETE.
func (s *ReadStatement) changePlan(p *ReadPlan, t *readTable, edits []Edit, g *gates) {
	target := s.raw.Target
	p.Reason, p.Returning, p.Tag = ReasonBothTables, s.raw.Returning, "UPDATE"
	if s.raw.Kind == pgquery.ReadDelete {
		p.Tag = "DELETE"
	}
	main, aux, ok := g.gate(target, t)
	if ok {
		p.Reason = ReasonPinned
	}
	name := t.in.Routing.Aux.Name()
	if target.Only {
		name = "ONLY " + name
	}
	if !target.HasAlias {
		name += " AS " + pgident.Quote(target.Name)
	}
	p.Main = s.edit(g, append(slices.Clone(edits), s.where(main)...))
	p.Aux = s.edit(g, append(append(slices.Clone(edits), s.where(g.o.guard(target, t, aux))...), Edit{target.Start, target.End, name}))
	oid := strconv.FormatUint(uint64(t.in.OID), 10)
	p.Locks = []string{"SELECT 1 WHERE pg_catalog.pg_advisory_xact_lock_shared(" + TableLock(t.in.OID) + ") IS NULL"}
	if t.in.Routing.Moving {
		p.Locks = append(p.Locks, "SELECT 1 FROM (SELECT m.g FROM pg_catalog.unnest(pgbulk.routing_moving("+oid+"::pg_catalog.oid)) AS m(g) "+
			"ORDER BY m.g COLLATE \"C\" OFFSET 0) m WHERE pg_catalog.pg_advisory_xact_lock_shared("+GroupLock(t.in.OID, "m.g")+") IS NULL")
	}
}

func (s *ReadStatement) edit(g *gates, edits []Edit) Edited {
	e := edit(s.SQL, edits)
	e.constants = g.constants
	return e
}

// where adds a condition to that of the statement.
func (s *ReadStatement) where(gate string) []Edit {
	switch {
	case gate == "":
		return nil
	case s.raw.Where < 0:
		return []Edit{{s.raw.WhereEnd, s.raw.WhereEnd, " WHERE " + gate}}
	}
	return []Edit{{s.raw.Where, s.raw.Where, " ("}, {s.raw.WhereEnd, s.raw.WhereEnd, ") AND " + gate}}
}

// table returns what the i-th name means, nil where that is no routed table.
func (s *ReadStatement) table(r *ReadInspection, i int) *readTable {
	if i < 0 {
		return nil
	}
	return r.tables[i]
}

// guard adds to a condition on the auxiliary table that the client's name still
// means its main table. The main table goes by that name itself: when search_path
// has changed, the server finds another one for a statement that was prepared
// before, and this one's auxiliary table has nothing to do with that.
func (o *PlanOptions) guard(ref *pgquery.RawRef, t *readTable, gate string) string {
	if !o.Prepared {
		return gate
	}
	same := "pg_catalog.to_regclass(" + pgident.Literal(pgident.Qualified(ref.Schema, ref.Table)) + ")::pg_catalog.oid OPERATOR(pg_catalog.=) " +
		strconv.FormatUint(uint64(t.in.OID), 10) + "::pg_catalog.oid"
	if gate == "" {
		return same
	}
	return same + " AND " + gate
}

// union is the subselect that stands for both tables.
func (s *ReadStatement) union(ref *pgquery.RawRef, t *readTable, main, aux string, o PlanOptions) Edit {
	routing := t.in.Routing
	text := s.SQL[ref.Start:ref.End]
	columns := t.columns
	if ref.Command {
		text = strings.TrimSpace(text[len("TABLE"):])
	}
	only := ""
	if ref.Only || s.raw.Copy {
		only = "ONLY "
	}
	if s.raw.Copy {
		text, columns = only+pgident.Qualified(t.in.Schema, t.in.Table), t.given
	}
	if s.raw.CopyColumns != nil {
		columns = s.raw.CopyColumns
	}
	aux = o.guard(ref, t, aux)
	var b strings.Builder
	b.WriteString("(SELECT " + pgident.List(columns) + " FROM " + text)
	if main != "" {
		b.WriteString(" WHERE " + main)
	}
	b.WriteString(" UNION ALL SELECT ")
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		if c == routing.Column {
			c = routing.AuxColumn
		}
		b.WriteString(pgident.Quote(c))
	}
	b.WriteString(" FROM " + only + routing.Aux.Name())
	if aux != "" {
		b.WriteString(" WHERE " + aux)
	}
	b.WriteString(")")
	switch {
	case s.raw.Copy:
	case !ref.HasAlias:
		b.WriteString(" AS " + pgident.Quote(ref.Name))
	}
	if ref.Command {
		return Edit{ref.Start, ref.End, "SELECT * FROM " + b.String()}
	}
	return Edit{ref.Start, ref.End, b.String()}
}
