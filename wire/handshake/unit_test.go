package handshake

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"
	"time"
)

func TestParseUpstream(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]address{
		"db:6543":             {"tcp", "db:6543", "db"},
		"db":                  {"tcp", "db:5432", "db"},
		"10.0.0.1":            {"tcp", "10.0.0.1:5432", "10.0.0.1"},
		"[::1]:6543":          {"tcp", "[::1]:6543", "::1"},
		"::1":                 {"tcp", "[::1]:5432", "::1"},
		"/run/pg":             {"unix", "/run/pg/.s.PGSQL.5432", ""},
		"/run/pg:6543":        {"unix", "/run/pg/.s.PGSQL.6543", ""},
		"/run/.s.PGSQL.6543":  {"unix", "/run/.s.PGSQL.6543", ""},
		"/with:colon/dir":     {"unix", "/with:colon/dir/.s.PGSQL.5432", ""},
		"/run/.s.PGSQL.x":     {"unix", "/run/.s.PGSQL.x/.s.PGSQL.5432", ""},
		"db.example.com:0543": {"tcp", "db.example.com:0543", "db.example.com"},
	} {
		if got, err := parseUpstream(in); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", ":5432", "db:", "db:0", "db:65536", "db:x", "a:b:c", "/dir:0", "/dir:x"} {
		if got, err := parseUpstream(in); err == nil {
			t.Errorf("%q: got %+v", in, got)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := Config{Upstream: "db"}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*Config){
		"Upstream":          func(c *Config) { c.Upstream = "" },
		"ClientTLSMode":     func(c *Config) { c.ClientTLSMode = ClientTLSRequire },
		"ClientTLS has no":  func(c *Config) { c.ClientTLS = &tls.Config{} },
		"ClientTLS has":     func(c *Config) { c.ClientTLS = &tls.Config{Certificates: make([]tls.Certificate, 1)} },
		"ClientTLSMode ":    func(c *Config) { c.ClientTLSMode = "maybe" },
		"UpstreamTLSMode":   func(c *Config) { c.UpstreamTLSMode = "yes" },
		"UpstreamDirectTLS": func(c *Config) { c.UpstreamDirectTLS = true },
		"InsecureSkipVerify": func(c *Config) {
			c.UpstreamTLSMode, c.UpstreamTLS = SSLVerifyFull, &tls.Config{InsecureSkipVerify: true}
		},
		"StartupTimeout":  func(c *Config) { c.StartupTimeout = -time.Second },
		"MaxStartupBytes": func(c *Config) { c.MaxStartupBytes = 1 << 30 },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(field)) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestStartupParameters(t *testing.T) {
	t.Parallel()
	parse := func(params ...string) startup {
		s, err := parseStartup(startupPacket(3<<16, params...))
		if err != nil {
			t.Errorf("%q: %v", params, err)
		}
		return s
	}
	if s := parse("user", "u"); s.database() != "u" {
		t.Errorf("database %q", s.database())
	}
	if s := parse("user", "u", "database", "", "options", ""); s.database() != "u" || len(s.params) != 3 {
		t.Errorf("%+v", s)
	}
	for value, want := range map[string]bool{
		"database": true, "true": true, "T": true, "tRu": true, "yes": true, "y": true, "on": true, "1": true,
		"": false, "false": false, "off": false, "o": false, "0": false, "no": false, "truee": false, "Database": false, "2": false,
	} {
		if s := parse("user", "u", "replication", value); s.replication() != want {
			t.Errorf("replication=%q: %v", value, !want)
		}
	}
}

func TestWithoutPlus(t *testing.T) {
	t.Parallel()
	list := func(names string) []byte { return auth(authSASL, []byte(strings.ReplaceAll(names, " ", "\x00"))...) }
	for _, c := range []struct {
		in, want string
		left     int
	}{
		{"SCRAM-SHA-256-PLUS SCRAM-SHA-256  ", "SCRAM-SHA-256  ", 1},
		{"SCRAM-SHA-256  ", "SCRAM-SHA-256  ", 1},
		{"SCRAM-SHA-256-PLUS  ", " ", 0},
		{"OAUTHBEARER SCRAM-SHA-512-PLUS X  ", "OAUTHBEARER X  ", 2},
	} {
		in := list(c.in)
		got, stripped, left := withoutPlus(in)
		if want := list(c.want); !bytes.Equal(got, want) || stripped != (c.in != c.want) || left != c.left {
			t.Errorf("%q: got %q %d, want %q %d", c.in, got, left, want, c.left)
		}
	}
	// What cannot be read is not touched.
	for _, in := range [][]byte{auth(authSASL), list("SCRAM-SHA-256-PLUS"), list("SCRAM-SHA-256-PLUS ")} {
		if got, stripped, _ := withoutPlus(in); stripped || !bytes.Equal(got, in) {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestWantsBinding(t *testing.T) {
	t.Parallel()
	answer := func(mechanism string, length uint32, data string) []byte {
		return msg('p', []byte(mechanism+"\x00"), code(length), []byte(data))
	}
	for _, c := range []struct {
		in   []byte
		want bool
	}{
		{answer("SCRAM-SHA-256", 8, "n,,n=,r="), false},
		{answer("SCRAM-SHA-256", 8, "y,,n=,r="), true},
		{answer("SCRAM-SHA-256", 8, "p=tls-server-end-point,,"), true},
		{answer("SCRAM-SHA-256-PLUS", 0, ""), true},
		{answer("OAUTHBEARER", 1, "y"), false},
		// Malformed answers are the server's to refuse (PgBouncer CVE-2026-6664).
		{answer("SCRAM-SHA-256", 1<<32-1, ""), false},
		{answer("SCRAM-SHA-256", 1<<32-1, "y"), false},
		{answer("SCRAM-SHA-256", 1<<31-1, ""), false},
		{answer("SCRAM-SHA-256", 1<<31-1, "y"), true},
		{msg('p'), false},
		{msg('p', []byte("SCRAM-SHA-256")), false},
		{msg('p', []byte("SCRAM-SHA-256\x00\x00\x00")), false},
	} {
		if got := wantsBinding(c.in); got != c.want {
			t.Errorf("%q: %v", c.in, got)
		}
	}
}

func TestCancelPacket(t *testing.T) {
	t.Parallel()
	for _, n := range []int{4, 32, 256} {
		p, err := cancelPacket(7, bytes.Repeat([]byte{9}, n))
		if err != nil {
			t.Fatal(err)
		}
		if c, err := parseCancel(p); err != nil || c.PID != 7 || len(c.Key) != n {
			t.Errorf("%d: %+v, %v", n, c, err)
		}
	}
	for _, n := range []int{0, 3, 257} {
		if _, err := cancelPacket(7, make([]byte, n)); err == nil {
			t.Errorf("key of %d bytes was accepted", n)
		}
		if _, err := parseCancel(append(code(uint32(12+n), codeCancel, 7), make([]byte, n)...)); err == nil {
			t.Errorf("request with a key of %d bytes was accepted", n)
		}
	}
}
