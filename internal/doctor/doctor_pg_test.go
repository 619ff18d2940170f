package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// ward is a database with a service role, and a store.
type ward struct {
	t       *testing.T
	pg      *testenv.PG
	s3      *testenv.S3Server
	db      string
	service string
	prefix  string
}

func newWard(t *testing.T, pg *testenv.PG) *ward {
	t.Helper()
	s3 := testenv.S3(t)
	return &ward{t: t, pg: pg, s3: s3, db: pg.NewDatabase(t), service: pg.NewRole(t, ""), prefix: s3.Prefix(t)}
}

// admin runs SQL as a superuser.
func (w *ward) admin(sql string) {
	w.t.Helper()
	if _, err := w.pg.Connect(w.t, w.db, "postgres").PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *ward) install() {
	w.t.Helper()
	w.admin(install.SQL(postgres.New(), w.service))
}

func (w *ward) config() config.Config {
	c := config.Default()
	c.Upstream, c.ServiceDSN, c.Store = w.pg.Addr, w.pg.TCPDSN(w.db, w.service), w.s3.URL(w.prefix)
	return c
}

// keys are the store's credentials, as the AWS chain would give them.
func (w *ward) keys(c *store.Config) {
	c.AccessKey, c.SecretKey = w.s3.AccessKey, store.Secret(w.s3.SecretKey)
	c.ConnectTimeout = 2 * time.Second
}

func (w *ward) examine(cfg config.Config, o Options) Report {
	w.t.Helper()
	if o.Store == nil {
		o.Store = w.keys
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return Run(ctx, cfg, o)
}

// want demands a status of one check, and words in its detail or remedy.
func (w *ward) want(r Report, name string, status check.Status, words ...string) {
	w.t.Helper()
	for _, c := range r.Checks {
		if c.Name != name {
			continue
		}
		text := c.Detail + "\n" + c.Remedy
		if c.Status != status {
			w.t.Errorf("%s is %s: %s", name, c.Status, text)
		}
		for _, word := range words {
			if !strings.Contains(text, word) {
				w.t.Errorf("%s does not say %q: %s", name, word, text)
			}
		}
		if (c.Status == check.Fail || c.Status == check.Warn) == (c.Remedy == "") {
			w.t.Errorf("%s is %s and has the remedy %q", name, c.Status, c.Remedy)
		}
		if r.OK == check.Failed(r.Checks) {
			w.t.Error("the report's verdict is not that of its checks")
		}
		return
	}
	w.t.Errorf("there is no check %s", name)
}

// count counts objects of the database and of the store.
func (w *ward) count() string {
	w.t.Helper()
	var n int
	err := w.pg.Connect(w.t, w.db, "postgres").QueryRow(context.Background(),
		"SELECT (SELECT count(*) FROM pg_class) + (SELECT count(*) FROM pg_foreign_table) + (SELECT count(*) FROM pgbulk.load) + (SELECT count(*) FROM pgbulk.import)").Scan(&n)
	if err != nil {
		w.t.Fatal(err)
	}
	objects := 0
	for info, err := range w.s3.Store(w.t).List(context.Background(), w.prefix) {
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Log(info.Key)
		objects++
	}
	return fmt.Sprint(n, " ", objects)
}

// TestHealthy: all is well, and nothing stays behind.
func TestHealthy(t *testing.T) {
	t.Parallel()
	w := newWard(t, testenv.Postgres(t))
	w.install()
	before := w.count()
	var told []string
	r := w.examine(w.config(), Options{Role: w.service, Tell: func(r check.Result) { told = append(told, r.Name) }})
	for _, c := range r.Checks {
		if c.Status != check.OK {
			t.Errorf("%s is %s: %s", c.Name, c.Status, c.Detail)
		}
	}
	if !r.OK || len(told) != len(r.Checks) || !strings.HasPrefix(r.Server, "PostgreSQL ") || r.Engine != "postgres" {
		t.Errorf("%v, %d told of %d, server %q, engine %q", r.OK, len(told), len(r.Checks), r.Server, r.Engine)
	}
	w.want(r, check.NameCurl, check.OK)
	w.want(r, check.NameServerStore, check.OK)
	if after := w.count(); after != before {
		t.Errorf("objects before %s, after %s", before, after)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), w.s3.SecretKey) || strings.Contains(string(text), "X-Amz") {
		t.Errorf("a secret shows: %s", text)
	}
}

