package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

// TestStoreRetries: what the store fails once is tried again, and counted; the
// load does not notice.
func TestStoreRetries(t *testing.T) {
	t.Parallel()
	slowDown := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
	}
	for name, bad := range map[string]func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)){
		"500":       func(w http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) { status(500)(w, r) },
		"slow down": func(w http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) { slowDown(w, r) },
		"hangs":     func(_ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) { storetest.Hang(r) },
		"cuts": func(_ http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) {
			_, _ = io.ReadFull(r.Body, make([]byte, 1000))
			storetest.Cut()
		},
		"loses the answer": func(_ http.ResponseWriter, _ *http.Request, forward func(http.ResponseWriter)) {
			forward(storetest.Discard())
			storetest.Cut()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var puts atomic.Int64
			endpoint := storetest.Interpose(t, testenv.S3(t).Endpoint, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
				// Each file is put twice: the second time it is let through.
				if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/00002.") && puts.Add(1)%2 == 1 {
					bad(w, r, forward)
					return
				}
				forward(w)
			})
			b := newBed(t, at(endpoint), nil)
			must(t, b.direct(), createT)
			b.same(copyText, textRows(8000))
			b.sameIn(copyText, textRows(8000), "BEGIN", "COMMIT")
			b.wantMetric(2, "pgbulk_store_retries_total")
			b.wantMetric(0, "pgbulk_fallbacks_total")
			b.wantMetric(2, "pgbulk_loads_total", "engine", "postgres", "result", "ok")
			b.wantMetric(16000, "pgbulk_rows_total")
			b.wantLedger(map[string]int{"COMPLETED": 2})
			b.wantSwept()
		})
	}
}
