package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Proxy is a proxy process. Owner is unique to it; the others are for people.
type Proxy struct {
	Owner string
	Host  string
	PID   int
}

// Orphan is a load under way whose owner has no lease.
type Orphan struct {
	Fence
	Ack Ack
}

// Leases is how proxies know of each other's end. All times are the server's.
type Leases interface {
	// Register gives a proxy a lease, or renews it.
	Register(ctx context.Context, p Proxy, lease time.Duration) error
	// Renew renews the lease of a registered proxy; ErrNoLease if there is
	// none. That a lease has passed is no error: loads which nobody has taken
	// are still the proxy's.
	Renew(ctx context.Context, owner string, lease time.Duration) error
	// Release ends a lease: what the proxy still owns is orphaned.
	Release(ctx context.Context, owner string) error
	// Orphans returns up to limit loads under way, oldest first, that any proxy
	// may take.
	Orphans(ctx context.Context, limit int) ([]Orphan, error)
	// Take makes an orphan owner's, who must have a lease, and returns its new
	// fence; ErrFenced if it is no orphan any more, or if its import is under
	// way in a transaction of the old owner's that has yet to end. Who took a
	// load settles it, as Completed; then Settle says what it is.
	Take(ctx context.Context, o Orphan, owner string) (Fence, error)
}

const registerSQL = `WITH old AS (
  DELETE FROM pgbulk.proxy p WHERE p.lease_until < pg_catalog.clock_timestamp() - interval '1 day' AND p.owner <> $1)
INSERT INTO pgbulk.proxy (owner, host, pid, lease_until)
VALUES ($1, $2, $3, pg_catalog.clock_timestamp() + $4::float8 * interval '1 second')
ON CONFLICT (owner) DO UPDATE SET lease_until = excluded.lease_until`

// Register implements Leases. It also removes proxies that are long gone.
func (p *Postgres) Register(ctx context.Context, x Proxy, lease time.Duration) error {
	if _, err := p.db.Exec(ctx, registerSQL, clean(x.Owner), clean(x.Host), x.PID, lease.Seconds()); err != nil {
		return fmt.Errorf("register proxy: %w", err)
	}
	return nil
}

const renewSQL = `UPDATE pgbulk.proxy SET lease_until = pg_catalog.clock_timestamp() + $2::float8 * interval '1 second' WHERE owner = $1`

// Renew implements Leases.
func (p *Postgres) Renew(ctx context.Context, owner string, lease time.Duration) error {
	tag, err := p.db.Exec(ctx, renewSQL, clean(owner), lease.Seconds())
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNoLease
	}
	if err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	return nil
}

// Release implements Leases.
func (p *Postgres) Release(ctx context.Context, owner string) error {
	if _, err := p.db.Exec(ctx, "DELETE FROM pgbulk.proxy WHERE owner = $1", clean(owner)); err != nil {
		return fmt.Errorf("release lease: %w", err)
	}
	return nil
}

// adopt begins the staged loads whose Begin was lost, as if it had come late.
const adopt = `WITH adopted AS (
  INSERT INTO pgbulk.load (process_id, database, role, schema_name, table_name, owner, start_time, ack, label, files)
  SELECT s.process_id, s.database, s.role, s.schema_name, s.table_name, s.owner, s.staged_at, 'staged', s.label,
         pg_catalog.jsonb_array_length(s.files)
    FROM pgbulk.staged s
   WHERE NOT s.done AND NOT EXISTS (SELECT FROM pgbulk.load l WHERE l.process_id = s.process_id)
  ON CONFLICT (process_id) DO NOTHING)
`

// leased is a condition on l: its owner has a lease.
const leased = `EXISTS (SELECT FROM pgbulk.proxy p WHERE p.owner = l.owner AND p.lease_until > pg_catalog.clock_timestamp())`

const orphansSQL = adopt + `SELECT l.process_id, l.owner, l.epoch, l.ack FROM pgbulk.load l
WHERE l.end_time IS NULL AND NOT ` + leased + ` ORDER BY l.start_time, l.process_id LIMIT $1`

// Orphans implements Leases.
func (p *Postgres) Orphans(ctx context.Context, limit int) ([]Orphan, error) {
	rows, err := p.db.Query(ctx, orphansSQL, limit)
	if err != nil {
		return nil, fmt.Errorf("list orphans: %w", err)
	}
	orphans, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o Orphan, err error) {
		err = row.Scan(&o.ProcessID, &o.Owner, &o.Epoch, &o.Ack)
		return o, err
	})
	if err != nil {
		return nil, fmt.Errorf("list orphans: %w", err)
	}
	return orphans, nil
}

// takeSQL skips a load that is locked: its old owner's import, or another taker,
// is at work.
const takeSQL = `WITH free AS (
  SELECT l.process_id FROM pgbulk.load l
   WHERE l.process_id = $1 AND l.owner = $2 AND l.epoch = $3 AND l.end_time IS NULL AND NOT ` + leased + `
     AND EXISTS (SELECT FROM pgbulk.proxy t WHERE t.owner = $4 AND t.lease_until > pg_catalog.clock_timestamp())
     FOR UPDATE OF l SKIP LOCKED)
UPDATE pgbulk.load l SET owner = $4, epoch = l.epoch + 1, import_started = NULL
  FROM free WHERE l.process_id = free.process_id RETURNING l.epoch`

// Take implements Leases.
func (p *Postgres) Take(ctx context.Context, o Orphan, owner string) (Fence, error) {
	f := Fence{ProcessID: o.ProcessID, Owner: owner}
	err := p.db.QueryRow(ctx, takeSQL, o.ProcessID, o.Owner, o.Epoch, clean(owner)).Scan(&f.Epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrFenced
	}
	if err != nil {
		return Fence{}, fmt.Errorf("take load %s: %w", o.ProcessID, err)
	}
	return f, nil
}