// TestDatabaseFailures breaks one thing in the database at a time.
func TestDatabaseFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm   func(w *ward)
		check  string
		status check.Status
		words  []string
	}{
		"not installed": {func(w *ward) {}, check.NameInstallation, check.Fail, []string{"not installed", "pgbulkproxy install"}},
		"old installation": {func(w *ward) {
			w.install()
			w.admin("CREATE OR REPLACE FUNCTION pgbulk.version() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
		}, check.NameInstallation, check.Fail, []string{"version 1", "upgrades in place"}},
		"newer installation": {func(w *ward) {
			w.install()
			w.admin("CREATE OR REPLACE FUNCTION pgbulk.version() RETURNS integer LANGUAGE sql AS 'SELECT 999'")
		}, check.NameInstallation, check.Fail, []string{"version 999", "newer pgbulkproxy"}},
		"no usage": {func(w *ward) { w.install(); w.admin("REVOKE USAGE ON SCHEMA pgbulk FROM PUBLIC, " + w.service) },
			check.NameInstallation, check.Fail, []string{"USAGE"}},
		"no service role": {func(w *ward) { w.admin(install.SQL(postgres.New(), "")) },
			check.NameServiceRole, check.Fail, []string{"pgbulk.secret", "--service-role"}},
		"ledger of another format": {func(w *ward) { w.install(); w.admin("UPDATE pgbulk.format SET version = 1 WHERE name = 'ledger'") },
			check.NameLedger, check.Fail, []string{"install"}},
		"no foreign server": {func(w *ward) { w.install(); w.admin("DROP SERVER pgbulk_files CASCADE") },
			check.NameFileFDW, check.Fail, []string{"pgbulk_files"}},
		"no extension": {func(w *ward) { w.install(); w.admin("DROP EXTENSION file_fdw CASCADE") },
			check.NameFileFDW, check.Fail, []string{"file_fdw"}},
		"installer lost its rights": {func(w *ward) {
			owner := w.pg.NewRole(w.t, "SUPERUSER")
			w.admin("SET ROLE " + owner + "; " + install.SQL(postgres.New(), w.service) + "RESET ROLE; ALTER ROLE " + owner + " NOSUPERUSER")
			w.t.Cleanup(func() { w.admin("DROP OWNED BY " + owner + " CASCADE") })
		}, check.NameFileFDW, check.Fail, []string{"pg_execute_server_program"}},
		"read only": {func(w *ward) {
			w.install()
			w.admin("ALTER ROLE " + w.service + " SET default_transaction_read_only = on")
		},
			check.NameWritable, check.Fail, []string{"default_transaction_read_only"}},
		"few connections": {func(w *ward) { w.install(); w.admin("ALTER ROLE " + w.service + " CONNECTION LIMIT 2") },
			check.NameConnections, check.Fail, []string{"CONNECTION LIMIT"}},
		"superuser is service": {func(w *ward) { w.install(); w.admin("ALTER ROLE " + w.service + " SUPERUSER") },
			check.NameServiceRole, check.OK, []string{"fewer rights"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, testenv.Postgres(t))
			c.harm(w)
			w.want(w.examine(w.config(), Options{}), c.check, c.status, c.words...)
		})
	}
}

