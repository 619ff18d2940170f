package routing

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// pairFacts is what a migration asks about a pair beyond what loads need.
type pairFacts struct {
	Kind, AuxKind string
	// Type is the routing columns' type, if that is one type of the server's own.
	Type string
	// Columns are the main table's, without generated ones.
	Columns []string
	// Keys are the columns of unique indexes of either table, by that table's
	// names; those with expressions or conditions are left out.
	Keys, AuxKeys [][]string
	// Indexed: both tables have an index that begins with the routing column.
	Indexed bool
	// Tuples is how many rows the server believes to be in both.
	Tuples float64
	// Obstacles and Triggers are what would make more of a move than a move.
	Obstacles, Triggers []string
}

// factsSQL asks for pairFacts. Triggers of partitions count, too; those that do
// not fire in this session do not. 4 and 8 of tgtype are INSERT and DELETE.
const factsSQL = `WITH pair(oid) AS (VALUES (%[1]d::oid), (%[2]d::oid)),
tree AS (SELECT p.oid AS root, p.oid FROM pair p UNION SELECT p.oid, t.relid::oid FROM pair p, pg_catalog.pg_partition_tree(p.oid::regclass) t)
SELECT pg_catalog.json_build_object(
'Kind', (SELECT relkind FROM pg_catalog.pg_class WHERE oid = %[1]d), 'AuxKind', (SELECT relkind FROM pg_catalog.pg_class WHERE oid = %[2]d),
'Type', (SELECT min(t.typname) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  WHERE (a.attrelid, a.attname) IN ((%[1]d, %[3]s), (%[2]d, %[4]s)) AND t.typnamespace = 'pg_catalog'::regnamespace
  HAVING count(*) = 2 AND min(t.oid) = max(t.oid)),
'Columns', (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = %[1]d AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
'Keys', ` + keysOf + `%[1]d),
'AuxKeys', ` + keysOf + `%[2]d),
'Indexed', (SELECT count(DISTINCT i.indrelid) = 2 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
  WHERE i.indisvalid AND i.indpred IS NULL AND (a.attrelid, a.attname) IN ((%[1]d, %[3]s), (%[2]d, %[4]s))),
'Tuples', (SELECT pg_catalog.sum(greatest(c.reltuples, 0)) FROM pg_catalog.pg_class c JOIN tree USING (oid) WHERE c.relkind <> 'p'),
'Obstacles', (SELECT pg_catalog.json_agg(what ORDER BY what) FROM (
  SELECT pg_catalog.format('foreign key %%I of table %%s refers to %%s', k.conname, k.conrelid::regclass, k.confrelid::regclass) AS what
    FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid IN (SELECT oid FROM tree)
  UNION ALL
  SELECT pg_catalog.format('rule %%I of table %%s would apply', r.rulename, r.ev_class::regclass)
    FROM pg_catalog.pg_rewrite r JOIN pair ON pair.oid = r.ev_class WHERE r.ev_type IN ('3', '4') AND r.ev_enabled <> 'D'
  UNION ALL
  SELECT pg_catalog.format('table %%s has an auxiliary table, too, and the same routes', o.oid::regclass)
    FROM pg_catalog.pg_class m, pg_catalog.pg_class a, pg_catalog.pg_class o, pg_catalog.pg_class x
    WHERE m.oid = %[1]d AND a.oid = %[2]d AND o.relname = m.relname AND o.oid <> m.oid
    AND x.relname = a.relname AND x.relnamespace = o.relnamespace AND x.relpersistence <> 't') o),
'Triggers', (SELECT pg_catalog.json_agg(what ORDER BY what) FROM (
  SELECT pg_catalog.format('trigger %%I of table %%s would fire', g.tgname, g.tgrelid::regclass) AS what
    FROM pg_catalog.pg_trigger g JOIN tree ON tree.oid = g.tgrelid
    WHERE NOT g.tgisinternal AND g.tgtype::int4 & 12 <> 0
    AND g.tgenabled IN ('A', CASE pg_catalog.current_setting('session_replication_role') WHEN 'replica' THEN 'R' ELSE 'O' END)) g))::text`

const keysOf = `(SELECT pg_catalog.json_agg(ARRAY(SELECT a.attname FROM pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY k(num, n)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num ORDER BY k.n))
  FROM pg_catalog.pg_index i WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indrelid = `

