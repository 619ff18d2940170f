package rewrite

import (
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// The texts for Greenplum 6 follow the rules of inspectsql.go. What PostgreSQL 9.4
// has not is left out: identity and generated columns, row security, transition
// tables, declarative partitions. Greenplum has partitions of its own, which stand
// in catalogs of its own, and external tables, which are relations of kind r.

// newerSettings are those of inspectSettings that PostgreSQL 9.4 does not have.
var newerSettings = []string{"idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout"}

// inspectSessionGreenplum6 is inspectSession. What may be installed there is no ledger.
func inspectSessionGreenplum6() string {
	var values []string
	for _, name := range strings.Split(inspectSettings, ",") {
		value := Greenplum6.setting(name)
		for _, newer := range newerSettings {
			if name == newer {
				value = "NULL"
			}
		}
		values = append(values, value)
	}
	return "'settings', ARRAY[" + strings.Join(values, ", ") + `]::pg_catalog.text[],
'client_encoding', pg_catalog.pg_client_encoding(),
'server_encoding', pg_catalog.getdatabaseencoding(),
'role', current_user, 'session_user', session_user,
'database', pg_catalog.current_database(), 'pid', pg_catalog.pg_backend_pid(),
'installed', (SELECT pg_catalog.has_function_privilege(f.oid, 'EXECUTE') FROM pg_catalog.pg_namespace n, pg_catalog.pg_proc f
  WHERE n.nspname OPERATOR(pg_catalog.=) 'pgbulk' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND f.pronamespace OPERATOR(pg_catalog.=) n.oid AND f.proname OPERATOR(pg_catalog.=) 'version' AND f.pronargs OPERATOR(pg_catalog.=) 0),
'event_triggers', (SELECT true FROM pg_catalog.pg_event_trigger e WHERE e.evtenabled OPERATOR(pg_catalog.<>) 'D' LIMIT 1)`
}

// inspectTableGreenplum6 is inspectTable. tree.partitioned says that the table is
// the root of Greenplum's partitions; tree.oids are all of them then. An external
// table is as good as a foreign one.
const inspectTableGreenplum6 = `'oid', c.oid::pg_catalog.int8,
'kind', CASE WHEN c.relstorage OPERATOR(pg_catalog.=) 'x' THEN 'f' WHEN tree.partitioned THEN 'p' ELSE c.relkind END,
'schema', (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid OPERATOR(pg_catalog.=) c.relnamespace),
'table', c.relname, 'persistence', c.relpersistence,
'columns', ARRAY(SELECT pg_catalog.concat('  ', a.attname)
  FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum),
'insert', pg_catalog.has_table_privilege(c.oid, 'INSERT'),
'insert_columns', pg_catalog.has_any_column_privilege(c.oid, 'INSERT'),
'rules', c.relhasrules AND (SELECT true FROM pg_catalog.pg_rewrite r
  WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid AND r.ev_type OPERATOR(pg_catalog.=) '3' LIMIT 1),
'triggers', CASE WHEN c.relhastriggers OR tree.partitioned THEN ARRAY(
  SELECT pg_catalog.concat(g.tgisinternal, g.tgconstrrelid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid, g.tgdeferrable,
    g.tgconstrrelid OPERATOR(pg_catalog.=) ANY (tree.oids), (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 0)
  FROM pg_catalog.pg_trigger g WHERE g.tgrelid OPERATOR(pg_catalog.=) ANY (tree.oids)
  AND g.tgenabled OPERATOR(pg_catalog.<>) 'D'
  AND (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 4) OPERATOR(pg_catalog.<>) 0) END,
'indexes', CASE WHEN c.relhasindex OR tree.partitioned THEN ARRAY(
  SELECT pg_catalog.concat(i.indisexclusion, NOT i.indimmediate) FROM pg_catalog.pg_index i
  WHERE i.indrelid OPERATOR(pg_catalog.=) ANY (tree.oids) AND (i.indisexclusion OR NOT i.indimmediate)) END,
'foreign_partition', CASE WHEN tree.partitioned THEN (SELECT true FROM pg_catalog.pg_class f
  WHERE f.oid OPERATOR(pg_catalog.=) ANY (tree.oids) AND f.relstorage OPERATOR(pg_catalog.=) 'x' LIMIT 1) END`

// inspectFromGreenplum6 goes behind inspectTableGreenplum6. The rules of all levels
// name the root; those of templates have no tables.
const inspectFromGreenplum6 = `)
FROM pg_catalog.pg_class c, LATERAL (SELECT pg_catalog.cardinality(down.oids) OPERATOR(pg_catalog.>) 0 AS partitioned,
  ARRAY[c.oid] OPERATOR(pg_catalog.||) down.oids AS oids FROM (SELECT CASE WHEN c.relhassubclass THEN ARRAY(
    SELECT u.parchildrelid FROM pg_catalog.pg_partition p, pg_catalog.pg_partition_rule u
    WHERE p.parrelid OPERATOR(pg_catalog.=) c.oid AND u.paroid OPERATOR(pg_catalog.=) p.oid AND NOT p.paristemplate)
  ELSE '{}'::pg_catalog.oid[] END AS oids OFFSET 0) down OFFSET 0) tree`

// inspectRoutingGreenplum6 is inspectRouting.
func inspectRoutingGreenplum6(table string) string {
	return ",\n'routed', (SELECT true FROM pg_catalog.pg_class r, pg_catalog.pg_namespace n WHERE r.relname OPERATOR(pg_catalog.=) " +
		pgident.Literal(table+RoutingSuffix) + "::pg_catalog.name AND n.oid OPERATOR(pg_catalog.=) r.relnamespace AND n.nspname OPERATOR(pg_catalog.=) '" +
		RoutingSchema + "' LIMIT 1)"
}

// resolveGreenplum6 is resolve for a name with its schema. Functions of constants
// are computed when the statement is planned, also behind a CASE: to_regclass would
// fail.
func resolveGreenplum6(schema, table string) string {
	return "(SELECT k.oid FROM pg_catalog.pg_namespace n, pg_catalog.pg_class k WHERE n.nspname OPERATOR(pg_catalog.=) " +
		pgident.Literal(schema) + "::pg_catalog.name AND k.relnamespace OPERATOR(pg_catalog.=) n.oid AND k.relname OPERATOR(pg_catalog.=) " +
		pgident.Literal(table) + "::pg_catalog.name AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'))"
}

// inspectKeysGreenplum6 is inspectKeys.
var inspectKeysGreenplum6 = `,
'append_optimised', c.relstorage OPERATOR(pg_catalog.=) ANY ('{a,c}'::"char"[]),
` + changeRules + distribution("c.oid") + `,
` + columnTypes + indexKeys("false", "i.indnatts")

// distribution says where the rows of a table are.
func distribution(table string) string {
	return strings.ReplaceAll(`'distribution', pg_catalog.pg_get_table_distributedby(TABLE),
'distributed_by', ARRAY(SELECT a.attname FROM pg_catalog.gp_distribution_policy y, pg_catalog.pg_attribute a
  WHERE y.localoid OPERATOR(pg_catalog.=) TABLE AND a.attrelid OPERATOR(pg_catalog.=) TABLE AND a.attnum OPERATOR(pg_catalog.=) ANY (y.distkey))`, "TABLE", table)
}

// routingTextsGreenplum6 are routingTexts. The temporary table of a load has to be told
// how it is distributed.
var routingTextsGreenplum6 = routingTexts{
	more:   distribution("m.oid"),
	schema: "(SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) '" + RoutingSchema + "')",
}
