-- Schema pgbulk: what the proxy needs inside a database to load files by
-- external tables. Run in one transaction; running it again upgrades in place
-- and keeps the secret.
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
            HINT = 'Only a superuser may let the server run a program. Without the installation use the engine plain.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'file_fdw') THEN
    RAISE EXCEPTION 'pgbulk: this server has no extension file_fdw'
      USING ERRCODE = 'feature_not_supported',
            HINT = 'Install the contrib package of this PostgreSQL version on the database host.';
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
-- Nobody has rights here: run_as in staged.sql says why.
CREATE SCHEMA IF NOT EXISTS pgbulk_run;

CREATE EXTENSION IF NOT EXISTS file_fdw WITH SCHEMA pg_catalog;
CREATE SERVER IF NOT EXISTS pgbulk_files FOREIGN DATA WRAPPER file_fdw;
ALTER SERVER pgbulk_files OWNER TO CURRENT_USER;
REVOKE ALL ON FOREIGN SERVER pgbulk_files FROM PUBLIC;

CREATE TABLE IF NOT EXISTS pgbulk.secret (
  id      boolean PRIMARY KEY DEFAULT true CHECK (id),
  key     bytea NOT NULL CHECK (octet_length(key) = 32),
  created timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE pgbulk.secret OWNER TO CURRENT_USER;
REVOKE ALL ON pgbulk.secret FROM PUBLIC;
COMMENT ON TABLE pgbulk.secret IS 'Whoever can read this can let the database host fetch any http URL: only the proxy''s service role may.';

DO $pgbulk$
DECLARE
  v_random bytea;
BEGIN
  IF EXISTS (SELECT FROM pgbulk.secret) THEN
    RETURN;
  END IF;
  IF to_regprocedure('pg_catalog.gen_random_uuid()') IS NOT NULL THEN
    EXECUTE 'SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())'
      INTO v_random;
  ELSE -- PostgreSQL 12 has no strong random function of its own
    v_random := pg_read_binary_file('/dev/urandom', 0, 64);
  END IF;
  IF (octet_length(v_random) = 64) IS NOT TRUE THEN
    RAISE EXCEPTION 'pgbulk: no random bytes for the secret' USING ERRCODE = 'internal_error';
  END IF;
  INSERT INTO pgbulk.secret (key) VALUES (sha256(v_random));
END
$pgbulk$;

CREATE OR REPLACE FUNCTION pgbulk.version() RETURNS integer
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
  AS $pgbulk$ SELECT {{version}} $pgbulk$;

-- xor: a and b of the same length, a multiple of 8.
CREATE OR REPLACE FUNCTION pgbulk.xor(a bytea, b bytea) RETURNS bytea
  LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    SELECT string_agg(int8send(('x' || encode(substr(a, i, 8), 'hex'))::bit(64)::bigint
                             # ('x' || encode(substr(b, i, 8), 'hex'))::bit(64)::bigint), ''::bytea ORDER BY i)
      FROM generate_series(1, octet_length(a), 8) AS i
  $pgbulk$;

-- hmac: HMAC-SHA256 for keys of 32 bytes.
CREATE OR REPLACE FUNCTION pgbulk.hmac(p_key bytea, p_data bytea) RETURNS bytea
  LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_block bytea := p_key || decode(repeat('00', 32), 'hex');
    BEGIN
      RETURN sha256(pgbulk.xor(v_block, decode(repeat('5c', 64), 'hex'))
          || sha256(pgbulk.xor(v_block, decode(repeat('36', 64), 'hex')) || p_data));
    END
  $pgbulk$;

-- unseal checks a message and everything in it that binds it to this session,
-- and returns it with the URL that was sealed with it. Only for the functions
-- below: nobody else may call it.
CREATE OR REPLACE FUNCTION pgbulk.unseal(p_op text, p_message text, p_sealed text, p_mac text,
                                         OUT o_message jsonb, OUT o_url text)
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_key    bytea;
      v_sealed bytea;
      v_stream bytea;
      v_mac    bytea;
      v_role   text;
      v_reason text;
    BEGIN
      IF (p_sealed ~ '^([0-9a-f][0-9a-f])*$' AND length(p_sealed) BETWEEN 32 AND 32768
          AND p_mac ~ '^[0-9a-f]{64}$' AND length(p_message) < 1000000) IS NOT TRUE THEN
        v_reason := 'form';
      ELSE
        SELECT s.key INTO v_key FROM pgbulk.secret s;
        v_sealed := decode(p_sealed, 'hex');
        v_mac := pgbulk.hmac(v_key, convert_to('pgbulk message 1', 'SQL_ASCII') || int4send(octet_length(v_sealed))
                                    || v_sealed || convert_to(p_message, 'SQL_ASCII'));
        -- Hashed once more, so that the time of the comparison tells nothing.
        IF (sha256(v_mac) = sha256(decode(p_mac, 'hex'))) IS NOT TRUE THEN
          v_reason := 'mac';
        END IF;
      END IF;
      IF v_reason IS NULL THEN
        o_message := p_message::jsonb;
        v_role := current_setting('role');
        IF v_role = 'none' THEN
          v_role := session_user;
        END IF;
        v_reason := CASE
          WHEN (o_message ->> 'v' = '1') IS NOT TRUE THEN 'version'
          WHEN (o_message ->> 'op' = p_op) IS NOT TRUE THEN 'operation'
          WHEN (o_message ->> 'pid' = pg_backend_pid()::text) IS NOT TRUE THEN 'session'
          WHEN (o_message ->> 'database' = current_database()::text) IS NOT TRUE THEN 'database'
          WHEN (o_message ->> 'role' = v_role) IS NOT TRUE THEN 'role'
          WHEN (o_message ->> 'id' ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$') IS NOT TRUE THEN 'id'
          WHEN (o_message ->> 'file' ~ '^[0-9]{1,9}$') IS NOT TRUE THEN 'file'
          -- A close must outlive an INSERT of any length; only an open table can be closed.
          WHEN p_op <> 'close' AND ((o_message ->> 'expires')::bigint > extract(epoch FROM clock_timestamp())) IS NOT TRUE THEN 'expired'
        END;
      END IF;
      IF v_reason IS NOT NULL THEN
        RAISE EXCEPTION 'pgbulk: message refused (%)', v_reason USING ERRCODE = 'insufficient_privilege';
      END IF;
      IF octet_length(v_sealed) > 16 THEN
        SELECT string_agg(sha256(k.k || substr(v_sealed, 1, 16) || int4send(i)), ''::bytea ORDER BY i) INTO v_stream
          FROM generate_series(0, (octet_length(v_sealed) - 16) / 32 - 1) AS i,
               (SELECT pgbulk.hmac(v_key, convert_to('pgbulk url 1', 'SQL_ASCII')) AS k OFFSET 0) AS k;
        o_url := rtrim(convert_from(pgbulk.xor(substr(v_sealed, 17), v_stream), 'SQL_ASCII'), ' ');
      END IF;
    END
  $pgbulk$;

-- check_current fails if the table has other columns than this transaction's
-- snapshot shows. Queries of the catalogs, like the proxy's and open_file's, see
-- them as of the snapshot; INSERT and COPY see them as they are. A view made now
-- has the columns as they are.
CREATE OR REPLACE FUNCTION pgbulk.check_current(p_table oid, p_name text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_same boolean;
    BEGIN
      IF current_setting('transaction_isolation') = 'read committed'
         OR EXISTS (SELECT FROM pg_class WHERE oid = p_table AND relpersistence = 't') THEN
        RETURN;
      END IF;
      EXECUTE format('CREATE VIEW pgbulk.%I AS SELECT * FROM %s', p_name, p_table::regclass);
      SELECT count(DISTINCT x.columns) = 1 INTO v_same
        FROM (SELECT string_agg(format('%I %s %s', attname, atttypid, atttypmod), ',' ORDER BY attnum) AS columns
                FROM pg_attribute
               WHERE attrelid IN (p_table, to_regclass(format('pgbulk.%I', p_name))) AND attnum > 0 AND NOT attisdropped
               GROUP BY attrelid) x;
      EXECUTE format('DROP VIEW pgbulk.%I', p_name);
      IF v_same IS NOT TRUE THEN
        RAISE EXCEPTION 'pgbulk: the table has changed' USING ERRCODE = 'object_not_in_prerequisite_state';
      END IF;
    END
  $pgbulk$;

-- make_table makes the external table of one file, readable by one role alone,
-- and returns its name. Only for the functions below and in staged.sql.
CREATE OR REPLACE FUNCTION pgbulk.make_table(p_msg jsonb, p_url text) RETURNS text
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_name    text := format('f_%s_%s', p_msg ->> 'id', p_msg ->> 'file');
      v_columns text;
      v_count   bigint;
      v_options text;
    BEGIN
      -- Nothing that could end the quotes of the shell, and nothing but http.
      IF (p_url ~ '^https?://[A-Za-z0-9.:_-]+/[A-Za-z0-9._~/%+=,:@&?-]*$' AND length(p_url) <= 8192) IS NOT TRUE THEN
        RAISE EXCEPTION 'pgbulk: message refused (url)' USING ERRCODE = 'insufficient_privilege';
      END IF;
      SELECT count(*), string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
               CASE WHEN f.fnull OR f.fnot THEN format(' OPTIONS (%s)', concat_ws(', ',
                 CASE WHEN f.fnull THEN 'force_null ''true''' END,
                 CASE WHEN f.fnot THEN 'force_not_null ''true''' END)) END), ', ' ORDER BY c.n)
        INTO v_count, v_columns
        FROM pg_class r
        JOIN pg_namespace s ON s.oid = r.relnamespace
        CROSS JOIN jsonb_array_elements_text(p_msg -> 'columns') WITH ORDINALITY AS c(name, n)
        JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped
        CROSS JOIN LATERAL (SELECT coalesce(p_msg -> 'force_null' ? c.name, false) AS fnull,
                                   coalesce(p_msg -> 'force_not_null' ? c.name, false) AS fnot) AS f
       WHERE r.oid = (p_msg ->> 'oid')::oid AND s.nspname = p_msg ->> 'schema' AND r.relname = p_msg ->> 'table';
      IF (v_count > 0 AND v_count = jsonb_array_length(p_msg -> 'columns')) IS NOT TRUE THEN
        RAISE EXCEPTION 'pgbulk: the table has changed' USING ERRCODE = 'object_not_in_prerequisite_state';
      END IF;
      PERFORM pgbulk.check_current((p_msg ->> 'oid')::oid, v_name);
      SELECT string_agg(format(', %I %L', o.key, o.value), '' ORDER BY o.key) INTO v_options
        FROM jsonb_each_text(p_msg -> 'options') o
       WHERE o.key IN ('format', 'delimiter', 'null', 'quote', 'escape', 'header', 'encoding');
      -- A redirect fails (-L --max-redirs 0): else its body would be taken for
      -- rows. The stall limit is one byte a second, since a slow INSERT holds
      -- back curl, too.
      BEGIN
        EXECUTE format('CREATE FOREIGN TABLE pgbulk.%I (%s) SERVER pgbulk_files OPTIONS (program %L%s)', v_name, v_columns,
          'curl -q -sS -f -g -L --max-redirs 0 --proto =http,https --connect-timeout 10 --speed-limit 1 --speed-time 60 -- '''
          || p_url || '''', v_options);
      EXCEPTION WHEN query_canceled OR OTHERS THEN
        -- Raised anew: the context of the original would show the statement.
        RAISE EXCEPTION 'pgbulk: create external table: %', regexp_replace(SQLERRM, 'https?://[^ ]*', 'URL', 'g')
          USING ERRCODE = SQLSTATE;
      END;
      EXECUTE format('REVOKE ALL ON TABLE pgbulk.%I FROM PUBLIC', v_name);
      EXECUTE format('GRANT SELECT ON TABLE pgbulk.%I TO %I', v_name, p_msg ->> 'role');
      RETURN v_name;
    END
  $pgbulk$;

-- open_file makes the external table of one file for the role in effect.
CREATE OR REPLACE FUNCTION pgbulk.open_file(message text, sealed text, mac text) RETURNS text
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$ SELECT pgbulk.make_table(u.o_message, u.o_url) FROM pgbulk.unseal('open', message, sealed, mac) u $pgbulk$;

-- close_file drops the external table and records that the file's rows are in
-- the target, in the transaction that put them there.
CREATE OR REPLACE FUNCTION pgbulk.close_file(message text, sealed text, mac text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_msg jsonb;
    BEGIN
      SELECT u.o_message INTO v_msg FROM pgbulk.unseal('close', message, sealed, mac) u;
      EXECUTE format('DROP FOREIGN TABLE pgbulk.%I', format('f_%s_%s', v_msg ->> 'id', v_msg ->> 'file'));
      PERFORM pgbulk.add_import(v_msg);
      RETURN v_msg ->> 'id';
    END
  $pgbulk$;

-- record_import does the second half of close_file alone: for files whose rows
-- came another way than by an external table.
CREATE OR REPLACE FUNCTION pgbulk.record_import(message text, sealed text, mac text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_msg jsonb;
    BEGIN
      SELECT u.o_message INTO v_msg FROM pgbulk.unseal('record', message, sealed, mac) u;
      PERFORM pgbulk.add_import(v_msg);
      RETURN v_msg ->> 'id';
    END
  $pgbulk$;

-- add_import inserts and never reads: so it can't wait for, nor conflict with,
-- any other load under any isolation level. A file that is imported already
-- fails with a unique violation, which undoes the second import.
CREATE OR REPLACE FUNCTION pgbulk.add_import(p_msg jsonb) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    BEGIN
      INSERT INTO pgbulk.import (process_id, file, records, bytes, crc32c, role, imported_at, txid)
      VALUES (p_msg ->> 'id', (p_msg ->> 'file')::int, (p_msg ->> 'records')::bigint, (p_msg ->> 'bytes')::bigint,
              (p_msg ->> 'crc32c')::bigint, p_msg ->> 'role', clock_timestamp(), txid_current());
    END
  $pgbulk$;

ALTER FUNCTION pgbulk.version() OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.xor(bytea, bytea) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.hmac(bytea, bytea) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.unseal(text, text, text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.make_table(jsonb, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.open_file(text, text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.close_file(text, text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.record_import(text, text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.check_current(oid, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.add_import(jsonb) OWNER TO CURRENT_USER;
REVOKE ALL ON FUNCTION pgbulk.xor(bytea, bytea), pgbulk.hmac(bytea, bytea),
  pgbulk.unseal(text, text, text, text), pgbulk.check_current(oid, text), pgbulk.make_table(jsonb, text),
  pgbulk.add_import(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbulk.version(), pgbulk.open_file(text, text, text),
  pgbulk.close_file(text, text, text), pgbulk.record_import(text, text, text) TO PUBLIC;
