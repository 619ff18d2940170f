package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// The ports of addresses that give only a socket directory.
const (
	ListenPort   = 6432
	UpstreamPort = 5432
)

// Validate checks what a single key's bounds can't: required keys, addresses,
// and keys that belong together. The error names the key.
func (c Config) Validate() error {
	return firstOf(
		c.validateAddresses,
		c.validateStore,
		c.validateTLS,
		c.validateUpstreamTLS,
		c.validateGreenplum,
	)
}

func firstOf(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) validateAddresses() error {
	if c.Upstream == "" {
		return errors.New("upstream: is required (HOST:PORT or a socket directory)")
	}
	if _, _, err := Endpoint(c.Upstream, UpstreamPort); err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	if _, _, err := Endpoint(c.Listen, ListenPort); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if c.Metrics != "" {
		if _, _, err := hostPort(c.Metrics); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	if c.AutoInstall && c.ServiceDSN == "" {
		return errors.New("auto_install: needs service_dsn")
	}
	if c.Routing.AutoThreshold > 0 && c.ServiceDSN == "" {
		return errors.New("routing.auto_threshold: needs service_dsn")
	}
	return nil
}

// validateStore never repeats the value: a URL may hold what shouldn't be there.
func (c Config) validateStore() error {
	const forms = "s3://bucket/prefix?…, embedded:DIR or " + StoreLoaderConfig
	if c.Store == "" {
		if c.RelayOnly {
			return nil
		}
		return errors.New("store: is required unless relay_only (" + forms + ")")
	}
	if c.Store == StoreLoaderConfig {
		if c.ServiceDSN == "" {
			return errors.New("store: " + StoreLoaderConfig + " needs service_dsn, from whose database it is read")
		}
		return nil
	}
	if dir, ok := strings.CutPrefix(c.Store, "embedded:"); ok {
		if dir == "" {
			return errors.New("store: embedded: wants a directory")
		}
		return nil
	}
	u, err := url.Parse(c.Store)
	if err != nil || u.Scheme != "s3" {
		return errors.New("store: must be " + forms)
	}
	if u.Host == "" {
		return errors.New("store: names no bucket")
	}
	if u.User != nil {
		return errors.New("store: credentials don't belong into the URL, they come from the AWS chain")
	}
	return nil
}

func (c Config) validateTLS() error {
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return errors.New("tls.cert: is set together with tls.key, or not at all")
	}
	if c.TLS.Mode == TLSRequire && c.TLS.Cert == "" {
		return errors.New("tls.mode: require needs tls.cert and tls.key")
	}
	return nil
}

func (c Config) validateUpstreamTLS() error {
	t := c.UpstreamTLS
	if (t.Cert == "") != (t.Key == "") {
		return errors.New("upstream_tls.cert: is set together with upstream_tls.key, or not at all")
	}
	strict := t.Mode == "require" || t.Mode == "verify-ca" || t.Mode == "verify-full"
	if t.Direct && !strict {
		return fmt.Errorf("upstream_tls.direct: needs upstream_tls.mode require, verify-ca or verify-full, not %s", t.Mode)
	}
	return nil
}

// Endpoint splits an address of listen or upstream into the network and address
// of net.Dial: "tcp" HOST:PORT, or "unix" DIR/.s.PGSQL.PORT as libpq names it,
// with port where the directory has none behind it.
func Endpoint(value string, port int) (network, address string, err error) {
	if !filepath.IsAbs(value) {
		if _, _, err := hostPort(value); err != nil {
			return "", "", err
		}
		return "tcp", value, nil
	}
	dir := value
	if i := strings.LastIndexByte(value, ':'); i >= 0 {
		if p, err := parsePort(value[i+1:]); err == nil {
			dir, port = value[:i], p
		}
	}
	return "unix", filepath.Join(dir, ".s.PGSQL."+strconv.Itoa(port)), nil
}

// hostPort splits HOST:PORT, where HOST may be empty (all interfaces).
func hostPort(value string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(value)
	if err != nil {
		return "", 0, fmt.Errorf("%q is neither HOST:PORT nor an absolute directory", value)
	}
	port, err = parsePort(text)
	if err != nil {
		return "", 0, err
	}
	return host, port, nil
}

func parsePort(text string) (int, error) {
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return 0, fmt.Errorf("port %q is out of bounds, must be 0 to 65535", text)
	}
	return port, nil
}
