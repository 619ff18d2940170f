package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/wire/handshake"
)

// handshakeConfig turns the settings into those of the handshake, reading the
// certificates.
func handshakeConfig(cfg config.Config, log *slog.Logger) (handshake.Config, error) {
	h := handshake.Config{
		Upstream:      cfg.Upstream,
		ClientTLSMode: handshake.ClientTLSMode(cfg.TLS.Mode), UpstreamTLSMode: handshake.SSLMode(cfg.UpstreamTLS.Mode),
		UpstreamDirectTLS: cfg.UpstreamTLS.Direct,
		StartupTimeout:    cfg.StartupTimeout, DialTimeout: cfg.DialTimeout, Logger: log,
	}
	if cfg.TLS.Cert != "" {
		cert, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
		if err != nil {
			return h, fmt.Errorf("tls.cert: %w", err)
		}
		h.ClientTLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	up := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.UpstreamTLS.CA != "" {
		pem, err := os.ReadFile(cfg.UpstreamTLS.CA)
		if err != nil {
			return h, fmt.Errorf("upstream_tls.ca: %w", err)
		}
		up.RootCAs = x509.NewCertPool()
		if !up.RootCAs.AppendCertsFromPEM(pem) {
			return h, fmt.Errorf("upstream_tls.ca: %s holds no certificate", cfg.UpstreamTLS.CA)
		}
	}
	if cfg.UpstreamTLS.Cert != "" {
		cert, err := tls.LoadX509KeyPair(cfg.UpstreamTLS.Cert, cfg.UpstreamTLS.Key)
		if err != nil {
			return h, fmt.Errorf("upstream_tls.cert: %w", err)
		}
		up.Certificates = []tls.Certificate{cert}
	}
	h.UpstreamTLS = up
	return h, nil
}
