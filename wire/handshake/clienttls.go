package handshake

import (
	"crypto/tls"
	"errors"
)

// alpn is the protocol name that PostgreSQL 17 demands for direct TLS, and
// checks for the rest where the client sends one.
const alpn = "postgresql"

var errNoCertificate = errors.New("no certificate to show")

// serverConfig is base for one connection: with ALPN, without session tickets,
// as PostgreSQL has it (a resumed session shows no certificate to compare), and
// telling which certificate is shown.
func serverConfig(base *tls.Config, shown *[]byte) *tls.Config {
	outer := observed(base, shown)
	if base.GetConfigForClient != nil {
		outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c, err := base.GetConfigForClient(hello)
			if c == nil || err != nil {
				return nil, err
			}
			return observed(c, shown), nil
		}
	}
	return outer
}

func observed(base *tls.Config, shown *[]byte) *tls.Config {
	c := base.Clone()
	c.NextProtos = []string{alpn}
	c.SessionTicketsDisabled = true
	c.DynamicRecordSizingDisabled = true // one write for each reply
	c.GetConfigForClient = nil
	c.Certificates = nil
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := choose(base, hello)
		if err != nil {
			return nil, err
		}
		if len(cert.Certificate) > 0 {
			*shown = cert.Certificate[0]
		}
		return cert, nil
	}
	return c
}

// choose picks the certificate that crypto/tls would pick for base.
func choose(base *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if base.GetCertificate != nil && (len(base.Certificates) == 0 || hello.ServerName != "") {
		if cert, err := base.GetCertificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	if len(base.Certificates) == 0 {
		return nil, errNoCertificate
	}
	for i := range base.Certificates {
		if hello.SupportsCertificate(&base.Certificates[i]) == nil {
			return &base.Certificates[i], nil
		}
	}
	return &base.Certificates[0], nil
}
