package proxy

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/gpfdist"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	installer "github.com/pgbulkproxy/pgbulkproxy/internal/install"
	"github.com/pgbulkproxy/pgbulkproxy/internal/loaderconfig"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/embedded"
)

// openLoader opens what loads need.
func (p *Proxy) openLoader(ctx context.Context, reg *prometheus.Registry, o Options) error {
	prefix, err := p.openStore(ctx, reg, o)
	if err != nil {
		return err
	}
	me := self()
	p.dbs = newDatabases(p.cfg.ServiceDSN, "", p.log)
	if p.engines, err = newEngines(ctx, p.cfg, p.dbs, p.log); err != nil {
		return err
	}
	eng := p.engines.Of(ctx, p.engines.first, true)
	if p.cfg.AutoInstall {
		p.dbs.installSQL = installer.SQL(eng, "") // the service role is the superuser that runs it
	}
	if err := p.openPull(reg); err != nil {
		return err
	}
	p.sweeper = bulk.NewSweeper(p.bucket, p.cfg.Sweep.Grace, p.cfg.Sweep.Interval, p.dbs.ledgers, p.log)
	p.sweeper.Keep, p.sweeper.Labels = p.cfg.Sweep.Keep == config.KeepAlways, p.cfg.Label.Retention
	p.sweeper.Uploads = p.bucket
	p.importer = bulk.NewImporter(p.importerConfig(me), bulk.ImporterDeps{Store: p.bucket, Known: p.dbs.known, Sweeper: p.sweeper, Log: p.log, Metrics: reg})
	p.dbs.opened = p.importer.Wake
	configs, err := p.openSegments()
	if err != nil {
		return err
	}
	p.loader = bulk.NewLoader(bulk.Config{
		FileBytes: p.cfg.Stage.FileBytes, Ahead: p.cfg.Stage.Ahead + 1, Uploads: p.cfg.Stage.Uploads,
		URLTTL: p.cfg.Load.URLTTL, Grace: p.cfg.Sweep.Grace,
		BreakerFailures: p.cfg.Breaker.Failures, BreakerCooldown: p.cfg.Breaker.Cooldown, Owner: me.Owner,
		Prefer: prefer(p.cfg), Transcode: p.cfg.Load.Transcode != config.TranscodeOff, TranscodeSharded: p.cfg.Load.Transcode == config.TranscodeOn, TranscodeWorkers: p.cfg.Load.TranscodeWorkers, KeepAll: p.cfg.Sweep.Keep == config.KeepAlways,
		Limits: limits(p.cfg.Limits),
	}, bulk.Deps{
		Store: p.bucket, URLs: p.bucket, Prefix: func() string { return joinKey(prefix(), p.cfg.Stage.Prefix) }, Engine: eng, EngineOf: p.engines.Of, Databases: p.dbs, Configs: configs, Access: p.access(), Pull: p.pull,
		Memory:  bulk.NewMemory(p.cfg.Stage.MemoryBytes, p.cfg.Stage.Spool, p.cfg.Stage.SpoolDir),
		Sweeper: p.sweeper, Importer: p.importer, Log: p.log, Metrics: reg,
	})
	p.automigrate = newAutomigrate(p.cfg, p.log)
	if p.cfg.ServiceDSN != "" {
		p.routed = newKnownTables(p.dbs, me, p.cfg.Lease.Timeout, p.log)
	}
	p.working.ctx, p.stopWork = context.WithCancel(context.WithoutCancel(ctx))
	for _, run := range []func(context.Context){p.sweeper.Run, p.importer.Run, p.discover, p.automigrate.Run} {
		p.work(run)
	}
	return nil
}

// work starts what goes on until Close.
func (p *Proxy) work(run func(context.Context)) {
	ctx := p.working.ctx
	p.working.Add(1)
	go func() {
		defer p.working.Done()
		run(ctx)
	}()
}

