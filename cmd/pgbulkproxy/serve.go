package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/pgbulkproxy/pgbulkproxy/internal/admin"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy"
)

// serveCmd runs the proxy until a signal.
type serveCmd struct {
	settingFlags `embed:""`
}

// settingFlags are the flags for the settings of a proxy.
type settingFlags struct {
	Config      string   `help:"YAML file with settings (or PGBULK_CONFIG)." placeholder:"FILE"`
	Listen      *string  `help:"${key_listen}" placeholder:"HOST:PORT"`
	Upstream    *string  `help:"${key_upstream}" placeholder:"HOST:PORT"`
	ServiceDSN  *string  `name:"service-dsn" help:"${key_service_dsn}" placeholder:"DSN"`
	Store       *string  `help:"${key_store}" placeholder:"URL"`
	Engine      *string  `help:"${key_engine}" placeholder:"NAME"`
	Metrics     *string  `help:"${key_metrics}" placeholder:"HOST:PORT"`
	AutoInstall *bool    `help:"${key_auto_install}" negatable:""`
	LogLevel    *string  `help:"${key_log_level}" placeholder:"LEVEL"`
	Set         []string `help:"Set any key of docs/configuration.md; may be repeated, wins over everything else." placeholder:"KEY=VALUE" sep:"none"`
}

// gcPercent is how much the heap may grow between two collections. What lives is
// mostly staged bytes without pointers, which cost a collection nothing; at Go's
// own 100 the peak of a long COPY is a third higher, and grows with its length.
const gcPercent = 40

// spare is how many goroutines may run beside those that keep a processor busy each
// (limits.workers). Without them the event loop, when it has something to relay,
// waits for a goroutine of a load to give its place up, which on a machine where
// others want the processors too takes tens of milliseconds; the kernel lets a
// thread that has slept in at once.
const spare = 6

// spareThreads makes room for them, and says how many processors there are before
// that hides it.
func spareThreads(cfg *config.Config) {
	cores := runtime.GOMAXPROCS(0)
	cfg.Limits.Workers = cmp.Or(cfg.Limits.Workers, cores)
	cfg.Load.TranscodeWorkers = cmp.Or(cfg.Load.TranscodeWorkers, max(cores/2, 1))
	if _, set := os.LookupEnv("GOMAXPROCS"); !set {
		runtime.GOMAXPROCS(cores + spare)
	}
}

// Help implements kong.HelpProvider.
func (serveCmd) Help() string {
	return "Settings come from defaults, --config, PGBULK_… variables, flags and --set, the later winning.\n" +
		"SIGTERM and SIGINT drain: no new sessions, running ones may finish within drain_timeout. A second signal stops at once.\n\n" +
		"Keys for --set and the file:\n\n" + config.Help()
}

// Run implements the command.
func (s *serveCmd) Run(a *app) error {
	cfg, err := config.Load(s.sources(a))
	if err != nil {
		return err
	}
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	spareThreads(&cfg)
	log := a.newLogger(cfg.Log)
	log.Debug("settings other than default", "config", cfg)
	if cfg.Limits.Nice != 0 {
		if err := setNice(cfg.Limits.Nice); err != nil {
			log.Warn("limits.nice is not in force", "error", err)
		}
	}
	return a.untilSignal(func(ctx context.Context) error {
		return runProxy(ctx, cfg, log, func(addr net.Addr, engine string) error {
			_, err := fmt.Fprintf(a.stdout, "ready listen=%s upstream=%s engine=%s\n", addr, cfg.Upstream, engine)
			return err
		})
	})
}

// sources returns the layers of the configuration; a flag that was not given is
// not in them.
func (s *settingFlags) sources(a *app) config.Sources {
	file := s.Config
	if file == "" {
		file = a.getenv(config.EnvPrefix + "CONFIG")
	}
	flags := map[string]string{}
	for key, value := range map[string]*string{
		"listen": s.Listen, "upstream": s.Upstream, "service_dsn": s.ServiceDSN, "store": s.Store,
		"engine": s.Engine, "metrics": s.Metrics, "log.level": s.LogLevel,
	} {
		if value != nil {
			flags[key] = *value
		}
	}
	if s.AutoInstall != nil {
		flags["auto_install"] = strconv.FormatBool(*s.AutoInstall)
	}
	return config.Sources{File: file, Environ: a.environ, Flags: flags, Set: s.Set}
}

// runProxy assembles proxy and metrics server and runs them until ctx is done
// and the sessions are drained. announce is called once clients are accepted;
// if it fails, nobody would know, and the proxy stops.
func runProxy(ctx context.Context, cfg config.Config, log *slog.Logger, announce func(addr net.Addr, engine string) error) (result error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p, err := proxy.New(ctx, cfg, log, registry)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil // told to stop before it began
	}
	if err != nil {
		return err
	}
	defer func() { result = errors.Join(result, p.Close()) }()
	if cfg.Metrics != "" {
		server, err := admin.Start(cfg.Metrics, registry, p.Ready, log)
		if err != nil {
			return err
		}
		log.Info("metrics server listens", "listen", server.Addr().String())
		// Health and metrics stay there while sessions drain.
		defer func() { result = errors.Join(result, server.Stop()) }()
	}
	err = p.Serve(ctx, func(addr net.Addr) {
		if err := announce(addr, p.Engine()); err != nil {
			stop(fmt.Errorf("print ready line: %w", err))
		}
	})
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}
