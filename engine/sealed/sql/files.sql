-- What loads files by external tables.

DO $pgbulk$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'file_fdw') THEN
    RAISE EXCEPTION 'pgbulk: this server has no extension file_fdw'
      USING ERRCODE = 'feature_not_supported',
            HINT = 'Install the contrib package of this PostgreSQL version on the database host.';
  END IF;
END
$pgbulk$;

-- Nobody has rights here: run_as in staged.sql says why.
CREATE SCHEMA IF NOT EXISTS pgbulk_run;

CREATE EXTENSION IF NOT EXISTS file_fdw WITH SCHEMA pg_catalog;
CREATE SERVER IF NOT EXISTS pgbulk_files FOREIGN DATA WRAPPER file_fdw;
ALTER SERVER pgbulk_files OWNER TO CURRENT_USER;
REVOKE ALL ON FOREIGN SERVER pgbulk_files FROM PUBLIC;

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

ALTER FUNCTION pgbulk.make_table(jsonb, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.open_file(text, text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.close_file(text, text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.record_import(text, text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.check_current(oid, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.add_import(jsonb) OWNER TO CURRENT_USER;
REVOKE ALL ON FUNCTION pgbulk.check_current(oid, text), pgbulk.make_table(jsonb, text),
  pgbulk.add_import(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbulk.open_file(text, text, text),
  pgbulk.close_file(text, text, text), pgbulk.record_import(text, text, text) TO PUBLIC;
