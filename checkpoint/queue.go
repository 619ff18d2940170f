package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Staged is a staged load that is next in its table's queue.
type Staged struct {
	Fence
	// Database and Role are the client's.
	Database, Role string
	Schema, Table  string
	// Files are those to open, in order.
	Files []File
	// Attempts is how often its import was tried; Wait is how long it should
	// rest before the next.
	Attempts int
	Wait     time.Duration
}

// Failure is how an import ended that did not commit.
type Failure struct {
	// Message and SQLState are the error's; SQLState is empty where it was not
	// the server's. Never a secret.
	Message, SQLState string
	// Retry is how long to wait for the next attempt; negative: there is none,
	// until a person asks for it.
	Retry time.Duration
}

// Queue is what the workers that import staged loads use, and the people who
// look after them.
type Queue interface {
	// Heads returns the staged loads of owner that are first among those of
	// their tables, by the order in which they were staged. A load that waits
	// for its next attempt, or is another proxy's, holds up those behind it;
	// one that failed for good does not. There is nothing else to import: so
	// each table is loaded in order, by one proxy at a time.
	Heads(ctx context.Context, owner string) ([]Staged, error)
	// Attempt counts an import that begins now. ErrFenced: leave it.
	Attempt(ctx context.Context, f Fence) error
	// Fail records that an import did not commit, or that it is not known
	// whether it did. It waits for the end of the import's transaction and
	// returns what is true then: Completed if it did commit; Running if there
	// will be another attempt; else Failed. ErrFenced: the load was taken, or
	// cancelled.
	Fail(ctx context.Context, f Fence, x Failure) (Status, error)
	// Retry has a staged load that failed, or waits, tried again at once. It
	// returns the load's status, Running unless there is nothing to retry.
	Retry(ctx context.Context, processID string) (Status, error)
	// Cancel gives up a staged load that is not imported. It returns the load's
	// status, Cancelled unless there was nothing to cancel any more.
	Cancel(ctx context.Context, processID string) (Status, error)
}

const headsSQL = adopt + `SELECT h.process_id, h.owner, h.epoch, h.database, h.role, h.schema_name, h.table_name, h.attempts,
       greatest(0, extract(epoch FROM h.next_try - pg_catalog.clock_timestamp()))::float8,
       f.files, f.keys, f.urls, f.records, f.bytes, f.crcs
  FROM (SELECT DISTINCT ON (s.relid) s.relid, s.seq, s.process_id, l.owner, l.epoch, s.database, s.role, s.schema_name, s.table_name,
               l.attempts, l.next_try, s.files
          FROM pgbulk.staged s JOIN pgbulk.load l ON l.process_id = s.process_id
         WHERE NOT s.done AND l.end_time IS NULL ORDER BY s.relid, s.seq) h
 CROSS JOIN LATERAL (
       SELECT array_agg(j.file ORDER BY j.file) AS files, array_agg(j.key ORDER BY j.file) AS keys, array_agg(j.url ORDER BY j.file) AS urls,
              array_agg(j.records ORDER BY j.file) AS records, array_agg(j.bytes ORDER BY j.file) AS bytes, array_agg(j.crc32c ORDER BY j.file) AS crcs
         FROM pg_catalog.jsonb_to_recordset(h.files) AS j(file int, key text, url text, records bigint, bytes bigint, crc32c bigint)) f
 WHERE h.owner = $1 ORDER BY h.seq`

// Heads implements Queue.
func (p *Postgres) Heads(ctx context.Context, owner string) ([]Staged, error) {
	rows, err := p.db.Query(ctx, headsSQL, clean(owner))
	if err != nil {
		return nil, fmt.Errorf("list staged loads: %w", err)
	}
	heads, err := pgx.CollectRows(rows, scanStaged)
	if err != nil {
		return nil, fmt.Errorf("list staged loads: %w", err)
	}
	return heads, nil
}

func scanStaged(row pgx.CollectableRow) (s Staged, err error) {
	var wait *float64
	var numbers []int
	var keys, urls []string
	var records, bytes, crcs []int64
	err = row.Scan(&s.ProcessID, &s.Owner, &s.Epoch, &s.Database, &s.Role, &s.Schema, &s.Table, &s.Attempts,
		&wait, &numbers, &keys, &urls, &records, &bytes, &crcs)
	if err != nil {
		return s, err
	}
	if wait != nil {
		s.Wait = time.Duration(*wait * float64(time.Second))
	}
	for i, n := range numbers {
		s.Files = append(s.Files, File{ProcessID: s.ProcessID, Number: n, Key: keys[i], URL: urls[i],
			Records: records[i], Bytes: bytes[i], CRC32C: uint32(crcs[i])})
	}
	return s, nil
}

