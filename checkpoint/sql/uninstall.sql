-- Removes the ledger with all its rows. Running it again does nothing.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;
DROP FUNCTION IF EXISTS pgbulk.flush();
DROP FUNCTION IF EXISTS pgbulk.cancel(text);
DROP FUNCTION IF EXISTS pgbulk.settle(text, text, text, bigint, text, int);
DROP FUNCTION IF EXISTS pgbulk.is_staged(text);
DROP FUNCTION IF EXISTS pgbulk.fence(text, text, int);
DROP VIEW IF EXISTS relyt_sys.relyt_loader_checkpoint, relyt_sys.relyt_loader_rejects, pgbulk.known_file;
DROP TABLE IF EXISTS pgbulk.reject, pgbulk.label, pgbulk.staged, pgbulk.proxy,
  pgbulk.import, pgbulk.load_file, pgbulk.load, pgbulk.format;
DO $pgbulk$
BEGIN
  DROP SCHEMA IF EXISTS relyt_sys;
EXCEPTION WHEN dependent_objects_still_exist THEN
  RAISE NOTICE 'schema relyt_sys is kept: it holds other objects';
END
$pgbulk$;
DO $pgbulk$
BEGIN
  DROP SCHEMA IF EXISTS pgbulk;
EXCEPTION WHEN dependent_objects_still_exist THEN
  RAISE NOTICE 'schema pgbulk is kept: it holds other objects';
END
$pgbulk$;
