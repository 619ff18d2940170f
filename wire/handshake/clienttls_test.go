package handshake

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"testing"
)

// TestShownCertificate: whichever way a configuration picks its certificate, it
// is the one that crypto/tls would pick, and we know which.
func TestShownCertificate(t *testing.T) {
	t.Parallel()
	one, two := newCertificate(t), newCertificate(t)
	get := func(c *certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c.Certificate, nil }
	}
	both := []tls.Certificate{two.Certificate, one.Certificate}
	for name, c := range map[string]struct {
		cfg  *tls.Config
		want *certificate // nil: no certificate to show
	}{
		"one":              {one.server(), one},
		"first of two":     {&tls.Config{Certificates: both}, two},
		"get":              {&tls.Config{GetCertificate: get(one)}, one},
		"get, with a name": {&tls.Config{Certificates: both, GetCertificate: get(one)}, one},
		"get nothing":      {&tls.Config{Certificates: both, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}, two},
		"config":           {&tls.Config{Certificates: both, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return one.server(), nil }}, one},
		"no config":        {&tls.Config{Certificates: both, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }}, two},
		"none":             {&tls.Config{}, nil},
		"config refuses":   {&tls.Config{Certificates: both, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			client := tls.Client(far, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{alpn}})
			done := make(chan error, 1)
			go func() { done <- client.Handshake() }()

			var shown []byte
			server := tls.Server(near, serverConfig(c.cfg, &shown))
			err := server.Handshake()
			if c.want == nil {
				near.Close()
				if <-done; err == nil {
					t.Fatal("a handshake without a certificate")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			state := client.ConnectionState()
			if seen := state.PeerCertificates[0].Raw; !bytes.Equal(seen, shown) || !bytes.Equal(shown, c.want.Certificate.Certificate[0]) {
				t.Error("another certificate")
			}
			if state.NegotiatedProtocol != alpn {
				t.Errorf("protocol %q", state.NegotiatedProtocol)
			}
		})
	}
}