// readFacts reads them, and fails where a move would do more than move.
func readFacts(ctx context.Context, conn *pgx.Conn, p pairNames) (*pairFacts, error) {
	var text string
	sql := fmt.Sprintf(factsSQL, p.oid, p.auxOID, pgident.Literal(p.column), pgident.Literal(p.auxColumn))
	if err := conn.QueryRow(ctx, sql).Scan(&text); err != nil {
		return nil, fmt.Errorf("read the definitions of %s: %w", p.table, err)
	}
	f := &pairFacts{}
	if err := json.Unmarshal([]byte(text), f); err != nil {
		return nil, fmt.Errorf("read the definitions of %s: %w", p.table, err)
	}
	if len(f.Obstacles) > 0 {
		return nil, pgerr.New(pgerr.FeatureNotSupported, "rows of %s cannot be moved: %s", p.table, strings.Join(f.Obstacles, "; "))
	}
	if len(f.Triggers) > 0 {
		return nil, pgerr.New(pgerr.FeatureNotSupported, "rows of %s cannot be moved: %s", p.table, strings.Join(f.Triggers, "; ")).
			With('H', "Triggers do not fire where the connection has session_replication_role = replica (options=-csession_replication_role=replica).")
	}
	return f, nil
}

// pairNames are a pair's tables, as rewrite.Routing has them.
type pairNames struct {
	bare              string // as it is, without its schema
	table, auxTable   string // qualified and quoted
	oid, auxOID       uint32
	column, auxColumn string
	routes            string
	auxNames          []string // all spellings in routes, the one to write first
	mainNames         []string
	installed         bool // schema pgbulk has what a migration needs
}

// newMigrationSQL puts names and facts together.
func newMigrationSQL(p pairNames, f *pairFacts) migrationSQL {
	q := migrationSQL{
		batchRows: batchRows(f), typ: f.Type, routes: p.routes, auxName: p.auxNames[0], auxNames: p.auxNames, mainNames: p.mainNames,
	}
	q.main = side{oid: p.oid, name: p.table, from: only(f.Kind, p.table), column: pgident.Quote(p.column)}
	q.aux = side{oid: p.auxOID, name: p.auxTable, from: only(f.AuxKind, p.auxTable), column: pgident.Quote(p.auxColumn)}
	for _, c := range f.Columns {
		q.main.columns = append(q.main.columns, pgident.Quote(c))
		q.aux.columns = append(q.aux.columns, pgident.Quote(p.inAux(c)))
	}
	for _, key := range f.Keys {
		q.keys = append(q.keys, pairKey{main: key, aux: each(key, p.inAux)})
	}
	for _, key := range f.AuxKeys {
		q.keys = append(q.keys, pairKey{main: each(key, p.inMain), aux: key})
	}
	return q
}

// batchRows is how many rows of several groups are moved at once, if nobody says.
// Their loads wait for it: 100,000 rows take about a second. Where no index finds
// a group, every batch reads the table twice, the second and later ones with the
// rows that were deleted before, which costs as much as to move a quarter of it; so
// it is a half then. An index does not help with groups that have rows on every
// page, as giant ones do.
func batchRows(f *pairFacts) batchLimit {
	half := max(minBatchRows, int64(f.Tuples/2))
	if f.Indexed && (exactTypes[f.Type] || textTypes[f.Type]) {
		return batchLimit{small: minBatchRows, giant: half, share: max(minBatchRows, int64(f.Tuples/50))}
	}
	return batchLimit{small: half}
}

const minBatchRows = 100_000

// only keeps children by inheritance out; a partitioned table has its rows in
// nothing else.
func only(kind, name string) string {
	if kind == "p" {
		return name
	}
	return "ONLY " + name
}

// inAux is the auxiliary table's name of a column of the main table.
func (p pairNames) inAux(column string) string {
	if column == p.column {
		return p.auxColumn
	}
	return column
}

func (p pairNames) inMain(column string) string {
	if column == p.auxColumn {
		return p.column
	}
	return column
}

func each(names []string, f func(string) string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = f(n)
	}
	return out
}

// pairKey is a unique key, by the names of both tables.
type pairKey struct{ main, aux []string }

// duplicates returns the keys that rows of some groups have in both tables, as
// text, one more than are shown.
func (q *migrationSQL) duplicates(key pairKey, moves []Move) string {
	var same, shown []string
	for i := range key.main {
		m, a := "m."+pgident.Quote(key.main[i]), "a."+pgident.Quote(key.aux[i])
		same = append(same, m+" = "+a)
		shown = append(shown, m+"::pg_catalog.text")
	}
	where := q.where("m."+q.main.column, moves)
	if !moves[0].ToAux {
		where = q.where("a."+q.aux.column, moves)
	}
	return fmt.Sprintf("SELECT pg_catalog.concat(%s, pg_catalog.concat_ws(', ', %s), ')') FROM %s m JOIN %s a ON %s WHERE %s LIMIT %d",
		pgident.Literal("("+strings.Join(key.main, ", ")+")=("), strings.Join(shown, ", "),
		q.main.from, q.aux.from, strings.Join(same, " AND "), where, shownKeys+1)
}
