package handshake

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// ClientTLSMode says whether clients may or must use TLS.
type ClientTLSMode string

// The modes of the client's leg.
const (
	// ClientTLSDisable answers N to every SSLRequest.
	ClientTLSDisable ClientTLSMode = "disable"
	// ClientTLSAllow lets clients choose.
	ClientTLSAllow ClientTLSMode = "allow"
	// ClientTLSRequire refuses plain sessions over TCP. Cancel requests are
	// accepted all the same, because libpq before 17 sends them plain.
	ClientTLSRequire ClientTLSMode = "require"
)

// SSLMode is libpq's sslmode, for the upstream's leg. Unix sockets never use
// TLS, whatever the mode.
type SSLMode string

// The modes of the upstream's leg, with libpq's meaning.
const (
	SSLDisable    SSLMode = "disable"
	SSLAllow      SSLMode = "allow"
	SSLPrefer     SSLMode = "prefer"
	SSLRequire    SSLMode = "require"
	SSLVerifyCA   SSLMode = "verify-ca"
	SSLVerifyFull SSLMode = "verify-full"
)

// Config says where the upstream is and what is demanded of both legs.
type Config struct {
	// Upstream is HOST, HOST:PORT, or a socket: /dir, /dir:PORT or
	// /dir/.s.PGSQL.PORT. The default port is 5432. Required.
	Upstream string

	// ClientTLS holds the certificate that clients see. Nil: TLS is not
	// offered. ALPN and session tickets are set here, as PostgreSQL has them.
	ClientTLS *tls.Config
	// ClientTLSMode is disable, allow or require. Default allow.
	ClientTLSMode ClientTLSMode

	// UpstreamTLSMode is libpq's sslmode. Default prefer.
	UpstreamTLSMode SSLMode
	// UpstreamTLS holds root certificates and the proxy's own client
	// certificate. May be nil. Where RootCAs is set, the upstream's chain is
	// verified in every mode, as libpq does when it has a root file; verify-ca
	// and verify-full without RootCAs use the system's. ServerName, if set, is
	// the name for SNI and verify-full instead of the host of Upstream.
	UpstreamTLS *tls.Config
	// UpstreamDirectTLS begins with TLS instead of an SSLRequest (PostgreSQL
	// 17). Needs mode require or stricter, as in libpq.
	UpstreamDirectTLS bool

	// StartupTimeout bounds everything before AuthenticationOk. Default 60s,
	// like authentication_timeout.
	StartupTimeout time.Duration
	// DialTimeout bounds the connect to the upstream. Default 10s.
	DialTimeout time.Duration
	// CancelTimeout bounds one ForwardCancel. Default 10s.
	CancelTimeout time.Duration
	// MaxStartupBytes bounds the startup packet without its length word.
	// Default 10000, MAX_STARTUP_PACKET_LENGTH of PostgreSQL.
	MaxStartupBytes int

	// Logger gets one debug line a connection. Nil: silence.
	Logger *slog.Logger
}

// WithDefaults returns c with its zero fields filled in.
func (c Config) WithDefaults() Config {
	if c.ClientTLSMode == "" {
		c.ClientTLSMode = ClientTLSAllow
	}
	if c.UpstreamTLSMode == "" {
		c.UpstreamTLSMode = SSLPrefer
	}
	if c.StartupTimeout == 0 {
		c.StartupTimeout = 60 * time.Second
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = 10 * time.Second
	}
	if c.CancelTimeout == 0 {
		c.CancelTimeout = 10 * time.Second
	}
	if c.MaxStartupBytes == 0 {
		c.MaxStartupBytes = 10000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// minStartupBytes is the version word: the least that a startup packet has
// after its length.
const minStartupBytes = 4

// Validate returns every reason why c, with its defaults, cannot be used.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := parseUpstream(c.Upstream); err != nil {
		bad("Upstream: %w", err)
	}
	if c.ClientTLS != nil && !hasCertificate(c.ClientTLS) {
		bad("ClientTLS has no certificate")
	}
	switch c.ClientTLSMode {
	case ClientTLSDisable, ClientTLSAllow:
	case ClientTLSRequire:
		if c.ClientTLS == nil {
			bad("ClientTLSMode require needs ClientTLS")
		}
	default:
		bad("ClientTLSMode %q is not disable, allow or require", c.ClientTLSMode)
	}
	if !c.UpstreamTLSMode.valid() {
		bad("UpstreamTLSMode %q is not one of libpq's", c.UpstreamTLSMode)
	}
	if c.UpstreamDirectTLS && !c.UpstreamTLSMode.mustTLS() {
		bad("UpstreamDirectTLS needs UpstreamTLSMode require, verify-ca or verify-full")
	}
	if c.UpstreamTLS != nil && c.UpstreamTLS.InsecureSkipVerify && c.UpstreamTLSMode.verifies() {
		bad("UpstreamTLS.InsecureSkipVerify contradicts UpstreamTLSMode %s", c.UpstreamTLSMode)
	}
	if c.StartupTimeout <= 0 || c.DialTimeout <= 0 || c.CancelTimeout <= 0 {
		bad("StartupTimeout, DialTimeout and CancelTimeout must be positive")
	}
	if c.MaxStartupBytes < minStartupBytes || c.MaxStartupBytes > 1<<20 {
		bad("MaxStartupBytes %d is not between %d and %d", c.MaxStartupBytes, minStartupBytes, 1<<20)
	}
	return errors.Join(errs...)
}

// hasCertificate says whether a server's configuration can show one. An empty
// entry would be a panic of crypto/tls in the first handshake.
func hasCertificate(c *tls.Config) bool {
	for _, cert := range c.Certificates {
		if len(cert.Certificate) == 0 {
			return false
		}
	}
	return len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil
}

func (m SSLMode) valid() bool {
	switch m {
	case SSLDisable, SSLAllow, SSLPrefer, SSLRequire, SSLVerifyCA, SSLVerifyFull:
		return true
	}
	return false
}

func (m SSLMode) mustTLS() bool { return m == SSLRequire || m.verifies() }

func (m SSLMode) verifies() bool { return m == SSLVerifyCA || m == SSLVerifyFull }
