-- The ledger's functions. Those that are not SECURITY DEFINER run with the
-- rights of the service role, whose statements they are.

-- fence locks a load for the rest of the transaction, and fails if it does not
-- belong to that owner any more: who lost a load can't commit anything for it,
-- and nobody can take it meanwhile.
CREATE OR REPLACE FUNCTION pgbulk.fence(p_id text, p_owner text, p_epoch int) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    BEGIN
      PERFORM FROM pgbulk.load l
        WHERE l.process_id = p_id AND l.owner = p_owner AND l.epoch = p_epoch AND l.end_time IS NULL FOR UPDATE;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'pgbulk: load % is not this proxy''s to import', p_id USING ERRCODE = 'PB001';
      END IF;
    END
  $pgbulk$;

-- is_staged says whether the client's transaction that stages a load has
-- committed. If it has not, it never will: the void row stands in its way. While
-- it is under way this waits, a little.
CREATE OR REPLACE FUNCTION pgbulk.is_staged(p_id text) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
  AS $pgbulk$
    BEGIN
      INSERT INTO pgbulk.staged (process_id, void, done, staged_at, txid)
        VALUES (p_id, true, true, clock_timestamp(), txid_current()) ON CONFLICT (process_id) DO NOTHING;
      RETURN (SELECT NOT s.void FROM pgbulk.staged s WHERE s.process_id = p_id);
    END
  $pgbulk$;

-- settle writes down how a load ended and returns the status that it has then,
-- null for an unknown load. Import rows come first; then, how it was settled
-- before; then, whether it waits for its import; then what the proxy says.
CREATE OR REPLACE FUNCTION pgbulk.settle(p_id text, p_status text, p_message text, p_files bigint,
                                         p_owner text, p_epoch int) RETURNS text
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_load     pgbulk.load;
      v_waits    boolean := false;
      v_imported bigint;
      v_frozen   bigint;
      v_status   text;
    BEGIN
      SELECT l.* INTO v_load FROM pgbulk.load l WHERE l.process_id = p_id FOR UPDATE;
      IF NOT FOUND THEN
        RETURN NULL;
      END IF;
      IF (v_load.owner <> p_owner OR v_load.epoch <> p_epoch) THEN
        RAISE EXCEPTION 'pgbulk: load % is not this proxy''s to settle', p_id USING ERRCODE = 'PB001';
      END IF;
      IF v_load.ack = 'staged' AND v_load.end_time IS NULL THEN
        v_waits := pgbulk.is_staged(p_id);
      END IF;
      SELECT count(*) INTO v_imported FROM pgbulk.import i WHERE i.process_id = p_id;
      SELECT count(*) INTO v_frozen FROM pgbulk.known_file f WHERE f.process_id = p_id AND f.frozen;
      v_status := CASE
        WHEN v_imported > 0 AND v_imported >= greatest(v_frozen, p_files) THEN 'COMPLETED'
        WHEN v_load.end_time IS NOT NULL THEN v_load.status
        WHEN v_waits THEN 'RUNNING'
        WHEN p_status = 'COMPLETED' THEN 'CANCELLED'
        ELSE p_status END;
      IF v_status <> 'RUNNING' THEN
        UPDATE pgbulk.load l SET
          status = v_status,
          error_message = CASE WHEN v_status = 'COMPLETED' THEN NULL
                               WHEN l.end_time IS NOT NULL THEN l.error_message
                               ELSE nullif(p_message, '') END,
          files = greatest(l.files, p_files),
          end_time = coalesce(l.end_time, clock_timestamp())
        WHERE l.process_id = p_id;
      END IF;
      RETURN v_status;
    END
  $pgbulk$;

-- cancel gives up a staged load that is not imported yet; its label is free
-- again. It waits for an import that is under way. It returns the status.
CREATE OR REPLACE FUNCTION pgbulk.cancel(p_id text) RETURNS text
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_load pgbulk.load;
    BEGIN
      SELECT l.* INTO v_load FROM pgbulk.load l WHERE l.process_id = p_id FOR UPDATE;
      IF NOT FOUND THEN
        RETURN NULL;
      END IF;
      IF v_load.ack = 'staged' AND v_load.status IN ('RUNNING', 'FAILED')
         AND EXISTS (SELECT FROM pgbulk.staged s WHERE s.process_id = p_id AND NOT s.done) THEN
        UPDATE pgbulk.staged SET done = true WHERE process_id = p_id;
        DELETE FROM pgbulk.label WHERE process_id = p_id;
        UPDATE pgbulk.load SET status = 'CANCELLED', end_time = clock_timestamp(), import_started = NULL
          WHERE process_id = p_id;
        RETURN 'CANCELLED';
      END IF;
      RETURN v_load.status;
    END
  $pgbulk$;

-- flush waits until the staged loads of this session are in, for everybody.
CREATE OR REPLACE FUNCTION pgbulk.flush() RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_start timestamptz;
      v_wait  float8 := 0.02;
      v_id    text;
      v_code  text;
      v_text  text;
    BEGIN
      IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'pgbulk.flush() cannot see the end of loads in a transaction of isolation level %',
          current_setting('transaction_isolation') USING ERRCODE = 'active_sql_transaction', HINT = 'Call it in a READ COMMITTED transaction.';
      END IF;
      SELECT a.backend_start INTO v_start FROM pg_stat_get_activity(pg_backend_pid()) a;
      IF EXISTS (SELECT FROM pgbulk.staged s WHERE s.pid = pg_backend_pid() AND s.backend_start = v_start
                  AND NOT s.done AND s.txid = txid_current_if_assigned()) THEN
        RAISE EXCEPTION 'pgbulk.flush() cannot wait for loads of the transaction that calls it'
          USING ERRCODE = 'active_sql_transaction', HINT = 'They are imported after COMMIT.';
      END IF;
      LOOP
        SELECT s.process_id, l.error_code, l.error_message INTO v_id, v_code, v_text
          FROM pgbulk.staged s JOIN pgbulk.load l ON l.process_id = s.process_id
         WHERE s.pid = pg_backend_pid() AND s.backend_start = v_start AND NOT s.done AND l.status = 'FAILED'
         ORDER BY s.seq LIMIT 1;
        IF FOUND THEN
          RAISE EXCEPTION '%', coalesce(v_text, 'the load failed')
            USING ERRCODE = CASE WHEN v_code ~ '^[0-9A-Z]{5}$' AND v_code <> '00000' THEN v_code ELSE 'P0001' END,
                  DETAIL = 'Load ' || v_id || ' is staged and not imported.',
                  HINT = 'pgbulkproxy loads retry, or cancel.';
        END IF;
        EXIT WHEN NOT EXISTS (SELECT FROM pgbulk.staged s
                               WHERE s.pid = pg_backend_pid() AND s.backend_start = v_start AND NOT s.done);
        PERFORM pg_sleep(v_wait);
        v_wait := least(v_wait * 1.5, 0.2);
      END LOOP;
    END
  $pgbulk$;

ALTER FUNCTION pgbulk.fence(text, text, int) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.is_staged(text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.settle(text, text, text, bigint, text, int) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.cancel(text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.flush() OWNER TO CURRENT_USER;
REVOKE ALL ON FUNCTION pgbulk.fence(text, text, int), pgbulk.is_staged(text),
  pgbulk.settle(text, text, text, bigint, text, int), pgbulk.cancel(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbulk.flush() TO PUBLIC;
