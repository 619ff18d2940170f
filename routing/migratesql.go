package routing

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// side is one of the two tables, as the statements of a migration name it.
type side struct {
	oid     uint32
	name    string   // qualified and quoted
	from    string   // the same for FROM: with ONLY, unless it is partitioned
	column  string   // the routing column, quoted
	columns []string // what is moved, quoted, in the order of the other side's
}

// migrationSQL makes the statements of one pair's migration.
type migrationSQL struct {
	main, aux side
	batchRows batchLimit // unless the user says
	typ       string     // the routing column's type as pg_catalog names it: "int8"
	routes    string     // the routing table
	auxName   string     // what a new route says
	auxNames  []string   // all that means the auxiliary table in a route
	mainNames []string   // all that means the main table
	keys      []pairKey
}

// Types whose values are equal exactly where their texts are, and whose columns
// can be compared without reading each as text.
var exactTypes = map[string]bool{"int2": true, "int4": true, "int8": true, "uuid": true}

// Types whose = may take more values for equal than the text does (by a
// collation); the text has the last word, but an index can be used.
var textTypes = map[string]bool{"text": true, "varchar": true}

const asText = `::pg_catalog.text COLLATE pg_catalog."C"`

// count returns where each group has its rows, and its route: one row a group,
// of group, rows in main, rows in aux, store_table_name. Groups without a route
// that are below the threshold and in the main table alone are left out.
func (q *migrationSQL) count(threshold int64) string {
	one := func(s side, main, aux string) string {
		inner := fmt.Sprintf("SELECT %s AS g, pg_catalog.count(*) AS n FROM %s GROUP BY 1", s.column, s.from)
		if !exactTypes[q.typ] {
			inner = fmt.Sprintf("SELECT (%s)%s AS g, pg_catalog.count(*) AS n FROM %s GROUP BY 1", s.column, asText, s.from)
		}
		return fmt.Sprintf("SELECT g%s AS g, %s AS m, %s AS a FROM (%s) c", asText, main, aux, inner)
	}
	large := ""
	if threshold > 0 {
		large = fmt.Sprintf(" OR c.m + c.a >= %d", threshold)
	}
	return fmt.Sprintf(`SELECT coalesce(c.g, r.routing_id), coalesce(c.m, 0)::pg_catalog.int8, coalesce(c.a, 0)::pg_catalog.int8, r.store_table_name
FROM (SELECT g, pg_catalog.sum(m) AS m, pg_catalog.sum(a) AS a FROM (%s UNION ALL %s) u GROUP BY g) c
FULL JOIN (SELECT routing_id%s AS routing_id, store_table_name FROM %s) r ON r.routing_id = c.g
WHERE r.routing_id IS NOT NULL OR c.a > 0%s`,
		one(q.main, "n", "0"), one(q.aux, "0", "n"), asText, q.routes, large)
}

// where returns the condition for the rows of some groups.
func (q *migrationSQL) where(column string, moves []Move) string {
	if moves[0].Null {
		return column + " IS NULL"
	}
	ids := groupsOf(moves)
	texts := fmt.Sprintf("(%s)%s = ANY (%s)", column, asText, pgident.LiteralArray(ids))
	switch {
	case exactTypes[q.typ]:
		// A route may name what no value of the type reads as.
		var canonical []string
		for _, id := range ids {
			if isCanonical(q.typ, id) {
				canonical = append(canonical, id)
			}
		}
		return fmt.Sprintf("%s = ANY (%s::pg_catalog.%s[])", column, pgident.LiteralArray(canonical), q.typ)
	case textTypes[q.typ]:
		return fmt.Sprintf("%s = ANY (%s) AND %s", column, pgident.LiteralArray(ids), texts)
	}
	return texts
}

var canonicalUUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// isCanonical says whether a value of an exact type has this text.
func isCanonical(typ, text string) bool {
	bits := map[string]int{"int2": 16, "int4": 32, "int8": 64}[typ]
	if bits == 0 {
		return canonicalUUID.MatchString(text)
	}
	n, err := strconv.ParseInt(text, 10, bits)
	return err == nil && strconv.FormatInt(n, 10) == text
}

// ends returns where the rows of moves come from, and where they go to.
func (q *migrationSQL) ends(moves []Move) (from, to side) {
	if moves[0].ToAux {
		return q.main, q.aux
	}
	return q.aux, q.main
}

// begin opens the transaction of a batch. LOCK TABLE comes before the snapshot,
// and doesn't wait: who waits with the locks of groups in hand can be part of a
// deadlock, and the server may take the other one for it.
func (q *migrationSQL) begin() string {
	return fmt.Sprintf(`BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE;
SET LOCAL lock_timeout = '%dms';
LOCK TABLE %s, %s IN ROW EXCLUSIVE MODE NOWAIT`, moveLockTimeout.Milliseconds(), q.main.from, q.aux.from)
}

