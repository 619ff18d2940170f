package pgserver

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// repository serves an archive with files that look like binaries, under
// whatever name is asked for.
func repository(t *testing.T) (url string, downloads *atomic.Int64) {
	t.Helper()
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("there is no xz to make an archive with")
	}
	root := t.TempDir()
	install(t, filepath.Join(root, "bin"), "initdb", "postgres")
	archive, err := exec.Command("tar", "-C", root, "-cJf", "-", "bin").Output()
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(archive); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	downloads = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			fmt.Fprintf(w, "%x", sha256.Sum256(jar.Bytes()))
			return
		}
		downloads.Add(1)
		_, _ = w.Write(jar.Bytes())
	}))
	t.Cleanup(func() {
		// The library uses the default client and leaves its connections open.
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		server.Close()
	})
	return server.URL, downloads
}

func TestDownload(t *testing.T) {
	url, downloads := repository(t)
	cfg := Config{DataDir: "/none", CacheDir: filepath.Join(t.TempDir(), "cache"), DownloadURL: url}.WithDefaults()
	for range 2 {
		dir, err := download(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if !hasBinaries(dir) {
			t.Errorf("no binaries in %s", dir)
		}
	}
	if downloads.Load() != 1 {
		t.Errorf("downloaded %d times", downloads.Load())
	}
	if left, err := filepath.Glob(filepath.Join(cfg.CacheDir, "run-*")); err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
}

func TestDownloadFails(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	cfg := Config{DataDir: "/none", CacheDir: t.TempDir(), DownloadURL: server.URL}.WithDefaults()
	if dir, err := download(cfg); err == nil {
		t.Errorf("got %s", dir)
	}
	if _, err := os.Stat(filepath.Join(cfg.CacheDir, "postgres-"+string(downloadVersion), "bin")); err == nil {
		t.Error("a failed download left binaries")
	}
}
