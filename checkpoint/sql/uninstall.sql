-- Removes the ledger with all its rows. Running it again does nothing.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;
DROP VIEW IF EXISTS relyt_sys.relyt_loader_checkpoint;
DROP TABLE IF EXISTS pgbulk.import, pgbulk.load_file, pgbulk.load, pgbulk.format;
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
