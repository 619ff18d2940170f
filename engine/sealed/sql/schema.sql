-- Schema pgbulk, which the other files fill. Run in one transaction; running it
-- again upgrades in place and keeps the secret.
--
-- The functions run with the rights of whoever installs them and can be called
-- by everybody, so they trust nothing but messages that carry the MAC of the
-- secret. No backslash stands in a function body: its meaning would depend on
-- the caller's standard_conforming_strings.

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

DO $pgbulk$
DECLARE
  v_bad text;
  v_version int;
BEGIN
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    RAISE EXCEPTION 'pgbulk: the installation needs a superuser, and % is none', current_user
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Only a superuser may make functions that run with the rights of one. Without the installation use the engine plain.';
  END IF;
  -- Who owns a schema could replace what is in it.
  SELECT n.nspname INTO v_bad FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
   WHERE n.nspname IN ('pgbulk', 'pgbulk_run') AND NOT r.rolsuper;
  IF FOUND THEN
    RAISE EXCEPTION 'pgbulk: schema % exists and belongs to a role that is no superuser', v_bad
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('Look what is in it, then drop it or ALTER SCHEMA %s OWNER TO a superuser.', v_bad);
  END IF;
  SELECT n.nspname INTO v_bad FROM pg_namespace n, aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
   WHERE (n.nspname = 'pgbulk' AND a.privilege_type = 'CREATE' OR n.nspname = 'pgbulk_run') AND NOT coalesce(r.rolsuper, false);
  IF FOUND THEN
    RAISE EXCEPTION 'pgbulk: a role that is no superuser has rights that it must not have in schema %', v_bad
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('REVOKE ALL ON SCHEMA %s, and look what is in it.', v_bad);
  END IF;
  IF to_regprocedure('pgbulk.version()') IS NOT NULL THEN
    EXECUTE 'SELECT pgbulk.version()' INTO v_version;
    IF v_version > {{version}} THEN
      RAISE EXCEPTION 'pgbulk: version % is installed, this program brings the older version {{version}}', v_version
        USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Use the newer pgbulkproxy.';
    END IF;
  END IF;
END
$pgbulk$;

CREATE SCHEMA IF NOT EXISTS pgbulk;
GRANT USAGE ON SCHEMA pgbulk TO PUBLIC;
