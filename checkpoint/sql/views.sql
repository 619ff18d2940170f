-- What users see of the ledger, in schema relyt_sys.

-- A role sees the loads of the roles that it is a member of; who may read the
-- tables themselves sees all. The import rows have the last word on the status.
-- The columns of the original loader come first.
CREATE OR REPLACE VIEW relyt_sys.relyt_loader_checkpoint WITH (security_barrier = true) AS
SELECT l.process_id,
       quote_ident(l.schema_name) || '.' || quote_ident(l.table_name) AS pg_table,
       CASE WHEN c.done THEN 'COMPLETED' ELSE l.status END AS status,
       l.start_time,
       f.last_insert_time,
       greatest(f.files, l.files) AS files_total,
       f.files_imported,
       f.file_details,
       CASE WHEN NOT c.done THEN l.error_message END AS error_message,
       greatest(l.error_records, (SELECT count(*) FROM pgbulk.reject r WHERE r.process_id = l.process_id)) AS error_records,
       l.ack,
       l.label,
       l.attempts,
       CASE WHEN l.end_time IS NULL THEN l.next_try END AS next_try,
       l.end_time,
       -- Acknowledged, not imported and not given up.
       NOT c.done AND EXISTS (SELECT FROM pgbulk.staged q WHERE q.process_id = l.process_id AND NOT q.done) AS pending
  FROM pgbulk.load l
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS files,
              count(*) FILTER (WHERE s.frozen OR i.process_id IS NOT NULL) AS files_frozen,
              count(i.process_id)::int AS files_imported,
              max(i.imported_at) AS last_insert_time,
              coalesce(jsonb_agg(jsonb_build_object(
                'file', file, 'key', s.key, 'url', s.url,
                'records', coalesce(i.records, s.records), 'bytes', coalesce(s.bytes, i.bytes),
                'checksum', 'crc32c:' || lpad(to_hex(coalesce(s.crc32c, i.crc32c)), 8, '0'),
                'state', CASE WHEN i.process_id IS NOT NULL THEN 'IMPORTED'
                              WHEN l.status = 'FAILED' THEN 'ERROR'
                              WHEN NOT s.frozen THEN 'CREATED'
                              WHEN l.end_time IS NULL AND l.import_started IS NOT NULL THEN 'IMPORTING'
                              ELSE 'FROZEN' END,
                'created_at', s.created_at, 'imported_at', i.imported_at) ORDER BY file), '[]') AS file_details
         FROM (SELECT * FROM pgbulk.known_file x WHERE x.process_id = l.process_id) s
         FULL JOIN (SELECT * FROM pgbulk.import x WHERE x.process_id = l.process_id) i USING (file)) f
 CROSS JOIN LATERAL (
       SELECT l.status <> 'RUNNING' AND f.files_imported > 0
              AND f.files_imported >= greatest(f.files_frozen, l.files) AS done) c
 WHERE (SELECT has_table_privilege('pgbulk.load'::regclass, 'SELECT'))
    OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = l.role AND pg_has_role(r.oid, 'MEMBER'));

REVOKE ALL ON relyt_sys.relyt_loader_checkpoint FROM PUBLIC;
GRANT SELECT ON relyt_sys.relyt_loader_checkpoint TO PUBLIC;
