package wire

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/wire/evloop"
)

// endable is a connection that can be closed one way.
type endable interface {
	net.Conn
	CloseWrite() error
}

// pair returns a connection of a talk: the other side's end, and the proxy's.
func (k talk) pair(t testing.TB) (endable, endable) {
	t.Helper()
	a, b := socketPair(t)
	if k.narrow {
		if err := b.SetWriteBuffer(1); err != nil { // the least there is
			t.Fatal(err)
		}
	}
	if k.by != byLoopTLS {
		return a, b
	}
	cfg, err := testTLS()
	if err != nil {
		t.Fatal(err)
	}
	near, far := tls.Server(evloop.Under(b), cfg), tls.Client(a, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	shaken := make(chan error, 1)
	go func() { shaken <- far.Handshake() }()
	if err := errors.Join(near.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	return far, near
}

var testTLS = sync.OnceValues(func() (*tls.Config, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}, err
})
