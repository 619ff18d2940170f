package storetest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// Handler answers a request in place of the store, or passes it on by calling
// forward. To end the connection without an answer it calls Cut.
type Handler func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter))

// Cut ends the connection of the request being handled.
func Cut() { panic(http.ErrAbortHandler) }

// Interpose starts an HTTP proxy in front of a store's endpoint until the test
// ends and returns its own. A handler that blocks must stop when the request's
// context ends.
func Interpose(tb testing.TB, endpoint string, handle Handler) string {
	tb.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	proxy := &httputil.ReverseProxy{
		// The host stays as it came: it is part of what the client signed.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host
		},
		Transport:    transport,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { Cut() },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handle(w, r, func(w http.ResponseWriter) { proxy.ServeHTTP(w, r) })
	}))
	tb.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL
}

// Discard is a ResponseWriter to forward with when the answer is to be lost.
func Discard() http.ResponseWriter { return httptest.NewRecorder() }

// Truncate is a ResponseWriter that cuts the connection after n bytes of body.
func Truncate(w http.ResponseWriter, n int) http.ResponseWriter {
	return &truncated{ResponseWriter: w, left: n}
}

type truncated struct {
	http.ResponseWriter
	left int
}

func (t *truncated) Write(p []byte) (int, error) {
	if len(p) <= t.left {
		t.left -= len(p)
		return t.ResponseWriter.Write(p)
	}
	_, _ = t.ResponseWriter.Write(p[:t.left]) // the connection ends anyway
	if f, ok := t.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	Cut()
	return 0, io.ErrClosedPipe
}

// Hang reads the request's body and then waits until the client gives up.
func Hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // so that the server notices the client's end
	<-r.Context().Done()
}
