package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ManifestVersion is the version of the manifests that Manifest makes.
const ManifestVersion = 1

// manifestSQL is the manifest as text, fields in this order; the files in the
// order of the data.
const manifestSQL = `SELECT pg_catalog.json_build_object('version', $2::int, 'process_id', l.process_id, 'database', l.database,
  'schema', l.schema_name, 'table', l.table_name, 'role', l.role, 'label', l.label,
  'started', l.start_time, 'ended', l.end_time, 'rows', f.records,
  'files', f.files)::text
FROM pgbulk.load l CROSS JOIN LATERAL (
  SELECT coalesce(sum(k.records), 0) AS records, coalesce(json_agg(json_build_object('file', k.file, 'key', k.key, 'url', k.url,
    'records', k.records, 'bytes', k.bytes, 'checksum', 'crc32c:' || lpad(to_hex(k.crc32c), 8, '0')) ORDER BY k.file), '[]') AS files
    FROM pgbulk.known_file k WHERE k.process_id = l.process_id AND k.frozen) f
WHERE l.process_id = $1`

// Manifest returns what is to be known of a load whose files are kept, as JSON.
func (p *Postgres) Manifest(ctx context.Context, processID string) ([]byte, error) {
	var text string
	err := p.db.QueryRow(ctx, manifestSQL, processID, ManifestVersion).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrUnknownLoad
	}
	if err == nil && !json.Valid([]byte(text)) {
		err = errors.New("it is no JSON")
	}
	if err != nil {
		return nil, fmt.Errorf("manifest of load %s: %w", processID, err)
	}
	return []byte(text + "\n"), nil
}
