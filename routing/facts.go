package routing

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// tableFacts is what the catalog says of one table, as far as a pair has to
// agree in it. Names in definitions are qualified.
type tableFacts struct {
	OID                       uint32
	Kind, Persistence, Owner  string
	Partition, Heir, Children bool
	RowSecurity               bool
	Columns                   []columnFacts
	Keys                      []keyFacts
	Constraints               []constraintFacts // CHECK and FOREIGN KEY
	Triggers, Rules           []string
	Incoming                  []string // foreign keys that point here
	Grants                    []grant
	Options                   []string // storage parameters
}

type columnFacts struct {
	Name, Identity, Generated string
	NotNull                   bool
	// Default is that of an identity column, too: the next value of Sequence.
	Default, Sequence string
}

// keyFacts is a unique index, or that of an exclusion constraint.
type keyFacts struct {
	Columns []string // "" is an expression
	Unique  bool
	Def     string
}

type constraintFacts struct{ Type, Name, Def string }

// grant is one privilege; Grantee "" is PUBLIC, Column "" the whole table.
type grant struct {
	Grantee, Privilege, Column string
	Grantable                  bool
}

// factsOfTable is run with search_path = pg_catalog, pg_temp.
const factsOfTable = `SELECT json_build_object('OID', c.oid::int8, 'Kind', c.relkind, 'Persistence', c.relpersistence,
'Owner', pg_get_userbyid(c.relowner), 'Partition', c.relispartition, 'RowSecurity', c.relrowsecurity,
'Heir', EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid) AND NOT c.relispartition,
'Children', c.relkind <> 'p' AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid),
'Columns', (SELECT json_agg(json_build_object('Name', a.attname, 'Identity', a.attidentity, 'Generated', a.attgenerated, 'NotNull', a.attnotnull,
    'Sequence', s.name, 'Default', CASE WHEN s.name IS NULL THEN pg_get_expr(d.adbin, d.adrelid) ELSE format('nextval(%%L::regclass)', s.name) END) ORDER BY a.attnum)
  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum,
  LATERAL (SELECT min(p.objid::regclass::text) AS name FROM pg_depend p WHERE a.attidentity <> '' AND p.deptype = 'i' AND p.classid = 'pg_class'::regclass
    AND p.refclassid = 'pg_class'::regclass AND p.refobjid = c.oid AND p.refobjsubid = a.attnum) s
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
'Keys', (SELECT json_agg(json_build_object('Unique', i.indisunique,
    'Columns', ARRAY(SELECT coalesce(a.attname, '') FROM generate_series(0, i.indnkeyatts - 1) k
      LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k] AND a.attnum > 0 ORDER BY k),
    'Def', coalesce(pg_get_constraintdef(x.oid), format('unique index (%%s)%%s', array_to_string(ARRAY(
      SELECT pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(1, i.indnatts) k ORDER BY k), ', '),
      concat(CASE WHEN i.indnkeyatts < i.indnatts THEN ' of the first ' || i.indnkeyatts END, CASE WHEN (to_jsonb(i) ->> 'indnullsnotdistinct')::bool THEN ' NULLS NOT DISTINCT' END,
      ' WHERE ' || pg_get_expr(i.indpred, i.indrelid))))))
  FROM pg_index i LEFT JOIN pg_constraint x ON x.conindid = i.indexrelid AND x.contype IN ('p', 'u', 'x')
  WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)),
'Constraints', (SELECT json_agg(json_build_object('Type', k.contype, 'Name', k.conname, 'Def', pg_get_constraintdef(k.oid)) ORDER BY k.conname)
  FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('c', 'f') AND k.conparentid = 0),
'Triggers', (SELECT json_agg(concat_ws(' ', g.tgname, g.tgfoid::regprocedure, g.tgtype, g.tgenabled, encode(g.tgargs, 'escape'),
    g.tgdeferrable, g.tginitdeferred, g.tgqual IS NULL, g.tgoldtable, g.tgnewtable,
    ARRAY(SELECT a.attname FROM unnest(g.tgattr) k JOIN pg_attribute a ON a.attrelid = g.tgrelid AND a.attnum = k)::text) ORDER BY g.tgname)
  FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal),
'Rules', (SELECT json_agg(r.rulename ORDER BY r.rulename) FROM pg_rewrite r WHERE r.ev_class = c.oid),
'Incoming', (SELECT json_agg(format('%%I of table %%s', k.conname, k.conrelid::regclass) ORDER BY k.conname)
  FROM pg_constraint k WHERE k.confrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0),
'Grants', (SELECT json_agg(json_build_object('Grantee', CASE WHEN x.grantee = 0 THEN '' ELSE pg_get_userbyid(x.grantee) END,
    'Privilege', x.privilege_type, 'Grantable', x.is_grantable, 'Column', x.col))
  FROM (SELECT e.*, NULL::name AS col FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) e
    UNION ALL SELECT e.*, a.attname FROM pg_attribute a, aclexplode(a.attacl) e WHERE a.attrelid = c.oid AND NOT a.attisdropped) x),
'Options', c.reloptions)::text FROM pg_class c WHERE c.oid = %d`

