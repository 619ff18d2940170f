package difftest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy/proxytest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Start runs a proxy in front of a server as proxytest.Start does.
func Start(t testing.TB, pg *testenv.PG, change func(*config.Config)) *proxytest.Running {
	t.Helper()
	return proxytest.Start(t, pg, func(ctx context.Context, cfg config.Config, log *slog.Logger, reg *prometheus.Registry, credentials func(*store.Config)) (proxytest.Server, error) {
		return proxy.NewWith(ctx, cfg, log, reg, proxy.Options{Store: credentials})
	}, proxytest.Log(t), change)
}
