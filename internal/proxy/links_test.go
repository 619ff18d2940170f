package proxy

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy/proxytest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestTLS: a COPY over TLS is staged, also where it fails in the middle, which
// interrupts reads.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := proxytest.Certificate(t)
	b := newBed(t, Options{}, func(c *config.Config) { c.TLS.Cert, c.TLS.Key, c.TLS.Mode = cert, key, "require" })
	must(t, b.direct(), createT)
	_, port, _ := net.SplitHostPort(b.addr.String())
	dsn := fmt.Sprintf("host=127.0.0.1 port=%s dbname=%s user=postgres sslmode=verify-full sslrootcert=%s", port, b.db, cert)
	c := b.connect(dsn)
	for range 3 {
		must(t, c, "TRUNCATE t")
		if o := copyIn(c, copyText, bytes.NewReader(textRows(8000))); o.tag != "COPY 8000" {
			t.Error(o)
		}
		if o := copyIn(c, copyText, bytes.NewReader(textRows(80000))); o.err == nil || o.err.Code != "23505" {
			t.Error(o)
		}
		if got := must(t, c, "SELECT count(*) FROM t"); got != "8000" {
			t.Errorf("%s rows", got)
		}
	}
	b.wantMetric(3, "pgbulk_loads_total", "engine", "postgres", "result", "ok")
	b.wantMetric(3, "pgbulk_loads_total", "engine", "postgres", "result", "error")
	if _, err := tryConnect(b.via()); err == nil {
		t.Error("a session without TLS")
	}
	b.wantSwept()
}

// TestUnixSockets: clients and the server on sockets.
func TestUnixSockets(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	dir, err := os.MkdirTemp("", "pgbulk-") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := newBed(t, Options{}, func(c *config.Config) {
		c.Listen, c.Upstream = dir, fmt.Sprintf("%s:%d", pg.SocketDir, pg.Port)
		c.ServiceDSN = pg.DSN("postgres", "postgres")
	})
	must(t, b.direct(), createT)
	c := b.connect(fmt.Sprintf("host=%s port=%d dbname=%s user=postgres", dir, config.ListenPort, b.db))
	if o := copyIn(c, copyText, bytes.NewReader(textRows(8000))); o.tag != "COPY 8000" {
		t.Error(o)
	}
	if o := copyIn(c, copyText, bytes.NewReader(textRows(10))); o.err == nil || o.err.Code != "23505" {
		t.Error(o)
	}
	b.wantMetric(1, "pgbulk_loads_total", "engine", "postgres", "result", "ok")
	b.wantLedger(map[string]int{"COMPLETED": 1, "FAILED": 1})
	r := raw(t, c)
	r.startCopy(copyText)
	r.data(textRows(5000))
	r.reset()
	b.wantUnlocked("8000", 1500*time.Millisecond)
	b.wantSwept()
}
