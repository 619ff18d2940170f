package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// base is what a valid configuration needs at least.
func base() map[string]string {
	return map[string]string{"upstream": "db:5432", "store": "s3://bucket"}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "conf.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadPrecedence(t *testing.T) {
	t.Parallel()
	src := Sources{Flags: base()}
	steps := []struct {
		name  string
		apply func()
		want  int64
	}{
		{"default", func() {}, 1 << 20},
		{"file", func() { src.File = writeFile(t, "stage:\n  min_bytes: 2MiB\n") }, 2 << 20},
		{"environment", func() { src.Environ = []string{"HOME=/", "PGBULK_STAGE_MIN_BYTES=3MiB"} }, 3 << 20},
		{"flag", func() { src.Flags["stage.min_bytes"] = "4MiB" }, 4 << 20},
		{"set", func() { src.Set = []string{"stage.min_bytes=5MiB"} }, 5 << 20},
		{"last set", func() { src.Set = append(src.Set, "stage.min_bytes = 6MiB") }, 6 << 20},
	}
	for _, step := range steps {
		step.apply()
		c, err := Load(src)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if c.Stage.MinBytes != step.want {
			t.Errorf("%s: stage.min_bytes is %d, want %d", step.name, c.Stage.MinBytes, step.want)
		}
	}
}

func TestLoadFileForms(t *testing.T) {
	t.Parallel()
	c, err := Load(Sources{File: writeFile(t, `
upstream: /run/postgresql
store: embedded:/var/lib/pgbulk
sweep.grace: 1d12h
stage.file_bytes: 1048576
stage:
  spool: off
  uploads: 4
upstream_tls: {mode: verify-full}
auto_install: false
metrics:
`)})
	if err != nil {
		t.Fatal(err)
	}
	if c.Stage.FileBytes != 1<<20 || c.Stage.Spool || c.Stage.Uploads != 4 ||
		c.UpstreamTLS.Mode != "verify-full" || c.Sweep.Grace != 36*time.Hour || c.Metrics != "" {
		t.Errorf("read %s", c)
	}
	if c.Stage.MinBytes != 1<<20 || c.Listen != "127.0.0.1:6432" {
		t.Errorf("defaults are lost: %s", c)
	}
}

func TestLoadEmptyFile(t *testing.T) {
	t.Parallel()
	if _, err := Load(Sources{File: writeFile(t, "# nothing\n"), Flags: base()}); err != nil {
		t.Fatal(err)
	}
}

