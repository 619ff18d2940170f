package enginetest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// runFailures has S3 fail in all ways that must not be taken for the end of the
// file. Each must be an error that a savepoint undoes.
func runFailures(t *testing.T, c Config) {
	body := strings.Repeat("1\tx\n", 50000)
	for name, answer := range map[string]http.HandlerFunc{
		"missing object":    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "1\tNoSuchKey", http.StatusNotFound) },
		"forbidden":         func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "1\tno", http.StatusForbidden) },
		"server error":      func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "1\tno", http.StatusInternalServerError) },
		"redirect":          redirect,
		"cut between rows":  func(w http.ResponseWriter, _ *http.Request) { cut(w, body, len(body), len(body)/2) },
		"cut inside a row":  func(w http.ResponseWriter, _ *http.Request) { cut(w, body, len(body), len(body)/2+1) },
		"cut without size":  func(w http.ResponseWriter, _ *http.Request) { cut(w, body, 0, len(body)/2) },
		"cut at the start":  func(w http.ResponseWriter, _ *http.Request) { cut(w, body, len(body), 0) },
		"short of one byte": func(w http.ResponseWriter, _ *http.Request) { cut(w, body, len(body), len(body)-1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(answer)
			t.Cleanup(srv.Close)
			failing(t, c, func(string) string { return srv.URL + "/bucket/key?X-Amz-Signature=s3cr3t" })
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		failing(t, c, func(string) string { return fmt.Sprintf("http://%s/x", l.Addr()) })
	})
	t.Run("object gone", func(t *testing.T) {
		t.Parallel()
		failing(t, c, func(url string) string { return strings.Replace(url, "/1?", "/2?", 1) })
	})
	t.Run("cancel while S3 hangs", func(t *testing.T) { t.Parallel(); cancelHanging(t, c) })
}

// redirect answers with a body that would be a good row.
func redirect(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Location", "http://127.0.0.1:1/")
	w.WriteHeader(http.StatusTemporaryRedirect)
	_, _ = io.WriteString(w, "1\tx\n")
}

// cut announces size bytes, or chunks, and breaks the connection after n.
func cut(w http.ResponseWriter, body string, size, n int) {
	if size > 0 {
		w.Header().Set("Content-Length", fmt.Sprint(size))
	}
	_, _ = io.WriteString(w, body[:n])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// failing loads a good file and then one whose URL is changed, in a block.
func failing(t *testing.T, c Config, url func(string) string) {
	b, l := tableBench(t, c)
	b.must(b.sess, "BEGIN; SAVEPOINT s")
	b.mustLoad(l, "1\tgood\n")
	b.must(b.sess, "SAVEPOINT s")
	b.url = url
	broken := newLoad("t", text())
	plan := b.plan(broken, "9\tx\n")
	n, err := runPlan(b.sess, plan)
	if err == nil {
		t.Fatalf("%d rows and no error", n)
	}
	if code := pgError(err).Code; code != "38000" && code != "22P04" && code != "22P02" {
		t.Errorf("got %v", err)
	}
	b.must(b.sess, "ROLLBACK TO s; COMMIT")
	b.want(b.admin, "SELECT a, b FROM t", "1|good")
	b.wantLeftovers(l, "1:1:role")
	b.wantLeftovers(broken, "")
}

// cancelHanging cancels a load whose server has stopped sending.
func cancelHanging(t *testing.T, c Config) {
	hanging, end := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "1\tx\n")
		_ = http.NewResponseController(w).Flush()
		close(hanging)
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(end) })
	b, l := tableBench(t, c)
	b.url = func(string) string { return srv.URL + "/x" }
	plan := b.plan(l, "")
	done := make(chan error, 1)
	go func() { // ends with the query
		_, err := runPlan(b.sess, plan)
		done <- err
	}()
	<-hanging
	if err := b.sess.CancelRequest(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if code := pgError(err).Code; code != "57014" && code != "38000" {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the cancel did not end the load")
	}
	b.want(b.admin, "SELECT count(*) FROM t", "0")
}
