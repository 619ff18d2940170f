package killmatrix

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"

	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

// gate stands between the proxy, the server and S3.
type gate struct {
	trigger *trigger
	// parts: only uploads in parts are points.
	parts bool

	mu     sync.Mutex
	fault  fault
	healed chan struct{} // closed by heal
}

// fault is what S3 does instead of its work.
type fault string

const (
	refuses  fault = "refuses"
	hangs    fault = "hangs"
	cuts     fault = "cuts bodies short"
	fails    fault = "answers 500"
	slowDown fault = "answers 503"
	full     fault = "is full"
	loses    fault = "loses rows in silence"
)

var faults = []fault{refuses, hangs, cuts, fails, slowDown, full, loses}

// stop has S3 fail until it is healed.
func (g *gate) stop(f fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault, g.healed = f, make(chan struct{})
}

func (g *gate) heal() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault != "" {
		g.fault = ""
		close(g.healed)
	}
}

var loadID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

// handle is a storetest.Handler.
func (g *gate) handle(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
	g.mu.Lock()
	f, healed := g.fault, g.healed
	g.mu.Unlock()
	if f != "" {
		g.fail(f, healed, w, r, forward)
		return
	}
	at := where{load: loadID.FindString(r.URL.Path)}
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPut && query.Has("partNumber"):
		r.Body = &seen{ReadCloser: r.Body, at: max(1, r.ContentLength/2), see: func() bool { return g.trigger.pass(atUpload, at) }}
		forward(w)
	case r.Method == http.MethodPut && g.parts:
		forward(w)
	case r.Method == http.MethodPut:
		r.Body = &seen{ReadCloser: r.Body, at: max(1, r.ContentLength/2), see: func() bool { return g.trigger.pass(atUpload, at) }}
		r.Body = &seen{ReadCloser: r.Body, at: r.ContentLength, see: func() bool { return g.trigger.pass(beforeFinish, at) }}
		forward(&answered{ResponseWriter: w, see: func() bool { return g.trigger.pass(afterFinish, at) }})
	case r.Method == http.MethodPost && query.Has("uploadId"):
		g.held(beforeFinish, at)
		forward(&answered{ResponseWriter: w, see: func() bool { return g.trigger.pass(afterFinish, at) }})
	case r.Method == http.MethodGet && at.load != "" && !query.Has("prefix"):
		g.held(atExternal, at)
		forward(&answered{ResponseWriter: w, body: true, see: func() bool { return g.trigger.pass(inInsert, at) }})
	case r.Method == http.MethodDelete && !query.Has("uploadId"), r.Method == http.MethodPost && query.Has("delete"):
		g.held(beforeSweep, at)
		forward(&answered{ResponseWriter: w, see: func() bool { return g.trigger.pass(afterSweep, at) }})
	default:
		forward(w)
	}
}

// held is a point before a request is passed on.
func (g *gate) held(p point, at where) {
	if !g.trigger.pass(p, at) {
		storetest.Cut()
	}
}

func (g *gate) fail(f fault, healed <-chan struct{}, w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
	switch f {
	case hangs:
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the client is noticed
		select {
		case <-r.Context().Done():
		case <-healed:
		}
		storetest.Cut()
	case cuts:
		if r.Method == http.MethodGet {
			forward(storetest.Truncate(w, 1000))
			return
		}
		_, _ = io.CopyN(io.Discard, r.Body, 1000)
		storetest.Cut()
	case fails:
		refuse(w, r, http.StatusInternalServerError, "InternalError")
	case slowDown:
		refuse(w, r, http.StatusServiceUnavailable, "SlowDown")
	case full:
		if r.Method == http.MethodPut || r.Method == http.MethodPost {
			refuse(w, r, http.StatusInsufficientStorage, "XMinioStorageFull")
			return
		}
		forward(w)
	case loses:
		if r.Method != http.MethodGet || r.URL.Query().Has("prefix") {
			forward(w)
			return
		}
		whole := httptest.NewRecorder()
		forward(whole)
		rows := bytes.TrimSuffix(whole.Body.Bytes(), []byte("\n"))
		_, _ = w.Write(rows[:bytes.LastIndexByte(rows, '\n')+1])
	default:
		storetest.Cut()
	}
}

// refuse answers as S3 does.
func refuse(w http.ResponseWriter, r *http.Request, status int, code string) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>"+code+"</Message></Error>")
}

// seen is a body of which a byte is a point.
type seen struct {
	io.ReadCloser
	n, at int64
	see   func() bool
}

// Read reads up to the point, and holds what reaches it.
func (s *seen) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if before := s.n; n > 0 {
		s.n += int64(n)
		if before < s.at && s.n >= s.at && !s.see() {
			return 0, io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// answered is an answer that is a point: at its head, or in the middle of its
// body.
type answered struct {
	http.ResponseWriter
	body bool
	n    int
	see  func() bool
	done bool
}

// Unwrap lets the writer behind it be flushed.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader is the point of answers without body.
func (a *answered) WriteHeader(code int) {
	if !a.body && !a.done {
		a.done = true
		if !a.see() {
			storetest.Cut()
		}
	}
	a.ResponseWriter.WriteHeader(code)
}

// someBytes of an object have been read when the server is inside the INSERT.
const someBytes = 4000

// Write is the point of answers with body.
func (a *answered) Write(p []byte) (int, error) {
	if a.body && !a.done && a.n+len(p) >= someBytes {
		n, err := a.ResponseWriter.Write(p[:len(p)/2])
		if f, ok := a.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		a.done = true
		if err != nil {
			return n, err
		}
		if !a.see() {
			storetest.Cut()
		}
		m, err := a.ResponseWriter.Write(p[len(p)/2:])
		return n + m, err
	}
	a.n += len(p)
	return a.ResponseWriter.Write(p)
}
