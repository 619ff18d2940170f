-- The ledger: its tables in schema pgbulk, and the view that shows it in the
-- columns that users of the original loader know. Run in one transaction;
-- running it again changes nothing.

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS pgbulk;
GRANT USAGE ON SCHEMA pgbulk TO PUBLIC;

-- What the tables below look like; a program refuses a version it doesn't know.
CREATE TABLE IF NOT EXISTS pgbulk.format (
  name    text COLLATE "C" PRIMARY KEY,
  version int NOT NULL
);
INSERT INTO pgbulk.format (name, version) VALUES ('ledger', 1) ON CONFLICT (name) DO NOTHING;
DO $pgbulk$
DECLARE
  v_version int;
BEGIN
  SELECT f.version INTO v_version FROM pgbulk.format f WHERE f.name = 'ledger';
  IF v_version <> 1 THEN
    RAISE EXCEPTION 'pgbulk: the ledger has format version %, this program knows 1', v_version
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Use the pgbulkproxy that made it, or a newer one.';
  END IF;
END
$pgbulk$;

CREATE TABLE IF NOT EXISTS pgbulk.load (
  process_id    text COLLATE "C" PRIMARY KEY,
  version       smallint NOT NULL DEFAULT 1,
  database      text NOT NULL,
  role          text NOT NULL,
  schema_name   text NOT NULL,
  table_name    text NOT NULL,
  owner         text NOT NULL,
  status        text NOT NULL DEFAULT 'RUNNING' CHECK (status IN ('RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')),
  start_time    timestamptz NOT NULL,
  end_time      timestamptz,
  swept_time    timestamptz,
  files         int NOT NULL DEFAULT 0,
  error_message text,
  error_records bigint NOT NULL DEFAULT 0,
  CHECK ((status = 'RUNNING') = (end_time IS NULL))
);
CREATE INDEX IF NOT EXISTS load_due ON pgbulk.load (end_time, process_id) WHERE swept_time IS NULL AND end_time IS NOT NULL;
CREATE INDEX IF NOT EXISTS load_start ON pgbulk.load (start_time);

CREATE TABLE IF NOT EXISTS pgbulk.load_file (
  process_id text COLLATE "C" NOT NULL,
  file       int NOT NULL,
  key        text NOT NULL,
  url        text NOT NULL,
  records    bigint NOT NULL,
  bytes      bigint NOT NULL,
  crc32c     bigint NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (process_id, file)
);

-- Rows of this table are inserted in the transactions that load the files, and
-- never change. It has no foreign key on purpose: the check would read and lock
-- rows that the client's snapshot may not see, and other loads write.
CREATE TABLE IF NOT EXISTS pgbulk.import (
  process_id  text COLLATE "C" NOT NULL,
  file        int NOT NULL,
  records     bigint NOT NULL,
  bytes       bigint NOT NULL,
  crc32c      bigint NOT NULL,
  role        text NOT NULL,
  imported_at timestamptz NOT NULL,
  txid        bigint NOT NULL,
  PRIMARY KEY (process_id, file)
);
REVOKE ALL ON pgbulk.format, pgbulk.load, pgbulk.load_file, pgbulk.import FROM PUBLIC;

DO $pgbulk$
BEGIN
  IF EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'relyt_sys' AND c.relname = 'relyt_loader_checkpoint' AND c.relkind <> 'v') THEN
    RAISE EXCEPTION 'pgbulk: relyt_sys.relyt_loader_checkpoint exists and is no view'
      USING ERRCODE = 'duplicate_table',
            HINT = 'It belongs to another loader: keep it under another name with ALTER TABLE … RENAME TO.';
  END IF;
END
$pgbulk$;
CREATE SCHEMA IF NOT EXISTS relyt_sys;

-- A role sees the loads of the roles that it is a member of; who may read the
-- tables themselves sees all. The import rows have the last word on the status.
CREATE OR REPLACE VIEW relyt_sys.relyt_loader_checkpoint WITH (security_barrier = true) AS
SELECT l.process_id,
       quote_ident(l.schema_name) || '.' || quote_ident(l.table_name) AS pg_table,
       CASE WHEN c.done THEN 'COMPLETED' ELSE l.status END AS status,
       l.start_time,
       f.last_insert_time,
       greatest(f.files, l.files) AS files_total,
       f.files_imported,
       f.file_details,
       CASE WHEN NOT c.done THEN l.error_message END AS error_message,
       l.error_records
  FROM pgbulk.load l
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS files,
              count(i.process_id)::int AS files_imported,
              max(i.imported_at) AS last_insert_time,
              coalesce(jsonb_agg(jsonb_build_object(
                'file', file, 'key', s.key, 'url', s.url,
                'records', coalesce(s.records, i.records), 'bytes', coalesce(s.bytes, i.bytes),
                'checksum', 'crc32c:' || lpad(to_hex(coalesce(s.crc32c, i.crc32c)), 8, '0'),
                'state', CASE WHEN i.process_id IS NOT NULL THEN 'IMPORTED'
                              WHEN l.status = 'FAILED' THEN 'ERROR' ELSE 'FROZEN' END,
                'created_at', s.created_at, 'imported_at', i.imported_at) ORDER BY file), '[]') AS file_details
         FROM (SELECT * FROM pgbulk.load_file x WHERE x.process_id = l.process_id) s
         FULL JOIN (SELECT * FROM pgbulk.import x WHERE x.process_id = l.process_id) i USING (file)) f
 CROSS JOIN LATERAL (
       SELECT l.status <> 'RUNNING' AND f.files_imported > 0
              AND f.files_imported >= greatest(f.files, l.files) AS done) c
 WHERE (SELECT has_table_privilege('pgbulk.load'::regclass, 'SELECT'))
    OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = l.role AND pg_has_role(r.oid, 'MEMBER'));
REVOKE ALL ON relyt_sys.relyt_loader_checkpoint FROM PUBLIC;
GRANT SELECT ON relyt_sys.relyt_loader_checkpoint TO PUBLIC;

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
