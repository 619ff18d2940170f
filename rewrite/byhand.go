package rewrite

import (
	"slices"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// Where the server has no INSERT … ON CONFLICT into a table, an upsert is an UPDATE
// of the rows whose key is there and an INSERT of the others, both from the
// temporary table. A lock makes that exact: from the inspection on nobody else
// writes into the table, so nothing can come between the two.

// lacksConflict says that the server has no INSERT … ON CONFLICT into the table.
func (in *Inspection) lacksConflict() bool { return in.Dialect() != Current || in.AppendOptimised }

// LocksFirst says that the inspection has to begin with a lock on the table that
// keeps out others who write. COPY's own, and more later, would be a deadlock of two
// that do the same.
func (x *Extensions) LocksFirst(d Dialect) bool {
	return x.Mode == LoadOverwrite || d != Current && x.asksKeys()
}

// byHandReason says why an upsert can't be done without ON CONFLICT: triggers would
// not see the rows that are updated inserted first, rules would be applied to
// statements that are not the client's.
func (in *Inspection) byHandReason() Reason {
	switch {
	case !in.lacksConflict():
		return ReasonNone
	case in.Routed() && in.Dialect() == Current:
		return ReasonOldServer
	case in.Isolation != "read committed" && in.Isolation != "read uncommitted":
		return ReasonOldSnapshot // it may be older than the lock
	case in.Triggers:
		return ReasonTriggers
	case in.Rules || in.ChangeRules:
		return ReasonRules
	case in.Routed() && in.Routing.Table.Triggers:
		return ReasonTriggers
	case in.Routed() && (in.Routing.Table.Rules || in.Routing.Table.ChangeRules):
		return ReasonRules
	}
	return ReasonNone
}

// promised is a key that no index keeps: append-optimised tables may have none, so
// the client's word is taken for it. It is compared by PostgreSQL's own operators.
func promised(columns []string) *Key {
	k := &Key{Plain: true, Columns: columns}
	for range columns {
		k.Equals = append(k.Equals, Operator{"pg_catalog", "="})
	}
	return k
}

// numbered says that the place of each row in the data has to be known, so that of
// those with the same key one can be told from the others.
func (t *transfer) numbered() bool { return t.x.ordered() || t.firstWins() }

// firstWins says that of rows with the same key the first one counts. ON CONFLICT DO
// NOTHING does so by itself.
func (t *transfer) firstWins() bool {
	return t.x.Compat || t.byHand && t.x.OnConflict == ConflictNothing && !t.x.LastWins
}

// ordinalType is that of a column which numbers the rows of a COPY.
func (d Dialect) ordinalType() string {
	if d == Current {
		return "pg_catalog.int8 GENERATED ALWAYS AS IDENTITY"
	}
	return "bigserial" // a word of the grammar, whatever types there are
}

// overriding lets values be given for identity columns that are always generated.
func (d Dialect) overriding() string {
	if d == Current {
		return " OVERRIDING SYSTEM VALUE"
	}
	return ""
}

// distributed has the rows of the temporary table where those of the target are.
// Those of a replicated target are numbered and compared once, not in each place.
func (in *Inspection) distributed(data []string) string {
	switch {
	case len(in.DistributedBy) == 0 || slices.ContainsFunc(in.DistributedBy, func(n string) bool { return !slices.Contains(data, n) }):
		return " DISTRIBUTED RANDOMLY"
	default:
		return " " + in.Distribution
	}
}

// placed is distributed for a temporary table that later versions need not be told of.
func (in *Inspection) placed(data []string) string {
	if in.Dialect() == Current {
		return ""
	}
	return in.distributed(data)
}

// planByHand completes a plan without ON CONFLICT.
func (t *transfer) planByHand(out *Transfer) {
	if !t.byHand {
		return
	}
	var locks []string
	for _, p := range t.places() {
		locks = append(locks, p.only()+p.name)
	}
	out.Lock = "LOCK TABLE " + strings.Join(locks, ", ") + " IN SHARE ROW EXCLUSIVE MODE"
	if t.x.OnConflict != ConflictUpdate {
		return
	}
	for _, p := range t.places() {
		out.Updates = append(out.Updates, t.update(p))
	}
	if !t.x.ordered() {
		out.Twice = "SELECT 1 FROM " + t.table + " WHERE " + t.keyed() + " GROUP BY " + pgident.List(t.key) +
			" HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1 LIMIT 1"
	}
}

// keyed is the condition that a row has a key: one with NULL is like no other.
func (t *transfer) keyed() string {
	all := make([]string, len(t.key))
	for i, k := range t.key {
		all[i] = pgident.Quote(k) + " IS NOT NULL"
	}
	return strings.Join(all, " AND ")
}

// only leaves out child tables, which INSERT knows nothing of. Partitions are no
// such ones.
func (p place) only() string {
	if p.kind == "r" {
		return "ONLY "
	}
	return ""
}

const targetAlias = "pgbulkproxy_target"

// matches is the condition that a row of the target has the key of one of the data.
func (t *transfer) matches(p place) string {
	k := t.x.key(t.in)
	all := make([]string, len(k.Columns))
	for i, name := range k.Columns {
		all[i] = targetAlias + "." + pgident.Quote(p.rename(name)) +
			" OPERATOR(" + pgident.Quote(k.Equals[i].Schema) + "." + k.Equals[i].Name + ") " + rowsAlias + "." + pgident.Quote(name)
	}
	return strings.Join(all, " AND ")
}

// missing is the condition that no row of the target has the key of one of the data.
func (t *transfer) missing(p place) string {
	return "NOT EXISTS (SELECT FROM " + p.only() + p.name + " AS " + targetAlias + " WHERE " + t.matches(p) + ")"
}

// update sets the rows of one table whose key is there.
func (t *transfer) update(p place) string {
	set := t.updated()
	for i, name := range set {
		set[i] = pgident.Quote(p.rename(name)) + " = " + rowsAlias + "." + pgident.Quote(name)
	}
	where := []string{t.matches(p)}
	if t.numbered() {
		where = append(where, rowsAlias+"."+pgident.Quote(t.last)+" OPERATOR(pg_catalog.=) 1")
	}
	if t.x.Mode == LoadMerge {
		where = append(where, "NOT "+isDeleted(rowsAlias+"."+t.operation()))
	}
	if p.rows != "" {
		where = append(where, p.rows)
	}
	return "UPDATE " + p.only() + p.name + " AS " + targetAlias + " SET " + strings.Join(set, ", ") +
		" FROM " + t.source() + " WHERE " + strings.Join(where, " AND ")
}
