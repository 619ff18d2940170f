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

// ErrNotInstalled says that the database has no ledger.
var ErrNotInstalled = errors.New("this database has no ledger; pgbulkproxy install makes one")

// Admin is the ledger as people see it: the loads that the role of its session
// may see. What it returns is also what commands print as JSON.
type Admin struct {
	db DB
}

// NewAdmin returns the ledger behind db, which may be anybody's session.
func NewAdmin(db DB) *Admin { return &Admin{db: db} }

// Entry is one load.
type Entry struct {
	ProcessID string `json:"process_id"`
	// Table is quoted and with its schema.
	Table   string     `json:"table"`
	Status  Status     `json:"status"`
	Ack     Ack        `json:"ack"`
	Label   string     `json:"label,omitempty"`
	Started time.Time  `json:"started"`
	Last    *time.Time `json:"last_insert,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"`
	// Age is for how long it has been running, by the server's clock.
	Age           time.Duration `json:"-"`
	FilesTotal    int           `json:"files_total"`
	FilesImported int           `json:"files_imported"`
	// Records and Bytes are those of all files so far, …Imported of those whose
	// rows are in the table.
	Records         int64  `json:"records"`
	RecordsImported int64  `json:"records_imported"`
	Bytes           int64  `json:"bytes"`
	BytesImported   int64  `json:"bytes_imported"`
	ErrorRecords    int64  `json:"error_records"`
	Error           string `json:"error,omitempty"`
	// Pending: success was acknowledged, the rows are not in the table, and
	// nobody has given them up. Running, it is imported; failed, it waits for a
	// person to retry or cancel it.
	Pending  bool       `json:"pending"`
	Attempts int        `json:"attempts"`
	NextTry  *time.Time `json:"next_try,omitempty"`
}

// EntryFile is one file of a load.
type EntryFile struct {
	Number   int        `json:"file"`
	Key      string     `json:"key"`
	URL      string     `json:"url"`
	Records  int64      `json:"records"`
	Bytes    int64      `json:"bytes"`
	Checksum string     `json:"checksum"`
	State    string     `json:"state"`
	Created  *time.Time `json:"created_at"`
	Imported *time.Time `json:"imported_at"`
}

// Filter says which loads List returns. Its zero value is all of them.
type Filter struct {
	IDs      []string
	Statuses []Status
	// Open: only those under way or pending.
	Open bool
	// Table is a table's name as SQL has it; without a schema, tables of that
	// name in all schemas.
	Table string
	Label string
	// Since is how long ago the load may have started. 0: any time.
	Since time.Duration
	// Limit is the most loads to return, the newest ones. 0: all.
	Limit int
}

// ParseStatus returns the status of that name, in capitals or not.
func ParseStatus(name string) (Status, error) {
	for _, s := range []Status{Running, Completed, Failed, Cancelled} {
		if strings.EqualFold(name, string(s)) {
			return s, nil
		}
	}
	return "", fmt.Errorf("%q is no status: they are running, completed, failed, cancelled", name)
}

// Check returns an error if there is no ledger, or one of another format
// version. Who may not read the version learns of it by a column that is missing.
func (a *Admin) Check(ctx context.Context) error {
	var readable *bool
	err := a.db.QueryRow(ctx, `SELECT (SELECT pg_catalog.has_table_privilege(c.oid, 'SELECT')
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'pgbulk' AND c.relname = 'format')`).Scan(&readable)
	if err != nil {
		return fmt.Errorf("check ledger: %w", err)
	}
	if readable == nil {
		return ErrNotInstalled
	}
	if !*readable {
		return nil
	}
	var version int
	if err := a.db.QueryRow(ctx, "SELECT version FROM pgbulk.format WHERE name = 'ledger'").Scan(&version); err != nil {
		return fmt.Errorf("check ledger: %w", err)
	}
	if version == FormatVersion {
		return nil
	}
	advice := "use a newer pgbulkproxy"
	if version < FormatVersion {
		advice = "pgbulkproxy install upgrades it"
	}
	return fmt.Errorf("the ledger has format version %d, this program knows %d: %s", version, FormatVersion, advice)
}

