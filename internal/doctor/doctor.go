package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine/check"
	"github.com/pgbulkproxy/pgbulkproxy/engine/registry"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/embedded"
)

// Options are what is asked beside the configuration.
type Options struct {
	// Database is looked at instead of that of service_dsn.
	Database string
	// Role is a role of the clients.
	Role string
	// Tell, unless nil, is called with each result as it comes.
	Tell func(check.Result)
	// Now is the proxy's clock; nil is the machine's.
	Now func() time.Time
	// Store changes the store's configuration before it is opened: for tests.
	Store func(*store.Config)
}

// Report is what was found.
type Report struct {
	OK     bool           `json:"ok"`
	Engine string         `json:"engine"`
	Server string         `json:"server,omitempty"`
	Checks []check.Result `json:"checks"`
}

// patient is one examination.
type patient struct {
	cfg     config.Config
	change  func(*store.Config)
	env     check.Env
	session *session
	bucket  interface{ Close(context.Context) error }
}

// Run tries what a proxy with this configuration needs. The configuration is valid.
func Run(ctx context.Context, cfg config.Config, o Options) Report {
	p := &patient{cfg: cfg, change: o.Store}
	p.prepare(o)
	defer p.close(ctx)
	tell := o.Tell
	if tell == nil {
		tell = func(check.Result) {}
	}
	var results []check.Result
	tellAll := func(checks []check.Check) {
		results = append(results, check.RunAfter(ctx, results, checks, &p.env, tell)...)
	}
	tellAll(check.Server())
	tellAll(check.Stores())
	tellAll(p.engineChecks())
	tellAll(check.Limited())
	return Report{OK: !check.Failed(results), Engine: p.env.Engine, Server: p.env.Facts.Version, Checks: results}
}

func (p *patient) prepare(o Options) {
	cfg := p.cfg
	p.env = check.Env{
		Configured: cfg.Engine, Engine: cfg.EngineName(), Why: "it is configured", Choose: p.choose,
		Upstream: cfg.Upstream, Dial: p.dial,
		Fetch: fetch, URLTTL: cfg.Load.URLTTL,
		InstallVersion: sealed.InstallVersion, CheckLedger: p.checkLedger,
		Role: o.Role, Now: o.Now,
		Reader: cfg.Greenplum.Reader, Listen: cfg.Greenplum.Reach(),
		Limits: check.Limits{
			MemoryBytes: cfg.Stage.MemoryBytes, MemoryFree: memoryFree(), Files: openFiles(), MaxSessions: cfg.MaxSessions,
		},
	}
	if p.env.Now == nil {
		p.env.Now = time.Now
	}
	if cfg.ServiceDSN != "" {
		p.env.Open = func(ctx context.Context) (check.DB, check.Session, error) {
			s, who, err := connect(ctx, cfg.ServiceDSN, o.Database)
			if err != nil {
				return nil, who, err
			}
			p.session = s
			return s, who, nil
		}
	}
	if !cfg.RelayOnly {
		p.env.OpenStore = p.openStore
	}
	if cfg.Stage.Spool {
		p.env.Limits.SpoolDir = cfg.Stage.SpoolDir
		if p.env.Limits.SpoolDir == "" {
			p.env.Limits.SpoolDir = os.TempDir()
		}
		p.env.Limits.SpoolFree, p.env.Limits.SpoolErr = spool(p.env.Limits.SpoolDir)
	}
}

// spool tries a file where spooled ones go.
func spool(dir string) (int64, error) {
	f, err := os.CreateTemp(dir, "pgbulkproxy-doctor-*")
	if err != nil {
		return 0, err
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return 0, err
	}
	return diskFree(dir)
}

func (p *patient) dial(ctx context.Context) error {
	network, address, err := config.Endpoint(p.cfg.Upstream, config.UpstreamPort)
	if err != nil {
		return err
	}
	d := net.Dialer{Timeout: p.cfg.DialTimeout}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (p *patient) openStore(ctx context.Context) (check.Store, error) {
	b, prefix, err := openStore(ctx, p.cfg, p.change)
	if errors.Is(err, embedded.ErrServed) {
		return nil, check.ErrServed
	}
	if err != nil {
		return nil, err
	}
	p.bucket = b
	parts := slices.DeleteFunc([]string{prefix, p.cfg.Stage.Prefix}, func(s string) bool { return s == "" })
	p.env.Key = path.Join(append(parts, "pgbulkproxy-doctor-"+strings.ToLower(rand.Text()))...)
	p.env.StoreURL, p.env.StoreEndpoint = b.URL(path.Join(parts...)), b.Config().Endpoint
	return bucket{b}, nil
}

func (p *patient) checkLedger(ctx context.Context) error {
	return known(checkpoint.NewPostgres(p.session.conn).Check(ctx))
}

// engineChecks are those of the engine in effect: postgres, as the proxy assumes, where
// it is to be found out and the server did not answer.
func (p *patient) engineChecks() []check.Check {
	name := p.env.Engine
	if name == config.EngineAuto {
		name = config.EnginePostgres
	}
	row, ok := registry.Find(name)
	if !ok || row.Checks == nil || p.env.Open == nil {
		return nil
	}
	return row.Checks()
}

// choose finds the engine in effect, once the server is known.
func (p *patient) choose(f check.Facts) {
	row, why := registry.Detect(f)
	p.env.Detected = row.Name
	if p.cfg.Engine == config.EngineAuto {
		p.env.Engine, p.env.Why, p.env.Untested = row.Name, why, row.Untested()
		return
	}
	p.env.Why = "it is configured"
	if row.Name != p.env.Engine {
		p.env.Why = why
	}
	if configured, ok := registry.Find(p.env.Engine); ok {
		p.env.Untested = configured.Untested()
	}
}

func (p *patient) close(ctx context.Context) {
	if p.session != nil {
		p.session.close(ctx)
	}
	if p.bucket != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		_ = p.bucket.Close(ctx) // all that was put is deleted
	}
}

var errFetch = errors.New("the store's URL is none")

// masked takes the URL out of an error of net/http.
func masked(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
