// Package admin is the HTTP side of the proxy: /metrics for Prometheus,
// /healthz (the process is alive) and /readyz (it takes sessions and its server
// can be reached). It shows nothing of clients' data and changes nothing, but
// it has no authentication either: bind it to an inner address.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// headerTimeout and stopTimeout: a scrape has no body and takes milliseconds;
// both only bound what a broken peer can hold.
const (
	headerTimeout = 5 * time.Second
	stopTimeout   = 2 * time.Second
)

// Server is a running HTTP server.
type Server struct {
	http     *http.Server
	listener net.Listener
	done     chan error
}

// Start listens on addr (HOST:PORT) and serves until Stop. ready answers
// /readyz and is called concurrently.
//
// It starts one goroutine, which ends when Stop closes the listener; Stop waits
// for it.
func Start(addr string, gatherer prometheus.Gatherer, ready func() bool, log *slog.Logger) (*Server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	s := &Server{
		listener: listener,
		done:     make(chan error, 1),
		http: &http.Server{
			Handler:           Handler(gatherer, ready),
			ReadHeaderTimeout: headerTimeout,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}
	go func() { s.done <- s.http.Serve(listener) }()
	return s, nil
}

// Addr is the address that Start bound.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Stop lets running requests end for a moment, then closes them.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	if serveErr := <-s.done; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return fmt.Errorf("stop metrics server: %w", err)
	}
	return nil
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
