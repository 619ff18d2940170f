package proxy

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgtest"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestDifferentialTLS: with TLS on both sides, what is relayed, sent on by the event
// loop, and staged is as without any proxy.
func TestDifferentialTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	pg := testenv.PrivatePostgres(t, nil)
	admin := pg.Connect(t, "postgres", "postgres").PgConn()
	for from, to := range map[string]string{cert: "server.crt", key: "server.key"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		must(t, admin, fmt.Sprintf("COPY (SELECT '%s') TO PROGRAM 'umask 077; base64 -d > %s'", base64.StdEncoding.EncodeToString(data), to))
	}
	must(t, admin, "ALTER SYSTEM SET ssl = on")
	pg.Restart(t)
	r := start(t, pg, Options{}, func(c *config.Config) {
		c.TLS.Cert, c.TLS.Key, c.TLS.Mode, c.UpstreamTLS.Mode = cert, key, "require", "require"
		c.Stage.MinBytes = 100 << 10
	})
	_, port, err := net.SplitHostPort(r.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	direct := pgtest.Target{Name: "direct", DSN: func(db string) string { return pg.TCPDSN(db, "postgres") }, NewDatabase: pg.NewDatabase}
	proxied := pgtest.Target{Name: "proxied", DSN: func(db string) string {
		return fmt.Sprintf("host=127.0.0.1 port=%s dbname=%s user=postgres sslmode=require", port, db)
	}}
	o := pgtest.Options{Memory: &native, Prepare: func(t testing.TB, db string) { install(t, pg, db) }}
	t.Run("scripts", func(t *testing.T) { pgtest.RunDir(t, scripts+"/insert", direct, proxied, o) })
	c, err := tryConnect(proxied.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(c)
	if used := must(t, c, "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()"); used != "t" {
		t.Error("the server was reached without TLS")
	}
}
