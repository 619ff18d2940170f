package killmatrix

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// asProxy makes the test binary a proxy that is configured by its environment.
const asProxy = "PGBULK_TEST_AS_PROXY"

func TestMain(m *testing.M) {
	if os.Getenv(asProxy) == "" {
		os.Exit(testenv.Main(m))
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test
		os.Exit(3)
	}()
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve runs the proxy until SIGTERM, and prints its address when it is ready.
func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load(config.Sources{Environ: os.Environ()})
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p, err := proxy.NewWith(ctx, cfg, log, prometheus.NewRegistry(), proxy.Options{Store: impatient})
	if err != nil {
		return err
	}
	err = p.Serve(ctx, func(a net.Addr) { fmt.Println(a) })
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	return err
}

// impatient makes the store give up soon, and use parts where it can.
func impatient(c *store.Config) {
	c.MaxAttempts, c.ConnectTimeout = 2, time.Second
	c.PartTimeout, c.RequestTimeout, c.CleanupTimeout = time.Second, time.Second, time.Second
	c.PartSize, c.OneRequest = 5<<20, 5<<20
}
