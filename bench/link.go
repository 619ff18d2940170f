package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// link is how clients reach the server, directly and by way of something.
type link struct {
	endpoint endpoint
	// settings are the proxy's, bouncer PgBouncer's.
	settings []string
	bouncer  string
}

// plain has no TLS anywhere: it would cost all ways the same and hide part of the
// difference.
func (l *lab) plain() link { return link{endpoint: l.cluster.endpoint} }

// secured has TLS on both sides of what stands between. The certificate is one for
// all of them.
func (l *lab) secured(ctx context.Context) (link, error) {
	cert, key := filepath.Join(l.tmp, "tls.crt"), filepath.Join(l.tmp, "tls.key")
	if !l.tlsReady {
		if err := errors.Join(writeCertificate(cert, key), l.cluster.secure(ctx, cert, key)); err != nil {
			return link{}, fmt.Errorf("set up TLS: %w", err)
		}
		l.tlsReady = true
	}
	k := l.plain()
	k.endpoint.tls = true
	k.settings = []string{"tls.cert=" + cert, "tls.key=" + key, "tls.mode=require", "upstream_tls.mode=require"}
	k.bouncer = fmt.Sprintf("client_tls_sslmode = require\nclient_tls_cert_file = %s\nclient_tls_key_file = %s\nserver_tls_sslmode = require\n", cert, key)
	return k, nil
}

// secure has the server offer TLS, with copies of the files.
func (c *cluster) secure(ctx context.Context, cert, key string) error {
	for _, f := range []string{cert, key} {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		to := f + ".server"
		if err := errors.Join(os.WriteFile(to, data, 0o600), c.server.Chown(to)); err != nil {
			return err
		}
	}
	return c.exec(ctx, "alter system set ssl_cert_file = '"+cert+".server'", "alter system set ssl_key_file = '"+key+".server'",
		"alter system set ssl = on", "select pg_catalog.pg_reload_conf()")
}

// writeCertificate makes one for 127.0.0.1 that nobody is asked to trust. PgBouncer
// runs as another user, so its key can be read by all: the folder is the bench's.
func writeCertificate(cert, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o644))
}
