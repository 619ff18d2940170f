package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	toxi "github.com/Shopify/toxiproxy/v2"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

// at puts the store behind another endpoint.
func at(endpoint string) Options {
	return Options{Store: func(c *store.Config) { quick(c); c.Endpoint = endpoint }}
}

// interposed puts an HTTP proxy in front of the store that calls bad for PUTs
// of the file with that number, or of every file if it is 0.
func interposed(t *testing.T, number int, bad func(w http.ResponseWriter, r *http.Request)) Options {
	suffix := fmt.Sprintf("/%05d.", number)
	return at(storetest.Interpose(t, testenv.S3(t).Endpoint, func(w http.ResponseWriter, r *http.Request, forward func(http.ResponseWriter)) {
		if r.Method == http.MethodPut && (number == 0 || strings.Contains(r.URL.Path, suffix)) {
			bad(w, r)
			return
		}
		forward(w)
	}))
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(code)
	}
}

// TestStoreFails: whatever the store does, the load ends as it would natively.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]func(t *testing.T) Options{
		"refuses": func(*testing.T) Options { return at("http://127.0.0.1:1") },
		"500":     func(t *testing.T) Options { return interposed(t, 0, status(500)) },
		"503":     func(t *testing.T) Options { return interposed(t, 0, status(503)) },
		"403":     func(t *testing.T) Options { return interposed(t, 0, status(403)) },
		"file 2":  func(t *testing.T) Options { return interposed(t, 2, status(500)) },
		"file 3":  func(t *testing.T) Options { return interposed(t, 3, status(500)) },
		"hangs": func(t *testing.T) Options {
			return interposed(t, 3, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, 1000))
				storetest.Hang(r)
			})
		},
		"cuts": func(t *testing.T) Options {
			return interposed(t, 2, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, 1000))
				storetest.Cut()
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, options(t), nil)
			must(t, b.direct(), createT)
			b.same(copyText, textRows(8000))
			b.wantMetric(1, "pgbulk_fallbacks_total", "reason", "store")
			b.wantMetric(1, "pgbulk_loads_total", "engine", "postgres", "result", "fallback")
			b.wantMetric(8000, "pgbulk_rows_total")
			b.sameIn(copyText, textRows(8000), "BEGIN", "COMMIT")
			b.wantMetric(2, "pgbulk_loads_total", "engine", "postgres", "result", "fallback")
			b.wantLedger(map[string]int{"COMPLETED": 2})
			b.wantSwept()
		})
	}
}

// slowly is the endpoint of the store behind a slow line.
func slowly(t *testing.T, toxic string, attributes string) string {
	t.Helper()
	var silent toxi.Proxy
	server := toxi.NewServer(toxi.NewMetricsContainer(nil), zero(silent.Logger))
	line := toxi.NewProxy(server, "s3", "127.0.0.1:0", strings.TrimPrefix(testenv.S3(t).Endpoint, "http://"))
	if err := line.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Stop)
	if _, err := line.Toxics.AddToxicJson(strings.NewReader(
		`{"type": "` + toxic + `", "stream": "upstream", "toxicity": 1, "attributes": ` + attributes + `}`)); err != nil {
		t.Fatal(err)
	}
	return "http://" + line.Listen
}

// zero names a type of the library's own dependencies: a logger that is silent.
func zero[T any](*T) (v T) { return v }

// TestStoreSlow: a slow store costs time, nothing else.
func TestStoreSlow(t *testing.T) {
	t.Parallel()
	for toxic, attributes := range map[string]string{
		"bandwidth": `{"rate": 1000}`,
		"latency":   `{"latency": 60, "jitter": 20}`,
	} {
		t.Run(toxic, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{Store: func(c *store.Config) { c.Endpoint = slowly(t, toxic, attributes) }}, nil)
			must(t, b.direct(), createT)
			b.same(copyText, textRows(6000))
			b.wantMetric(1, "pgbulk_loads_total", "engine", "postgres", "result", "ok")
			b.wantLedger(map[string]int{"COMPLETED": 1})
			b.wantSwept()
		})
	}
}

// elsewhere signs URLs that the server cannot reach while broken is set.
type elsewhere struct {
	store.Full
	broken *atomic.Bool
}

func (e elsewhere) PresignGet(ctx context.Context, key string, ttl time.Duration) (string, error) {
	signed, err := e.Full.PresignGet(ctx, key, ttl)
	if err != nil || !e.broken.Load() {
		return signed, err
	}
	u, err := url.Parse(signed)
	if err != nil {
		return "", err
	}
	u.Host = "127.0.0.1:1"
	return u.String(), nil
}

