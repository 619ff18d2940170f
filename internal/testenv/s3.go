package testenv

import (
	"context"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/embedded"
)

// S3Server is a running S3 server on 127.0.0.1 with a bucket. It needs path style.
type S3Server struct {
	Endpoint, Region     string
	AccessKey, SecretKey string
	Bucket               string

	bucket *store.Bucket
}

// The server runs in the test's process, which can have only one.
func (r *registry) startS3() (*S3Server, error) {
	dir, err := r.tempDir("s3")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	bucket, err := store.New(ctx, store.Config{EmbeddedDir: dir}, store.Deps{Embedded: embedded.Serve})
	if err != nil {
		return nil, err
	}
	cfg := bucket.Config()
	return &S3Server{
		Endpoint: cfg.Endpoint, Region: cfg.Region, AccessKey: cfg.AccessKey, SecretKey: string(cfg.SecretKey),
		Bucket: cfg.Bucket, bucket: bucket,
	}, r.onClose(bucket.Close)
}

// S3 returns the server that the tests of this binary share.
func S3(tb testing.TB) *S3Server {
	tb.Helper()
	r := shared(tb)
	s3, err := r.s3.get(r.startS3)
	if err != nil {
		tb.Fatal("testenv: ", err)
	}
	return s3
}

// Store is the bucket, with the store's default settings. The test shares it:
// it is closed by Main.
func (s *S3Server) Store(tb testing.TB) *store.Bucket {
	tb.Helper()
	return s.bucket
}

// Config is a store configuration for the server with default settings, to be
// changed and opened by a test with NewStore.
func (s *S3Server) Config() store.Config {
	return store.Config{
		Endpoint: s.Endpoint, Region: s.Region, Bucket: s.Bucket, PathStyle: true,
		AccessKey: s.AccessKey, SecretKey: store.Secret(s.SecretKey),
	}
}

// URL is the --store of a proxy that uses the server. The credentials go into
// its environment: Env.
func (s *S3Server) URL(prefix string) string {
	return "s3://" + s.Bucket + "/" + prefix + "?endpoint=" + s.Endpoint + "&region=" + s.Region + "&path_style=true"
}

// Env are the environment variables of the AWS chain for the server.
func (s *S3Server) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey}
}

// Prefix is a key prefix that no other test has, ending with a slash.
func (s *S3Server) Prefix(tb testing.TB) string {
	tb.Helper()
	return unique("t") + "/"
}

// NewStore opens a store for one test, which closes it at its end.
func NewStore(tb testing.TB, cfg store.Config, deps store.Deps) *store.Bucket {
	tb.Helper()
	b, err := store.New(context.Background(), cfg, deps)
	if err != nil {
		tb.Fatal("testenv: ", err)
	}
	tb.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			tb.Error("testenv: ", err)
		}
	})
	return b
}
