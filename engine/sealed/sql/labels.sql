-- Labels, which are written in the client's transaction.

-- claim_label returns null if the label is this load's now, else the count of
-- rows of the load that had it before. While another transaction that has
-- claimed it is under way, this waits for its end.
CREATE OR REPLACE FUNCTION pgbulk.claim_label(message text, sealed text, mac text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_msg    jsonb;
      v_label  record;
    BEGIN
      SELECT u.o_message INTO v_msg FROM pgbulk.unseal('claim_label', message, sealed, mac) u;
      LOOP -- again if the label was dropped in between
        INSERT INTO pgbulk.label (schema_name, table_name, label, process_id)
          VALUES (v_msg ->> 'schema', v_msg ->> 'table', v_msg ->> 'label', v_msg ->> 'id') ON CONFLICT DO NOTHING;
        IF FOUND THEN
          RETURN NULL;
        END IF;
        SELECT l.* INTO v_label FROM pgbulk.label l
         WHERE l.schema_name = v_msg ->> 'schema' AND l.table_name = v_msg ->> 'table' AND l.label = v_msg ->> 'label';
        EXIT WHEN FOUND;
      END LOOP;
      IF EXISTS (SELECT FROM pgbulk.load l WHERE l.process_id = v_label.process_id AND l.ack = 'staged' AND l.status = 'FAILED') THEN
        RAISE EXCEPTION 'the label "%" belongs to load %, which is staged and could not be imported', v_label.label, v_label.process_id
          USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'pgbulkproxy loads retry, or cancel.';
      END IF;
      RETURN coalesce(v_label.records, 0);
    END
  $pgbulk$;

-- finish_label stores the count that a repeated label is answered with.
CREATE OR REPLACE FUNCTION pgbulk.finish_label(message text, sealed text, mac text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_msg jsonb;
    BEGIN
      SELECT u.o_message INTO v_msg FROM pgbulk.unseal('finish_label', message, sealed, mac) u;
      UPDATE pgbulk.label SET records = (v_msg ->> 'records')::bigint
       WHERE schema_name = v_msg ->> 'schema' AND table_name = v_msg ->> 'table' AND label = v_msg ->> 'label'
         AND process_id = v_msg ->> 'id';
      IF NOT FOUND THEN
        RAISE EXCEPTION 'pgbulk: the label is not this load''s' USING ERRCODE = 'object_not_in_prerequisite_state';
      END IF;
      RETURN v_msg ->> 'id';
    END
  $pgbulk$;

ALTER FUNCTION pgbulk.claim_label(text, text, text) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.finish_label(text, text, text) OWNER TO CURRENT_USER;
GRANT EXECUTE ON FUNCTION pgbulk.claim_label(text, text, text), pgbulk.finish_label(text, text, text) TO PUBLIC;
