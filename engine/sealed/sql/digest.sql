-- pgbulk.sha256, for installations that run on servers without a sha256 of their
-- own: before PostgreSQL 11, on which Greenplum 6 is not, pgcrypto has one. There
-- the extension is made in schema public, where others look for it, unless it is
-- there.
DO $pgbulk$
DECLARE
  v_schema name;
BEGIN
  IF to_regprocedure('pg_catalog.sha256(bytea)') IS NOT NULL THEN
    CREATE OR REPLACE FUNCTION pgbulk.sha256(p_data bytea) RETURNS bytea
      LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
      AS 'SELECT pg_catalog.sha256($1)';
  ELSE
    IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pgcrypto') THEN
      RAISE EXCEPTION 'pgbulk: this server has no sha256 and no extension pgcrypto'
        USING ERRCODE = 'feature_not_supported', HINT = 'Install pgcrypto on the hosts of the database.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pgcrypto') THEN
      CREATE EXTENSION pgcrypto WITH SCHEMA public;
    END IF;
    SELECT n.nspname INTO v_schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pgcrypto';
    EXECUTE format('CREATE OR REPLACE FUNCTION pgbulk.sha256(p_data bytea) RETURNS bytea
      LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
      AS %L', format('SELECT %I.digest($1, ''sha256''::text)', v_schema));
  END IF;
END
$pgbulk$;
DO $pgbulk$
BEGIN -- PostgreSQL 9.4 has no OWNER TO CURRENT_USER
  EXECUTE format('ALTER FUNCTION pgbulk.sha256(bytea) OWNER TO %I', current_user);
END
$pgbulk$;
REVOKE ALL ON FUNCTION pgbulk.sha256(bytea) FROM PUBLIC;
