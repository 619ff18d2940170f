package clienttest

import (
	"os"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest/clients"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy/difftest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy/proxytest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// ways are the same server, directly and through a proxy of the test's own.
func ways(t *testing.T) (r *proxytest.Running, direct, proxied pgtest.Target, o pgtest.Options) {
	pg := testenv.Postgres(t)
	r = difftest.Start(t, pg, nil)
	direct, proxied = r.Targets(pg)
	o.Prepare = func(t testing.TB, db string) { proxytest.Install(t, pg, db) }
	return r, direct, proxied, o
}

// TestClients: real client libraries see the same with and without the proxy.
func TestClients(t *testing.T) {
	t.Parallel()
	for _, client := range clients.All() {
		t.Run(client.Name, func(t *testing.T) {
			t.Parallel()
			r, direct, proxied, o := ways(t)
			pgtest.DiffClient(t, client, direct, proxied, o)
			t.Log(r.Decisions(t))
			if strings.HasSuffix(client.Name, "-coalesce") && !t.Skipped() && r.Metric(t, "pgbulk_statements_total", "kind", "insert", "decision", "stream", "reason", "coalesced") < 40 {
				t.Error("hardly any INSERT was coalesced")
			}
		})
	}
}

// TestPsql: so does psql.
func TestPsql(t *testing.T) {
	t.Parallel()
	r, direct, proxied, o := ways(t)
	t.Run("scripts", func(t *testing.T) { pgtest.DiffPsql(t, "psql", "../../../testdata/psql", direct, proxied, o) })
	t.Log(r.Decisions(t))
}
