package rewrite

import (
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgident"
)

// inspectSession is the part of the inspection that is there without a table.
// Every name is qualified and every operator is written with its schema, since
// the client chooses search_path; syntax that looks operators up by itself
// (IN, BETWEEN, IS DISTINCT FROM, CASE x WHEN, LIKE, USING) must not be used.
//
// Functions that look a name up in a schema (to_regprocedure and its like)
// raise an error where the role has no USAGE on it. An error would end the
// client's transaction, so the function pgbulk.version is looked up by hand.
const inspectSession = `'version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
'read_only', pg_catalog.current_setting('transaction_read_only'),
'isolation', pg_catalog.current_setting('transaction_isolation'),
'client_encoding', pg_catalog.pg_client_encoding(),
'server_encoding', pg_catalog.getdatabaseencoding(),
'strings', pg_catalog.current_setting('standard_conforming_strings'),
'statement_timeout', pg_catalog.current_setting('statement_timeout'),
'idle_in_transaction_session_timeout', pg_catalog.current_setting('idle_in_transaction_session_timeout', true),
'idle_session_timeout', pg_catalog.current_setting('idle_session_timeout', true),
'transaction_timeout', pg_catalog.current_setting('transaction_timeout', true),
'role', current_user, 'session_user', session_user,
'database', pg_catalog.current_database(), 'pid', pg_catalog.pg_backend_pid(),
'mode', pg_catalog.current_setting('pgbulk.mode', true),
'ack', pg_catalog.current_setting('pgbulk.ack', true),
'on_conflict', pg_catalog.current_setting('pgbulk.on_conflict', true),
'max_error_records', pg_catalog.current_setting('pgbulk.max_error_records', true),
'label', pg_catalog.current_setting('pgbulk.label', true),
'coalesce', pg_catalog.current_setting('pgbulk.coalesce', true),
'installed', EXISTS (SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n
  ON p.pronamespace OPERATOR(pg_catalog.=) n.oid
  WHERE p.proname OPERATOR(pg_catalog.=) 'version' AND p.pronargs OPERATOR(pg_catalog.=) 0
  AND n.nspname OPERATOR(pg_catalog.=) 'pgbulk'
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')),
'event_triggers', EXISTS (SELECT 1 FROM pg_catalog.pg_event_trigger e
  WHERE e.evtenabled OPERATOR(pg_catalog.<>) 'D' AND e.evtevent OPERATOR(pg_catalog.<>) 'login')`

// inspectTable is the part about the table, c being its row of pg_class. What
// belongs to partitions too walks down pg_inherits, which takes no locks;
// pg_partition_tree() would lock them all. Bit 4 of tgtype is INSERT; deferrable
// keys and the referencing side of foreign keys are internal triggers with it.
const inspectTable = `'oid', c.oid::pg_catalog.int8, 'kind', c.relkind, 'schema', n.nspname, 'table', c.relname,
'persistence', c.relpersistence,
'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, a.attgenerated, a.attidentity)
  ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
  WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped),
'insert', pg_catalog.has_table_privilege(c.oid, 'INSERT'),
'insert_columns', pg_catalog.has_any_column_privilege(c.oid, 'INSERT'),
'row_security', c.relrowsecurity AND pg_catalog.row_security_active(c.oid),
'rules', c.relhasrules AND EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r
  WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid AND r.ev_type OPERATOR(pg_catalog.=) '3'),
`

