-- Rejected rows: a part that works without the rest of the ledger, from PostgreSQL
-- 9.4 on.

-- The rows that a load skipped, written in its transaction.
CREATE TABLE IF NOT EXISTS pgbulk.reject (
  process_id  text COLLATE "C" NOT NULL,
  line        bigint NOT NULL,
  schema_name text NOT NULL,
  table_name  text NOT NULL,
  role        text NOT NULL,
  column_name text,
  sqlstate    text NOT NULL,
  message     text NOT NULL,
  raw_line    text,
  created     timestamptz NOT NULL DEFAULT clock_timestamp()
);
DO $pgbulk$
BEGIN
  IF to_regclass('pgbulk.reject_load') IS NULL THEN -- PostgreSQL 9.4 has no CREATE INDEX IF NOT EXISTS
    CREATE INDEX reject_load ON pgbulk.reject (process_id, line);
  END IF;
END
$pgbulk$;
REVOKE ALL ON pgbulk.reject FROM PUBLIC;

CREATE SCHEMA IF NOT EXISTS relyt_sys;

-- The rows that loads skipped, for the roles that loaded them and who may read the table itself.
CREATE OR REPLACE VIEW relyt_sys.relyt_loader_rejects WITH (security_barrier = true) AS
SELECT r.process_id,
       quote_ident(r.schema_name) || '.' || quote_ident(r.table_name) AS pg_table,
       r.line, r.column_name, r.sqlstate, r.message, r.raw_line, r.created
  FROM pgbulk.reject r
 WHERE (SELECT has_table_privilege('pgbulk.reject'::regclass, 'SELECT'))
    OR EXISTS (SELECT FROM pg_roles o WHERE o.rolname = r.role AND pg_has_role(o.oid, 'MEMBER'));
REVOKE ALL ON relyt_sys.relyt_loader_rejects FROM PUBLIC;
GRANT SELECT ON relyt_sys.relyt_loader_rejects TO PUBLIC;

DO $pgbulk$
BEGIN
  -- LOADER_CONFIG() returns credentials: where PUBLIC may execute a function
  -- there, the schema is what protects it.
  IF EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE n.nspname = 'relyt_sys' AND has_function_privilege('public', p.oid, 'EXECUTE')) THEN
    RAISE WARNING 'schema relyt_sys has functions that PUBLIC may execute, so USAGE on it is not granted'
      USING HINT = 'REVOKE EXECUTE on them FROM PUBLIC and install again, or GRANT USAGE to single roles.';
  ELSE
    GRANT USAGE ON SCHEMA relyt_sys TO PUBLIC;
  END IF;
END
$pgbulk$;
