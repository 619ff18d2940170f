package handshake

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/lib/pq" // registers driver "postgres"
)

func testVerify(t *testing.T, s *tlsServer) {
	other := newCertificate(t)
	for _, c := range []struct {
		name string
		mode SSLMode
		tls  *tls.Config
		ok   bool
	}{
		{"ca", SSLVerifyCA, &tls.Config{RootCAs: s.cert.pool}, true},
		{"ca, other name", SSLVerifyCA, &tls.Config{RootCAs: s.cert.pool, ServerName: "db.example"}, true},
		{"ca, other root", SSLVerifyCA, &tls.Config{RootCAs: other.pool}, false},
		{"ca, system roots", SSLVerifyCA, nil, false},
		{"full", SSLVerifyFull, &tls.Config{RootCAs: s.cert.pool}, true},
		{"full, other name", SSLVerifyFull, &tls.Config{RootCAs: s.cert.pool, ServerName: "db.example"}, false},
		{"full, other root", SSLVerifyFull, &tls.Config{RootCAs: other.pool}, false},
		{"require, no root", SSLRequire, nil, true},
		{"require, other root", SSLRequire, &tls.Config{RootCAs: other.pool}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, Config{Upstream: s.Addr, UpstreamTLSMode: c.mode, UpstreamTLS: c.tls})
			out, err := s.psql(t, p.port(t), "user=u_ssl sslmode=disable", whoami)
			if c.ok && (err != nil || out != "u_ssl|42") {
				t.Fatalf("%q, %v", out, err)
			}
			if !c.ok && !strings.Contains(out, "FATAL:  could not negotiate TLS with upstream: its certificate could not be verified") {
				t.Fatalf("%q, %v", out, err)
			}
		})
	}
}

// testRetries: allow and prefer try the other way, as libpq does.
func testRetries(t *testing.T, s *tlsServer) {
	for _, c := range []struct {
		mode SSLMode
		user string
		want string
	}{
		{SSLAllow, "u_ssl", "u_ssl|42"},
		{SSLAllow, "u_plain", "u_plain|42"},
		{SSLPrefer, "u_ssl", "u_ssl|42"},
		{SSLPrefer, "u_plain", "u_plain|42"},
		{SSLRequire, "u_plain", `FATAL:  pg_hba.conf rejects connection for host "127.0.0.1", user "u_plain", database "postgres", SSL encryption`},
		{SSLDisable, "u_ssl", `FATAL:  pg_hba.conf rejects connection for host "127.0.0.1", user "u_ssl", database "postgres", no encryption`},
		{SSLPrefer, "u_nobody", `user "u_nobody", database "postgres", no encryption`},
		{SSLAllow, "u_nobody", `user "u_nobody", database "postgres", SSL encryption`},
	} {
		t.Run(string(c.mode)+" "+c.user, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, Config{Upstream: s.Addr, UpstreamTLSMode: c.mode})
			if out, _ := s.psql(t, p.port(t), "user="+c.user+" sslmode=disable", whoami); !strings.Contains(out, c.want) {
				t.Fatalf("got %q, want %q", out, c.want)
			}
		})
	}
}

