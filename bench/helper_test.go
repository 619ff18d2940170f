package main

import (
	"bytes"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// TestMain lets the daemon tests start this binary as a small program.
func TestMain(m *testing.M) {
	switch os.Getenv("BENCH_TEST_PROGRAM") {
	case "":
		os.Exit(m.Run())
	case "ready":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		os.Stdout.WriteString("hello\nready secret\nmore\n")
		<-stop
	case "broken":
		os.Stderr.WriteString("out of paper\n")
		os.Exit(3)
	}
}

func testDaemon(t *testing.T, program string) daemonSpec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return daemonSpec{
		name: "test program", path: self, env: append(os.Environ(), "BENCH_TEST_PROGRAM="+program),
		readyLine: "ready", log: filepath.Join(t.TempDir(), "log"),
	}
}

func TestDaemon(t *testing.T) {
	t.Parallel()
	d, err := startDaemon(t.Context(), testDaemon(t, "ready"))
	if err != nil {
		t.Fatal(err)
	}
	if d.ready != "ready secret" {
		t.Errorf("ready line %q", d.ready)
	}
	d.stop()
	d.stop()
	if log := d.tail(); log != "\nhello\nmore" {
		t.Errorf("log is %q", log)
	}
}

func TestDaemonThatEndsTooSoon(t *testing.T) {
	t.Parallel()
	_, err := startDaemon(t.Context(), testDaemon(t, "broken"))
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "out of paper") {
		t.Errorf("got %v, want the exit status and the log", err)
	}
}

func TestReadyWriter(t *testing.T) {
	t.Parallel()
	const text = "one\nready a\nready b\nlast"
	for size := 1; size <= len(text); size++ {
		var log bytes.Buffer
		w := &readyWriter{out: &log, prefix: "ready", found: make(chan string, 1)}
		for chunk := range slices.Chunk([]byte(text), size) {
			if n, err := w.Write(chunk); n != len(chunk) || err != nil {
				t.Fatalf("write: %d, %v", n, err)
			}
		}
		if got := <-w.found; got != "ready a" || log.String() != "one\nready b\n" {
			t.Errorf("chunks of %d: found %q, log %q", size, got, log.String())
		}
	}
}

func TestRepeated(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(path, []byte("a\nbc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for times, want := range map[int64]string{0: "", 1: "a\nbc\n", 3: "a\nbc\na\nbc\na\nbc\n"} {
		if err := iotest.TestReader(&repeated{path: path, times: times}, []byte(want)); err != nil {
			t.Errorf("%d times: %v", times, err)
		}
	}
	if _, err := io.ReadAll(&repeated{path: path + ".gone", times: 1}); err == nil {
		t.Error("a file that is not there: no error")
	}
}

func TestDatasetOpen(t *testing.T) {
	t.Parallel()
	d := &dataset{base: filepath.Join(t.TempDir(), "rows")}
	demand := func(want bool) {
		t.Helper()
		if got, err := d.open(); got != want || err != nil {
			t.Errorf("open: got %v, %v, want %v", got, err, want)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	demand(false)
	write(d.manifestPath(), `{"content":{"rows":2,"sum":"-7"},"sizes":{"text":1,"csv":2,"binary":3}}`)
	demand(false)
	for i, format := range formats {
		write(d.path(format), strings.Repeat("x", i+1))
	}
	demand(true)
	if want := (content{2, "-7"}); d.content != want || !maps.Equal(d.sizes, map[string]int64{"text": 1, "csv": 2, "binary": 3}) {
		t.Errorf("got %v, %v", d.content, d.sizes)
	}
	write(d.path("csv"), "cut off when the disk was full")
	demand(false)
	write(d.manifestPath(), "{")
	if _, err := d.open(); err == nil {
		t.Error("a damaged manifest: no error")
	}
}

func TestSumTimes(t *testing.T) {
	t.Parallel()
	got, err := content{Sum: "-9223372036854775808123"}.sumTimes(3)
	if err != nil || got != "-27670116110564327424369" {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := (content{Sum: "x"}).sumTimes(1); err == nil {
		t.Error("no number: no error")
	}
}

func TestParseKiB(t *testing.T) {
	t.Parallel()
	if got, err := parseKiB("24683520 kB"); got != 24683520 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	for _, bad := range []string{"", "12", "12 MB", "x kB"} {
		if got, err := parseKiB(bad); err == nil {
			t.Errorf("%q: got %d, want an error", bad, got)
		}
	}
}

func TestEndpoint(t *testing.T) {
	t.Setenv("PGPASSWORD", "of another server")
	ep := endpoint{addr: "127.0.0.1:5433", user: "u", database: "d"}
	if got, want := ep.dsn(), "postgres://u@127.0.0.1:5433/d?sslmode=disable"; got != want {
		t.Errorf("dsn %s, want %s", got, want)
	}
	env := ep.env("-cx=1")
	for _, want := range []string{"PGHOST=127.0.0.1", "PGPORT=5433", "PGUSER=u", "PGDATABASE=d", "PGOPTIONS=-cx=1"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in the environment", want)
		}
	}
	if slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "PGPASSWORD=") }) {
		t.Error("the user's own PGPASSWORD is passed on")
	}
}

func TestS3URL(t *testing.T) {
	t.Parallel()
	s := &s3Server{s3Access: s3Access{Endpoint: "http://127.0.0.1:9000", Region: "us-east-1", AccessKey: "id", SecretKey: "hidden"}}
	want := "s3://bench/stage?endpoint=http%3A%2F%2F127.0.0.1%3A9000&path_style=true&region=us-east-1"
	if got := s.url(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if env := s.env(); !reflect.DeepEqual(env[len(env)-2:], []string{"AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=hidden"}) {
		t.Error("the credentials are not in the environment")
	}
}

func TestMetaQuote(t *testing.T) {
	t.Parallel()
	if got, want := metaQuote(`/it's\here`), `'/it''s\\here'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
