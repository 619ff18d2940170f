package admin

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/pgbulkproxy/pgbulkproxy/internal/httpserve"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, ready func() bool) *httpserve.Server {
	t.Helper()
	reg := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "pgbulk_rows_total", Help: "Rows."})
	reg.MustRegister(counter)
	counter.Add(3)
	s, err := Start("127.0.0.1:0", reg, ready, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// get uses a client of its own whose connections end with the request.
func get(t *testing.T, method, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestPaths(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	s := start(t, ready.Load)
	url := "http://" + s.Addr().String()
	check := func(method, path string, status int, text string) {
		t.Helper()
		got, body := get(t, method, url+path)
		if got != status || !strings.Contains(body, text) {
			t.Errorf("%s %s: %d %q", method, path, got, body)
		}
	}
	check("GET", "/healthz", 200, "ok")
	check("GET", "/readyz", 503, "not ready")
	ready.Store(true)
	check("GET", "/readyz", 200, "ready")
	check("GET", "/metrics", 200, "pgbulk_rows_total 3")
	check("GET", "/", 404, "")
	check("POST", "/metrics", 405, "")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("still listens after Stop")
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	s := start(t, func() bool { return true })
	defer s.Stop()
	_, err := Start(s.Addr().String(), prometheus.NewRegistry(), nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "metrics: listen tcp") {
		t.Errorf("error %v", err)
	}
}