// testErrors demands the very error of a direct connection.
func testErrors(t *testing.T, s *tlsServer) {
	p := startProxy(t, Config{Upstream: s.Addr, UpstreamTLSMode: SSLDisable})
	fail := func(t *testing.T, addr, options string) *pgconn.PgError {
		t.Helper()
		host, port, _ := net.SplitHostPort(addr)
		conn, err := pgconn.Connect(t.Context(), fmt.Sprintf("host=%s port=%s sslmode=disable %s", host, port, options))
		var e *pgconn.PgError
		if !errors.As(err, &e) {
			t.Fatalf("%v, %v", conn, err)
		}
		return e
	}
	for code, options := range map[string]string{
		"28P01 scram":      "user=u_scram password=wrong dbname=postgres",
		"28P01 md5":        "user=u_md5 password=wrong dbname=postgres",
		"28P01 password":   "user=u_pass password=wrong dbname=postgres",
		"28000 no role":    "user=u_absent dbname=postgres",
		"28000 rejected":   "user=u_nobody dbname=postgres",
		"3D000":            "user=u_plain dbname=absent",
		"53300 of role":    "user=u_one dbname=postgres",
		"53300 of db":      "user=u_plain dbname=full_db",
		"22023 repl":       "user=u_plain dbname=postgres replication=perhaps",
		"42704 setting":    "user=u_plain dbname=postgres nonsense=1",
		"22023 of setting": "user=u_plain dbname=postgres DateStyle=nonsense",
		"42501 walsender":  "user=u_plain dbname=postgres replication=true",
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			direct, proxied := fail(t, s.Addr, options), fail(t, p.addr, options)
			if !reflect.DeepEqual(direct, proxied) {
				t.Fatalf("direct %+v\nproxy  %+v", direct, proxied)
			}
			if want, _, _ := strings.Cut(code, " "); direct.Code != want {
				t.Fatalf("%+v", direct)
			}
		})
	}
}

