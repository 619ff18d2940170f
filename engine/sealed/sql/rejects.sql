-- add_rejects writes down rows that the load skipped. The message holds the hash
-- of p_rows, so that its MAC covers them.
CREATE OR REPLACE FUNCTION pgbulk.add_rejects(message text, sealed text, mac text, p_rows text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    DECLARE
      v_msg jsonb;
    BEGIN
      SELECT u.o_message INTO v_msg FROM pgbulk.unseal('rejects', message, sealed, mac) u;
      IF (encode(sha256(convert_to(p_rows, 'SQL_ASCII')), 'hex') = v_msg ->> 'digest') IS NOT TRUE THEN
        RAISE EXCEPTION 'pgbulk: message refused (rows)' USING ERRCODE = 'insufficient_privilege';
      END IF;
      INSERT INTO pgbulk.reject (process_id, line, schema_name, table_name, role, column_name, sqlstate, message, raw_line)
      SELECT v_msg ->> 'id', j.line, v_msg ->> 'schema', v_msg ->> 'table', v_msg ->> 'role', j."column", j.sqlstate, j.message, j.raw
        FROM jsonb_to_recordset(p_rows::jsonb) AS j(line bigint, "column" text, sqlstate text, message text, raw text);
      RETURN v_msg ->> 'id';
    END
  $pgbulk$;

DO $pgbulk$
BEGIN -- PostgreSQL 9.4 has no OWNER TO CURRENT_USER
  EXECUTE format('ALTER FUNCTION pgbulk.add_rejects(text, text, text, text) OWNER TO %I', current_user);
END
$pgbulk$;
GRANT EXECUTE ON FUNCTION pgbulk.add_rejects(text, text, text, text) TO PUBLIC;
