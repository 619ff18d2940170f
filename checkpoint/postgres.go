package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrUnknownLoad says that the ledger has no row of that process id: its Begin
// did not succeed.
var ErrUnknownLoad = errors.New("the ledger has no such load")

// DB runs SQL over the service connection; *pgxpool.Pool is one. Its sessions
// must have the settings of RuntimeParams.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// RuntimeParams are the settings that the ledger's sessions need whatever the
// server's or the role's defaults are. Under SERIALIZABLE the ledger's reads
// could make clients' loads fail.
func RuntimeParams() map[string]string {
	return map[string]string{
		"default_transaction_isolation": "read committed",
		"default_transaction_read_only": "off",
		"search_path":                   "pg_catalog, pg_temp",
	}
}

// Postgres is the Ledger of one database, in tables of its schema pgbulk.
type Postgres struct {
	db DB
}

// NewPostgres returns the ledger behind db.
func NewPostgres(db DB) *Postgres { return &Postgres{db: db} }

// Check returns an error if the ledger is not installed, not accessible or of
// another format version.
func (p *Postgres) Check(ctx context.Context) error {
	var version int
	err := p.db.QueryRow(ctx, "SELECT version FROM pgbulk.format WHERE name = 'ledger'").Scan(&version)
	if err != nil {
		return fmt.Errorf("check ledger: %w", err)
	}
	if version != FormatVersion {
		return fmt.Errorf("check ledger: it has format version %d, this program knows %d", version, FormatVersion)
	}
	return nil
}

const beginSQL = `INSERT INTO pgbulk.load (process_id, database, role, schema_name, table_name, owner, start_time)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (process_id) DO NOTHING`

// Begin implements Ledger. Recording the same load again does nothing.
func (p *Postgres) Begin(ctx context.Context, l Load) error {
	_, err := p.db.Exec(ctx, beginSQL, l.ProcessID, clean(l.Database), clean(l.Role),
		clean(l.Schema), clean(l.Table), clean(l.Owner), l.Started)
	if err != nil {
		return fmt.Errorf("record load %s: %w", l.ProcessID, err)
	}
	return nil
}

const freezeSQL = `INSERT INTO pgbulk.load_file (process_id, file, key, url, records, bytes, crc32c, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (process_id, file) DO UPDATE SET key = excluded.key, url = excluded.url, records = excluded.records,
  bytes = excluded.bytes, crc32c = excluded.crc32c, created_at = excluded.created_at`

// Freeze implements Ledger. The last record of a file wins.
func (p *Postgres) Freeze(ctx context.Context, f File) error {
	_, err := p.db.Exec(ctx, freezeSQL, f.ProcessID, f.Number, clean(f.Key), clean(f.URL),
		f.Records, f.Bytes, int64(f.CRC32C), f.Created)
	if err != nil {
		return fmt.Errorf("record file %d of load %s: %w", f.Number, f.ProcessID, err)
	}
	return nil
}

// settleSQL: import rows come first, then how the load was settled before, then
// what the proxy says now.
const settleSQL = `WITH n AS (
  SELECT i.imported, i.imported > 0 AND i.imported >= greatest(f.frozen, $4::bigint) AS done
    FROM (SELECT count(*) AS imported FROM pgbulk.import WHERE process_id = $1) i,
         (SELECT count(*) AS frozen FROM pgbulk.load_file WHERE process_id = $1) f)
UPDATE pgbulk.load l SET
  status = CASE WHEN n.done THEN 'COMPLETED'
                WHEN l.end_time IS NOT NULL THEN l.status
                WHEN $2::text = 'COMPLETED' THEN 'CANCELLED'
                ELSE $2::text END,
  error_message = CASE WHEN n.done THEN NULL
                       WHEN l.end_time IS NOT NULL THEN l.error_message
                       ELSE nullif($3::text, '') END,
  files = greatest(l.files, $4::bigint),
  end_time = coalesce(l.end_time, pg_catalog.clock_timestamp())
FROM n WHERE l.process_id = $1
RETURNING l.status`

// Settle implements Ledger. A load without a row is ErrUnknownLoad.
func (p *Postgres) Settle(ctx context.Context, o Outcome) (Status, error) {
	if err := o.validate(); err != nil {
		return "", err
	}
	var status Status
	err := p.db.QueryRow(ctx, settleSQL, o.ProcessID, string(o.Status), clean(o.Message), o.Files).Scan(&status)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrUnknownLoad
	}
	if err != nil {
		return "", fmt.Errorf("settle load %s: %w", o.ProcessID, err)
	}
	return status, nil
}

const dueSQL = `SELECT l.process_id, coalesce(array_agg(f.key ORDER BY f.file) FILTER (WHERE f.key IS NOT NULL), '{}')
FROM (SELECT process_id, end_time FROM pgbulk.load
       WHERE swept_time IS NULL AND end_time IS NOT NULL AND end_time < $1
       ORDER BY end_time, process_id LIMIT $2) l
LEFT JOIN pgbulk.load_file f ON f.process_id = l.process_id
GROUP BY l.process_id, l.end_time ORDER BY l.end_time, l.process_id`

// Due implements Ledger: oldest first. Loads without files are among them.
func (p *Postgres) Due(ctx context.Context, before time.Time, limit int) ([]Swept, error) {
	rows, err := p.db.Query(ctx, dueSQL, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list settled loads: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Swept])
	if err != nil {
		return nil, fmt.Errorf("list settled loads: %w", err)
	}
	return due, nil
}

const sweptSQL = `UPDATE pgbulk.load SET swept_time = pg_catalog.clock_timestamp()
WHERE process_id = ANY ($1::text[]) AND swept_time IS NULL AND end_time IS NOT NULL`

// MarkSwept implements Ledger. Loads that are unknown, not settled or marked
// already are left alone.
func (p *Postgres) MarkSwept(ctx context.Context, processIDs ...string) error {
	if len(processIDs) == 0 {
		return nil
	}
	if _, err := p.db.Exec(ctx, sweptSQL, processIDs); err != nil {
		return fmt.Errorf("mark files deleted: %w", err)
	}
	return nil
}

// clean makes text that the service connection, which speaks UTF-8, can store:
// names and messages come from sessions with other encodings, too.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}
