package loaderconfig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Settings are the columns of the function's one row. A column that is missing,
// or NULL, leaves its field zero: the configuration's own value holds.
type Settings struct {
	// Store has the bucket, its address and the credentials; PartSize in bytes.
	Store store.Config
	// Prefix goes before every key, without slashes at its ends.
	Prefix string
	// Concurrency is how many loads are imported at once.
	Concurrency int
	// ImportTimeout bounds one import, ImportErrorSleepTime is the shortest pause
	// before the next try.
	ImportTimeout, ImportErrorSleepTime time.Duration
}

// readTimeout bounds one reading, with its connection.
const readTimeout = 10 * time.Second

// Source is the function in one database. Its methods may be called concurrently.
type Source struct {
	dsn string
	now atomic.Pointer[Settings]
}

// Open reads the settings from the database of dsn, whose role must be allowed to.
func Open(ctx context.Context, dsn string) (*Source, error) {
	s := &Source{dsn: dsn}
	if _, err := s.Reload(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Settings returns what was read last.
func (s *Source) Settings() Settings { return *s.now.Load() }

// Prefix is that of Settings.
func (s *Source) Prefix() string { return s.now.Load().Prefix }

// Reload reads the settings again, and returns the store's part.
func (s *Source) Reload(ctx context.Context) (store.Config, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	settings, err := read(ctx, s.dsn)
	if err != nil {
		return store.Config{}, fmt.Errorf("relyt_sys.LOADER_CONFIG(): %w", err)
	}
	s.now.Store(&settings)
	return settings.Store, nil
}

// readSQL casts to json by the row's own columns, whatever they are.
const readSQL = "SELECT pg_catalog.to_json(c)::pg_catalog.text FROM relyt_sys.loader_config() c"

func read(ctx context.Context, dsn string) (Settings, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return Settings{}, errors.New("service_dsn is not a DSN") // its text may hold a password
	}
	cfg.RuntimeParams["application_name"] = "pgbulkproxy"
	cfg.RuntimeParams["search_path"] = "pg_catalog, pg_temp"
	cfg.RuntimeParams["IntervalStyle"] = "postgres"
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return Settings{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, readSQL)
	if err != nil {
		return Settings{}, err
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return Settings{}, err
	}
	if len(texts) != 1 {
		return Settings{}, fmt.Errorf("it returns %d rows, and must return one", len(texts))
	}
	return parse(texts[0])
}

// parse reads the row. Names are compared without case; unknown columns are not
// ours.
func parse(row string) (Settings, error) {
	var columns map[string]any
	decoder := json.NewDecoder(strings.NewReader(row))
	decoder.UseNumber()
	if err := decoder.Decode(&columns); err != nil {
		return Settings{}, errors.New("it returns no row with columns")
	}
	var s Settings
	var errs []error
	for name, value := range columns {
		text := strings.TrimSpace(fmt.Sprint(value))
		if value == nil || text == "" {
			continue
		}
		if err := s.set(strings.ToLower(name), text); err != nil {
			errs = append(errs, fmt.Errorf("column %s: %w", name, err))
		}
	}
	if s.Store.Bucket == "" {
		errs = append(errs, errors.New("column bucket_name is needed"))
	}
	if (s.Store.AccessKey == "") != (s.Store.SecretKey == "") {
		errs = append(errs, errors.New("columns access_key and secret_key need each other"))
	}
	return s, errors.Join(errs...)
}

// set takes one column. Errors do not repeat the value.
func (s *Settings) set(name, text string) (err error) {
	switch name {
	case "endpoint":
		s.Store.Endpoint, s.Store.PathStyle = endpoint(text), true
	case "region":
		s.Store.Region = text
	case "bucket_name":
		s.Store.Bucket = text
	case "prefix":
		s.Prefix = strings.Trim(text, "/")
	case "access_key":
		s.Store.AccessKey = text
	case "secret_key":
		s.Store.SecretKey = store.Secret(text)
	case "session_token":
		s.Store.SessionToken = store.Secret(text)
	case "concurrency":
		s.Concurrency, err = whole(text, 1, 1024)
	case "part_size":
		s.Store.PartSize, err = size(text)
	case "import_timeout":
		s.ImportTimeout, err = duration(text)
	case "import_error_sleep_time":
		s.ImportErrorSleepTime, err = duration(text)
	}
	return err
}

// endpoint adds the scheme where only a host is given.
func endpoint(text string) string {
	if strings.Contains(text, "://") {
		return text
	}
	return "https://" + text
}