func testDrivers(t *testing.T, s *tlsServer) {
	other := newCertificate(t)
	query := func(t *testing.T, driver, dsn string) (string, error) {
		t.Helper()
		var user string
		if driver == "pgx" {
			conn, err := pgx.Connect(t.Context(), dsn)
			if err != nil {
				return "", err
			}
			defer conn.Close(t.Context())
			return user, conn.QueryRow(t.Context(), "SELECT current_user::text").Scan(&user)
		}
		db, err := sql.Open("postgres", dsn)
		if err != nil {
			return "", err
		}
		defer db.Close()
		return user, db.QueryRowContext(t.Context(), "SELECT current_user").Scan(&user)
	}
	for _, driver := range []string{"pgx", "pq"} {
		for _, user := range []string{"u_scram", "u_md5", "u_pass"} {
			for name, c := range map[string]struct {
				cert    *certificate
				up      SSLMode
				options string
			}{
				"plain, plain":               {nil, SSLDisable, "sslmode=disable"},
				"plain, TLS":                 {nil, SSLRequire, "sslmode=disable"},
				"TLS, plain":                 {other, SSLDisable, "sslmode=require"},
				"TLS, TLS, one certificate":  {s.cert, SSLRequire, "sslmode=require"},
				"TLS, TLS, two certificates": {other, SSLRequire, "sslmode=require"},
			} {
				t.Run(driver+" "+user+" "+name, func(t *testing.T) {
					t.Parallel()
					cfg := Config{Upstream: s.Addr, UpstreamTLSMode: c.up}
					if c.cert != nil {
						cfg.ClientTLS = c.cert.server()
					}
					p := startProxy(t, cfg)
					dsn := fmt.Sprintf("host=127.0.0.1 port=%s dbname=postgres user=%s password='%s' %s", p.port(t), user, password, c.options)
					_, err := query(t, driver, dsn)
					// lib/pq knows nothing of channel binding, and says so with gs2 flag n.
					if driver == "pgx" && user == "u_scram" && c.cert == other && c.up == SSLRequire {
						var e *pgconn.PgError
						if !errors.As(err, &e) || e.Code != "28000" || !strings.Contains(e.Hint, "channel_binding=disable") {
							t.Fatalf("want the hint, got %v", err)
						}
						_, err = query(t, driver, dsn+" channel_binding=disable")
					}
					if err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}

func testCancel(t *testing.T, s *tlsServer) {
	for name, cfg := range map[string]Config{
		"plain":  {Upstream: s.Addr, UpstreamTLSMode: SSLDisable},
		"TLS":    {Upstream: s.Addr, UpstreamTLSMode: SSLRequire, ClientTLS: s.cert.server(), ClientTLSMode: ClientTLSRequire},
		"prefer": {Upstream: s.Addr, ClientTLS: s.cert.server()},
		"allow":  {Upstream: s.Addr, UpstreamTLSMode: SSLAllow},
		"socket": {Upstream: fmt.Sprintf("%s:%d", s.SocketDir, s.Port)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, cfg)
			conn, err := pgx.Connect(t.Context(), fmt.Sprintf("host=127.0.0.1 port=%s dbname=postgres user=u_scram password='%s'", p.port(t), password))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			failed := make(chan error, 1)
			go func() {
				_, err := conn.Exec(t.Context(), "SELECT pg_sleep(60)")
				failed <- err
			}()
			// The request may come before the statement, and then does nothing.
			for {
				if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
					t.Error(err)
				}
				select {
				case err = <-failed:
				default:
					continue
				}
				break
			}
			var e *pgconn.PgError
			if !errors.As(err, &e) || e.Code != "57014" {
				t.Fatal(err)
			}
		})
	}
	t.Run("psql", func(t *testing.T) {
		t.Parallel()
		// psql 15 sends its cancel request plain, also where TLS is required.
		p := startProxy(t, Config{Upstream: s.Addr, ClientTLS: s.cert.server(), ClientTLSMode: ClientTLSRequire})
		cmd := exec.Command(filepath.Join(s.BinDir, "psql"), "-XAtq", "-w",
			"-c", `\echo ready`, "-c", "SELECT pg_sleep(60)",
			"-d", fmt.Sprintf("host=127.0.0.1 port=%s dbname=postgres user=u_ssl sslmode=require", p.port(t)))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := stdout.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
		s.awaitQuery(t, "u_ssl", "SELECT pg_sleep(60)")
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if !strings.Contains(stderr.String(), "canceling statement due to user request") {
			t.Fatalf("%q", stderr.String())
		}
	})
}

// awaitQuery asks the server until it runs the statement.
func (s *tlsServer) awaitQuery(t *testing.T, user, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn := s.Connect(t, "postgres", "postgres")
	for n := 0; n == 0; {
		err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND query = $2 AND state = 'active'", user, statement).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func testReplication(t *testing.T, s *tlsServer) {
	p := startProxy(t, Config{Upstream: s.Addr})
	for value, database := range map[string]string{"database": "postgres", "true": "", "1": "", "ON": ""} {
		out, err := s.psql(t, p.port(t), "user=u_scram replication="+value, "IDENTIFY_SYSTEM")
		if fields := strings.Split(out, "|"); err != nil || len(fields) != 4 || fields[3] != database {
			t.Fatalf("%s: %q, %v", value, out, err)
		}
		if e := p.outcome(t); e.out.Session == nil || !e.out.Session.Replication {
			t.Fatalf("%s: %+v", value, e)
		}
	}
	if out, err := s.psql(t, p.port(t), "user=u_scram replication=off", whoami); err != nil || out != "u_scram|42" {
		t.Fatalf("%q, %v", out, err)
	}
	if e := p.outcome(t); e.out.Session == nil || e.out.Session.Replication {
		t.Fatalf("%+v", e)
	}

	cmd := exec.Command(filepath.Join(s.BinDir, "pg_receivewal"), "-w", "--create-slot", "--slot=through_proxy",
		"-d", fmt.Sprintf("host=127.0.0.1 port=%s user=u_scram password='%s'", p.port(t), password))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
}

func testSockets(t *testing.T, s *tlsServer) {
	for _, up := range []string{
		fmt.Sprintf("%s:%d", s.SocketDir, s.Port),
		fmt.Sprintf("%s/.s.PGSQL.%d", s.SocketDir, s.Port),
	} {
		// Require is ignored on a socket, as in libpq.
		p := startProxy(t, Config{Upstream: up, UpstreamTLSMode: SSLRequire})
		if out, err := s.psql(t, p.port(t), "user=u_scram", whoami); err != nil || out != "u_scram|42" {
			t.Fatalf("%q, %v", out, err)
		}
	}

	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	p := serveProxy(t, Config{Upstream: s.Addr, ClientTLS: s.cert.server(), ClientTLSMode: ClientTLSRequire}, ln)
	conn, err := pgconn.Connect(t.Context(), fmt.Sprintf("host=%s dbname=postgres user=u_scram password='%s'", filepath.Dir(p.addr), password))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
