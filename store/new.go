package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// Full is what every implementation offers and every wrapper passes on.
type Full interface {
	Store
	Lister
}

// Deps are what New needs from outside. All may be nil.
type Deps struct {
	// Logger gets one line when the store is opened.
	Logger *slog.Logger
	// Registerer registers the metrics.
	Registerer prometheus.Registerer
	// Wrap goes around the client and inside limits and metrics: faults, in
	// tests.
	Wrap func(Full) Full
	// Embedded starts a server for Config.EmbeddedDir: embedded.Serve. It is
	// passed in so that this package is not linked with it.
	Embedded func(ctx context.Context, dir string, logger *slog.Logger) (Served, error)
	// Reload returns where the bucket is and the credentials as they are now. It
	// is asked when the store refuses the ones in use; what it leaves zero stays
	// as it was given to New.
	Reload func(context.Context) (Config, error)
}

// Served is a server that runs in this process.
type Served struct {
	Endpoint, Region, Bucket string
	AccessKey                string
	SecretKey                Secret
	// Close ends it.
	Close func(context.Context) error
}

// Bucket is an open store.
type Bucket struct {
	Full
	client *reloading
	closes []func(context.Context) error
}

// New opens a store. It does not ask the store anything, so it succeeds while
// the store is down. The caller must call Close.
//
// A Put passes through, from outside: metrics, limit, Deps.Wrap, the S3 client
// with its retries.
func New(ctx context.Context, cfg Config, deps Deps) (*Bucket, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("open store: register metrics: %w", err)
	}
	b := &Bucket{}
	if cfg.EmbeddedDir != "" {
		if deps.Embedded == nil {
			return nil, errors.New("open store: EmbeddedDir needs a server, and none is linked in")
		}
		served, err := deps.Embedded(ctx, cfg.EmbeddedDir, deps.Logger)
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		b.closes = append(b.closes, served.Close)
		cfg = cfg.at(served)
	}
	b.client = &reloading{reload: deps.Reload, log: deps.Logger, open: opener(cfg, deps.Wrap, m)}
	first, err := b.client.open(ctx, cfg)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), b.Close(ctx))
	}
	b.client.now.Store(first)
	b.closes = append(b.closes, func(context.Context) error { b.client.now.Load().close(); return nil })

	b.Full = first.Full
	if deps.Reload != nil {
		b.Full = b.client
	}
	b.Full = limit(b.Full, cfg.MaxPuts)
	b.Full = &measured{Full: b.Full, m: m}
	deps.Logger.Info("store is open", "bucket", first.cfg.Bucket, "endpoint", first.cfg.Endpoint, "region", first.cfg.Region)
	return b, nil
}

// opener returns what makes a client for a configuration, with the limits of the
// first one.
func opener(first Config, wrap func(Full) Full, m *metrics) func(context.Context, Config) (*opened, error) {
	return func(ctx context.Context, cfg Config) (*opened, error) {
		next := first
		next.Bucket, next.Endpoint, next.Region, next.PathStyle = cfg.Bucket, cfg.Endpoint, cfg.Region, cfg.PathStyle
		next.AccessKey, next.SecretKey, next.SessionToken = cfg.AccessKey, cfg.SecretKey, cfg.SessionToken
		if err := next.Validate(); err != nil {
			return nil, err
		}
		client, err := openS3(ctx, next, m)
		if err != nil {
			return nil, err
		}
		o := &opened{Full: client, cfg: client.cfg, access: client.access, close: client.close}
		if wrap != nil {
			o.Full = wrap(o.Full)
		}
		return o, nil
	}
}

// at points the configuration to a server in this process.
func (c Config) at(s Served) Config {
	c.EmbeddedDir = ""
	c.Endpoint, c.Region, c.Bucket, c.PathStyle = s.Endpoint, s.Region, s.Bucket, true
	c.AccessKey, c.SecretKey, c.SessionToken = s.AccessKey, s.SecretKey, ""
	return c
}

// Config is the configuration in effect, for engines that connect to the store
// themselves. It holds credentials if it was given any.
func (b *Bucket) Config() Config { return b.client.now.Load().cfg }

// Close gives up connections and ends the server of an EmbeddedDir. Operations
// must have ended.
func (b *Bucket) Close(ctx context.Context) error {
	var errs []error
	for i := len(b.closes) - 1; i >= 0; i-- {
		errs = append(errs, b.closes[i](ctx))
	}
	b.closes = nil
	return errors.Join(errs...)
}
