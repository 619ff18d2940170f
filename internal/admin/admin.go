// Package admin is the HTTP side of the proxy: /metrics for Prometheus,
// /healthz (the process is alive) and /readyz (it takes sessions and its server
// can be reached). It shows nothing of clients' data and changes nothing, but
// it has no authentication either: bind it to an inner address.
package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgbulkproxy/pgbulkproxy/internal/httpserve"
)

// headerTimeout bounds what a broken peer can hold: a scrape has no body.
const headerTimeout = 5 * time.Second

// Start listens on addr (HOST:PORT) and serves until Stop. ready answers
// /readyz and is called concurrently.
func Start(addr string, gatherer prometheus.Gatherer, ready func() bool, log *slog.Logger) (*httpserve.Server, error) {
	s, err := httpserve.Start(addr, &http.Server{
		Handler:           Handler(gatherer, ready),
		ReadHeaderTimeout: headerTimeout,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	})
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return s, nil
}

// Handler answers the three paths; others are 404.
func Handler(gatherer prometheus.Gatherer, ready func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			answer(w, http.StatusServiceUnavailable, "not ready")
			return
		}
		answer(w, http.StatusOK, "ready")
	})
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A peer that has gone away is no one to tell.
	_, _ = fmt.Fprintln(w, text)
}
