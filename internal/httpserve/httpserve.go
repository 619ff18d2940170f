// Package httpserve runs the proxy's HTTP servers: it listens, serves in a
// goroutine of its own, and stops. What is answered is its callers'.
package httpserve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// stopTimeout is how long requests under way may go on: what is served here is
// short, and takes milliseconds.
const stopTimeout = 2 * time.Second

// Server is a running HTTP server.
type Server struct {
	http     *http.Server
	listener net.Listener
	done     chan error
}

// Start listens on addr (HOST:PORT) and serves until Stop. It starts one
// goroutine, and those of its requests, which end with Stop.
func Start(addr string, server *http.Server) (*Server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Server{http: server, listener: listener, done: make(chan error, 1)}
	go func() { s.done <- server.Serve(listener) }()
	return s, nil
}

// Addr is the address that Start bound.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Stop lets requests under way end for a moment, then closes them, and waits for
// all. It is called once.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stop the server at %s: %w", s.Addr(), err)
	}
	return nil
}
