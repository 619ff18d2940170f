package handshake

import (
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"
)

// address is where the upstream listens.
type address struct {
	network string // tcp or unix
	addr    string // for net.Dial
	host    string // for SNI and verify-full; empty for unix
}

const (
	defaultPort  = "5432"
	socketPrefix = ".s.PGSQL."
)

func parseUpstream(s string) (address, error) {
	if s == "" {
		return address{}, errors.New("no host or socket directory given")
	}
	if strings.HasPrefix(s, "/") {
		return parseSocket(s)
	}
	host, port := s, defaultPort
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	} else if strings.Contains(s, ":") && net.ParseIP(s) == nil {
		return address{}, fmt.Errorf("%q is not HOST:PORT", s)
	}
	if host == "" {
		return address{}, fmt.Errorf("%q has no host", s)
	}
	if err := checkPort(port); err != nil {
		return address{}, fmt.Errorf("%q: %w", s, err)
	}
	return address{network: "tcp", addr: net.JoinHostPort(host, port), host: host}, nil
}

func parseSocket(s string) (address, error) {
	if port, ok := strings.CutPrefix(path.Base(s), socketPrefix); ok && checkPort(port) == nil {
		return address{network: "unix", addr: s}, nil
	}
	dir, port := s, defaultPort
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		dir, port = s[:i], s[i+1:]
		if err := checkPort(port); err != nil {
			return address{}, fmt.Errorf("%q: %w", s, err)
		}
	}
	return address{network: "unix", addr: path.Join(dir, socketPrefix+port)}, nil
}

func checkPort(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q is not between 1 and 65535", s)
	}
	return nil
}
