package s3conf

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/httpserve"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Config of a Server.
type Config struct {
	// Listen is the HOST:PORT to listen on.
	Listen string
	// Advertise is the HOST:PORT by which the segments reach it. Empty: what
	// Listen bound.
	Advertise string
	// From are the networks that may fetch. None: all.
	From []netip.Prefix
}

// A fetch has no body and its answer is some hundred bytes; all of these only
// bound what a broken peer can hold.
const (
	requestTimeout = 5 * time.Second
	accessTimeout  = 5 * time.Second
	maxHeader      = 16 << 10
)

// path is where the URLs are.
const path = "/s3conf/"

// Server serves configurations. Open may be called concurrently.
type Server struct {
	cfg    Config
	bucket Bucket
	*httpserve.Server

	mu   sync.Mutex
	left map[string]int // fetches that a token has left
}

// Bucket is what store.Bucket has of this.
type Bucket interface {
	// Config is where the bucket is.
	Config() store.Config
	// Access is the same with the credentials of the moment.
	Access(ctx context.Context) (store.Config, error)
}

// Start listens and serves until Stop. bucket is asked concurrently.
//
// It starts one goroutine, and those of its requests, which end with Stop.
func Start(cfg Config, bucket Bucket) (*Server, error) {
	s := &Server{cfg: cfg, bucket: bucket, left: make(map[string]int)}
	listening, err := httpserve.Start(cfg.Listen, &http.Server{
		Handler: s, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout + accessTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(io.Discard, "", 0), // a request's text may hold a URL of ours
	})
	if err != nil {
		return nil, fmt.Errorf("listen for segments: %w", err)
	}
	s.Server = listening
	if s.cfg.Advertise == "" {
		s.cfg.Advertise = s.Addr().String()
	}
	return s, nil
}

// Open returns a URL that is served so many times, until close is called, which
// may be called again. The URL is a secret until then.
func (s *Server) Open(fetches int) (url string, close func()) {
	token := rand.Text() // 128 bits at least
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[token] = fetches
	return "http://" + s.cfg.Advertise + path + token, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.left, token)
	}
}

// Place is where the segments find the store: its host, and the region that
// requests are signed for.
func (s *Server) Place() (host, region string) {
	c := s.bucket.Config()
	return c.Host(), c.Region
}

// take uses up one fetch of a token.
func (s *Server) take(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left[token] < 1 {
		return false
	}
	s.left[token]--
	return true
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, found := strings.CutPrefix(r.URL.Path, path)
	if !found || r.Method != http.MethodGet || !s.from(r.RemoteAddr) || !s.take(token) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), accessTimeout)
	defer cancel()
	cfg, err := s.bucket.Access(ctx)
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable) // the load says that its statement failed
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain")
	// In one piece: the protocol keeps the last one it is given.
	_, _ = io.WriteString(w, text(cfg)) // whoever has hung up needs no answer
}

// from says whether an address may fetch.
func (s *Server) from(remote string) bool {
	if len(s.cfg.From) == 0 {
		return true
	}
	addr, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	for _, p := range s.cfg.From {
		if p.Contains(addr.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// A segment keeps threads times chunk in memory. Files of a load are some MiB, so
// larger chunks, and more of them, would be waste.
const (
	threads = 4
	chunk   = 8 << 20 // the least that the protocol takes
)

// text is the configuration. version 2 is the one that knows other hosts than
// Amazon's.
func text(c store.Config) string {
	token := ""
	if c.SessionToken != "" {
		token = "token = " + string(c.SessionToken) + "\n"
	}
	return fmt.Sprintf("[default]\naccessid = %s\nsecret = %s\n%sencryption = %t\nversion = 2\nthreadnum = %d\nchunksize = %d\n",
		c.AccessKey, string(c.SecretKey), token, !strings.HasPrefix(c.Endpoint, "http://"), threads, chunk)
}
