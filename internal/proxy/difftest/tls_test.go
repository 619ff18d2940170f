package difftest

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/proxy/proxytest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestDifferentialTLS: with TLS on both sides, what is relayed, sent on by the event
// loop, and staged is as without any proxy.
func TestDifferentialTLS(t *testing.T) {
	t.Parallel()
	cert, key := proxytest.Certificate(t)
	pg := testenv.PrivatePostgres(t, nil)
	admin := pg.Connect(t, "postgres", "postgres")
	must := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{cert: "server.crt", key: "server.key"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		must(fmt.Sprintf("COPY (SELECT '%s') TO PROGRAM 'umask 077; base64 -d > %s'", base64.StdEncoding.EncodeToString(data), to))
	}
	must("ALTER SYSTEM SET ssl = on")
	pg.Restart(t)
	r := Start(t, pg, func(c *config.Config) {
		c.TLS.Cert, c.TLS.Key, c.TLS.Mode, c.UpstreamTLS.Mode = cert, key, "require", "require"
		c.Stage.MinBytes = 100 << 10
	})
	_, port, err := net.SplitHostPort(r.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	direct, proxied := r.Targets(pg)
	proxied.DSN = func(db string) string {
		return fmt.Sprintf("host=127.0.0.1 port=%s dbname=%s user=postgres sslmode=require", port, db)
	}
	o := pgtest.Options{Memory: &native, Prepare: func(t testing.TB, db string) { proxytest.Install(t, pg, db) }}
	t.Run("scripts", func(t *testing.T) { pgtest.RunDir(t, scripts+"/insert", direct, proxied, o) })
	c, err := pgx.Connect(t.Context(), proxied.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var used bool
	if err := c.QueryRow(t.Context(), "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()").Scan(&used); err != nil || !used {
		t.Error("the server was reached without TLS", err)
	}
}
