package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// serve starts a proxy for the tests' server and returns its ready line.
func serve(t *testing.T, args ...string) (*process, string) {
	t.Helper()
	p := launch(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--upstream", testenv.Postgres(t).Addr,
		"--set", "relay_only=on", "--log-level", "debug"}, args...)...)
	return p, p.line("ready ")
}

func TestServeReadyLineAndDrain(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			p, ready := serve(t)
			if !regexp.MustCompile(`^ready listen=127\.0\.0\.1:\d+ upstream=127\.0\.0\.1:\d+ engine=none$`).MatchString(ready) {
				t.Errorf("ready line %q", ready)
			}
			p.signal(sig)
			if code := p.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if l, ok := <-p.lines; ok {
				t.Errorf("a second line on stdout: %q", l)
			}
		})
	}
}

// TestServeDrainsSessions: a session in a transaction ends it after SIGTERM.
func TestServeDrainsSessions(t *testing.T) {
	t.Parallel()
	p, ready := serve(t)
	ctx := context.Background()
	conn := dial(t, field(ready, "listen"))
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	awaitRefused(t, field(ready, "listen"))
	var one int
	if err := tx.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
		t.Errorf("the running transaction is disturbed: %v", err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Error(err)
	}
	_ = conn.Close(ctx)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestServeSecondSignal: nobody has to wait for a session that never ends.
func TestServeSecondSignal(t *testing.T) {
	t.Parallel()
	p, ready := serve(t, "--set", "drain_timeout=1h")
	conn := dial(t, field(ready, "listen"))
	tx, err := conn.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	awaitRefused(t, field(ready, "listen"))
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.errors(), "pgbulkproxy: stopped by a second signal") {
		t.Error("the error does not say so")
	}
	_ = tx.Rollback(context.Background())
}

// dial opens a session through the proxy.
func dial(t *testing.T, addr string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), "postgres://postgres@"+addr+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// awaitRefused returns when the listener is closed: the drain has begun. Until
// then a connection is accepted and closed by the proxy, which is waited for.
func awaitRefused(t *testing.T, addr string) {
	t.Helper()
	for {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		// An empty startup: the proxy closes, having read the end of the stream.
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
}

func TestServeMetrics(t *testing.T) {
	t.Parallel()
	p, _ := serve(t, "--metrics", "127.0.0.1:0")
	url := "http://" + field(p.logged("metrics server listens"), "listen")
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": "go_goroutines"} {
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %q %v", path, res.StatusCode, body, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestServePortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, flag := range []string{"--listen", "--metrics"} {
		args := []string{"serve", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", "--set", "relay_only=on", flag, l.Addr().String()}
		p := launch(t, args...)
		if code := p.wait(); code != 1 {
			t.Errorf("%s: exit code %d", flag, code)
		}
		if !strings.Contains(p.errors(), "address already in use") {
			t.Errorf("%s: %s", flag, p.errors())
		}
	}
}

// TestServeSecretsStayOut: settings are logged without their passwords.
func TestServeSecretsStayOut(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("service_dsn: postgres://svc:hidden@127.0.0.1:1/postgres\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ := serve(t, "--config", file)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if log := p.logged("settings other than default") + p.errors(); !strings.Contains(log, "svc:xxxxx@") || strings.Contains(log, "hidden") {
		t.Errorf("log:\n%s", log)
	}
}
