package loaderconfig

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// TestInstalled: what install makes is read by the service role, and by nobody
// else; changes are seen by Reload.
func TestInstalled(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db, service, user := pg.NewDatabase(t), pg.NewRole(t, ""), pg.NewRole(t, "")
	admin := pg.Connect(t, db, "postgres")
	for range 2 { // again is no error, and keeps the row
		if _, err := admin.Exec(t.Context(), "BEGIN;"+InstallSQL(service)+";COMMIT"); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.Exec(t.Context(), `INSERT INTO relyt_sys.loader_settings
			(endpoint, region, bucket_name, prefix, access_key, secret_key, concurrency, part_size, import_timeout, import_error_sleep_time)
			VALUES ('http://localhost:9000', 'eu-central-1', 'b', '/p/q/', 'AKIA', 'tops3cret', 3, 8, '90 s', '00:00:05')
			ON CONFLICT DO NOTHING`); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.Context(), pg.DSN(db, service))
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		Store: store.Config{Endpoint: "http://localhost:9000", PathStyle: true, Region: "eu-central-1", Bucket: "b",
			AccessKey: "AKIA", SecretKey: "tops3cret", PartSize: 8 << 20},
		Prefix: "p/q", Concurrency: 3, ImportTimeout: 90 * time.Second, ImportErrorSleepTime: 5 * time.Second,
	}
	if got := s.Settings(); got != want {
		t.Errorf("read %+v, want %+v", got, want)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", s.Settings(), s.Settings(), s.Settings()), "tops3cret") {
		t.Error("the settings show the secret")
	}
	if _, err := admin.Exec(t.Context(), "UPDATE relyt_sys.loader_settings SET secret_key = 'other', prefix = NULL"); err != nil {
		t.Fatal(err)
	}
	cfg, err := s.Reload(t.Context())
	if err != nil || cfg.SecretKey != "other" || s.Prefix() != "" {
		t.Errorf("reloaded %+v with prefix %q, %v", cfg, s.Prefix(), err)
	}
	for _, sql := range []string{"SELECT relyt_sys.LOADER_CONFIG()", "SELECT 1 FROM relyt_sys.loader_settings"} {
		if _, err := pg.Connect(t, db, user).Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s as another role: %v", sql, err)
		}
	}
	if _, err := pg.Connect(t, db, service).Exec(t.Context(), "SELECT 1 FROM relyt_sys.loader_settings"); err == nil {
		t.Error("the service role reads the table past the function")
	}
}

// TestOtherFunctions are those that users have: any columns, in any form.
func TestOtherFunctions(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	for name, c := range map[string]struct {
		create, want string // of the error
		check        func(Settings) bool
	}{
		"only a bucket": {"SELECT 'b'::text AS bucket_name", "", func(s Settings) bool { return s == Settings{Store: store.Config{Bucket: "b"}} }},
		"text everywhere": {"SELECT 'b'::text AS bucket_name, 'minio:9000'::text AS endpoint, '15728640'::text AS part_size, '1.5'::text AS import_timeout",
			"", func(s Settings) bool {
				return s.Store.Endpoint == "https://minio:9000" && s.Store.PartSize == 15<<20 && s.ImportTimeout == 1500*time.Millisecond
			}},
		"unknown columns": {"SELECT 'b'::text AS bucket_name, 7 AS color", "", func(s Settings) bool { return s.Store.Bucket == "b" }},
		"no bucket":       {"SELECT 'r'::text AS region", "column bucket_name is needed", nil},
		"half a key":      {"SELECT 'b'::text AS bucket_name, 'tops3cret'::text AS secret_key", "need each other", nil},
		"bad size":        {"SELECT 'b'::text AS bucket_name, 1 AS part_size", "column part_size: must be 5 to 5120 (MiB)", nil},
		"bad number":      {"SELECT 'b'::text AS bucket_name, 'many'::text AS concurrency", "column concurrency: must be a whole number", nil},
		"bad time":        {"SELECT 'b'::text AS bucket_name, '1 day'::interval AS import_timeout", "column import_timeout: must be seconds", nil},
		"no row":          {"SELECT 'b'::text AS bucket_name WHERE false", "returns 0 rows", nil},
		"two rows":        {"SELECT 'b'::text AS bucket_name FROM generate_series(1, 2)", "returns 2 rows", nil},
		"missing":         {"", "42883", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pg.NewDatabase(t)
			sql := "CREATE SCHEMA relyt_sys;"
			if c.create != "" {
				sql += "CREATE VIEW v AS " + c.create + "; CREATE FUNCTION relyt_sys.LOADER_CONFIG() RETURNS SETOF v LANGUAGE sql AS 'SELECT * FROM public.v'"
			}
			if _, err := pg.Connect(t, db, "postgres").Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), pg.DSN(db, "postgres"))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want == "" && !c.check(s.Settings()):
				t.Errorf("read %+v", s.Settings())
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "tops3cret"):
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}
