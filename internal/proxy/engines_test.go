package proxy

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// enginesFor makes engines for a DSN, and returns what they log, too.
func enginesFor(t *testing.T, name, dsn string) (*engines, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	cfg := config.Default()
	cfg.Engine, cfg.ServiceDSN = name, dsn
	e, err := newEngines(t.Context(), cfg, databasesFor(t, dsn, ""), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return e, &log
}

// TestEngineAuto: one line at start says what was chosen and why; other databases
// are asked when something is installed there.
func TestEngineAuto(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	e, log := enginesFor(t, config.EngineAuto, serviceDSN(pg))
	if e.Name() != "postgres" || strings.Count(log.String(), "engine chosen") != 1 ||
		!strings.Contains(log.String(), "engine=postgres why=\"PostgreSQL ") || !strings.Contains(log.String(), "tested=") {
		t.Errorf("%s, log %s", e.Name(), log)
	}
	db := pg.NewDatabase(t)
	if got := e.Of(t.Context(), db, false).Name(); got != "postgres" {
		t.Error(got)
	}
	if e.choice(db).known() {
		t.Error("a database where nothing is installed was asked")
	}
	install(t, pg, db)
	if got := e.Of(t.Context(), db, true).Name(); got != "postgres" || !e.choice(db).known() {
		t.Error(got)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines for one server: %s", n, log)
	}
}

// TestEngineConfigured asks nobody.
func TestEngineConfigured(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, dsn, want, says string }{
		{"plain", "host=/nowhere", "plain", "it is configured"},
		{"postgres", "", "plain", "there is no service_dsn"},
		{"auto", "", "plain", "there is no service_dsn"},
	} {
		e, log := enginesFor(t, c.name, c.dsn)
		if got := e.Of(t.Context(), "db", true).Name(); got != c.want || e.Name() != c.want || !strings.Contains(log.String(), c.says) {
			t.Errorf("%+v: %s, log %s", c, got, log)
		}
	}
}

// TestEngineAway: a server that is away at start is taken for a PostgreSQL until it
// answers.
func TestEngineAway(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	e, log := enginesFor(t, config.EngineAuto, "postgres://postgres@"+address+"/postgres?sslmode=disable")
	if e.Name() != config.EngineAuto || strings.Contains(log.String(), "engine chosen") || !strings.Contains(log.String(), "could not be asked") {
		t.Errorf("%s, log %s", e.Name(), log)
	}
	if got := e.Of(t.Context(), "postgres", true).Name(); got != "postgres" {
		t.Error(got)
	}
	forward(t, address, pg.Addr)
	db := pg.NewDatabase(t)
	if got := e.Of(t.Context(), db, true).Name(); got != "postgres" || !e.choice(db).known() {
		t.Errorf("%s, log %s", got, log)
	}
	if !strings.Contains(log.String(), "engine chosen") {
		t.Errorf("log %s", log)
	}
	// What was found once holds while nobody answers.
	e.dbs.close()
	c := e.choice(db)
	c.next = c.next.Add(-2 * refreshAfter)
	if got := e.Of(t.Context(), db, true).Name(); got != "postgres" || !c.known() {
		t.Error(got)
	}
}

// forward passes connections to an address on to another, until the test ends.
func forward(t *testing.T, from, to string) {
	t.Helper()
	ln, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = ln.Close(); <-done })
	go func() {
		defer close(done)
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				return
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
}
