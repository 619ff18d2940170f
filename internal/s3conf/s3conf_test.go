package s3conf

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// fixed is a bucket with fixed credentials, failing one whose chain is broken.
type (
	fixed   store.Config
	failing struct{ fixed }
)

func (f fixed) Config() store.Config                         { return store.Config(f) }
func (f fixed) Access(context.Context) (store.Config, error) { return store.Config(f), nil }
func (failing) Access(context.Context) (store.Config, error) {
	return store.Config{}, errors.New("key=s3cr3t")
}

func start(t *testing.T, cfg Config, bucket Bucket) *Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := Start(cfg, bucket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// request returns the status and the body.
func request(t *testing.T, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

func TestServes(t *testing.T) {
	t.Parallel()
	s := start(t, Config{}, fixed(store.Config{Endpoint: "http://h:9000", AccessKey: "id", SecretKey: "s3cr3t", SessionToken: "tok"}))
	url, end := s.Open(2)
	const want = "[default]\naccessid = id\nsecret = s3cr3t\ntoken = tok\nencryption = false\nversion = 2\nthreadnum = 4\nchunksize = 8388608\n"
	for range 2 {
		if code, body := request(t, "GET", url); code != http.StatusOK || body != want {
			t.Errorf("%d %q", code, body)
		}
	}
	if code, body := request(t, "GET", url); code != http.StatusNotFound || body != "" {
		t.Errorf("a third fetch of two: %d %q", code, body)
	}
	end()
	end()
	other, _ := s.Open(1)
	if other == url {
		t.Error("a URL is given twice")
	}
	if token := url[strings.LastIndex(url, "/")+1:]; len(token)*5 < 128 {
		t.Errorf("%d letters of base 32 are less than 128 bits", len(token))
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	s := start(t, Config{}, fixed(store.Config{AccessKey: "id", SecretKey: "s3cr3t"}))
	url, end := s.Open(9)
	ended, close := s.Open(9)
	close()
	for what, c := range map[string][2]string{
		"ended":        {"GET", ended},
		"no token":     {"GET", url[:strings.LastIndex(url, "/")+1]},
		"part":         {"GET", url[:len(url)-1]},
		"more":         {"GET", url + "/x"},
		"other path":   {"GET", strings.Replace(url, path, "/", 1)},
		"root":         {"GET", strings.Split(url, path)[0]},
		"method":       {"POST", url},
		"head":         {"HEAD", url},
		"climbing":     {"GET", strings.Replace(url, path, "/s3conf/../s3conf//", 1)},
		"capital":      {"GET", strings.ToLower(url)},
		"other prefix": {"GET", strings.Replace(url, path, "/metrics/", 1)},
	} {
		if code, body := request(t, c[0], c[1]); code != http.StatusNotFound || strings.Contains(body, "s3cr3t") || strings.Contains(body, "=") {
			t.Errorf("%s: %d %q", what, code, body)
		}
	}
	if code, _ := request(t, "GET", url); code != http.StatusOK {
		t.Errorf("the good one: %d", code)
	}
	end()
}

func TestFrom(t *testing.T) {
	t.Parallel()
	for network, want := range map[string]int{"127.0.0.0/8": http.StatusOK, "10.0.0.0/8": http.StatusNotFound} {
		s := start(t, Config{From: []netip.Prefix{netip.MustParsePrefix(network)}}, fixed(store.Config{}))
		url, end := s.Open(1)
		if code, _ := request(t, "GET", url); code != want {
			t.Errorf("%s: %d", network, code)
		}
		end()
	}
}

// TestFetchesAreCounted: side by side no more get it than were allowed.
func TestFetchesAreCounted(t *testing.T) {
	t.Parallel()
	s := start(t, Config{}, fixed(store.Config{}))
	url, end := s.Open(3)
	defer end()
	var got atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if code, _ := request(t, "GET", url); code == http.StatusOK {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	if got.Load() != 3 {
		t.Errorf("%d fetches of 3", got.Load())
	}
}

func TestAccessFails(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Advertise: "proxy:9091"}, failing{})
	url, end := s.Open(1)
	defer end()
	if !strings.HasPrefix(url, "http://proxy:9091/s3conf/") {
		t.Errorf("got %s", url)
	}
	if code, body := request(t, "GET", strings.Replace(url, "proxy:9091", s.Addr().String(), 1)); code != http.StatusServiceUnavailable || body != "" {
		t.Errorf("%d %q", code, body)
	}
}
