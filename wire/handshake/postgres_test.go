package handshake

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgserver"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// tlsServer is a server with TLS and users for every method.
type tlsServer struct {
	*testenv.PG
	cert *certificate
}

const password = "s3cret pass"

// startTLSServer has users u_scram, u_md5 and u_pass, u_ssl who must and
// u_plain who must not use TLS.
func startTLSServer(t *testing.T) *tlsServer {
	t.Helper()
	s := &tlsServer{cert: newCertificate(t)}
	s.PG = testenv.PrivatePostgres(t, func(c *pgserver.Config) {
		c.HBA = []string{
			"host all u_scram 127.0.0.1/32 scram-sha-256",
			"host all u_md5 127.0.0.1/32 md5",
			"host all u_pass 127.0.0.1/32 password",
			"hostssl all u_ssl 127.0.0.1/32 trust",
			"hostnossl all u_ssl 127.0.0.1/32 reject",
			"hostssl all u_plain 127.0.0.1/32 reject",
			"hostnossl all u_plain 127.0.0.1/32 trust",
			"host all u_nobody 127.0.0.1/32 reject",
		}
		c.Settings["wal_level"] = "replica"
	})
	file := func(name string, data []byte) string {
		return fmt.Sprintf("COPY (SELECT '%s') TO PROGRAM 'umask 077; base64 -d > %s'", base64.StdEncoding.EncodeToString(data), name)
	}
	s.sql(t,
		file("server.crt", s.cert.certPEM), file("server.key", s.cert.keyPEM),
		"ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()",
		"CREATE ROLE u_scram LOGIN REPLICATION PASSWORD '"+password+"'",
		"CREATE ROLE u_pass LOGIN PASSWORD '"+password+"'",
		"SET password_encryption = md5", "CREATE ROLE u_md5 LOGIN PASSWORD '"+password+"'",
		"CREATE ROLE u_ssl LOGIN", "CREATE ROLE u_plain LOGIN", "CREATE ROLE u_nobody LOGIN",
		"CREATE ROLE u_one LOGIN CONNECTION LIMIT 0", "CREATE DATABASE full_db CONNECTION LIMIT 0")
	s.awaitTLS(t)
	return s
}

func (s *tlsServer) sql(t *testing.T, statements ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN("postgres", pgserver.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%.60s: %v", sql, err)
		}
	}
}

// awaitTLS asks until the postmaster has read its new settings.
func (s *tlsServer) awaitTLS(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		c, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		yes, err := askTLS(c)
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		if yes {
			return
		}
	}
	t.Fatal("the server offers no TLS")
}

// psql runs a statement through an address with connection options.
func (s *tlsServer) psql(t *testing.T, port, options, sql string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.BinDir, "psql"), "-XAtq", "-w", "-c", sql,
		"-d", fmt.Sprintf("host=127.0.0.1 port=%s dbname=postgres password='%s' %s", port, password, options))
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGGSSENCMODE=disable", "HOME=/nonexistent")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

const whoami = "SELECT current_user, 40 + 2"