// listSQL asks the view only, so that everybody sees what is theirs.
const listSQL = `SELECT c.process_id, c.pg_table, c.status, c.start_time, c.last_insert_time,
       extract(epoch FROM pg_catalog.clock_timestamp() - c.start_time)::float8,
       c.files_total, c.files_imported, f.records, f.records_imported, f.bytes, f.bytes_imported,
       c.error_records, coalesce(c.error_message, ''),
       c.ack, coalesce(c.label, ''), c.end_time, c.pending, c.attempts, c.next_try
  FROM relyt_sys.relyt_loader_checkpoint c
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(x.records), 0)::bigint AS records,
              coalesce(sum(x.records) FILTER (WHERE x.state = 'IMPORTED'), 0)::bigint AS records_imported,
              coalesce(sum(x.bytes), 0)::bigint AS bytes,
              coalesce(sum(x.bytes) FILTER (WHERE x.state = 'IMPORTED'), 0)::bigint AS bytes_imported
         FROM pg_catalog.jsonb_to_recordset(c.file_details) AS x (records bigint, bytes bigint, state text)) f
 CROSS JOIN (SELECT CASE WHEN $3::text <> '' THEN pg_catalog.parse_ident($3::text) END AS name) n
 WHERE ($1::text[] IS NULL OR c.process_id = ANY ($1::text[]))
   AND ($2::text[] IS NULL OR c.status = ANY ($2::text[]))
   AND (n.name IS NULL
        OR c.pg_table = pg_catalog.quote_ident(n.name[1]) || '.' || pg_catalog.quote_ident(n.name[2])
        OR pg_catalog.cardinality(n.name) = 1 AND pg_catalog.right(c.pg_table, pg_catalog.length(pg_catalog.quote_ident(n.name[1])) + 1)
                                                  = '.' || pg_catalog.quote_ident(n.name[1]))
   AND ($6::text = '' OR c.label = $6::text)
   AND (NOT $7::bool OR c.status = 'RUNNING' OR c.pending)
   AND ($4::float8 = 0 OR c.start_time >= pg_catalog.now() - pg_catalog.make_interval(secs => $4::float8))
 ORDER BY c.start_time DESC, c.process_id DESC
 LIMIT nullif($5::bigint, 0)`

// List returns loads, the newest first.
func (a *Admin) List(ctx context.Context, f Filter) ([]Entry, error) {
	var statuses []string
	for _, s := range f.Statuses {
		statuses = append(statuses, string(s))
	}
	rows, err := a.db.Query(ctx, listSQL, f.IDs, statuses, f.Table, f.Since.Seconds(), int64(f.Limit),
		f.Label, f.Open)
	if err != nil {
		return nil, fmt.Errorf("list loads: %w", otherFormat(err))
	}
	entries, err := pgx.CollectRows(rows, scanEntry)
	if err != nil {
		return nil, fmt.Errorf("list loads: %w", otherFormat(err))
	}
	return entries, nil
}

func scanEntry(row pgx.CollectableRow) (Entry, error) {
	var e Entry
	var age float64
	err := row.Scan(&e.ProcessID, &e.Table, &e.Status, &e.Started, &e.Last, &age,
		&e.FilesTotal, &e.FilesImported, &e.Records, &e.RecordsImported, &e.Bytes, &e.BytesImported,
		&e.ErrorRecords, &e.Error,
		&e.Ack, &e.Label, &e.Ended, &e.Pending, &e.Attempts, &e.NextTry)
	e.Age = time.Duration(age * float64(time.Second))
	e.Started = e.Started.UTC()
	for _, t := range []**time.Time{&e.Last, &e.Ended, &e.NextTry} {
		if *t != nil {
			utc := (*t).UTC()
			*t = &utc
		}
	}
	return e, err
}

// Files returns the files of a load, in order; none if there is no such load.
func (a *Admin) Files(ctx context.Context, processID string) ([]EntryFile, error) {
	var files []EntryFile
	err := a.db.QueryRow(ctx, "SELECT file_details FROM relyt_sys.relyt_loader_checkpoint WHERE process_id = $1",
		processID).Scan(&files)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("list files: %w", otherFormat(err))
	}
	return files, nil
}

// otherFormat explains that a table, view or column is not there.
func otherFormat(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) && (e.Code == "42P01" || e.Code == "42703" || e.Code == "3F000") {
		return fmt.Errorf("the ledger has another format version than this program knows (%d); pgbulkproxy install upgrades it: %s (SQLSTATE %s)",
			FormatVersion, e.Message, e.Code)
	}
	return err
}

