package gpfdist

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config of a Server.
type Config struct {
	// Listen is the HOST:PORT to listen at; port 0 takes a free one. Required.
	Listen string
	// Address is the HOST:PORT that segments reach it under. Default is where it
	// listens, which has to be one address then.
	Address string
	// Networks may connect; others are closed at once. Empty: all.
	Networks []netip.Prefix
	// HeaderTimeout is how long a request may take to come. Default 10 seconds.
	HeaderTimeout time.Duration
	// MaxHeaderBytes bounds a request's headers; a segment sends about 1 KiB.
	// Default 16 KiB.
	MaxHeaderBytes int
	// MaxConns bounds the connections: further ones are closed at once. Each
	// segment of each load has one. Default 4096.
	MaxConns int
	// Patience is how long the segments may take nothing of what there is for them;
	// then the stream fails with ErrStalled. Default 1 minute.
	Patience time.Duration
	// Log may be nil.
	Log *slog.Logger
	// Metrics may be nil.
	Metrics prometheus.Registerer
}

// WithDefaults returns c with zero values replaced by the defaults.
func (c Config) WithDefaults() Config {
	if c.HeaderTimeout == 0 {
		c.HeaderTimeout = 10 * time.Second
	}
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = 16 << 10
	}
	if c.MaxConns == 0 {
		c.MaxConns = 4096
	}
	if c.Patience == 0 {
		c.Patience = time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// tokenBytes is the length of a token: nobody guesses 128 bits.
const tokenBytes = 16

// Server gives rows to segments. It is safe for concurrent use.
type Server struct {
	cfg     Config
	address string
	http    *http.Server
	conns   atomic.Int64
	metrics *metrics
	served  sync.WaitGroup

	mu      sync.Mutex
	streams map[string]*Stream
	closed  bool
}

var errServerClosed = errors.New("gpfdist: the server is closed")

// Listen starts a server, on one goroutine that ends with Close; each connection
// has one of its own.
func Listen(cfg Config) (*Server, error) {
	cfg = cfg.WithDefaults()
	if cfg.Address != "" {
		if err := checkAddress(cfg.Address); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for gpfdist: %w", err)
	}
	if cfg.Address == "" {
		if a, ok := l.Addr().(*net.TCPAddr); !ok || a.IP.IsUnspecified() {
			_ = l.Close()
			return nil, fmt.Errorf("listen for gpfdist at %s: the address that segments reach it under has to be given", cfg.Listen)
		}
		cfg.Address = l.Addr().String()
	}
	s := &Server{cfg: cfg, address: cfg.Address, streams: make(map[string]*Stream), metrics: newMetrics(cfg.Metrics)}
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: cfg.HeaderTimeout,
		// To those without a token there is nothing here, not even options.
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               cfg.MaxHeaderBytes,
		ErrorLog:                     slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		ConnState:                    s.count,
	}
	s.http.SetKeepAlivesEnabled(false)
	s.served.Go(func() { _ = s.http.Serve(l) }) // it ends by Close, or nobody can be served
	return s, nil
}

// checkAddress refuses what would not be one HOST:PORT within a LOCATION.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address of gpfdist %q: %w", address, err)
	}
	for _, c := range []byte(host + port) {
		if c <= ' ' || c >= 0x7F || c == '/' || c == '\'' || c == '@' || c == '?' || c == '#' {
			return fmt.Errorf("address of gpfdist %q: not a host and a port", address)
		}
	}
	if host == "" || port == "" {
		return fmt.Errorf("address of gpfdist %q: not a host and a port", address)
	}
	return nil
}

// Patience is how long segments may take nothing.
func (s *Server) Patience() time.Duration { return s.cfg.Patience }

// Address is the HOST:PORT that segments reach the server under.
func (s *Server) Address() string { return s.address }

// Close ends all streams and connections, and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	open := make([]*Stream, 0, len(s.streams))
	for _, st := range s.streams {
		open = append(open, st)
	}
	s.mu.Unlock()
	for _, st := range open {
		st.Fail(errServerClosed)
	}
	_ = s.http.Close()
	s.served.Wait()
	for _, st := range open {
		st.Close()
	}
}

// Open makes a stream. name is what the server's error log shows in the place of
// a file's name. The caller closes the stream.
func (s *Server) Open(name string) (*Stream, error) {
	raw := make([]byte, tokenBytes)
	_, _ = rand.Read(raw) // never fails
	st := &Stream{
		srv: s, token: hex.EncodeToString(raw), name: name[:min(len(name), maxName)],
		blocks: make(chan Block), over: make(chan struct{}), segments: make(map[int]*segment), moved: time.Now(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errServerClosed
	}
	s.streams[st.token] = st
	s.metrics.streams.Inc()
	return st, nil
}

func (s *Server) forget(st *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[st.token] == st {
		delete(s.streams, st.token)
		s.metrics.streams.Dec()
	}
}

func (s *Server) lookup(token string) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[token]
}

// ServeHTTP implements http.Handler: one segment's request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, herr := parseRequest(r)
	if herr != nil {
		s.refuse(w, herr)
		return
	}
	st := s.lookup(req.token)
	if st == nil {
		s.refuse(w, errNoStream)
		return
	}
	seg := &segment{id: req.segment, w: w, ctrl: http.NewResponseController(w)}
	if herr := st.attach(req, seg); herr != nil {
		s.refuse(w, herr)
		return
	}
	err := st.serve(r.Context(), seg)
	s.cfg.Log.Debug("segment served", "stream", st.name, "segment", seg.id, "of", req.of, "rows", seg.rows, "bytes", seg.bytes, "error", err)
	s.metrics.served(seg, err)
	st.leave(seg, err)
}

// refuse answers with the reason where segments look for it: in the status line
// they find the code's own text, in the body ours.
func (s *Server) refuse(w http.ResponseWriter, e *httpError) {
	s.metrics.requests.WithLabelValues("refused").Inc()
	w.Header().Set("Cache-Control", "no-cache")
	http.Error(w, e.why, e.code)
}

// count closes connections beyond the limit, or from elsewhere.
func (s *Server) count(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.conns.Add(1) > int64(s.cfg.MaxConns) || !s.allowed(c) {
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
	}
}

// allowed says whether a connection comes from where segments are.
func (s *Server) allowed(c net.Conn) bool {
	if len(s.cfg.Networks) == 0 {
		return true
	}
	from, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return false
	}
	ip, _ := netip.AddrFromSlice(from.IP)
	return slices.ContainsFunc(s.cfg.Networks, func(n netip.Prefix) bool { return n.Contains(ip.Unmap()) })
}
