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
	Started time.Time  `json:"started"`
	Last    *time.Time `json:"last_insert,omitempty"`
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
	// Table is a table's name as SQL has it; without a schema, tables of that
	// name in all schemas.
	Table string
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
       c.error_records, coalesce(c.error_message, '')
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
   AND ($4::float8 = 0 OR c.start_time >= pg_catalog.now() - pg_catalog.make_interval(secs => $4::float8))
 ORDER BY c.start_time DESC, c.process_id DESC
 LIMIT nullif($5::bigint, 0)`

// List returns loads, the newest first.
func (a *Admin) List(ctx context.Context, f Filter) ([]Entry, error) {
	var statuses []string
	for _, s := range f.Statuses {
		statuses = append(statuses, string(s))
	}
	rows, err := a.db.Query(ctx, listSQL, f.IDs, statuses, f.Table, f.Since.Seconds(), int64(f.Limit))
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
		&e.ErrorRecords, &e.Error)
	e.Age = time.Duration(age * float64(time.Second))
	e.Started = e.Started.UTC()
	if e.Last != nil {
		last := e.Last.UTC()
		e.Last = &last
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
