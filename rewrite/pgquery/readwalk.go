package pgquery

import (
	pg_query "github.com/pganalyze/pg_query_go/v5"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// scope is a list of the names that WITH clauses give, innermost first: they hide
// relations.
type scope struct {
	name string
	up   *scope
}

func (sc *scope) has(name string) bool {
	for ; sc != nil; sc = sc.up {
		if sc.name == name {
			return true
		}
	}
	return false
}

// level begins a query.
func (w *readWalk) level() int {
	w.raw.Levels = append(w.raw.Levels, RawLevel{})
	return len(w.raw.Levels) - 1
}

// with walks over a WITH clause and returns the scope of the rest.
func (w *readWalk) with(c *pg_query.WithClause, sc *scope) *scope {
	if c == nil {
		return sc
	}
	inner := sc
	if c.Recursive {
		for _, node := range c.Ctes {
			inner = &scope{node.GetCommonTableExpr().GetCtename(), inner}
		}
	}
	for _, node := range c.Ctes {
		cte := node.GetCommonTableExpr()
		switch q := cte.GetCtequery().GetNode().(type) {
		case *pg_query.Node_SelectStmt:
			w.selectStmt(q.SelectStmt, inner)
		case *pg_query.Node_InsertStmt:
			w.insert(q.InsertStmt, inner)
		case *pg_query.Node_UpdateStmt:
			u := q.UpdateStmt
			w.changedBy(u.Relation, u.WithClause, u.FromClause, u.WhereClause, inner, u.TargetList, u.ReturningList)
		case *pg_query.Node_DeleteStmt:
			d := q.DeleteStmt
			w.changedBy(d.Relation, d.WithClause, d.UsingClause, d.WhereClause, inner, d.ReturningList)
		default:
			w.raw.Strange = true
		}
		if !c.Recursive {
			inner = &scope{cte.GetCtename(), inner}
		}
	}
	return inner
}

// insert walks over an INSERT, wherever it stands.
func (w *readWalk) insert(s *pg_query.InsertStmt, sc *scope) {
	w.changed(s.Relation)
	sc = w.with(s.WithClause, sc)
	w.exprs(s.Cols, sc)
	w.expr(s.SelectStmt, sc)
	w.message(s.OnConflictClause.ProtoReflect(), sc)
	w.exprs(s.ReturningList, sc)
}

// changed notes what an INSERT, or a statement in a WITH clause, changes.
func (w *readWalk) changed(rel *pg_query.RangeVar) {
	ref, ok := w.ref(rel)
	w.raw.Strange = w.raw.Strange || !ok
	w.raw.Changed = append(w.raw.Changed, ref)
}

func (w *readWalk) changedBy(rel *pg_query.RangeVar, with *pg_query.WithClause, from []*pg_query.Node, where *pg_query.Node, sc *scope, lists ...[]*pg_query.Node) {
	w.changed(rel)
	sc = w.with(with, sc)
	level := w.level()
	w.froms(from, sc, level)
	w.condition(where, sc, level)
	for _, l := range lists {
		w.exprs(l, sc)
	}
}

func (w *readWalk) selectStmt(s *pg_query.SelectStmt, sc *scope) {
	if s == nil {
		return
	}
	sc = w.with(s.WithClause, sc)
	w.selectStmt(s.Larg, sc)
	w.selectStmt(s.Rarg, sc)
	level := w.level()
	w.raw.Levels[level].Grouped = len(s.GroupClause) > 0
	w.froms(s.FromClause, sc, level)
	w.condition(s.WhereClause, sc, level)
	for _, list := range [][]*pg_query.Node{
		s.DistinctClause, s.TargetList, s.GroupClause, s.WindowClause, s.ValuesLists, s.SortClause,
		{s.HavingClause, s.LimitOffset, s.LimitCount},
	} {
		w.exprs(list, sc)
	}
	for _, node := range s.LockingClause {
		locked := node.GetLockingClause().GetLockedRels()
		w.raw.LocksAll = w.raw.LocksAll || len(locked) == 0
		for _, rel := range locked {
			w.raw.Locked = append(w.raw.Locked, rel.GetRangeVar().GetRelname())
		}
	}
}

// froms walks over the items of a FROM clause.
func (w *readWalk) froms(items []*pg_query.Node, sc *scope, level int) {
	for _, node := range items {
		w.from(node, sc, level)
	}
}

func (w *readWalk) from(node *pg_query.Node, sc *scope, level int) {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_RangeVar:
		w.read(n.RangeVar, sc, level, false)
	case *pg_query.Node_JoinExpr:
		w.raw.Natural = w.raw.Natural || n.JoinExpr.IsNatural
		w.from(n.JoinExpr.Larg, sc, level)
		w.from(n.JoinExpr.Rarg, sc, level)
		w.expr(n.JoinExpr.Quals, sc)
	case *pg_query.Node_RangeTableSample:
		w.read(n.RangeTableSample.Relation.GetRangeVar(), sc, level, true)
		w.exprs(n.RangeTableSample.Args, sc)
		w.expr(n.RangeTableSample.Repeatable, sc)
	default:
		w.expr(node, sc)
	}
}

// read notes a relation that is read, unless a WITH clause has given its name to
// something else.
func (w *readWalk) read(rel *pg_query.RangeVar, sc *scope, level int, sampled bool) {
	if rel.GetSchemaname() == "" && sc.has(rel.GetRelname()) {
		return
	}
	ref, ok := w.ref(rel)
	w.raw.Strange = w.raw.Strange || !ok
	if w.seen[ref.Start] {
		return // SET (a, b) = (SELECT …) stands in the tree once for each column
	}
	w.seen[ref.Start] = true
	ref.Level, ref.Sampled = level, sampled
	w.raw.Refs = append(w.raw.Refs, ref)
}

func (w *readWalk) exprs(nodes []*pg_query.Node, sc *scope) {
	for _, node := range nodes {
		w.expr(node, sc)
	}
}

func (w *readWalk) expr(node *pg_query.Node, sc *scope) {
	if node != nil {
		w.message(node.ProtoReflect(), sc)
	}
}

// message walks over whatever an expression is made of, whichever kinds of nodes
// there are: what matters of them are columns and queries.
func (w *readWalk) message(m protoreflect.Message, sc *scope) {
	if !m.IsValid() {
		return
	}
	switch n := m.Interface().(type) {
	case *pg_query.SelectStmt:
		w.selectStmt(n, sc)
		return
	case *pg_query.ColumnRef:
		w.name(n)
		return
	case *pg_query.CurrentOfExpr:
		w.raw.CurrentOf = true
		return
	case *pg_query.TypeName, *pg_query.A_Const:
		return
	case *pg_query.RangeVar, *pg_query.InsertStmt, *pg_query.UpdateStmt, *pg_query.DeleteStmt, *pg_query.MergeStmt:
		w.raw.Strange = true
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i, l := 0, v.List(); i < l.Len(); i++ {
				w.message(l.Get(i).Message(), sc)
			}
		default:
			w.message(v.Message(), sc)
		}
		return true
	})
}

func (w *readWalk) name(ref *pg_query.ColumnRef) {
	var n RawName
	for _, f := range ref.Fields {
		if f.GetAStar() != nil {
			n.Star = true
		} else {
			n.Fields = append(n.Fields, f.GetString_().GetSval())
		}
	}
	w.raw.Names = append(w.raw.Names, n)
}
