package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]struct {
		cfg    store.Config
		prefix string
	}{
		"s3://b":      {store.Config{Bucket: "b"}, ""},
		"s3://b/":     {store.Config{Bucket: "b"}, ""},
		"s3://b/p/q/": {store.Config{Bucket: "b"}, "p/q"},
		"s3://b/p?endpoint=https://h:9000&region=eu-central-1": {
			store.Config{Bucket: "b", Endpoint: "https://h:9000", Region: "eu-central-1", PathStyle: true}, "p"},
		"s3://b?endpoint=http%3A%2F%2Fh&path_style=false": {store.Config{Bucket: "b", Endpoint: "http://h"}, ""},
		"s3://b?path_style=true":                          {store.Config{Bucket: "b", PathStyle: true}, ""},
		"embedded:/var/x":                                 {store.Config{EmbeddedDir: "/var/x"}, ""},
		"embedded:rel ative":                              {store.Config{EmbeddedDir: "rel ative"}, ""},
	} {
		cfg, prefix, err := store.ParseURL(raw)
		if err != nil || cfg != want.cfg || prefix != want.prefix {
			t.Errorf("%s: %+v, %q, %v", raw, cfg, prefix, err)
		}
	}
}

func TestParseURLErrors(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"":                                     "must be s3://",
		"http://b/hidden":                      "must be s3://",
		"s3:///hidden":                         "needs a bucket",
		"s3://b:80/hidden":                     "no port",
		"s3://key:hidden@b":                    "credentials don't belong",
		"s3://b?part_size=hidden":              `unknown key "part_size"`,
		"s3://b?secret_key=hidden":             `unknown key "secret_key"`,
		"s3://b?region=a&region=hidden":        "region is given twice",
		"s3://b?path_style=hidden":             "path_style must be true or false",
		"s3://b?endpoint=ftp://hidden":         "Endpoint is not an http",
		"s3://b?endpoint=http://u:hidden@host": "Endpoint must not hold credentials",
		"s3://b?%zz=hidden":                    "malformed query",
		"s3://b/%zzhidden":                     "not a URL",
		"s3://b#hidden":                        "fragment",
		"embedded:":                            "needs a directory",
	} {
		_, _, err := store.ParseURL(raw)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := store.Config{Bucket: "b", AccessKey: "a", SecretKey: "s"}.WithDefaults()
	if err := good.Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for want, change := range map[string]func(*store.Config){
		"PartSize 5242879 is not between 5242880":  func(c *store.Config) { c.PartSize = 5<<20 - 1 },
		"PartsInFlight 65 is not between 1 and 64": func(c *store.Config) { c.PartsInFlight = 65 },
		"MaxPuts -1 is not between 1":              func(c *store.Config) { c.MaxPuts = -1 },
		"MaxAttempts 21 is not between 1 and 20":   func(c *store.Config) { c.MaxAttempts = 21 },
		"PartTimeout 2h0m0s is not between 1ms":    func(c *store.Config) { c.PartTimeout = 2 * time.Hour },
		"RequestTimeout -1s is not between 1ms":    func(c *store.Config) { c.RequestTimeout = -time.Second },
		"CleanupTimeout 1ns is not":                func(c *store.Config) { c.CleanupTimeout = 1 },
		"ConnectTimeout 1ns is not":                func(c *store.Config) { c.ConnectTimeout = 1 },
		"Bucket is required":                       func(c *store.Config) { c.Bucket = "" },
		"AccessKey and SecretKey need each other":  func(c *store.Config) { c.SecretKey = "" },
		"SessionToken needs AccessKey":             func(c *store.Config) { c.AccessKey, c.SecretKey, c.SessionToken = "", "", "t" },
		"EmbeddedDir leaves no choice of Bucket":   func(c *store.Config) { c.EmbeddedDir = "/x" },
		"Endpoint must not have a query":           func(c *store.Config) { c.Endpoint = "http://h?x" },
	} {
		cfg := good
		change(&cfg)
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v instead of %s", err, want)
		}
		if _, err := store.New(t.Context(), cfg, store.Deps{}); err == nil {
			t.Errorf("New took what Validate refuses: %s", want)
		}
	}
}

func TestNewNeedsEmbedded(t *testing.T) {
	t.Parallel()
	if _, err := store.New(t.Context(), store.Config{EmbeddedDir: t.TempDir()}, store.Deps{}); err == nil {
		t.Error("no error without a server")
	}
}

func TestConfigHidesSecrets(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Bucket: "b", AccessKey: "AK", SecretKey: "hidden1", SessionToken: "hidden2"}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "config", cfg, "secret", cfg.SecretKey)
	}
	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		log.String(), string(encoded), fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg),
		fmt.Sprintf("%s %q %v", cfg.SecretKey, cfg.SecretKey, &cfg),
	} {
		if strings.Contains(text, "hidden") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}

// TestErrorsHideSecrets makes the store fail with bad credentials and collects
// what the errors say, down their whole chains.
func TestErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*store.Config){
		"wrong secret": func(c *store.Config) { c.SecretKey = "hidden" },
		"unknown key": func(c *store.Config) {
			c.AccessKey, c.SecretKey, c.SessionToken = "hidden-key", "hidden", "hidden-token"
		},
		"no server":     func(c *store.Config) { c.Endpoint = "http://127.0.0.1:1"; c.SecretKey = "hidden" },
		"no bucket":     func(c *store.Config) { c.Bucket = "there-is-none" },
		"virtual style": func(c *store.Config) { c.PathStyle = false; c.Endpoint = "http://localhost:1"; c.SecretKey = "hidden" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testenv.S3(t).Config()
			secret := string(cfg.SecretKey)
			cfg.MaxAttempts = 1
			change(&cfg)
			b := testenv.NewStore(t, cfg, store.Deps{})
			_, openErr := b.Open(t.Context(), "x")
			_, abortErr := b.AbortUploads(t.Context(), "x", time.Now())
			errs := []error{
				openErr, abortErr,
				b.Put(t.Context(), "x", strings.NewReader("x")),
				b.Put(t.Context(), "x", bytes.NewReader(make([]byte, 9<<20))),
				b.Delete(t.Context(), "x"), b.Delete(t.Context(), "x", "y"),
			}
			for _, err := range b.List(t.Context(), "x") {
				errs = append(errs, err)
			}
			for i, err := range errs {
				if err == nil {
					t.Errorf("operation %d: no error", i)
				}
				if errors.Is(err, store.ErrNotFound) {
					t.Errorf("operation %d: not found: %v", i, err)
				}
				text := fmt.Sprintf("%v %+v", err, err)
				if strings.Contains(text, "hidden") || strings.Contains(text, secret) || strings.Contains(text, "X-Amz-Signature=") {
					t.Errorf("operation %d shows a secret: %s", i, text)
				}
			}
		})
	}
}