// move copies the rows of a batch and deletes them: two statements that, in this
// isolation level, see the same rows.
func (q *migrationSQL) move(moves []Move) (insert, remove string) {
	from, to := q.ends(moves)
	where := q.where(from.column, moves)
	insert = fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s WHERE %s",
		to.name, strings.Join(to.columns, ", "), strings.Join(from.columns, ", "), from.from, where)
	return insert, fmt.Sprintf("DELETE FROM %s WHERE %s", from.from, where)
}

// finish changes the routes of a batch, takes its markers away, and commits.
func (q *migrationSQL) finish(moves []Move) string {
	if moves[0].Null {
		return "COMMIT"
	}
	ids := pgident.LiteralArray(groupsOf(moves))
	names := pgident.LiteralArray(q.auxNames)
	routes := fmt.Sprintf("DELETE FROM %s WHERE routing_id = ANY (%s) AND store_table_name = ANY (%s)", q.routes, ids, names)
	if moves[0].ToAux {
		routes = fmt.Sprintf(`INSERT INTO %s AS r (routing_id, store_table_name)
SELECT g, %s FROM pg_catalog.unnest(%s) g
ON CONFLICT (routing_id) DO UPDATE SET store_table_name = EXCLUDED.store_table_name WHERE NOT r.store_table_name = ANY (%s)`,
			q.routes, pgident.Literal(q.auxName), ids, names)
	}
	return routes + ";\n" + q.unmark(" AND group_id = ANY ("+ids+")") + ";\n" + q.bump() + ";\nCOMMIT"
}

// mark announces moves to the loads that begin from then on, once those that
// have begun are over. The table's lock waits for transactions that wrote to it
// when their proxy did not know yet that it is routed.
func (q *migrationSQL) mark(moves []Move) string {
	return fmt.Sprintf(`BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
LOCK TABLE %s IN SHARE MODE;
SELECT pg_catalog.pg_advisory_xact_lock(%s);
%s;
%s;
%s;
COMMIT`, q.main.name, rewrite.TableLock(q.main.oid), q.unmark(""), q.marker(moves), q.bump())
}

// marker writes down which groups will be moved.
func (q *migrationSQL) marker(moves []Move) string {
	return fmt.Sprintf("INSERT INTO pgbulk.routing_moving (main, group_id, to_aux) SELECT %d, g, g = ANY (%s) FROM pg_catalog.unnest(%s) g",
		q.main.oid, pgident.LiteralArray(groupsOf(toAux(moves))), pgident.LiteralArray(groupsOf(moves)))
}

// toAux are those of the moves that go to the auxiliary table.
func toAux(moves []Move) []Move {
	return slices.DeleteFunc(slices.Clone(moves), func(m Move) bool { return !m.ToAux })
}

// unmark takes markers away: those that more says, or all.
func (q *migrationSQL) unmark(more string) string {
	return fmt.Sprintf("DELETE FROM pgbulk.routing_moving WHERE main = %d%s", q.main.oid, more)
}

// bump makes loads fail whose snapshot is older than this transaction.
func (q *migrationSQL) bump() string {
	return fmt.Sprintf(`INSERT INTO pgbulk.routing_generation AS n (main, generation) VALUES (%d, 1)
ON CONFLICT (main) DO UPDATE SET generation = n.generation + 1`, q.main.oid)
}

// groupKey is the key of a group's advisory lock, g being its text.
func (q *migrationSQL) groupKey(g string) string {
	return rewrite.GroupLock(q.main.oid, g)
}

// lockFirst waits for the lock of one group.
func (q *migrationSQL) lockFirst(group string) string {
	return "SELECT pg_catalog.pg_advisory_lock(" + q.groupKey(pgident.Literal(group)) + ")"
}

// lockMore takes those locks of the groups that nobody holds, and returns the
// groups.
func (q *migrationSQL) lockMore(groups []string) string {
	return fmt.Sprintf("SELECT g FROM pg_catalog.unnest(%s) g WHERE pg_catalog.pg_try_advisory_lock(%s)",
		pgident.LiteralArray(groups), q.groupKey("g"))
}

// unlock gives the locks of groups back.
func (q *migrationSQL) unlock(groups []string) string {
	return fmt.Sprintf("SELECT pg_catalog.pg_advisory_unlock(%s) FROM pg_catalog.unnest(%s) g",
		q.groupKey("g"), pgident.LiteralArray(groups))
}

// groupsOf returns the texts of the groups that have one.
func groupsOf(moves []Move) []string {
	var ids []string
	for _, m := range moves {
		if !m.Null {
			ids = append(ids, m.Group)
		}
	}
	return ids
}
