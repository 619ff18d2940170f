package handshake

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// clientConfig is base for the upstream's leg in a mode of libpq.
func clientConfig(base *tls.Config, mode SSLMode, host string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		c = base.Clone()
	}
	c.NextProtos = []string{alpn}
	c.DynamicRecordSizingDisabled = true // one write for each message
	if c.ServerName == "" {
		c.ServerName = host
	}
	if mode == SSLVerifyFull {
		return c
	}
	c.InsecureSkipVerify = true // replaced by verifyChain where it is demanded
	if mode == SSLVerifyCA || c.RootCAs != nil {
		c.VerifyConnection = verifyChain(c.RootCAs, c.VerifyConnection)
	}
	return c
}

// verifyChain verifies that the chain ends at a root, for whatever host.
func verifyChain(roots *x509.CertPool, then func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("upstream showed no certificate")
		}
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, c := range s.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		if _, err := s.PeerCertificates[0].Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		if then != nil {
			return then(s)
		}
		return nil
	}
}
