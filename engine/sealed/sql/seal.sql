-- What the functions of schema pgbulk believe: messages that carry the MAC of the
-- secret.

CREATE TABLE IF NOT EXISTS pgbulk.secret (
  id      boolean PRIMARY KEY DEFAULT true CHECK (id),
  key     bytea NOT NULL CHECK (octet_length(key) = 32),
  created timestamptz NOT NULL DEFAULT clock_timestamp()
);
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
  ELSIF EXISTS (SELECT FROM pg_extension WHERE extname = 'pgcrypto') THEN -- on Greenplum 6 digest.sql made it
    EXECUTE (SELECT format('SELECT %I.gen_random_bytes(64)', n.nspname)
               FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pgcrypto')
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

DO $pgbulk$
DECLARE
  v_object text;
BEGIN -- PostgreSQL 9.4 has no OWNER TO CURRENT_USER
  FOREACH v_object IN ARRAY ARRAY[
    'TABLE pgbulk.secret',
    'FUNCTION pgbulk.version()',
    'FUNCTION pgbulk.xor(bytea, bytea)',
    'FUNCTION pgbulk.hmac(bytea, bytea)',
    'FUNCTION pgbulk.unseal(text, text, text, text)'] LOOP
    EXECUTE format('ALTER %s OWNER TO %I', v_object, current_user);
  END LOOP;
END
$pgbulk$;
REVOKE ALL ON FUNCTION pgbulk.xor(bytea, bytea), pgbulk.hmac(bytea, bytea),
  pgbulk.unseal(text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbulk.version() TO PUBLIC;
