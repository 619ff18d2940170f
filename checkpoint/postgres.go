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
	if version < FormatVersion {
		return fmt.Errorf("check ledger: %w: it is %d, this program knows %d: run pgbulkproxy install", ErrOldFormat, version, FormatVersion)
	}
	if version > FormatVersion {
		return fmt.Errorf("check ledger: it has format version %d, this program knows %d", version, FormatVersion)
	}
	return nil
}

const beginSQL = `INSERT INTO pgbulk.load (process_id, database, role, schema_name, table_name, owner, start_time, ack, label)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, nullif($9::text, '')) ON CONFLICT (process_id) DO NOTHING`

// Begin implements Books.
func (p *Postgres) Begin(ctx context.Context, l Load) error {
	if l.Ack == "" {
		l.Ack = AckLoaded
	}
	_, err := p.db.Exec(ctx, beginSQL, l.ProcessID, clean(l.Database), clean(l.Role),
		clean(l.Schema), clean(l.Table), clean(l.Owner), l.Started, string(l.Ack), clean(l.Label))
	if err != nil {
		return fmt.Errorf("record load %s: %w", l.ProcessID, err)
	}
	return nil
}

const createSQL = `INSERT INTO pgbulk.load_file (process_id, file, key, url, records, bytes, crc32c, created_at, frozen)
VALUES ($1, $2, $3, $4, 0, 0, 0, $5, false) ON CONFLICT (process_id, file) DO NOTHING`

// Create implements Books.
func (p *Postgres) Create(ctx context.Context, f File) error {
	_, err := p.db.Exec(ctx, createSQL, f.ProcessID, f.Number, clean(f.Key), clean(f.URL), f.Created)
	if err != nil {
		return fmt.Errorf("record new file %d of load %s: %w", f.Number, f.ProcessID, err)
	}
	return nil
}

const freezeSQL = `INSERT INTO pgbulk.load_file (process_id, file, key, url, records, bytes, crc32c, created_at, frozen)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, true)
ON CONFLICT (process_id, file) DO UPDATE SET key = excluded.key, url = excluded.url, records = excluded.records,
  bytes = excluded.bytes, crc32c = excluded.crc32c, created_at = excluded.created_at, frozen = true`

// Freeze implements Books.
func (p *Postgres) Freeze(ctx context.Context, f File) error {
	_, err := p.db.Exec(ctx, freezeSQL, f.ProcessID, f.Number, clean(f.Key), clean(f.URL),
		f.Records, f.Bytes, int64(f.CRC32C), f.Created)
	if err != nil {
		return fmt.Errorf("record file %d of load %s: %w", f.Number, f.ProcessID, err)
	}
	return nil
}

// Settle implements Books. A load without a row is ErrUnknownLoad.
func (p *Postgres) Settle(ctx context.Context, o Outcome) (Status, error) {
	if err := o.validate(); err != nil {
		return "", err
	}
	var owner *string
	var epoch *int
	if o.Fence != nil {
		owner, epoch = &o.Fence.Owner, &o.Fence.Epoch
	}
	var status *Status
	err := p.db.QueryRow(ctx, "SELECT pgbulk.settle($1, $2, $3, $4, $5, $6)",
		o.ProcessID, string(o.Status), clean(o.Message), int64(o.Files), owner, epoch).Scan(&status)
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e) && e.Code == FenceCode:
		err = ErrFenced
	case err == nil && status == nil:
		err = ErrUnknownLoad
	}
	if err != nil {
		return "", fmt.Errorf("settle load %s: %w", o.ProcessID, err)
	}
	return *status, nil
}

const dueSQL = `SELECT l.process_id, coalesce(array_agg(f.key ORDER BY f.file) FILTER (WHERE f.key IS NOT NULL), '{}'), l.status = 'COMPLETED'
FROM (SELECT process_id, end_time, status FROM pgbulk.load
       WHERE swept_time IS NULL AND end_time IS NOT NULL AND end_time < $1
         AND NOT (ack = 'staged' AND status = 'FAILED')
       ORDER BY end_time, process_id LIMIT $2) l
LEFT JOIN pgbulk.known_file f ON f.process_id = l.process_id
GROUP BY l.process_id, l.end_time, l.status ORDER BY l.end_time, l.process_id`

// Due implements Sweeps: oldest first. Loads without files are among them.
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

// MarkSwept implements Sweeps. Loads that are unknown, not settled or marked
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

// DropLabels implements Sweeps.
func (p *Postgres) DropLabels(ctx context.Context, before time.Time) (int64, error) {
	tag, err := p.db.Exec(ctx, "DELETE FROM pgbulk.label WHERE created < $1", before)
	if err != nil {
		return 0, fmt.Errorf("drop old labels: %w", err)
	}
	return tag.RowsAffected(), nil
}

// clean makes text that the service connection, which speaks UTF-8, can store:
// names and messages come from sessions with other encodings, too.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}
