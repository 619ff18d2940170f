-- Removes what the other files made, but for the extensions file_fdw and pgcrypto:
-- others may use them. Running it again does nothing.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;
DROP FUNCTION IF EXISTS pgbulk.add_rejects(text, text, text, text);
DROP FUNCTION IF EXISTS pgbulk.finish_label(text, text, text);
DROP FUNCTION IF EXISTS pgbulk.claim_label(text, text, text);
DROP FUNCTION IF EXISTS pgbulk.import_staged(text, text, int);
DROP FUNCTION IF EXISTS pgbulk.finish_import(text, bigint[]);
DROP FUNCTION IF EXISTS pgbulk.check_left_behind();
DROP FUNCTION IF EXISTS pgbulk.run_as(text, jsonb, text[]);
DROP FUNCTION IF EXISTS pgbulk.make_runner(text, text);
DROP FUNCTION IF EXISTS pgbulk.open_staged(text, text, text);
DROP FUNCTION IF EXISTS pgbulk.sender(text);
DROP FUNCTION IF EXISTS pgbulk.record_staged(text, text, text, text);
DROP FUNCTION IF EXISTS pgbulk.open_file(text, text, text);
DROP FUNCTION IF EXISTS pgbulk.close_file(text, text, text);
DROP FUNCTION IF EXISTS pgbulk.record_import(text, text, text);
DROP FUNCTION IF EXISTS pgbulk.make_table(jsonb, text);
DROP FUNCTION IF EXISTS pgbulk.add_import(jsonb);
DROP FUNCTION IF EXISTS pgbulk.check_current(oid, text);
DROP FUNCTION IF EXISTS pgbulk.unseal(text, text, text, text);
DROP FUNCTION IF EXISTS pgbulk.hmac(bytea, bytea);
DROP FUNCTION IF EXISTS pgbulk.xor(bytea, bytea);
DROP FUNCTION IF EXISTS pgbulk.sha256(bytea);
DROP FUNCTION IF EXISTS pgbulk.version();
DROP TABLE IF EXISTS pgbulk.secret;
DROP SERVER IF EXISTS pgbulk_files CASCADE;
DROP SCHEMA IF EXISTS pgbulk_run;
DO $pgbulk$
BEGIN
  DROP SCHEMA IF EXISTS pgbulk;
EXCEPTION WHEN dependent_objects_still_exist THEN
  RAISE NOTICE 'schema pgbulk is kept: it holds other objects';
END
$pgbulk$;
