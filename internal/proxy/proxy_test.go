package proxy

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/engine/postgres"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	installer "github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(moverDSN); dsn != "" {
		os.Exit(runMover(dsn))
	}
	os.Exit(testenv.Main(m))
}

// running is a proxy in this process.
type running struct {
	*Proxy
	addr net.Addr
	reg  *prometheus.Registry
	stop context.CancelFunc // begins the drain
}

// start runs a proxy in front of the shared server, and ends it with the test.
// By default everything is staged, in small files, so that little data makes
// several, and every INSERT of two rows is taken.
func start(t testing.TB, pg *testenv.PG, o Options, change func(*config.Config)) *running {
	t.Helper()
	s3 := testenv.S3(t)
	cfg := config.Default()
	cfg.Listen, cfg.Upstream = "127.0.0.1:0", pg.Addr
	cfg.ServiceDSN = pg.TCPDSN("postgres", "postgres")
	cfg.Store = s3.URL(s3.Prefix(t))
	cfg.Stage.MinBytes, cfg.Stage.FileBytes = 0, 64<<10
	cfg.Insert.MinRows, cfg.Insert.MinRowsAlone, cfg.Insert.MinRowsBind = 2, 2, 2
	cfg.Insert.MinRowsBatch, cfg.Load.Method, cfg.Load.Transcode = 2, config.MethodExternal, config.TranscodeOff
	cfg.Sweep.Grace = 0
	cfg.Lease.Discover = false // databases are those of other tests
	cfg.DrainTimeout = 2 * time.Second
	if change != nil {
		change(&cfg)
	}
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
	reg := prometheus.NewRegistry()
	wanted := o.Store
	o.Store = func(c *store.Config) {
		c.AccessKey, c.SecretKey = s3.AccessKey, store.Secret(s3.SecretKey)
		if wanted != nil {
			wanted(c)
		}
	}
	p, err := NewWith(t.Context(), cfg, log, reg, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() { done <- p.Serve(ctx, func(a net.Addr) { ready <- a }) }()
	r := &running{Proxy: p, reg: reg, stop: stop}
	select {
	case r.addr = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// dsn is a connection string through the proxy.
func (r *running) dsn(pg *testenv.PG, db, user string) string {
	cfg, err := pgx.ParseConfig(pg.TCPDSN(db, user))
	if err != nil {
		panic(err)
	}
	_, port, _ := net.SplitHostPort(r.addr.String())
	return "host=127.0.0.1 port=" + port + " dbname=" + cfg.Database + " user=" + cfg.User + " sslmode=disable"
}

// install prepares a database.
func install(t testing.TB, pg *testenv.PG, db string) {
	t.Helper()
	conn := pg.Connect(t, db, "postgres")
	if err := installer.Run(t.Context(), conn.PgConn(), installer.SQL(postgres.New(), "")); err != nil {
		t.Fatal(err)
	}
}

const scripts = "../../testdata/wire"

// native is what the tests' server says to the scripts, in databases in which the proxy
// is installed; nativePlain is that of others, which have no extension of its.
var native, nativePlain pgtest.Memory

// differ compares the scripts of some folders with the direct connection.
func differ(t *testing.T, installed, extended bool, change func(*config.Config), dirs ...string) {
	t.Helper()
	stagedInserts := slices.Equal(dirs, []string{"insert"})
	pg := testenv.Postgres(t)
	r := start(t, pg, Options{}, change)
	direct := pgtest.Target{
		Name:        "direct",
		DSN:         func(db string) string { return pg.TCPDSN(db, "postgres") },
		NewDatabase: pg.NewDatabase,
	}
	proxied := pgtest.Target{Name: "proxied", DSN: func(db string) string { return r.dsn(pg, db, "postgres") }}
	o := pgtest.Options{Extended: extended, Memory: &native, Skip: func(_ string, c *pgtest.Case) string {
		switch {
		case stagedInserts && slices.Contains([]string{
			"lock timeout while a key is held", "statement timeout while a key is held", "cancel while waiting for a key", "deadlock",
		}, c.Name):
			return "docs/guarantees.md: the place of the row in the table, in the CONTEXT, counts the first try"
		case c.Name == "default function that may not be executed":
			return "docs/guarantees.md: the CopyInResponse comes before the same error"
		case extended && c.Name == "statement trigger raises before any data":
			return "docs/guarantees.md: a Sync sent before the data is ignored, also where the trigger fails before it is read"
		}
		return ""
	}}
	if !installed {
		o.Memory = &nativePlain
	} else {
		o.Prepare = func(t testing.TB, db string) { install(t, pg, db) }
	}
	t.Run("scripts", func(t *testing.T) {
		for _, dir := range dirs {
			t.Run(dir, func(t *testing.T) { pgtest.RunDir(t, filepath.Join(scripts, dir), direct, proxied, o) })
		}
	})
}

// TestDifferentialExternal is what load.method = external gives: files of COPY binary,
// and of the client's bytes where those do not fit. The INSERTs of it, with text, are
// TestDifferentialStagedInserts'.
func TestDifferentialExternal(t *testing.T) {
	differ(t, true, false, storedBinary, "copy", "routed", "session")
}

// TestDifferentialPlain has neither an installation nor a ledger, and sends text as
// COPY binary.
func TestDifferentialPlain(t *testing.T) {
	differ(t, false, false, func(c *config.Config) {
		c.Engine, c.Load.Transcode, c.Sweep.Keep = "plain", config.TranscodeOn, config.KeepAlways
	},
		"copy", "insert", "routed", "session")
}

// transcoded sends files as COPY binary.
func transcoded(c *config.Config) {
	c.Load.Method, c.Load.Transcode = config.MethodAuto, config.TranscodeOn
}

// TestDifferentialExtended is what a new user has, in the extended protocol.
func TestDifferentialExtended(t *testing.T) {
	differ(t, true, true, transcoded, "copy", "insert", "routed", "session")
}

// TestDifferentialTranscoded runs the scripts of COPYs so in the simple protocol.
func TestDifferentialTranscoded(t *testing.T) { differ(t, true, false, transcoded, "copy") }

// TestDifferentialStagedInserts runs the scripts of INSERTs, and stages each.
func TestDifferentialStagedInserts(t *testing.T) {
	differ(t, true, false, func(c *config.Config) { c.Insert.StageBytes = 0 }, "insert")
}

// TestDifferentialHeld holds COPYs longer than most of the scripts' are.
func TestDifferentialHeld(t *testing.T) {
	differ(t, true, false, func(c *config.Config) { c.Stage.MinBytes = 100 << 10 }, "copy", "session")
}