// inspectLeaf and inspectTree are the rest about the table: alone, and with all
// its partitions.
const (
	inspectLeaf = `pg_catalog.json_build_object(
'triggers', CASE WHEN c.relhastriggers THEN (SELECT ` + inspectTriggers + ` WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid
  AND ` + firesOnInsert + `) END,
'exclusion', c.relhasindex AND EXISTS (SELECT 1 FROM pg_catalog.pg_index i
  WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisexclusion),
'deferrable', c.relhasindex AND EXISTS (SELECT 1 FROM pg_catalog.pg_index i
  WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND NOT i.indimmediate))`

	inspectTree = `(WITH RECURSIVE tree(relid) AS (
  SELECT c.oid UNION ALL
  SELECT h.inhrelid FROM tree JOIN pg_catalog.pg_inherits h ON h.inhparent OPERATOR(pg_catalog.=) tree.relid)
SELECT pg_catalog.json_build_object(
'triggers', (SELECT ` + inspectTriggers + ` JOIN tree ON g.tgrelid OPERATOR(pg_catalog.=) tree.relid WHERE ` + firesOnInsert + `),
'exclusion', EXISTS (SELECT 1 FROM pg_catalog.pg_index i JOIN tree
  ON i.indrelid OPERATOR(pg_catalog.=) tree.relid WHERE i.indisexclusion),
'deferrable', EXISTS (SELECT 1 FROM pg_catalog.pg_index i JOIN tree
  ON i.indrelid OPERATOR(pg_catalog.=) tree.relid WHERE NOT i.indimmediate),
'foreign_partition', EXISTS (SELECT 1 FROM pg_catalog.pg_class f JOIN tree
  ON f.oid OPERATOR(pg_catalog.=) tree.relid WHERE f.relkind OPERATOR(pg_catalog.=) 'f')))`

	inspectTriggers = `pg_catalog.json_build_object('user', pg_catalog.bool_or(NOT g.tgisinternal),
  'foreign_key', pg_catalog.bool_or(g.tgconstrrelid OPERATOR(pg_catalog.<>) 0),
  'deferrable', pg_catalog.bool_or(g.tgdeferrable)) FROM pg_catalog.pg_trigger g`

	firesOnInsert = `g.tgenabled OPERATOR(pg_catalog.<>) 'D'
  AND (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 4) OPERATOR(pg_catalog.<>) 0`
)

// InspectSQL returns one SELECT, without a semicolon, that tells everything
// Classify needs to know about the statement's table and the session. It
// returns one row with one column for ParseInspection, takes no lock on the
// table, and raises no error where the table, its schema or a privilege is
// missing.
//
// The names in it are the client's, byte for byte: where they are not ASCII,
// run it only if Inspectable says so.
func (c *CopyStatement) InspectSQL() string {
	var b strings.Builder
	// The text is sent as hex of the server's own bytes: a column that the
	// client's encoding cannot express must not raise an error.
	b.WriteString("SELECT pg_catalog.encode(pg_catalog.convert_to(pg_catalog.json_build_object(")
	b.WriteString(inspectSession)
	b.WriteString(",\n'copy_encoding', ")
	if c.Encoding == "" {
		b.WriteString("NULL")
	} else {
		b.WriteString("pg_catalog.pg_encoding_to_char(pg_catalog.pg_char_to_encoding(" + pgident.Literal(c.Encoding) + "))")
	}
	b.WriteString(",\n'wanted', ")
	if c.Columns == nil {
		b.WriteString("NULL")
	} else {
		b.WriteString("pg_catalog.to_json(" + pgident.LiteralArray(c.Columns) + ")")
	}
	b.WriteString(",\n'found', (SELECT pg_catalog.json_build_object(")
	b.WriteString(inspectTable)
	b.WriteString("'tree', CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'p' THEN ")
	b.WriteString(inspectTree)
	b.WriteString(" ELSE ")
	b.WriteString(inspectLeaf)
	b.WriteString(" END)\nFROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n")
	b.WriteString(" ON c.relnamespace OPERATOR(pg_catalog.=) n.oid\nWHERE ")
	b.WriteString(c.resolve())
	b.WriteString("))::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex')")
	return b.String()
}

// resolve returns the condition that finds the table as COPY would. A bare name
// goes through search_path, where to_regclass skips closed schemas in silence.
// With a schema it would raise an error for a closed one.
func (c *CopyStatement) resolve() string {
	if c.Schema == "" {
		return "c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(" + pgident.Literal(pgident.Quote(c.Table)) + ")"
	}
	name := "c.relname OPERATOR(pg_catalog.=) " + pgident.Literal(c.Table)
	if c.Schema == "pg_temp" {
		return name + " AND n.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()"
	}
	return name + " AND n.nspname OPERATOR(pg_catalog.=) " + pgident.Literal(c.Schema) +
		" AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')"
}
