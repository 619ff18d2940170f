// Package proxy assembles the proxy from its parts and runs it: the store, the
// engine, the service connections, the loader, the sweeper and the wire server.
// It is the only place where they meet.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/gpfdist"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/loaderconfig"
	"github.com/pgbulkproxy/pgbulkproxy/internal/s3conf"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/wire"
)

// Proxy is an assembled proxy.
//
// Goroutines: the sweeper, the importer, the search for databases and the mover of
// groups, started by New and ended by Close; the wire server's, which Serve waits for.
type Proxy struct {
	cfg     config.Config
	log     *slog.Logger
	server  *wire.Server
	bucket  *store.Bucket // nil when relaying only
	loader  *bulk.Loader
	sweeper *bulk.Sweeper
	pull    *gpfdist.Server // nil where no segments pull rows
	// importer brings in what was acknowledged when staged.
	importer *bulk.Importer
	source   *loaderconfig.Source // nil where the configuration names the store
	dbs      *databases
	engines  *engines // nil when relaying only
	// automigrate moves groups that have grown; nil where it is off.
	automigrate *automigrate
	routed      *knownTables   // nil without a service connection
	segments    *s3conf.Server // nil where no segments read S3
	ready       atomic.Bool

	stopWork context.CancelFunc // of what work has started
	working  struct {
		sync.WaitGroup
		ctx context.Context
	}
}

// Options are what tests put between the parts.
type Options struct {
	// WrapStore goes around the store's client.
	WrapStore func(store.Full) store.Full
	// Store changes the store's configuration before it is opened.
	Store func(*store.Config)
}

// New refuses a wrong configuration with one clear line, opens the store and
// starts the sweeper. It does not need the upstream to be up. The caller must
// call Close.
func New(ctx context.Context, cfg config.Config, log *slog.Logger, reg *prometheus.Registry) (*Proxy, error) {
	return NewWith(ctx, cfg, log, reg, Options{})
}

// NewWith is New with options.
func NewWith(ctx context.Context, cfg config.Config, log *slog.Logger, reg *prometheus.Registry, o Options) (*Proxy, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Proxy{cfg: cfg, log: log}
	shake, err := handshakeConfig(cfg, log)
	if err != nil {
		return nil, err
	}
	if !cfg.RelayOnly {
		if err := p.openLoader(ctx, reg, o); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	p.server, err = wire.New(wire.Config{
		Handshake: shake, StageMinBytes: cfg.Stage.MinBytes, MaxStatement: int(cfg.Statement.MaxBytes),
		InsertMinRows: cfg.Insert.MinRows, InsertMinRowsAlone: cfg.Insert.MinRowsAlone, InsertMinRowsBind: cfg.Insert.MinRowsBind,
		InsertMinRowsBatch: cfg.Insert.MinRowsBatch,
		InsertMaxBytes:     int(cfg.Insert.MaxBytes), InsertStageBytes: cfg.Insert.StageBytes,
		RoutingColumn: cfg.Routing.Column, OnRouted: p.automigrate.hook(),
		Known: p.known(), RouteSmall: cfg.Routing.Small, RouteReads: cfg.Routing.Reads,
		MaxSessions: cfg.MaxSessions, DrainTimeout: cfg.DrainTimeout,
	}, p.loader, log, reg)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if p.routed != nil {
		p.routed.settled = p.server.Settled
		p.work(p.routed.run)
	}
	return p, nil
}

// known is what the wire server asks for routed tables.
func (p *Proxy) known() func(string) (*rewrite.Known, func()) {
	if p.routed == nil {
		return nil
	}
	return p.routed.Known
}

// Serve accepts clients until ctx is done, then drains up to drain_timeout. It
// calls ready once clients are accepted.
func (p *Proxy) Serve(ctx context.Context, ready func(addr net.Addr)) error {
	ln, err := p.listen()
	if err != nil {
		return err
	}
	p.ready.Store(true)
	defer p.ready.Store(false)
	defer context.AfterFunc(ctx, func() { p.ready.Store(false) })()
	ready(ln.Addr())
	if err := p.server.Serve(ctx, ln); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func (p *Proxy) listen() (net.Listener, error) {
	network, address, err := config.Endpoint(p.cfg.Listen, config.ListenPort)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if network == "unix" {
		removeStale(address)
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return ln, nil
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close() // in use: Listen will say so
		return
	}
	if info, serr := os.Lstat(path); serr == nil && info.Mode()&os.ModeSocket != 0 {
		_ = os.Remove(path) // Listen says what is wrong if it stays
	}
}

// Engine is the engine in effect: auto where the server was away when the proxy
// started.
func (p *Proxy) Engine() string {
	if p.engines == nil {
		return p.cfg.EngineName()
	}
	return p.engines.Name()
}

// Ready says whether new clients are accepted.
func (p *Proxy) Ready() bool { return p.ready.Load() }

// closeTimeout bounds the deletion of files when the proxy ends.
const closeTimeout = 10 * time.Second

// Close finishes the books of ended loads, deletes their files and releases
// what New opened. Serve has returned.
func (p *Proxy) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if p.loader != nil {
		p.loader.Close()
	}
	if p.segments != nil {
		if err := p.segments.Stop(); err != nil {
			p.log.Warn("close", "error", err)
		}
	}
	if p.pull != nil {
		p.pull.Close()
	}
	if p.stopWork != nil {
		p.stopWork()
		p.working.Wait()
		p.importer.Release(ctx)
		if p.routed != nil {
			p.routed.release(ctx)
		}
		p.sweeper.Flush(ctx)
	}
	if p.dbs != nil {
		p.dbs.close()
	}
	if p.bucket != nil {
		return p.bucket.Close(ctx)
	}
	return nil
}
