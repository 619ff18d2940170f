-- The ledger: its tables in schema pgbulk, and the view that shows it in the
-- columns that users of the original loader know. Run in one transaction;
-- running it again changes nothing, or upgrades in place.

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS pgbulk;
GRANT USAGE ON SCHEMA pgbulk TO PUBLIC;

-- What the tables below look like; a program refuses a version it doesn't know.
-- They are made as version 1 and changed to the present one by the same
-- statements that upgrade.
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
  IF v_version > {{version}} THEN
    RAISE EXCEPTION 'pgbulk: the ledger has format version %, this program knows {{version}}', v_version
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

-- Version 2: leases, staged loads, labels, rejected rows.
DO $pgbulk$
BEGIN
  -- Only then: ALTER TABLE waits for everybody who reads the ledger.
  IF (SELECT f.version FROM pgbulk.format f WHERE f.name = 'ledger') < 2 THEN
    ALTER TABLE pgbulk.load
      ALTER COLUMN version SET DEFAULT 2,
      ADD COLUMN epoch int NOT NULL DEFAULT 0,
      ADD COLUMN ack text NOT NULL DEFAULT 'loaded' CHECK (ack IN ('loaded', 'staged')),
      ADD COLUMN label text,
      ADD COLUMN attempts int NOT NULL DEFAULT 0,
      ADD COLUMN next_try timestamptz,
      ADD COLUMN import_started timestamptz,
      ADD COLUMN error_code text;
    CREATE INDEX load_running ON pgbulk.load (owner) WHERE end_time IS NULL;
    ALTER TABLE pgbulk.load_file ADD COLUMN frozen boolean NOT NULL DEFAULT true;
    UPDATE pgbulk.format SET version = 2 WHERE name = 'ledger';
  END IF;
END
$pgbulk$;

-- One row for each proxy that uses this database; it renews its own alone.
CREATE TABLE IF NOT EXISTS pgbulk.proxy (
  owner       text COLLATE "C" PRIMARY KEY,
  host        text NOT NULL,
  pid         int NOT NULL,
  started     timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_until timestamptz NOT NULL,
  routing_seen text[]
);

-- Which routed tables the proxy knows by now: NULL, none at all.
DO $pgbulk$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = 'pgbulk.proxy'::pg_catalog.regclass AND a.attname = 'routing_seen' AND NOT a.attisdropped) THEN
    ALTER TABLE pgbulk.proxy ADD COLUMN routing_seen text[];
  END IF;
END
$pgbulk$;

-- What makes a staged load real: a row that is inserted in the client's
-- transaction. It holds all that any proxy needs to import the load. A void row
-- says that the transaction did not commit, and keeps it from doing so later.
-- done: there is nothing to import any more. Like import it has no foreign key.
CREATE TABLE IF NOT EXISTS pgbulk.staged (
  process_id    text COLLATE "C" PRIMARY KEY,
  seq           bigint GENERATED ALWAYS AS IDENTITY,
  version       smallint NOT NULL DEFAULT 1,
  void          boolean NOT NULL DEFAULT false,
  done          boolean NOT NULL DEFAULT false,
  owner         text,
  database      text,
  role          text,
  role_oid      oid,
  pid           int,
  backend_start timestamptz,
  relid         oid,
  schema_name   text,
  table_name    text,
  label         text,
  statement     jsonb,
  files         jsonb,
  settings      jsonb,
  staged_at     timestamptz NOT NULL,
  txid          bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS staged_queue ON pgbulk.staged (relid, seq) WHERE NOT done;
CREATE INDEX IF NOT EXISTS staged_session ON pgbulk.staged (pid) WHERE NOT done;

-- Written in the transaction that loads or stages the rows.
CREATE TABLE IF NOT EXISTS pgbulk.label (
  schema_name text COLLATE "C" NOT NULL,
  table_name  text COLLATE "C" NOT NULL,
  label       text COLLATE "C" NOT NULL,
  process_id  text NOT NULL,
  records     bigint,
  created     timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (schema_name, table_name, label)
);
CREATE INDEX IF NOT EXISTS label_created ON pgbulk.label (created);

-- All files that the ledger knows of: those of staged loads, too, whose own
-- record was lost.
CREATE OR REPLACE VIEW pgbulk.known_file AS
SELECT f.process_id, f.file, f.key, f.url, f.records, f.bytes, f.crc32c, f.created_at, f.frozen FROM pgbulk.load_file f
UNION ALL
SELECT s.process_id, j.file, j.key, j.url, j.records, j.bytes, j.crc32c, s.staged_at, true
  FROM pgbulk.staged s
 CROSS JOIN LATERAL jsonb_to_recordset(s.files) AS j(file int, key text, url text, records bigint, bytes bigint, crc32c bigint)
 WHERE NOT EXISTS (SELECT FROM pgbulk.load_file f WHERE f.process_id = s.process_id AND f.file = j.file);
REVOKE ALL ON pgbulk.format, pgbulk.load, pgbulk.load_file, pgbulk.import, pgbulk.proxy, pgbulk.staged,
  pgbulk.label, pgbulk.known_file FROM PUBLIC;

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
