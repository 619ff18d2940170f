-- Removes what install.sql made; the tables themselves, their auxiliary ones
-- and their routes stay. Running it again does nothing.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;
DROP FUNCTION IF EXISTS pgbulk.routing_enter(oid);
DROP FUNCTION IF EXISTS pgbulk.routing_moving(oid);
DROP VIEW IF EXISTS pgbulk.routing_moving_groups;
DROP TABLE IF EXISTS pgbulk.routing_generation, pgbulk.routing_moving, pgbulk.routed;