func TestEnvironmentNames(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, k := range Keys() {
		name := EnvName(k.Name)
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s share %s", k.Name, other, name)
		}
		seen[name] = k.Name
		if foreignEnv(name) {
			t.Errorf("%s counts as foreign", name)
		}
	}
	c, err := Load(Sources{Flags: base(), Environ: []string{
		"PGBULK_UPSTREAM_TLS_MODE=require", "PGBULK_SERVICE_DSN=host=x", "PGBULK_LISTEN=",
		"PGBULK_TEST_PG_BIN=/x", "PGBULK_PORT=tcp://1.2.3.4:5", "PGBULK_SERVICE_HOST=1.2.3.4", "PGBULKPROXY_X=1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c.UpstreamTLS.Mode != "require" || c.ServiceDSN != "host=x" || c.Listen != "127.0.0.1:6432" {
		t.Errorf("read %s", c)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	set := func(pairs ...string) Sources { return Sources{Flags: base(), Set: pairs} }
	file := func(text string) Sources { return Sources{Flags: base(), File: writeFile(t, text)} }
	cases := []struct {
		name string
		src  Sources
		want string
	}{
		{"unknown set", set("stage.min_byte=1"), `--set: unknown key "stage.min_byte"`},
		{"forgotten group", set("min_bytes=1"), `(is it stage.min_bytes?)`},
		{"no equals", set("stage.min_bytes"), "--set wants key=value"},
		{"unknown in file", file("stage:\n  nope: 1\n"), `conf.yaml: unknown key "stage.nope"`},
		{"group as value", file("stage: 5\n"), `unknown key "stage"`},
		{"list", file("stage:\n  uploads: [1]\n"), "stage.uploads: a single value is wanted"},
		{"broken yaml", file("a: [\n"), "conf.yaml: yaml:"},
		{"scalar yaml", file("nonsense\n"), "conf.yaml: yaml:"},
		{"no file", Sources{Flags: base(), File: "/does/not/exist.yaml"}, "config file /does/not/exist.yaml: no such file"},
		{"unknown variable", Sources{Flags: base(), Environ: []string{"PGBULK_STAGE_MINBYTES=secret"}}, "environment: unknown variable PGBULK_STAGE_MINBYTES"},
		{"low size", set("stage.part_bytes=1MiB"), "--set: stage.part_bytes: 1MiB is out of bounds, must be 5MiB to 5GiB"},
		{"high size", set("stage.file_bytes=6GiB"), "must be 64KiB to 5GiB"},
		{"low open bound", set("stage.memory_bytes=1"), "must be at least 8MiB"},
		{"high number", set("stage.uploads=17"), "stage.uploads: 17 is out of bounds, must be 1 to 16"},
		{"low number", set("insert.min_rows=1"), "insert.min_rows: 1 is out of bounds, must be 2 to"},
		{"duration", set("load.url_ttl=8d"), "load.url_ttl: 8d is out of bounds, must be 1m to 7d"},
		{"negative duration", set("drain_timeout=-1s"), "drain_timeout: -1s is out of bounds, must be 0s to 1d"},
		{"choice", set("engine=oracle"), `engine: "oracle" is not one of auto, postgres, plain`},
		{"bool", set("auto_install=maybe"), `auto_install: "maybe" is neither on nor off`},
		{"number", set("stage.ahead=two"), `stage.ahead: "two" is not a whole number`},
		{"no upstream", Sources{Flags: map[string]string{"store": "s3://b"}}, "upstream: is required"},
		{"no store", Sources{Flags: map[string]string{"upstream": "h:1"}}, "store: is required unless relay_only"},
		{"store scheme", set("store=http://x/y"), "store: must be s3://"},
		{"store bucket", set("store=s3:///x"), "store: names no bucket"},
		{"store dir", set("store=embedded:"), "store: embedded: wants a directory"},
		{"store credentials", set("store=s3://key:hidden@b"), "store: credentials don't belong"},
		{"upstream form", set("upstream=db"), `upstream: "db" is neither HOST:PORT`},
		{"upstream port", set("upstream=db:99999"), `upstream: port "99999" is out of bounds`},
		{"listen form", set("listen=6432"), "listen:"},
		{"metrics form", set("metrics=/tmp"), "metrics:"},
		{"auto_threshold alone", set("routing.auto_threshold=5"), `routing.auto_threshold: needs service_dsn`},
		{"auto_install alone", set("auto_install=on"), "auto_install: needs service_dsn"},
		{"cert alone", set("tls.cert=x"), "tls.cert: is set together with tls.key"},
		{"require alone", set("tls.mode=require"), "tls.mode: require needs tls.cert"},
		{"client cert alone", set("upstream_tls.key=x"), "upstream_tls.cert: is set together"},
		{"segments reader alone", set("greenplum.reader=s3"), "greenplum.reader: s3 needs greenplum.listen"},
		{"segments gpfdist alone", set("greenplum.reader=gpfdist"), "greenplum.reader: gpfdist needs greenplum.gpfdist_listen"},
		{"segments gpfdist form", set("greenplum.gpfdist_listen=db"), "greenplum.gpfdist_listen: "},
		{"segments gpfdist address", set("greenplum.gpfdist_listen=[::]:9091"), "greenplum.gpfdist_advertise: is required"},
		{"segments networks", set("greenplum.segments=10.1.2"), "greenplum.segments: "},
		{"segments form", set("greenplum.listen=db"), "greenplum.listen: "},
		{"segments address", set("greenplum.listen=0.0.0.0:9091"), "greenplum.advertise: is required"},
		{"direct", set("upstream_tls.direct=on"), "upstream_tls.direct: needs upstream_tls.mode"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(c.src)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q does not contain %q", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than one line", err)
			}
			if strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q gives a secret away", err)
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	cases := []struct{ in, network, address string }{
		{"db:5433", "tcp", "db:5433"},
		{":6432", "tcp", ":6432"},
		{"[::1]:1", "tcp", "[::1]:1"},
		{"/run/postgresql", "unix", "/run/postgresql/.s.PGSQL.5432"},
		{"/run/postgresql:6000", "unix", "/run/postgresql/.s.PGSQL.6000"},
		{"/odd:name", "unix", "/odd:name/.s.PGSQL.5432"},
	}
	for _, c := range cases {
		network, address, err := Endpoint(c.in, UpstreamPort)
		if err != nil || network != c.network || address != c.address {
			t.Errorf("Endpoint(%q) = %s, %s, %v", c.in, network, address, err)
		}
	}
}

func TestEngineName(t *testing.T) {
	t.Parallel()
	c := Default()
	if got := c.EngineName(); got != EnginePlain {
		t.Errorf("without service_dsn: %s", got)
	}
	c.ServiceDSN = "host=x"
	if got := c.EngineName(); got != EngineAuto {
		t.Errorf("with service_dsn: %s", got)
	}
	c.RelayOnly = true
	if got := c.EngineName(); got != "none" {
		t.Errorf("relay only: %s", got)
	}
}
