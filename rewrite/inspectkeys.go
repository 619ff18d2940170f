package rewrite

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Key is a unique index of a table.
type Key struct {
	Primary bool
	// Plain: over columns alone, and all rows.
	Plain bool
	// NullsEqual: NULLS NOT DISTINCT.
	NullsEqual bool
	Columns    []string
	// Equals are the operators by which the index compares its columns, each with
	// its schema.
	Equals []Operator
}

// Operator is an operator's schema and name.
type Operator struct{ Schema, Name string }

// UnmarshalJSON reads what inspectKeys returns.
func (k *Key) UnmarshalJSON(data []byte) error {
	var equals [][2]string
	fields := []any{&k.Primary, &k.Plain, &k.NullsEqual, &k.Columns, &equals}
	want := len(fields)
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("decode key: %w", err)
	}
	if len(fields) != want {
		return fmt.Errorf("decode key: %d fields", len(fields))
	}
	for _, e := range equals {
		k.Equals = append(k.Equals, Operator{e[0], e[1]})
	}
	k.Plain = k.Plain && len(k.Columns) == len(k.Equals)
	k.Primary = k.Primary && k.Plain
	return nil
}

// inspectKeys is what an INSERT … ON CONFLICT and its temporary table need
// besides: the types of the columns with their collations, the unique indexes,
// and whether the role may empty the table.
//
// Only Greenplum and what is made from it have tables that append alone.
var inspectKeys = `,
'append_optimised', (SELECT true FROM pg_catalog.pg_am m WHERE m.oid OPERATOR(pg_catalog.=) c.relam
  AND m.amname OPERATOR(pg_catalog.=) ANY ('{ao_row,ao_column}'::pg_catalog.name[]) LIMIT 1),
` + changeRules + columnTypes + indexKeys("(pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.->>) 'indnullsnotdistinct')::pg_catalog.bool", "i.indnkeyatts")

const changeRules = `'change_rules', c.relhasrules AND (SELECT true FROM pg_catalog.pg_rewrite r
  WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid AND r.ev_type OPERATOR(pg_catalog.=) ANY ('{2,4}'::"char"[]) LIMIT 1),
`

const columnTypes = `'truncate', pg_catalog.has_table_privilege(c.oid, 'TRUNCATE'),
'definitions', ARRAY(SELECT pg_catalog.concat(pg_catalog.format_type(a.atttypid, a.atttypmod),
    (SELECT pg_catalog.concat(' COLLATE ', pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(l.collname))
      FROM pg_catalog.pg_collation l, pg_catalog.pg_namespace n
      WHERE l.oid OPERATOR(pg_catalog.=) a.attcollation AND n.oid OPERATOR(pg_catalog.=) l.collnamespace))
  FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum),
`

// indexKeys asks for the unique indexes. nulls says of one whether NULLs are equal in
// it, columns how many columns it has that make it unique: versions differ there.
func indexKeys(nulls, columns string) string {
	return strings.NewReplacer("NULLS_EQUAL", nulls, "KEY_COLUMNS", columns).Replace(`'keys', ARRAY(SELECT pg_catalog.json_build_array(i.indisprimary, i.indpred IS NULL AND i.indexprs IS NULL,
    COALESCE(NULLS_EQUAL, false),
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.generate_series(0, KEY_COLUMNS OPERATOR(pg_catalog.-) 1) p, pg_catalog.pg_attribute a
      WHERE a.attrelid OPERATOR(pg_catalog.=) i.indrelid AND a.attnum OPERATOR(pg_catalog.=) i.indkey[p] ORDER BY p),
    ARRAY(SELECT pg_catalog.json_build_array(n.nspname, o.oprname)
      FROM pg_catalog.generate_series(0, KEY_COLUMNS OPERATOR(pg_catalog.-) 1) p, pg_catalog.pg_opclass k,
        pg_catalog.pg_amop s, pg_catalog.pg_operator o, pg_catalog.pg_namespace n
      WHERE k.oid OPERATOR(pg_catalog.=) i.indclass[p] AND s.amopfamily OPERATOR(pg_catalog.=) k.opcfamily
      AND s.amoplefttype OPERATOR(pg_catalog.=) k.opcintype AND s.amoprighttype OPERATOR(pg_catalog.=) k.opcintype
      AND s.amopstrategy OPERATOR(pg_catalog.=) 3 AND o.oid OPERATOR(pg_catalog.=) s.amopopr
      AND n.oid OPERATOR(pg_catalog.=) o.oprnamespace ORDER BY p))
  FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisunique AND i.indisvalid
  ORDER BY i.indexrelid)`)
}

// inspectKeys are the texts of a dialect.
func (d Dialect) inspectKeys() string {
	if d == Greenplum6 {
		return inspectKeysGreenplum6
	}
	return inspectKeys
}

// asksKeys says whether the statement needs inspectKeys.
func (x *Extensions) asksKeys() bool {
	return x.Has(FeatureUpsert) || x.Has(FeatureOverwrite) || x.Has(FeatureMerge)
}

// DetailSQL returns the query with which the inspection has to be made anew,
// since a setting asks for more than the statement itself; "" where it is
// complete.
func (c *CopyStatement) DetailSQL(in *Inspection) string {
	if !in.Found || in.Definitions != nil || in.OnConflict == "" {
		return ""
	}
	if x, problem := c.resolve(in); problem != "" || !x.asksKeys() {
		return ""
	}
	return c.DefinitionsSQL(in)
}

// DefinitionsSQL returns the query that InspectSQL is, with Definitions.
func (c *CopyStatement) DefinitionsSQL(in *Inspection) string {
	return in.Dialect().inspectSQL(c.Schema, c.Table, c.Columns, c.Encoding, in.Dialect().inspectKeys())
}

// key returns the unique index that the extensions' target means, nil where the
// table has none: the server then has its own words for it, if there is a list
// of columns at all. Of an append-optimised table a list of columns is enough.
func (x *Extensions) key(in *Inspection) *Key {
	var found *Key
	for i := range in.Keys {
		k := &in.Keys[i]
		if x.ConflictTarget == nil && k.Primary {
			return k
		}
		if k.Plain && sameNames(k.Columns, x.ConflictTarget) && (found == nil || k.NullsEqual) {
			found = k // of several the strictest is the one that is in the way
		}
	}
	if found == nil && in.AppendOptimised && x.ConflictTarget != nil {
		return promised(x.ConflictTarget)
	}
	return found
}

// sameNames compares two lists without duplicates, whatever their order.
func sameNames(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(b, func(n string) bool { return !slices.Contains(a, n) })
}