// TestPostgres runs everything that needs the server with TLS.
func TestPostgres(t *testing.T) {
	t.Parallel()
	s := startTLSServer(t)
	for name, test := range map[string]func(*testing.T, *tlsServer){
		"legs": testLegs, "require TLS": testRequireTLS, "verify": testVerify, "retries": testRetries,
		"errors": testErrors, "drivers": testDrivers, "cancel": testCancel, "replication": testReplication,
		"sockets": testSockets, "direct TLS": testDirectTLS, "openings": testOpenings, "established": testEstablished,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

func testLegs(t *testing.T, s *tlsServer) {
	other := newCertificate(t)
	plainUp := Config{Upstream: s.Addr, UpstreamTLSMode: SSLDisable}
	tlsUp := Config{Upstream: s.Addr, UpstreamTLSMode: SSLRequire}
	with := func(c Config, cert *certificate) Config { c.ClientTLS = cert.server(); return c }
	const remedy = "channel_binding=disable"

	for _, c := range []struct {
		name    string
		cfg     Config
		options string
		want    string // output, or part of the error
		fails   bool
	}{
		{"plain, plain", plainUp, "user=u_scram sslmode=disable", "u_scram|42", false},
		{"plain, plain, prefer", plainUp, "user=u_scram sslmode=prefer", "u_scram|42", false},
		{"plain, plain, ssl wanted", plainUp, "user=u_scram sslmode=require", "server does not support SSL", true},
		{"plain, plain, binding required", plainUp, "user=u_scram channel_binding=require", "channel binding", true},
		{"plain, TLS", tlsUp, "user=u_scram sslmode=disable", "u_scram|42", false},
		{"plain, TLS, md5", tlsUp, "user=u_md5 sslmode=disable", "u_md5|42", false},
		{"plain, TLS, password", tlsUp, "user=u_pass sslmode=disable", "u_pass|42", false},
		{"plain, TLS, trust", tlsUp, "user=u_ssl sslmode=disable", "u_ssl|42", false},
		{"TLS, plain", with(plainUp, other), "user=u_scram sslmode=require", "u_scram|42", false},
		{"TLS, plain, md5", with(plainUp, other), "user=u_md5 sslmode=require", "u_md5|42", false},
		{"TLS, plain, binding required", with(plainUp, other), "user=u_scram sslmode=require channel_binding=require", "channel binding", true},
		{"TLS, TLS, default", with(tlsUp, other), "user=u_scram sslmode=require", remedy, true},
		{"TLS, TLS, no binding", with(tlsUp, other), "user=u_scram sslmode=require channel_binding=disable", "u_scram|42", false},
		{"TLS, TLS, binding required", with(tlsUp, other), "user=u_scram sslmode=require channel_binding=require", "channel binding is required, but server did not offer", true},
		{"TLS, TLS, md5", with(tlsUp, other), "user=u_md5 sslmode=require", "u_md5|42", false},
		{"TLS, TLS, password", with(tlsUp, other), "user=u_pass sslmode=require", "u_pass|42", false},
		{"TLS, TLS, one certificate", with(tlsUp, s.cert), "user=u_scram sslmode=require channel_binding=require", "u_scram|42", false},
		{"TLS, TLS, one certificate, disable", with(tlsUp, s.cert), "user=u_scram sslmode=require channel_binding=disable", "u_scram|42", false},
		{"one certificate, plain client", with(tlsUp, s.cert), "user=u_scram sslmode=disable", "u_scram|42", false},
		{"prefer at both", with(Config{Upstream: s.Addr}, s.cert), "user=u_scram", "u_scram|42", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, c.cfg)
			out, err := s.psql(t, p.port(t), c.options, whoami)
			if c.fails != (err != nil) || !strings.Contains(out, c.want) {
				t.Fatalf("got %q, %v; want %q", out, err, c.want)
			}
		})
	}
}

func testRequireTLS(t *testing.T, s *tlsServer) {
	p := startProxy(t, Config{Upstream: s.Addr, ClientTLS: s.cert.server(), ClientTLSMode: ClientTLSRequire})
	out, err := s.psql(t, p.port(t), "user=u_scram sslmode=disable", whoami)
	if err == nil || !strings.Contains(out, `host "127.0.0.1", user "u_scram", database "postgres", no encryption`) {
		t.Fatalf("plain client: %q, %v", out, err)
	}
	if out, err = s.psql(t, p.port(t), "user=u_scram sslmode=allow", whoami); err != nil || out != "u_scram|42" {
		t.Fatalf("libpq tries again with TLS: %q, %v", out, err)
	}

	var told *pgconn.PgError
	_, err = pgconn.Connect(context.Background(), fmt.Sprintf("host=127.0.0.1 port=%s user=u_scram sslmode=disable", p.port(t)))
	if !errors.As(err, &told) || told.Code != "28000" || told.Severity != "FATAL" || told.Hint == "" {
		t.Fatalf("%v", err)
	}
}