// TestClientRole looks at a role that lacks what it needs.
func TestClientRole(t *testing.T) {
	t.Parallel()
	w := newWard(t, testenv.Postgres(t))
	w.install()
	client := w.pg.NewRole(t, "")
	w.want(w.examine(w.config(), Options{Role: client}), check.NameClientRole, check.OK)
	w.want(w.examine(w.config(), Options{Role: "nobody'here"}), check.NameClientRole, check.Fail, "exists")
	w.admin("REVOKE TEMPORARY ON DATABASE " + w.db + " FROM PUBLIC")
	w.want(w.examine(w.config(), Options{Role: client}), check.NameClientRole, check.Warn, "TEMPORARY")
	w.admin("REVOKE EXECUTE ON FUNCTION pgbulk.open_file(text, text, text) FROM PUBLIC")
	w.want(w.examine(w.config(), Options{Role: client}), check.NameClientRole, check.Fail, "open_file")
	w.admin("REVOKE USAGE ON SCHEMA pgbulk FROM PUBLIC; GRANT USAGE ON SCHEMA pgbulk TO " + w.service)
	w.want(w.examine(w.config(), Options{Role: client}), check.NameClientRole, check.Fail, "USAGE")
}

// TestConnectionFailures: what is behind the first failure is skipped.
func TestConnectionFailures(t *testing.T) {
	t.Parallel()
	w := newWard(t, testenv.Postgres(t))
	for name, c := range map[string]struct {
		change func(*config.Config)
		check  string
		words  []string
	}{
		"upstream":    {func(c *config.Config) { c.Upstream = "127.0.0.1:1" }, check.NameUpstream, []string{"refused", "listen_addresses"}},
		"no server":   {func(c *config.Config) { c.ServiceDSN = "postgres://u:hidden@127.0.0.1:1/d" }, check.NameService, []string{"refused", "service_dsn"}},
		"no role":     {func(c *config.Config) { c.ServiceDSN = w.pg.TCPDSN(w.db, "nobody_here") }, check.NameService, []string{"nobody_here", "CREATE ROLE"}},
		"no database": {func(c *config.Config) { c.ServiceDSN = w.pg.TCPDSN("nothing_here", w.service) }, check.NameService, []string{"3D000", "--database"}},
		"no dsn":      {func(c *config.Config) { c.ServiceDSN = "hidden words" }, check.NameService, []string{"not a DSN"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &ward{t: t, pg: w.pg, s3: w.s3, db: w.db, service: w.service, prefix: w.prefix}
			cfg := w.config()
			c.change(&cfg)
			r := w.examine(cfg, Options{})
			w.want(r, c.check, check.Fail, c.words...)
			if c.check == check.NameService {
				w.want(r, check.NameInstallation, check.Skip, check.NameService)
				w.want(r, check.NameStore, check.OK)
			}
			if text := fmt.Sprint(r); strings.Contains(text, "hidden") {
				t.Errorf("the DSN shows: %s", text)
			}
		})
	}
	cfg := w.config()
	w.want(w.examine(cfg, Options{Database: "nothing_here"}), check.NameService, check.Fail, "3D000")
	cfg.ServiceDSN = ""
	w.want(w.examine(cfg, Options{}), check.NameService, check.Skip, "plain")
}

// TestStoreFailures gives the store wrong settings, one at a time.
func TestStoreFailures(t *testing.T) {
	t.Parallel()
	w := newWard(t, testenv.Postgres(t))
	w.install()
	for name, c := range map[string]struct {
		change func(*store.Config)
		words  []string
	}{
		"wrong key":    {func(c *store.Config) { c.AccessKey = "nobody" }, []string{"access key ID", "does not know the access key"}},
		"wrong secret": {func(c *store.Config) { c.SecretKey = "hidden" }, []string{"SignatureDoesNotMatch", "secret key"}},
		"wrong host":   {func(c *store.Config) { c.Endpoint = "http://127.0.0.1:1" }, []string{"refused", "no answer"}},
		"unknown host": {func(c *store.Config) { c.Endpoint = "http://nowhere.invalid" }, []string{"no answer"}},
		"no bucket":    {func(c *store.Config) { c.Bucket = "nothing-here" }, []string{"NoSuchBucket", "Make the bucket"}},
		"wrong region": {func(c *store.Config) { c.Region = "eu-nowhere-9" }, []string{"region"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &ward{t: t, pg: w.pg, s3: w.s3, db: w.db, service: w.service, prefix: w.prefix}
			r := w.examine(w.config(), Options{Store: func(sc *store.Config) { w.keys(sc); c.change(sc) }})
			w.want(r, check.NameStore, check.Fail, c.words...)
			w.want(r, check.NameServerStore, check.Skip)
			w.want(r, check.NameCurl, check.OK)
			if text := fmt.Sprint(r); strings.Contains(text, "hidden") || strings.Contains(text, w.s3.SecretKey) {
				t.Errorf("a secret shows: %s", text)
			}
		})
	}
}