// ErrNothingToDo says that a load is not one that can be retried or cancelled.
var ErrNothingToDo = errors.New("there is nothing to do")

// Retry has a pending load that failed, or waits for its next attempt, tried
// again at once. Who may: the service role and superusers.
func (a *Admin) Retry(ctx context.Context, processID string) (Status, error) {
	return a.decide(ctx, processID, "retry", NewPostgres(a.db).Retry, Running)
}

// Cancel gives up a pending load: its rows will never be in the table. It waits
// for an import that is under way. Who may: the service role and superusers.
func (a *Admin) Cancel(ctx context.Context, processID string) (Status, error) {
	return a.decide(ctx, processID, "cancel", NewPostgres(a.db).Cancel, Cancelled)
}

func (a *Admin) decide(ctx context.Context, processID, what string, do func(context.Context, string) (Status, error), want Status) (Status, error) {
	entries, err := a.List(ctx, Filter{IDs: []string{processID}})
	if err != nil {
		return "", err
	}
	if len(entries) == 0 {
		return "", fmt.Errorf("%s load %s: %w", what, processID, ErrUnknownLoad)
	}
	e := entries[0]
	if !e.Pending {
		why := "its rows were never acknowledged"
		switch {
		case e.Status == Completed:
			why = "its rows are in the table"
		case e.Status == Running:
			why = "its client has no success yet, and can cancel its own statement"
		case e.Status == Cancelled && e.Ack == AckStaged:
			why = "it was given up"
		}
		return e.Status, fmt.Errorf("%s load %s, which is %s: %w: %s", what, processID, e.Status, ErrNothingToDo, why)
	}
	status, err := do(ctx, processID)
	if err == nil && status != want {
		err = fmt.Errorf("%s load %s, which is %s by now: %w", what, processID, status, ErrNothingToDo)
	}
	return status, err
}

// cleanBatch bounds how much one transaction deletes.
const cleanBatch = 1000

// cleanSQL takes loads whose files are deleted, too, and of which nothing is to
// be imported any more. The import rows go with the queue's row, never before it.
const cleanSQL = `WITH gone AS (
  SELECT l.process_id FROM pgbulk.load l
   WHERE ` + cleanable + `
   ORDER BY l.end_time, l.process_id LIMIT $2 FOR UPDATE SKIP LOCKED),
files AS (DELETE FROM pgbulk.load_file x USING gone g WHERE x.process_id = g.process_id),
staged AS (DELETE FROM pgbulk.staged x USING gone g WHERE x.process_id = g.process_id),
imports AS (DELETE FROM pgbulk.import x USING gone g WHERE x.process_id = g.process_id),
rejects AS (DELETE FROM pgbulk.reject x USING gone g WHERE x.process_id = g.process_id)
DELETE FROM pgbulk.load x USING gone g WHERE x.process_id = g.process_id`

const cleanable = `l.end_time IS NOT NULL AND l.swept_time IS NOT NULL
     AND l.end_time < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1::float8)
     AND NOT EXISTS (SELECT FROM pgbulk.staged s WHERE s.process_id = l.process_id AND NOT s.done)`

// Clean deletes what the ledger knows of loads that ended so long ago, with the
// rows that they rejected, and returns how many they were. Labels stay: they have
// a time of their own. Who may: superusers and the owner of the tables.
func (a *Admin) Clean(ctx context.Context, age time.Duration) (int64, error) {
	var total int64
	for {
		tag, err := a.db.Exec(ctx, cleanSQL, age.Seconds(), int64(cleanBatch))
		if err != nil {
			return total, fmt.Errorf("delete old loads: %w", err)
		}
		total += tag.RowsAffected()
		if tag.RowsAffected() < cleanBatch {
			return total, nil
		}
	}
}

// Cleanable returns how many loads Clean would delete.
func (a *Admin) Cleanable(ctx context.Context, age time.Duration) (n int64, err error) {
	err = a.db.QueryRow(ctx, "SELECT count(*) FROM pgbulk.load l WHERE "+cleanable, age.Seconds()).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count old loads: %w", err)
	}
	return n, nil
}
