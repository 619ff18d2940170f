package proxytest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
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

// Server is a proxy.
type Server interface {
	Serve(ctx context.Context, ready func(addr net.Addr)) error
	Close() error
}

// Maker makes one. credentials has to be called with the store's settings.
type Maker func(ctx context.Context, cfg config.Config, log *slog.Logger, reg *prometheus.Registry, credentials func(*store.Config)) (Server, error)

// Running is a proxy in this process.
type Running struct {
	Addr net.Addr
	Reg  *prometheus.Registry
	Stop context.CancelFunc // begins the drain
}

// Log is the log of a test: warnings, and everything where tests are verbose.
func Log(t testing.TB) *slog.Logger {
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

// Start runs a proxy in front of a server, and ends it with the test.
// By default everything is staged, in small files, so that little data makes
// several, and every INSERT of two rows is taken.
func Start(t testing.TB, pg *testenv.PG, newServer Maker, log *slog.Logger, change func(*config.Config)) *Running {
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
	reg := prometheus.NewRegistry()
	p, err := newServer(t.Context(), cfg, log, reg, func(c *store.Config) {
		c.AccessKey, c.SecretKey = s3.AccessKey, store.Secret(s3.SecretKey)
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() { done <- p.Serve(ctx, func(a net.Addr) { ready <- a }) }()
	r := &Running{Reg: reg, Stop: stop}
	select {
	case r.Addr = <-ready:
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

// DSN is a connection string through the proxy.
func (r *Running) DSN(pg *testenv.PG, db, user string) string {
	cfg, err := pgx.ParseConfig(pg.TCPDSN(db, user))
	if err != nil {
		panic(err)
	}
	_, port, _ := net.SplitHostPort(r.Addr.String())
	return "host=127.0.0.1 port=" + port + " dbname=" + cfg.Database + " user=" + cfg.User + " sslmode=disable"
}

// Targets are a server directly and through the proxy.
func (r *Running) Targets(pg *testenv.PG) (direct, proxied pgtest.Target) {
	direct = pgtest.Target{
		Name:        "direct",
		DSN:         func(db string) string { return pg.TCPDSN(db, "postgres") },
		NewDatabase: pg.NewDatabase,
	}
	proxied = pgtest.Target{Name: "proxied", DSN: func(db string) string { return r.DSN(pg, db, "postgres") }}
	return direct, proxied
}

// Metric sums the series of a counter or gauge that have these labels, given in pairs.
func (r *Running) Metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.Reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := make(map[string]string)
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			fits := true
			for i := 0; i < len(labels); i += 2 {
				fits = fits && have[labels[i]] == labels[i+1]
			}
			if fits {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// Decisions lists how many statements went which way, for docs/clients.md.
func (r *Running) Decisions(t testing.TB) string {
	t.Helper()
	families, err := r.Reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if n := m.GetCounter().GetValue(); n > 0 && f.GetName() == "pgbulk_statements_total" {
				words := []string{}
				for _, l := range m.GetLabel() {
					words = append(words, l.GetValue())
				}
				lines = append(lines, fmt.Sprintf("%s %.0f", strings.Join(words, " "), n))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// Install prepares a database.
func Install(t testing.TB, pg *testenv.PG, db string) {
	t.Helper()
	conn := pg.Connect(t, db, "postgres")
	if err := installer.Run(t.Context(), conn.PgConn(), installer.SQL(postgres.New(), "")); err != nil {
		t.Fatal(err)
	}
}
