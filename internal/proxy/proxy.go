// Package proxy assembles the proxy from its parts and runs it.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// Proxy is an assembled proxy.
type Proxy struct {
	cfg   config.Config
	ready atomic.Bool
}

// New refuses a wrong configuration with one clear line.
func New(_ context.Context, cfg config.Config, _ *slog.Logger, _ *prometheus.Registry) (*Proxy, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Proxy{cfg: cfg}, nil
}

// Serve accepts until ctx is done. It relays nothing yet.
func (p *Proxy) Serve(ctx context.Context, ready func(addr net.Addr)) error {
	network, address, err := config.Endpoint(p.cfg.Listen, config.ListenPort)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	p.ready.Store(true)
	defer p.ready.Store(false)
	ready(l.Addr())
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if err := c.Close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
}

// Ready says whether clients are accepted.
func (p *Proxy) Ready() bool { return p.ready.Load() }

// Close releases what New opened.
func (p *Proxy) Close() error { return nil }