// discover looks for databases with a ledger, at first and now and then.
func (p *Proxy) discover(ctx context.Context) {
	if !p.cfg.Lease.Discover {
		return
	}
	tick := time.NewTicker(max(p.cfg.Lease.Timeout, p.cfg.Sweep.Interval))
	defer tick.Stop()
	for {
		p.dbs.discover(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// importerConfig takes what LOADER_CONFIG() says before what the configuration
// says.
func (p *Proxy) importerConfig(me checkpoint.Proxy) bulk.ImporterConfig {
	c := bulk.ImporterConfig{
		Proxy: me, Lease: p.cfg.Lease.Timeout, Concurrency: p.cfg.Load.Concurrency,
		Timeout: p.cfg.Load.ImportTimeout, Sleep: p.cfg.Load.ImportErrorSleepTime, URLTTL: p.cfg.Load.URLTTL,
	}
	if p.source != nil {
		s := p.source.Settings()
		c.Concurrency, c.Timeout, c.Sleep = cmp.Or(s.Concurrency, c.Concurrency), cmp.Or(s.ImportTimeout, c.Timeout), cmp.Or(s.ImportErrorSleepTime, c.Sleep)
	}
	return c
}

// openStore opens the store where the configuration, or the database, says. It
// returns what gives the prefix of new keys.
func (p *Proxy) openStore(ctx context.Context, reg *prometheus.Registry, o Options) (prefix func() string, err error) {
	var cfg store.Config
	deps := store.Deps{Logger: p.log, Registerer: reg, Embedded: embedded.Serve, Wrap: o.WrapStore}
	if p.cfg.Store == config.StoreLoaderConfig {
		if p.source, err = loaderconfig.Open(ctx, p.cfg.ServiceDSN); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		cfg, prefix, deps.Reload = p.source.Settings().Store, p.source.Prefix, p.source.Reload
	} else {
		var fixed string
		if cfg, fixed, err = store.ParseURL(p.cfg.Store); err != nil {
			return nil, err
		}
		prefix = func() string { return fixed }
	}
	if cfg.PartSize == 0 {
		cfg.PartSize = p.cfg.Stage.PartBytes
	}
	cfg.MaxPuts = p.cfg.StoreLimit.Puts
	if o.Store != nil {
		o.Store(&cfg)
	}
	p.bucket, err = store.New(ctx, cfg, deps)
	return prefix, err
}

func joinKey(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "/" + b
}

// openPull listens for segments that pull rows.
func (p *Proxy) openPull(reg prometheus.Registerer) error {
	g := p.cfg.Greenplum
	if g.GpfdistListen == "" {
		return nil
	}
	networks, err := g.Networks()
	if err != nil {
		return err
	}
	p.pull, err = gpfdist.Listen(gpfdist.Config{Listen: g.GpfdistListen, Address: g.GpfdistAdvertise, Networks: networks, Patience: g.GpfdistTimeout, Log: p.log, Metrics: reg})
	return err
}

// access gives out the store's credentials, for SQL that holds them, only where
// load.method asks for that by name.
func (p *Proxy) access() bulk.Access {
	if !asksExternal(p.cfg) {
		return nil
	}
	return p.bucket.Access
}

// asksExternal says that load.method is external, and in force.
func asksExternal(c config.Config) bool {
	return c.Load.Method == config.MethodExternal && prefer(c) == rewrite.MethodExternal
}

// prefer reads greenplum.reader and load.method.
func prefer(c config.Config) rewrite.Method {
	method := c.Load.Method
	if c.Greenplum.Reader != config.MethodAuto {
		method = c.Greenplum.Reader
	}
	switch method {
	case config.ReaderGpfdist:
		return rewrite.MethodPull
	case config.MethodExternal, config.ReaderS3:
		return rewrite.MethodExternal
	case config.MethodCopy:
		return rewrite.MethodCopy
	}
	return rewrite.MethodNone
}