// breakerRests is longer than the next COPY takes to begin on a busy machine, and
// no longer than a test may wait.
const breakerRests = 3 * time.Second

// TestServerCannotReachStore: loads go on natively, soon without the try; and
// come back when the server can.
func TestServerCannotReachStore(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	b := newBed(t, Options{WrapStore: func(s store.Full) store.Full { return elsewhere{s, &broken} }}, func(c *config.Config) {
		c.Breaker.Failures, c.Breaker.Cooldown = 3, breakerRests
	})
	must(t, b.direct(), createT)
	data := textRows(3000)
	for range 3 {
		b.same(copyText, data)
	}
	b.wantMetric(3, "pgbulk_fallbacks_total", "reason", "engine")
	b.same(copyText, data)
	b.wantMetric(1, "pgbulk_statements_total", "decision", "stage", "reason", "external_breaker")
	b.wantMetric(1, "pgbulk_loads_total", "engine", "plain", "result", "ok")
	broken.Store(false)
	eventually(t, 10*breakerRests, func() string {
		b.same(copyText, data)
		if b.metric(t, "pgbulk_loads_total", "engine", "postgres", "result", "ok") == 0 {
			return "external loads have not come back"
		}
		return ""
	})
	b.wantMetric(3, "pgbulk_fallbacks_total")
	b.wantSwept()
}

// TestStoreBreaker: after some failures the store is left alone, and COPY is
// relayed.
func TestStoreBreaker(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	wrap := func(s store.Full) store.Full {
		return &storetest.Faults{Full: s, Before: func(_ context.Context, op, _ string) error {
			if op == storetest.Put && broken.Load() {
				return fmt.Errorf("the store is down")
			}
			return nil
		}}
	}
	b := newBed(t, Options{WrapStore: wrap}, func(c *config.Config) {
		c.Breaker.Failures, c.Breaker.Cooldown = 3, breakerRests
	})
	must(t, b.direct(), createT)
	data := textRows(8000)
	for range 3 {
		b.same(copyText, data)
	}
	b.wantMetric(3, "pgbulk_fallbacks_total", "reason", "store")
	b.same(copyText, data)
	b.wantMetric(1, "pgbulk_statements_total", "decision", "pass", "reason", "store_breaker")
	broken.Store(false)
	eventually(t, 10*breakerRests, func() string {
		b.same(copyText, data)
		if b.metric(t, "pgbulk_loads_total", "result", "ok") == 0 {
			return "staging has not come back"
		}
		return ""
	})
	b.wantSwept()
}

// altered stores something else than it is given.
type altered struct {
	store.Full
	change func(key string, p []byte) []byte
}

func (a altered) Put(ctx context.Context, key string, c store.Content) error {
	p := make([]byte, c.Size())
	if _, err := c.ReadAt(p, 0); err != nil && err != io.EOF {
		return err
	}
	return a.Full.Put(ctx, key, bytes.NewReader(a.change(key, p)))
}

// TestEngineLosesRows: files that come back with other rows than were staged
// are noticed by their count, and replayed.
func TestEngineLosesRows(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(p []byte) []byte{
		"a row less": func(p []byte) []byte { return p[:bytes.LastIndexByte(p[:len(p)-1], '\n')+1] },
		"half":       func(p []byte) []byte { return p[:bytes.IndexByte(p[len(p)/2:], '\n')+len(p)/2+1] },
		"nothing":    func([]byte) []byte { return nil },
		"a row more": func(p []byte) []byte { return append(p, "-7\tnobody's row\n"...) },
	} {
		for _, file := range []string{"00001", "00003", "00005"} {
			t.Run(name+" in "+file, func(t *testing.T) {
				t.Parallel()
				b := newBed(t, Options{WrapStore: func(s store.Full) store.Full {
					return altered{s, func(key string, p []byte) []byte {
						if strings.Contains(key, file) {
							return change(p)
						}
						return p
					}}
				}}, nil)
				must(t, b.direct(), createT)
				b.same(copyText, textRows(8000))
				b.sameIn(copyText, textRows(8000), "BEGIN; SELECT 1", "COMMIT")
				b.wantMetric(2, "pgbulk_fallbacks_total", "reason", "count")
				b.wantLedger(map[string]int{"COMPLETED": 2})
				b.wantSwept()
			})
		}
	}
}
