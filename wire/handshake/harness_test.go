package handshake

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const patience = 20 * time.Second

// proxy is the smallest server around a Handshaker: it relays raw bytes once a
// session is established.
type proxy struct {
	h    *Handshaker
	addr string
	ln   net.Listener
	// ended gets the outcome of every connection when its handshake ends.
	ended chan ended
	wg    sync.WaitGroup
}

type ended struct {
	out Outcome
	err error
}

// startProxy runs a proxy on TCP until the test ends.
func startProxy(t *testing.T, cfg Config) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveProxy(t, cfg, ln)
}

func serveProxy(t *testing.T, cfg Config, ln net.Listener) *proxy {
	t.Helper()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{h: h, addr: ln.Addr().String(), ln: ln, ended: make(chan ended, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(ctx, c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	out, err := p.h.Accept(ctx, c)
	p.ended <- ended{out, err}
	switch {
	case out.Cancel != nil:
		_ = p.h.ForwardCancel(ctx, nil, out.Cancel.PID, out.Cancel.Key)
	case out.Session != nil:
		relayRaw(ctx, out.Session)
	}
}

func relayRaw(ctx context.Context, s *Established) {
	defer context.AfterFunc(ctx, func() { s.Client.Close(); s.Server.Close() })()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer s.Server.Close()
		if _, err := s.Server.Write(s.ClientBuffered); err == nil {
			_, _ = io.Copy(s.Server, s.Client)
		}
	})
	wg.Go(func() {
		defer s.Client.Close()
		if _, err := s.Client.Write(s.ServerBuffered); err == nil {
			_, _ = io.Copy(s.Client, s.Server)
		}
	})
	wg.Wait()
}

// outcome waits for the next handshake to end.
func (p *proxy) outcome(t *testing.T) ended {
	t.Helper()
	select {
	case e := <-p.ended:
		return e
	case <-time.After(patience):
		t.Fatal("the handshake did not end")
		panic("unreachable")
	}
}

func (p *proxy) port(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// certificate is a self-signed certificate for 127.0.0.1 and localhost.
type certificate struct {
	tls.Certificate
	certPEM, keyPEM []byte
	pool            *x509.CertPool
}

func newCertificate(t testing.TB) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := &certificate{
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		pool:    x509.NewCertPool(),
	}
	if c.Certificate, err = tls.X509KeyPair(c.certPEM, c.keyPEM); err != nil {
		t.Fatal(err)
	}
	c.pool.AppendCertsFromPEM(c.certPEM)
	return c
}

func (c *certificate) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.Certificate}}
}