// TestClocks: the proxy's clock is wrong, those of server and store are right.
func TestClocks(t *testing.T) {
	t.Parallel()
	w := newWard(t, testenv.Postgres(t))
	w.install()
	shifted := func(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }
	r := w.examine(w.config(), Options{Now: shifted(time.Hour)})
	w.want(r, check.NameServerClock, check.Fail, "behind", "NTP")
	w.want(r, check.NameStoreClock, check.Fail, "behind", "NTP")
	r = w.examine(w.config(), Options{Now: shifted(-2 * time.Minute)})
	w.want(r, check.NameServerClock, check.Warn, "2m0s ahead")
	w.want(r, check.NameStoreClock, check.Warn, "ahead")
	w.want(r, check.NameServerStore, check.OK)
}

// TestServerCannotRead: the proxy can read the store, the server can't.
func TestServerCannotRead(t *testing.T) {
	t.Parallel()
	w := newWard(t, testenv.Postgres(t))
	w.install()
	target, err := url.Parse(w.s3.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.UserAgent(), "curl") {
			http.Error(rw, "not for servers", http.StatusForbidden)
			return
		}
		forward.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	r := w.examine(w.config(), Options{Store: func(c *store.Config) { w.keys(c); c.Endpoint = front.URL }})
	w.want(r, check.NamePresigned, check.OK)
	w.want(r, check.NameServerStore, check.Fail, "refuses", "exit code 22", "bucket policy")
	if before := w.count(); !strings.HasSuffix(before, " 0") {
		t.Errorf("objects stay: %s", before)
	}
}

// TestNoCurl is a database host without curl. Not parallel: the server gets its
// PATH from this process.
func TestNoCurl(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	w := newWard(t, testenv.PrivatePostgres(t, nil))
	w.install()
	r := w.examine(w.config(), Options{})
	w.want(r, check.NameCurl, check.Fail, "curl was not found", "Install curl")
	w.want(r, check.NameServerStore, check.Skip, check.NameCurl)
	w.want(r, check.NamePresigned, check.OK)
}

// TestLimits are limits of the process that its settings do not fit into.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWard(t, testenv.Postgres(t))
	cfg := w.config()
	cfg.Stage.MemoryBytes, cfg.Stage.SpoolDir, cfg.MaxSessions = 1<<60, "/nowhere", 1_000_000
	r := w.examine(cfg, Options{})
	if memoryFree() > 0 {
		w.want(r, check.NameMemory, check.Fail, "stage.memory_bytes")
	}
	if openFiles() > 0 {
		w.want(r, check.NameFiles, check.Fail, "ulimit")
	}
	w.want(r, check.NameSpool, check.Fail, "/nowhere", "stage.spool_dir")
	w.want(r, check.NameConnections, check.Warn, "max_sessions")
	cfg.Stage.Spool = false
	w.want(w.examine(cfg, Options{}), check.NameSpool, check.Skip)
}

// TestRelayOnly needs no store.
func TestRelayOnly(t *testing.T) {
	t.Parallel()
	w := newWard(t, testenv.Postgres(t))
	var out bytes.Buffer
	cfg := w.config()
	cfg.RelayOnly = true
	r := w.examine(cfg, Options{Tell: func(r check.Result) { fmt.Fprintln(&out, r.Name, r.Status) }})
	w.want(r, check.NameStore, check.Skip, "relay_only")
	if !strings.Contains(out.String(), "store skip\n") {
		t.Error(out.String())
	}
}
