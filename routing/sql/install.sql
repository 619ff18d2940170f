-- What routed tables need: which tables are registered, which groups a
-- migration moves, and how often the routes of a table have changed. Run in one
-- transaction; running it again changes nothing.

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS pgbulk;
GRANT USAGE ON SCHEMA pgbulk TO PUBLIC;
CREATE SCHEMA IF NOT EXISTS relyt_sys;

-- The tables that `routing enable` or a migration has registered.
CREATE TABLE IF NOT EXISTS pgbulk.routed (
  main       oid PRIMARY KEY,
  registered timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The groups that a migration is about to move. A row without a mover, who
-- holds the group's lock while it moves, does no harm: the next one takes it.
CREATE TABLE IF NOT EXISTS pgbulk.routing_moving (
  main     oid NOT NULL,
  group_id text COLLATE "C" NOT NULL,
  to_aux   boolean NOT NULL,
  since    timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (main, group_id)
);

-- Counted up by each transaction that changes routes.
CREATE TABLE IF NOT EXISTS pgbulk.routing_generation (
  main       oid PRIMARY KEY,
  generation bigint NOT NULL DEFAULT 0
);

ALTER TABLE pgbulk.routed OWNER TO CURRENT_USER;
ALTER TABLE pgbulk.routing_moving OWNER TO CURRENT_USER;
ALTER TABLE pgbulk.routing_generation OWNER TO CURRENT_USER;
REVOKE ALL ON pgbulk.routed, pgbulk.routing_moving, pgbulk.routing_generation FROM PUBLIC;

-- A group's name is data of the table: only who may write or read the table
-- sees it. In a view these functions ask for the caller's rights.
CREATE OR REPLACE VIEW pgbulk.routing_moving_groups WITH (security_barrier = true) AS
  SELECT m.main, m.group_id, m.to_aux, m.since FROM pgbulk.routing_moving m
   WHERE has_any_column_privilege(m.main, 'INSERT, SELECT, UPDATE') OR has_table_privilege(m.main, 'DELETE');
ALTER VIEW pgbulk.routing_moving_groups OWNER TO CURRENT_USER;
REVOKE ALL ON pgbulk.routing_moving_groups FROM PUBLIC;
GRANT SELECT ON pgbulk.routing_moving_groups TO PUBLIC;

-- routing_moving returns the groups of a table that a migration may be moving.
CREATE OR REPLACE FUNCTION pgbulk.routing_moving(p_main oid) RETURNS text[]
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    SELECT ARRAY(SELECT m.group_id FROM pgbulk.routing_moving_groups m WHERE m.main = p_main ORDER BY m.group_id)
  $pgbulk$;

-- routing_enter fails with 40001 where the table's routes have changed since
-- the snapshot of a REPEATABLE READ or SERIALIZABLE transaction: it would place
-- its rows by old routes. So does the INSERT, where the row is newer. The row's
-- lock goes with the subtransaction: the advisory locks keep the answer true, and
-- migrations would wait for the end of each such load, one after the other.
CREATE OR REPLACE FUNCTION pgbulk.routing_enter(p_main oid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $pgbulk$
    BEGIN
      PERFORM FROM pgbulk.routing_generation g WHERE g.main = p_main FOR SHARE;
      IF NOT FOUND AND EXISTS (SELECT FROM pg_class c WHERE c.oid = p_main AND c.relkind IN ('r', 'p')) THEN
        INSERT INTO pgbulk.routing_generation (main) VALUES (p_main) ON CONFLICT (main) DO NOTHING;
      END IF;
      RAISE EXCEPTION USING ERRCODE = 'PB000';
    EXCEPTION WHEN SQLSTATE 'PB000' THEN
      NULL;
    END
  $pgbulk$;

ALTER FUNCTION pgbulk.routing_moving(oid) OWNER TO CURRENT_USER;
ALTER FUNCTION pgbulk.routing_enter(oid) OWNER TO CURRENT_USER;
GRANT EXECUTE ON FUNCTION pgbulk.routing_moving(oid), pgbulk.routing_enter(oid) TO PUBLIC;
