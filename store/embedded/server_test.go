package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/embedded"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

// The tests are not parallel: a process can have only one server.

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

func open(t *testing.T, dir string) *store.Bucket {
	t.Helper()
	b, err := store.New(t.Context(), store.Config{EmbeddedDir: dir, PartSize: 5 << 20, OneRequest: 5 << 20}, store.Deps{Embedded: embedded.Serve})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func closeStore(t *testing.T, b *store.Bucket) {
	t.Helper()
	if err := b.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestRestartKeepsObjectsAndCredentials(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	b := open(t, dir)
	if err := b.Put(t.Context(), "k", strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	before := b.Config()
	closeStore(t, b)
	info, err := os.Stat(filepath.Join(dir, "credentials.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("credentials file: %v, %v", info, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}

	b = open(t, dir)
	defer closeStore(t, b)
	if after := b.Config(); after.AccessKey != before.AccessKey || after.SecretKey != before.SecretKey {
		t.Error("the credentials have changed")
	}
	r, err := b.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != "content" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestWithoutExtendedAttributes makes the server use files for its metadata.
func TestWithoutExtendedAttributes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "meta"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := open(t, dir)
	defer closeStore(t, b)
	t.Run("", func(t *testing.T) {
		storetest.Run(t, 5<<20, func(testing.TB) store.Full { return b })
	})
	if entries, err := os.ReadDir(filepath.Join(dir, "meta")); err != nil || len(entries) == 0 {
		t.Errorf("no metadata files: %v", err)
	}
}

func TestOnlyOneServer(t *testing.T) {
	b := open(t, t.TempDir())
	if _, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir()}); !errors.Is(err, embedded.ErrRunning) {
		t.Errorf("second start: %v", err)
	}
	closeStore(t, b)
	closeStore(t, open(t, t.TempDir())) // possible again
}

func TestWorkingDirectory(t *testing.T) {
	home := t.TempDir()
	t.Chdir(home)
	b := open(t, "relative")
	defer closeStore(t, b)
	if cwd, err := os.Getwd(); err != nil || cwd != home {
		t.Errorf("the working directory is %s, %v", cwd, err)
	}
	t.Chdir(t.TempDir()) // the server must not care
	if err := b.Put(t.Context(), "a/b", strings.NewReader("x")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(home, "relative", "objects", "pgbulkproxy", "a", "b")); err != nil {
		t.Error(err)
	}
}

func TestStartErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	damaged := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, path := range []string{file, filepath.Join(damaged, "credentials.json")} {
		if err := os.WriteFile(path, []byte(`{"secret_key": "hidden`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, cfg := range map[string]embedded.Config{
		"no directory": {}, "a file": {Dir: file}, "damaged credentials": {Dir: damaged},
		"port": {Dir: t.TempDir(), Port: 70000}, "bucket": {Dir: t.TempDir(), Bucket: "../x"},
		"taken port": {Dir: t.TempDir(), Port: taken.Addr().(*net.TCPAddr).Port},
	} {
		_, err := embedded.Start(t.Context(), cfg)
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
	closeStore(t, open(t, t.TempDir())) // a failed start leaves nothing running
}

func TestServerHidesSecret(t *testing.T) {
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	if text := fmt.Sprintf("%v %s", s, s.LogValue()); strings.Contains(text, s.SecretKey) {
		t.Errorf("the secret is shown: %s", text)
	}
}