const attemptSQL = `UPDATE pgbulk.load SET attempts = attempts + 1, import_started = pg_catalog.clock_timestamp()
WHERE process_id = $1 AND owner = $2 AND epoch = $3 AND end_time IS NULL`

// Attempt implements Queue.
func (p *Postgres) Attempt(ctx context.Context, f Fence) error {
	tag, err := p.db.Exec(ctx, attemptSQL, f.ProcessID, clean(f.Owner), f.Epoch)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrFenced
	}
	if err != nil {
		return fmt.Errorf("begin import of load %s: %w", f.ProcessID, err)
	}
	return nil
}

// failSQL touches a load under way only, but answers for one that is completed,
// too: the import's commit may be what was not heard of.
const failSQL = `UPDATE pgbulk.load SET import_started = NULL,
  error_message = CASE WHEN end_time IS NULL THEN nullif($4::text, '') ELSE error_message END,
  error_code = CASE WHEN end_time IS NULL THEN nullif($5::text, '') ELSE error_code END,
  next_try = CASE WHEN end_time IS NULL AND $6::float8 >= 0 THEN pg_catalog.clock_timestamp() + $6::float8 * interval '1 second' END,
  status = CASE WHEN end_time IS NULL AND $6::float8 < 0 THEN 'FAILED' ELSE status END,
  end_time = CASE WHEN $6::float8 < 0 THEN coalesce(end_time, pg_catalog.clock_timestamp()) ELSE end_time END
WHERE process_id = $1 AND owner = $2 AND epoch = $3 AND (end_time IS NULL OR status = 'COMPLETED') RETURNING status`

// Fail implements Queue.
func (p *Postgres) Fail(ctx context.Context, f Fence, x Failure) (Status, error) {
	var status Status
	err := p.db.QueryRow(ctx, failSQL, f.ProcessID, clean(f.Owner), f.Epoch, clean(x.Message), x.SQLState, x.Retry.Seconds()).Scan(&status)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrFenced
	}
	if err != nil {
		return "", fmt.Errorf("record failed import of load %s: %w", f.ProcessID, err)
	}
	return status, nil
}

// retrySQL: files that are swept, or a queue row that is done, leave nothing to
// retry.
const retrySQL = `WITH again AS (
  UPDATE pgbulk.load l SET status = 'RUNNING', end_time = NULL, next_try = NULL, attempts = 0
   WHERE l.process_id = $1 AND l.ack = 'staged' AND (l.status = 'FAILED' OR l.status = 'RUNNING' AND l.next_try IS NOT NULL)
     AND l.swept_time IS NULL AND EXISTS (SELECT FROM pgbulk.staged s WHERE s.process_id = l.process_id AND NOT s.done)
  RETURNING l.status)
SELECT coalesce((SELECT status FROM again), l.status) FROM pgbulk.load l WHERE l.process_id = $1`

// Retry implements Queue.
func (p *Postgres) Retry(ctx context.Context, processID string) (Status, error) {
	return p.status(ctx, "retry", retrySQL, processID)
}

// Cancel implements Queue.
func (p *Postgres) Cancel(ctx context.Context, processID string) (Status, error) {
	return p.status(ctx, "cancel", "SELECT pgbulk.cancel($1)", processID)
}

func (p *Postgres) status(ctx context.Context, what, sql, processID string) (Status, error) {
	var status *Status
	err := p.db.QueryRow(ctx, sql, processID).Scan(&status)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && status == nil {
		err = ErrUnknownLoad
	}
	if err != nil {
		return "", fmt.Errorf("%s load %s: %w", what, processID, err)
	}
	return *status, nil
}

// Retryable says whether an import that failed with an SQLSTATE may succeed
// later without anybody doing anything; "" is an error that is not the server's,
// such as a lost connection.
func Retryable(sqlstate string) bool {
	switch sqlstate {
	case "", "25006", "55006", "55P03", "57014", "38000", "58000", "58030", "XX000":
		// A server that is a standby for now, object in use, lock not available, a
		// timeout's or a person's cancel, and what the engine says when S3 does
		// not answer.
		return true
	case FenceCode:
		return false
	}
	for _, class := range []string{"08", "40", "53", "57P0"} {
		if strings.HasPrefix(sqlstate, class) {
			return true
		}
	}
	return false
}

// maxBackoff keeps a load from being forgotten while S3 is down for a day.
const maxBackoff = 64

// Backoff returns how long to wait after so many attempts: sleep, doubled with
// each one up to 64 times, and half of that at random, so that proxies don't
// come back in step.
func Backoff(attempts int, sleep time.Duration) time.Duration {
	factor := maxBackoff
	if attempts < 7 {
		factor = 1 << max(attempts-1, 0)
	}
	d := sleep * time.Duration(factor)
	return d/2 + rand.N(d/2+1)
}
