package rewrite

import (
	"slices"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// The bounds of Routing.Groups for parts: a partition's bound is a row of a
// catalog, which has 8 kB at most.
const (
	MaxPartGroups = 32
	maxPartBytes  = 1500
)

// parts says that the temporary table has a partition for the auxiliary table's
// rows, so that COPY sorts them while it reads: no row is asked again for its
// route. It takes that the groups are few, that the type's text is immutable,
// that the rows need no number, and that the server has partitions of this kind.
//
// A group that moves is told at the end, when its lock is held: the rows of all
// those have a partition of their own.
func (t *transfer) parts() bool {
	if !t.routed || t.sorted() || t.in.Routing.Found == nil || t.in.Dialect() != Current {
		return false
	}
	r := t.in.Routing
	bytes := 0
	for _, g := range slices.Concat(r.Groups, r.Found.Moving) {
		bytes += len(g)
	}
	n := len(r.Groups)
	return n > 0 && int64(n) == r.Found.ToAux && n <= MaxPartGroups && len(r.Found.Moving) <= MaxPartGroups && bytes <= maxPartBytes && r.immutable()
}

// immutable says that the cast of the routing column to text is, for the server.
func (r *Routing) immutable() bool {
	name, _, _ := strings.Cut(r.Type, "(")
	return slices.Contains([]string{"text", "character varying", "smallint", "integer", "bigint", "numeric", "uuid", "boolean"}, name)
}

// The partitions' names end so.
const (
	partMain   = "_main"
	partAux    = "_aux"
	partMoving = "_moving"
)

func (t *transfer) part(suffix string) string { return pgident.Qualified("pg_temp", t.name+suffix) }

// partition turns the temporary table's definition into that of a table with
// parts.
func (t *transfer) partition(create string) string {
	r := t.in.Routing
	const commit = " ON COMMIT DROP"
	head := "CREATE TEMPORARY TABLE "
	of := " PARTITION OF " + t.table + " "
	out := []string{
		strings.TrimSuffix(create, commit) + " PARTITION BY LIST (((" + pgident.Quote(r.Column) + ")::pg_catalog.text) COLLATE pg_catalog.\"C\")" + commit,
		head + t.part(partMain) + of + "DEFAULT" + commit,
	}
	var aux []string
	for _, g := range r.Groups {
		if !slices.Contains(r.Found.Moving, g) {
			aux = append(aux, pgident.Literal(g))
		}
	}
	if len(aux) > 0 {
		out = append(out, head+t.part(partAux)+of+"FOR VALUES IN ("+strings.Join(aux, ", ")+")"+commit)
	}
	if t.waits() {
		var moving []string
		for _, g := range r.Found.Moving {
			moving = append(moving, pgident.Literal(g))
		}
		out = append(out, head+t.part(partMoving)+of+"FOR VALUES IN ("+strings.Join(moving, ", ")+")"+commit)
	}
	return strings.Join(out, "; ")
}

// waits says that some groups move.
func (t *transfer) waits() bool { return len(t.in.Routing.Found.Moving) > 0 }

// partRows returns the rows of a table from its parts: the condition of the place
// is left for those that move.
func (t *transfer) partRows(columns string, p place) string {
	var from []string
	suffix, all := partMain, true
	if p.aux {
		suffix = partAux
		all = slices.ContainsFunc(t.in.Routing.Groups, func(g string) bool { return !slices.Contains(t.in.Routing.Found.Moving, g) })
	}
	if all {
		from = append(from, "SELECT "+columns+" FROM "+t.part(suffix))
	}
	if t.waits() {
		from = append(from, "SELECT "+columns+" FROM "+t.part(partMoving)+" "+rowsAlias+" WHERE "+p.rows)
	}
	return strings.Join(from, " UNION ALL ")
}
