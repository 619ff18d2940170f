-- relyt_sys.LOADER_CONFIG(): the object store's settings, for `store: loader_config`.
-- Run in one transaction; running it again keeps what is there.

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS relyt_sys;

CREATE TABLE IF NOT EXISTS relyt_sys.loader_settings (
  id                      boolean PRIMARY KEY DEFAULT true CHECK (id),
  endpoint                text,
  region                  text,
  bucket_name             text NOT NULL,
  prefix                  text,
  access_key              text,
  secret_key              text,
  concurrency             int,
  part_size               bigint,
  import_timeout          interval,
  import_error_sleep_time interval
);
REVOKE ALL ON relyt_sys.loader_settings FROM PUBLIC;
COMMENT ON TABLE relyt_sys.loader_settings IS 'One row, with the credentials of the object store: only the proxy''s service role may read it, by LOADER_CONFIG().';

DO $pgbulk$
BEGIN
  IF to_regprocedure('relyt_sys.loader_config()') IS NULL THEN
    CREATE FUNCTION relyt_sys.loader_config()
      RETURNS TABLE (endpoint text, region text, bucket_name text, prefix text, access_key text, secret_key text,
                     concurrency int, part_size bigint, import_timeout interval, import_error_sleep_time interval)
      LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
      AS 'SELECT s.endpoint, s.region, s.bucket_name, s.prefix, s.access_key, s.secret_key,
                 s.concurrency, s.part_size, s.import_timeout, s.import_error_sleep_time
            FROM relyt_sys.loader_settings s';
  END IF;
END
$pgbulk$;
REVOKE ALL ON FUNCTION relyt_sys.loader_config() FROM PUBLIC;