// older turns a text about catalogs into one for PostgreSQL 9.4.
var older = strings.NewReplacer("a.attidentity", "''::text", "a.attgenerated", "''::text", "c.relispartition", "false", "c.relrowsecurity", "false",
	"i.indnkeyatts", "i.indnatts", "(to_jsonb(i) ->> 'indnullsnotdistinct')::bool", "false", " AND k.conparentid = 0", "", "g.tgoldtable", "''", "g.tgnewtable", "''")

// factsOf reads them.
func factsOf(ctx context.Context, conn *pgx.Conn, oid uint32) (*tableFacts, error) {
	var text string
	query := fmt.Sprintf(factsOfTable, oid)
	if dialectOf(conn) != rewrite.Current {
		query = older.Replace(query)
	}
	if err := conn.QueryRow(ctx, query).Scan(&text); err != nil {
		return nil, fmt.Errorf("read the definition of a table: %w", err)
	}
	f := new(tableFacts)
	if err := json.Unmarshal([]byte(text), f); err != nil {
		return nil, fmt.Errorf("read the definition of a table: %w", err)
	}
	return f, nil
}

// unfit says why a table can be neither side of a pair: what stands here is
// lost, or happens twice, where a row is in the other table.
func (f *tableFacts) unfit() []string {
	var out []string
	for _, c := range []struct {
		is   bool
		text string
	}{
		{f.Kind != "r" && f.Kind != "p", "is no table"},
		{f.Persistence == "t", "is temporary"},
		{f.Partition, "is a partition: rows that come by its parent would not be routed"},
		{f.Heir, "inherits from another table, which would not see the rows of the auxiliary one"},
		{f.Children, "has children by inheritance"},
		{f.RowSecurity, "has row security, whose policies are the table's own"},
		{len(f.Rules) > 0, "has rules: " + strings.Join(f.Rules, ", ")},
		{len(f.Incoming) > 0, "is referred to by foreign keys, which see one table only: " + strings.Join(f.Incoming, ", ")},
	} {
		if c.is {
			out = append(out, c.text)
		}
	}
	return out
}

// readers are the roles that may do something with the table's rows, and
// writers those that may INSERT; "" is PUBLIC.
func (f *tableFacts) readers() []string {
	return f.grantees("SELECT", "INSERT", "UPDATE", "DELETE")
}

func (f *tableFacts) grantees(privileges ...string) []string {
	var out []string
	for _, g := range f.Grants {
		if slices.Contains(privileges, g.Privilege) && !slices.Contains(out, g.Grantee) {
			out = append(out, g.Grantee)
		}
	}
	return out
}

// grantee is a role in a GRANT.
func grantee(role string) string {
	if role == "" {
		return "PUBLIC"
	}
	return pgident.Quote(role)
}

// on returns the GRANT of this privilege on a table, in which column renamed is
// called otherwise.
func (g grant) on(table string, rename func(string) string) string {
	sql := "GRANT " + g.Privilege
	if g.Column != "" {
		sql += " (" + pgident.Quote(rename(g.Column)) + ")"
	}
	sql += " ON TABLE " + table + " TO " + grantee(g.Grantee)
	if g.Grantable {
		sql += " WITH GRANT OPTION"
	}
	return sql
}
