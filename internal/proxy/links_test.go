package proxy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTLS: a COPY over TLS is staged, also where it fails in the middle, which
// interrupts reads.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
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
