package rewrite

import (
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// The texts below follow these rules:
//
// Every name is qualified and every operator is written with its schema, since
// the client chooses search_path. Syntax that looks operators up by itself (IN,
// BETWEEN, IS DISTINCT FROM, CASE x WHEN, LIKE, USING) is not used.
//
// Functions that look a name up in a schema (to_regclass, to_regprocedure)
// raise an error where the role has no USAGE on it, and an error would end the
// client's transaction. So they stand behind a CASE that asks first.
//
// Most of the time goes into planning: hence arrays instead of aggregates and
// joins, and no EXISTS, which the planner plans twice.

// inspectSettings are the settings that are read, in the order of the array
// that comes back. A setting that the server does not have is null.
const inspectSettings = `server_version_num,transaction_read_only,transaction_isolation,standard_conforming_strings,` +
	`statement_timeout,idle_in_transaction_session_timeout,idle_session_timeout,transaction_timeout,` +
	`pgbulk.mode,pgbulk.ack,pgbulk.on_conflict,pgbulk.max_error_records,pgbulk.label,pgbulk.coalesce,array_nulls,gp_role`

// inspectSession is the part of the inspection that is there without a table. Citus'
// own event trigger looks after its own catalog, and sees nothing in our tables.
const inspectSession = `'settings', ARRAY(SELECT pg_catalog.current_setting(s, true) FROM pg_catalog.unnest('{` + inspectSettings + `}'::pg_catalog.text[]) s),
'client_encoding', pg_catalog.pg_client_encoding(),
'server_encoding', pg_catalog.getdatabaseencoding(),
'role', current_user, 'session_user', session_user,
'database', pg_catalog.current_database(), 'pid', pg_catalog.pg_backend_pid(),
'installed', CASE WHEN pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('pgbulk')::pg_catalog.oid, 'USAGE')
  THEN pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('pgbulk.version()')::pg_catalog.oid, 'EXECUTE') END,
'event_triggers', (SELECT true FROM pg_catalog.pg_event_trigger e
  WHERE e.evtenabled OPERATOR(pg_catalog.<>) 'D' AND e.evtevent OPERATOR(pg_catalog.<>) 'login'
  AND e.evtfoid IS DISTINCT FROM pg_catalog.to_regproc('pg_catalog.citus_drop_trigger')::pg_catalog.oid LIMIT 1)`

// inspectTable is the part about the table, c being its row of pg_class and
// tree.oids the table alone or with all its partitions. Bit 4 of tgtype is
// INSERT, bit 1 that a trigger is for each row; deferrable keys and the referencing side of foreign keys are internal
// triggers with it.
const inspectTable = `'oid', c.oid::pg_catalog.int8, 'kind', c.relkind,
'schema', (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid OPERATOR(pg_catalog.=) c.relnamespace),
'table', c.relname, 'persistence', c.relpersistence,
'columns', ARRAY(SELECT pg_catalog.concat(a.attgenerated, ' ', a.attidentity, ' ', a.attname)
  FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum),
'insert', pg_catalog.has_table_privilege(c.oid, 'INSERT'),
'insert_columns', pg_catalog.has_any_column_privilege(c.oid, 'INSERT'),
'row_security', c.relrowsecurity AND pg_catalog.row_security_active(c.oid),
'rules', c.relhasrules AND (SELECT true FROM pg_catalog.pg_rewrite r
  WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid AND r.ev_type OPERATOR(pg_catalog.=) '3' LIMIT 1),
'triggers', CASE WHEN c.relhastriggers OR c.relkind OPERATOR(pg_catalog.=) 'p' THEN ARRAY(
  SELECT pg_catalog.concat(g.tgisinternal, g.tgconstrrelid OPERATOR(pg_catalog.<>) 0, g.tgdeferrable,
    g.tgconstrrelid OPERATOR(pg_catalog.=) ANY (tree.oids) OR c.relispartition AND g.tgconstrrelid OPERATOR(pg_catalog.<>) 0,
    (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 0 OR g.tgnewtable IS NOT NULL)
  FROM pg_catalog.pg_trigger g WHERE g.tgrelid OPERATOR(pg_catalog.=) ANY (tree.oids)
  AND g.tgenabled OPERATOR(pg_catalog.<>) 'D'
  AND (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 4) OPERATOR(pg_catalog.<>) 0) END,
'indexes', CASE WHEN c.relhasindex OR c.relkind OPERATOR(pg_catalog.=) 'p' THEN ARRAY(
  SELECT pg_catalog.concat(i.indisexclusion, NOT i.indimmediate) FROM pg_catalog.pg_index i
  WHERE i.indrelid OPERATOR(pg_catalog.=) ANY (tree.oids) AND (i.indisexclusion OR NOT i.indimmediate)) END,
'foreign_partition', CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'p' THEN (SELECT true FROM pg_catalog.pg_class f
  WHERE f.oid OPERATOR(pg_catalog.=) ANY (tree.oids) AND f.relkind OPERATOR(pg_catalog.=) 'f' LIMIT 1) END`

// inspectTyping is what the typing of constants needs besides: of each column
// its type, and whether the table runs code that is not the server's own, in
// defaults, constraints, indexes and partition keys, or in types that are no
// enums (domains check, and types of extensions read and write). 1255 is pg_proc, 2617
// pg_operator; 2604, 2606 and 1259 are pg_attrdef, pg_constraint and pg_class.
const inspectTyping = `,
'types', ARRAY(SELECT ` + values.ColumnSQL + ` FROM pg_catalog.pg_attribute a
  WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum),
'user_types', (SELECT true FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND a.atttypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  AND (SELECT t.typtype FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.=) a.atttypid) OPERATOR(pg_catalog.<>) 'e' LIMIT 1),
'user_code', (SELECT true FROM pg_catalog.pg_depend d WHERE d.objid OPERATOR(pg_catalog.=) ANY (
  ARRAY(SELECT x.oid FROM pg_catalog.pg_attrdef x WHERE x.adrelid OPERATOR(pg_catalog.=) ANY (tree.oids))
  OPERATOR(pg_catalog.||) ARRAY(SELECT x.oid FROM pg_catalog.pg_constraint x WHERE x.conrelid OPERATOR(pg_catalog.=) ANY (tree.oids))
  OPERATOR(pg_catalog.||) ARRAY(SELECT x.indexrelid FROM pg_catalog.pg_index x WHERE x.indrelid OPERATOR(pg_catalog.=) ANY (tree.oids))
  OPERATOR(pg_catalog.||) tree.oids)
  AND d.classid OPERATOR(pg_catalog.=) ANY ('{2604,2606,1259}'::pg_catalog.oid[])
  AND d.refclassid OPERATOR(pg_catalog.=) ANY ('{1255,2617}'::pg_catalog.oid[])
  AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid LIMIT 1)`

// inspectFrom goes behind inspectTable.
const inspectFrom = `)
FROM pg_catalog.pg_class c, LATERAL (SELECT CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'p' THEN ARRAY(` + inspectTree + `)
  ELSE ARRAY[c.oid] END AS oids OFFSET 0) tree`

// inspectTree walks pg_inherits level by level. It takes no lock on the tables;
// pg_partition_tree() would lock all of them.
const inspectTree = `WITH RECURSIVE walk(level) AS (SELECT ARRAY[c.oid] UNION ALL
  SELECT ARRAY(SELECT h.inhrelid FROM pg_catalog.pg_inherits h WHERE h.inhparent OPERATOR(pg_catalog.=) ANY (walk.level))
  FROM walk WHERE pg_catalog.cardinality(walk.level) OPERATOR(pg_catalog.>) 0)
  SELECT pg_catalog.unnest(walk.level) FROM walk`

// InspectSQL returns one SELECT, without a semicolon, that tells everything
// Classify needs to know about the statement's table and the session. It
// returns one row with one column for ParseInspection, takes no lock on the
// table, and raises no error where the table, its schema or a privilege is
// missing.
//
// The names in it are the client's, byte for byte: where they are not ASCII,
// run it only if Inspectable says so.
func (c *CopyStatement) InspectSQL(d Dialect) string {
	more := ""
	if c.Ext.asksKeys() {
		more = d.inspectKeys()
	}
	return d.inspectSQL(c.Schema, c.Table, c.Columns, c.Encoding, more)
}

// InspectSQL is that of a COPY, and asks for the types of the columns, too.
func (s *InsertStatement) InspectSQL(d Dialect) string {
	return d.inspectSQL(s.Schema, s.Table, s.Columns, "", inspectTyping)
}

// inspectTexts are the parts of an inspection.
type inspectTexts struct{ session, routing, table, from string }

func (d Dialect) inspectTexts(table string) inspectTexts {
	if d == Greenplum6 {
		return inspectTexts{inspectSessionGreenplum6(), inspectRoutingGreenplum6(table), inspectTableGreenplum6, inspectFromGreenplum6}
	}
	return inspectTexts{inspectSession, inspectRouting(table), inspectTable, inspectFrom}
}

func (d Dialect) inspectSQL(schema, table string, columns []string, encoding, more string) string {
	texts := d.inspectTexts(table)
	var b strings.Builder
	// The text is sent as hex of the server's own bytes: a column that the
	// client's encoding cannot express must not raise an error.
	b.WriteString("SELECT pg_catalog.encode(pg_catalog.convert_to(pg_catalog.json_build_object(")
	b.WriteString(texts.session)
	b.WriteString(",\n'copy_encoding', ")
	if encoding == "" {
		b.WriteString("NULL")
	} else {
		b.WriteString("pg_catalog.pg_encoding_to_char(pg_catalog.pg_char_to_encoding(" + pgident.Literal(encoding) + "))")
	}
	b.WriteString(",\n'wanted', ")
	if columns == nil {
		b.WriteString("NULL")
	} else {
		b.WriteString("pg_catalog.to_json(" + pgident.LiteralArray(columns) + ")")
	}
	b.WriteString(texts.routing)
	b.WriteString(",\n'found', (SELECT pg_catalog.json_build_object(")
	b.WriteString(texts.table)
	b.WriteString(more)
	b.WriteString(texts.from)
	b.WriteString("\nWHERE c.oid OPERATOR(pg_catalog.=) ")
	b.WriteString(d.resolve(schema, table))
	b.WriteString("))::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex')")
	return b.String()
}

// resolve returns an expression for the oid of the table as COPY would find it,
// or null. to_regclass goes through search_path and skips closed schemas in
// silence; but a closed schema that is named makes it raise an error.
func (d Dialect) resolve(schema, table string) string {
	lookup := "pg_catalog.to_regclass(" + pgident.Literal(pgident.Qualified(schema, table)) + ")::pg_catalog.oid"
	if schema == "" || schema == "pg_temp" {
		// pg_temp is an alias, open to its owner.
		return lookup
	}
	if d == Greenplum6 {
		return resolveGreenplum6(schema, table)
	}
	return "CASE WHEN pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace(" +
		pgident.Literal(pgident.Quote(schema)) + ")::pg_catalog.oid, 'USAGE') THEN " + lookup + " END"
}
