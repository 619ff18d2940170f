-- Staged loads: recorded in the client's transaction, imported by a worker of
-- some proxy over the service connection, with the rights of the role that sent
-- them.

-- record_staged makes a load staged when the client's transaction commits. What
-- the rows depend on of the session's settings is recorded, too. path is the
-- session's search_path, which a function with a search_path of its own can't
-- see.
CREATE OR REPLACE FUNCTION pgbulk.record_staged(message text, sealed text, mac text, path text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_msg      jsonb;
      v_oid      oid;
      v_super    boolean;
      v_settings jsonb;
    BEGIN
      SELECT u.o_message INTO v_msg FROM pgbulk.unseal('stage', message, sealed, mac) u;
      SELECT r.oid, r.rolsuper INTO STRICT v_oid, v_super FROM pg_roles r WHERE r.rolname = v_msg ->> 'role';
      -- Those that only a superuser may set fail at the import of any other.
      SELECT jsonb_object_agg(s.name, s.setting) INTO v_settings FROM pg_settings s
       WHERE (s.context = 'user' OR s.context = 'superuser' AND v_super)
         AND (s.source IN ('client', 'user', 'database', 'database user', 'session')
              OR s.name IN ('DateStyle', 'IntervalStyle', 'TimeZone', 'array_nulls', 'bytea_output', 'default_text_search_config',
                            'extra_float_digits', 'lc_monetary', 'lc_numeric', 'lc_time', 'row_security', 'xmlbinary', 'xmloption'))
         AND s.name NOT IN ('search_path', 'application_name', 'client_encoding', 'client_min_messages', 'exit_on_error',
                            'is_superuser', 'role', 'seed', 'session_authorization')
         AND s.name !~ '(_timeout$|^log_|^debug_|^tcp_|^transaction_|^default_transaction_)';
      INSERT INTO pgbulk.staged (process_id, owner, database, role, role_oid, pid, backend_start, relid, schema_name, table_name,
                                 label, statement, files, settings, staged_at, txid)
      SELECT v_msg ->> 'id', v_msg ->> 'owner', v_msg ->> 'database', v_msg ->> 'role', v_oid, pg_backend_pid(),
             (SELECT a.backend_start FROM pg_stat_get_activity(pg_backend_pid()) a),
             (v_msg -> 'statement' -> 'open' ->> 'oid')::oid, v_msg -> 'statement' -> 'open' ->> 'schema',
             v_msg -> 'statement' -> 'open' ->> 'table', v_msg ->> 'label', v_msg -> 'statement', v_msg -> 'files',
             coalesce(v_settings, '{}') || jsonb_build_object('search_path', path), clock_timestamp(), txid_current()
      ON CONFLICT (process_id) DO NOTHING;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'pgbulk: load % was given up, since its proxy was taken for lost', v_msg ->> 'id'
          USING ERRCODE = 'serialization_failure';
      END IF;
      RETURN v_msg ->> 'id';
    END
  $pgbulk$;

-- sender is the present name of the role that a load belongs to. A role that was
-- dropped and made anew is another one.
CREATE OR REPLACE FUNCTION pgbulk.sender(p_id text) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_was text;
      v_now text;
    BEGIN
      SELECT s.role, r.rolname INTO v_was, v_now
        FROM pgbulk.staged s LEFT JOIN pg_roles r ON r.oid = s.role_oid WHERE s.process_id = p_id;
      IF v_now IS NULL THEN
        RAISE EXCEPTION 'pgbulk: role "%" that sent the load does not exist any more', v_was USING ERRCODE = 'undefined_object';
      END IF;
      RETURN v_now;
    END
  $pgbulk$;

-- open_staged makes the external table of one file of a staged load, for the
-- role that sent it.
CREATE OR REPLACE FUNCTION pgbulk.open_staged(message text, sealed text, mac text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_msg       jsonb;
      v_url       text;
      v_statement jsonb;
      v_options   jsonb;
    BEGIN
      SELECT u.o_message, u.o_url INTO v_msg, v_url FROM pgbulk.unseal('open_staged', message, sealed, mac) u;
      SELECT s.statement INTO v_statement FROM pgbulk.staged s WHERE s.process_id = v_msg ->> 'id' AND NOT s.done;
      IF (v_statement ->> 'v' = '1') IS NOT TRUE THEN
        RAISE EXCEPTION 'pgbulk: load % is not staged, or by a newer program', v_msg ->> 'id'
          USING ERRCODE = 'object_not_in_prerequisite_state';
      END IF;
      v_options := v_statement -> CASE WHEN v_msg ->> 'file' = '1' THEN 'first_options' ELSE 'options' END;
      RETURN pgbulk.make_table((v_statement -> 'open') || jsonb_build_object('options', v_options, 'id', v_msg -> 'id',
        'file', v_msg -> 'file', 'role', pgbulk.sender(v_msg ->> 'id')), v_url);
    END
  $pgbulk$;

-- make_runner makes the function of a role in which run_as runs its statements.
CREATE OR REPLACE FUNCTION pgbulk.make_runner(p_name text, p_role text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    BEGIN
      EXECUTE format($run$
        CREATE FUNCTION %s(p_names text[], p_values text[], p_statements text[]) RETURNS bigint[]
          LANGUAGE plpgsql SECURITY DEFINER
          AS $body$
            DECLARE
              v_rows   bigint;
              v_counts bigint[] := '{}';
              v_sql    text;
            BEGIN
              FOR i IN 1 .. pg_catalog.cardinality(p_names) LOOP
                PERFORM pg_catalog.set_config(p_names[i], p_values[i], true);
              END LOOP;
              FOREACH v_sql IN ARRAY p_statements LOOP
                EXECUTE v_sql;
                GET DIAGNOSTICS v_rows = ROW_COUNT;
                v_counts := pg_catalog.array_append(v_counts, v_rows);
              END LOOP;
              SET CONSTRAINTS ALL IMMEDIATE;
              RETURN v_counts;
            END
          $body$ $run$, p_name);
      EXECUTE format('REVOKE ALL ON FUNCTION %s(text[], text[], text[]) FROM PUBLIC', p_name);
      EXECUTE format('ALTER FUNCTION %s(text[], text[], text[]) OWNER TO %I', p_name, p_role);
    END
  $pgbulk$;

-- run_as runs statements with the rights of a role, and returns how many rows
-- each has written.
--
-- Triggers, defaults and checks are code of users, and the session belongs to the
-- service role. In a SECURITY DEFINER function SET ROLE, RESET ROLE and SET
-- SESSION AUTHORIZATION are refused: so the statements run inside one that
-- belongs to the role. It lives in this transaction only, so that it never stands
-- in the way of DROP ROLE, in a schema where the role has no rights: though it
-- owns the function it can't name it. What such code could leave behind to run
-- when the function has ended (deferred triggers, held cursors) would run with
-- the rights of the service role: it is run before, or refused.
CREATE OR REPLACE FUNCTION pgbulk.run_as(p_id text, p_settings jsonb, p_statements text[]) RETURNS bigint[]
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_role   text := pgbulk.sender(p_id);
      v_name   text := format('pgbulk_run.%I', 'r_' || p_id);
      v_call   text := format('SELECT %s($1, $2, $3)', v_name);
      -- Run under a path of the users': text could be a type of theirs.
      v_drop   text := format('DROP FUNCTION IF EXISTS %s(pg_catalog.text[], pg_catalog.text[], pg_catalog.text[])', v_name);
      -- The path comes last: the body is the role's own, but let it mean what it says.
      v_names  text[] := ARRAY(SELECT s.key FROM jsonb_each_text(p_settings) s ORDER BY s.key = 'search_path', s.key);
      v_values text[] := ARRAY(SELECT s.value FROM jsonb_each_text(p_settings) s ORDER BY s.key = 'search_path', s.key);
      v_counts bigint[];
    BEGIN
      PERFORM pgbulk.make_runner(v_name, v_role);
      -- By its number, since names move.
      IF NOT EXISTS (SELECT FROM pg_proc p JOIN pgbulk.staged s ON s.role_oid = p.proowner AND s.process_id = p_id
                      WHERE p.proname = 'r_' || p_id AND p.pronamespace = 'pgbulk_run'::regnamespace) THEN
        RAISE EXCEPTION 'pgbulk: role "%" was renamed', v_role USING ERRCODE = 'serialization_failure';
      END IF;
      EXECUTE v_call INTO v_counts USING v_names, v_values, p_statements;
      -- From here on, search_path and all other settings may be the users': only
      -- calls of functions that have their own, by qualified names.
      PERFORM pgbulk.check_left_behind();
      EXECUTE v_drop;
      RETURN v_counts;
    END
  $pgbulk$;

-- check_left_behind fails if something is left that would run code of users at
-- COMMIT: a held cursor's query, or a deferred trigger (SET CONSTRAINTS ALL
-- IMMEDIATE ran them, but they can defer others anew). The server does not show
-- which triggers wait, but refuses to alter their tables; only a table that is
-- locked for writing can have any.
CREATE OR REPLACE FUNCTION pgbulk.check_left_behind() RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_table oid;
    BEGIN
      IF EXISTS (SELECT FROM pg_cursors c WHERE c.is_holdable) THEN
        RAISE EXCEPTION 'pgbulk: a staged load can''t leave a cursor WITH HOLD behind' USING ERRCODE = 'feature_not_supported';
      END IF;
      FOR v_table IN
        SELECT DISTINCT l.relation FROM pg_locks l JOIN pg_trigger t ON t.tgrelid = l.relation AND t.tgdeferrable
         WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.mode <> 'AccessShareLock'
           AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      LOOP
        BEGIN
          EXECUTE format('ALTER TABLE ONLY %s RESET (fillfactor)', v_table::regclass);
          RAISE EXCEPTION USING ERRCODE = 'PB000', MESSAGE = 'undone, with its lock';
        EXCEPTION
          WHEN SQLSTATE 'PB000' THEN
            NULL;
          WHEN object_in_use THEN
            RAISE EXCEPTION 'pgbulk: a staged load can''t leave deferred triggers of table % behind', v_table::regclass
              USING ERRCODE = 'feature_not_supported', DETAIL = SQLERRM;
        END;
      END LOOP;
    END
  $pgbulk$;

-- import_staged brings the rows of a staged load, whose external tables are open,
-- into its table, and says in the ledger that they are there. It returns how many
-- rows were written. The session's settings, temporary objects and prepared
-- statements may afterwards be those of users: the session is to be closed.
CREATE OR REPLACE FUNCTION pgbulk.import_staged(p_id text, p_owner text, p_epoch int) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_staged     record;
      v_statements text[];
      v_counts     bigint[];
    BEGIN
      PERFORM pgbulk.fence(p_id, p_owner, p_epoch);
      SELECT s.* INTO v_staged FROM pgbulk.staged s WHERE s.process_id = p_id AND NOT s.done;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'pgbulk: load % is not staged', p_id USING ERRCODE = 'PB001';
      END IF;
      v_statements := ARRAY(SELECT e.step ->> 'sql'
        FROM jsonb_array_elements(v_staged.statement -> 'steps') WITH ORDINALITY AS e(step, n) ORDER BY e.n);
      v_counts := pgbulk.run_as(p_id, v_staged.settings, v_statements);
      RETURN pgbulk.finish_import(p_id, v_counts); -- as in run_as, nothing but a call
    END
  $pgbulk$;

-- finish_import is the trusted second half of import_staged.
CREATE OR REPLACE FUNCTION pgbulk.finish_import(p_id text, p_counts bigint[]) RETURNS bigint
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_staged record;
      v_step   record;
      v_file   record;
      v_rows   bigint := 0;
    BEGIN
      SELECT s.* INTO STRICT v_staged FROM pgbulk.staged s WHERE s.process_id = p_id;
      FOR v_step IN SELECT (e.step ->> 'rows')::bigint AS wanted, p_counts[e.n] AS got
                      FROM jsonb_array_elements(v_staged.statement -> 'steps') WITH ORDINALITY AS e(step, n) LOOP
        v_rows := v_rows + v_step.got;
        IF v_step.wanted <> v_step.got THEN
          RAISE EXCEPTION 'pgbulk: % rows were staged, and % written', v_step.wanted, v_step.got USING ERRCODE = 'io_error';
        END IF;
      END LOOP;
      FOR v_file IN SELECT j.file FROM jsonb_to_recordset(v_staged.files) AS j(file int) LOOP
        EXECUTE format('DROP FOREIGN TABLE pgbulk.%I', format('f_%s_%s', p_id, v_file.file));
      END LOOP;
      INSERT INTO pgbulk.import (process_id, file, records, bytes, crc32c, role, imported_at, txid)
      SELECT p_id, j.file, j.records, j.bytes, j.crc32c, pgbulk.sender(p_id), clock_timestamp(), txid_current()
        FROM jsonb_to_recordset(v_staged.files) AS j(file int, records bigint, bytes bigint, crc32c bigint);
      UPDATE pgbulk.staged SET done = true WHERE process_id = p_id;
      UPDATE pgbulk.load SET status = 'COMPLETED', end_time = clock_timestamp(), import_started = NULL, next_try = NULL,
             error_message = NULL, error_code = NULL, files = greatest(files, jsonb_array_length(v_staged.files))
       WHERE process_id = p_id;
      RETURN v_rows;
    END
  $pgbulk$;

ALTER FUNCTION pgbulk.record_staged(text, text, text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.sender(text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.open_staged(text, text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.make_runner(text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.run_as(text, jsonb, text[]) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.check_left_behind() OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.import_staged(text, text, int) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.finish_import(text, bigint[]) OWNER TO CURRENT_USER;
REVOKE ALL ON FUNCTION pgbulk.sender(text), pgbulk.open_staged(text, text, text), pgbulk.make_runner(text, text), pgbulk.run_as(text, jsonb, text[]),
  pgbulk.check_left_behind(), pgbulk.import_staged(text, text, int), pgbulk.finish_import(text, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbulk.record_staged(text, text, text, text) TO PUBLIC;
