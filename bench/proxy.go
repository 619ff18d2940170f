package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// proxyPackage is what is measured, wherever in the module we are run from.
const proxyPackage = "github.com/pgbulkproxy/pgbulkproxy/cmd/pgbulkproxy"

// proxy is a running pgbulkproxy, or with --no-proxy the server itself.
type proxy struct {
	endpoint endpoint
	metrics  string
	daemon   *daemon
	lab      *lab
	// runs counts the measured runs and warm-ups, peak is the most resident
	// memory of any.
	runs int64
	peak int64
	// ledgered is how many loads stood in the ledger at the start.
	ledgered int64
}

// startProxy starts a proxy in front of the cluster, each scenario its own, so
// that none inherits the memory of another.
func (l *lab) startProxy(ctx context.Context, engine string) (*proxy, error) {
	return l.startProxyTo(ctx, engine, l.cluster.endpoint)
}

// startProxyTo starts one whose clients come out at another address of the
// cluster, with settings that the scenario needs and --set cannot change.
func (l *lab) startProxyTo(ctx context.Context, engine string, upstream endpoint, settings ...string) (*proxy, error) {
	if l.opts.NoProxy {
		return &proxy{endpoint: upstream, lab: l}, nil
	}
	if err := l.prepareProxy(ctx); err != nil {
		return nil, err
	}
	ledgered, err := l.cluster.loads(ctx)
	if err != nil {
		return nil, err
	}
	listen, err := freeAddr()
	if err != nil {
		return nil, err
	}
	metrics, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--listen", listen, "--upstream", upstream.addr,
		"--service-dsn", l.cluster.adminDSN(), "--store", l.s3.url(), "--engine", engine, "--metrics", metrics}
	for _, s := range slices.Concat(l.opts.Set, settings) {
		args = append(args, "--set", s)
	}
	d, err := startDaemon(ctx, daemonSpec{
		name: "pgbulkproxy", path: l.binary, args: args, readyLine: "ready",
		env: l.s3.env(), log: filepath.Join(l.tmp, "pgbulkproxy.log"),
	})
	if err != nil {
		return nil, err
	}
	ep := upstream
	ep.addr = listen
	return &proxy{endpoint: ep, metrics: metrics, daemon: d, lab: l, ledgered: ledgered}, nil
}

// prepareProxy does once what every proxy needs: the binary, an object store,
// and what is installed in the server.
func (l *lab) prepareProxy(ctx context.Context) error {
	if l.binary == "" {
		l.progress("  building %s", proxyPackage)
		path := filepath.Join(l.tmp, "pgbulkproxy")
		if err := runQuietly(exec.CommandContext(ctx, "go", "build", "-o", path, proxyPackage)); err != nil {
			return fmt.Errorf("build the proxy: %w", err)
		}
		l.binary = path
	}
	if l.s3 == nil {
		s3, err := startS3(ctx, l.tmp)
		if err != nil {
			return err
		}
		l.s3 = s3
	}
	if !l.installed {
		// The engine postgres needs all that plain needs, and more.
		install := exec.CommandContext(ctx, l.binary, "install", "--dsn", l.cluster.adminDSN(), "--engine", "postgres")
		install.Env = l.s3.env()
		if err := runQuietly(install); err != nil {
			return fmt.Errorf("install into the server: %w", err)
		}
		l.installed = true
	}
	return nil
}

// stop ends the proxy and removes what it staged, which no later scenario
// reads and the disk would have to hold.
func (p *proxy) stop() {
	if p.daemon == nil {
		return
	}
	p.daemon.stop()
	if err := p.lab.s3.empty(); err != nil {
		p.lab.progress("  %v", err)
	}
}

func (p *proxy) pid() int { return p.daemon.pid() }

// watched takes the proxy's peak memory during each run.
func (p *proxy) watched(run func(context.Context) ([]float64, error)) func(context.Context) ([]float64, error) {
	if p.daemon == nil {
		return run
	}
	return func(ctx context.Context) ([]float64, error) {
		p.runs++
		// Where the system does not tell, peak stays 0: the durations are what
		// this is about.
		_ = resetPeak(p.pid())
		values, err := run(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w%s", err, p.daemon.tail())
		}
		if peak, err := peakRSS(p.pid()); err == nil {
			p.peak = max(p.peak, peak)
		}
		return values, nil
	}
}

// stagingNote compares the ledger with the runs, because a load that the proxy
// only relayed would give a figure for something else than its name says.
func (p *proxy) stagingNote(ctx context.Context, staged bool) []string {
	if p.daemon == nil {
		return nil
	}
	now, err := p.lab.cluster.loads(ctx)
	if err != nil {
		return []string{"path not checked: " + err.Error()}
	}
	want := int64(0)
	if staged {
		want = p.runs
	}
	if got := now - p.ledgered; got != want {
		return []string{fmt.Sprintf("%d of %d loads were staged, expected %d", got, p.runs, want)}
	}
	return nil
}

// loads is the number of loads in the ledger that brought rows into a table, 0
// without a ledger. Their status is settled a moment after the client's reply,
// but files_imported commits together with the rows.
func (c *cluster) loads(ctx context.Context) (int64, error) {
	const ledger = "relyt_sys.relyt_loader_checkpoint"
	var exists bool
	if err := c.admin.QueryRow(ctx, "select pg_catalog.to_regclass($1) is not null", ledger).Scan(&exists); err != nil {
		return 0, fmt.Errorf("look for the ledger: %w", err)
	}
	if !exists {
		return 0, nil
	}
	var n int64
	if err := c.admin.QueryRow(ctx, "select pg_catalog.count(*) from "+ledger+" where files_imported > 0").Scan(&n); err != nil {
		return 0, fmt.Errorf("count loads in the ledger: %w", err)
	}
	return n, nil
}

// runQuietly runs a command whose output is of interest only if it fails.
func runQuietly(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
