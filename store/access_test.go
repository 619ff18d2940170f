package store_test

import (
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// TestAccessOfTheChain can't run beside others: it sets the environment.
func TestAccessOfTheChain(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
	t.Setenv("AWS_SESSION_TOKEN", "tok")
	for name, cfg := range map[string]store.Config{
		"chain": {Bucket: "b", Region: "eu-central-1"},
		"fixed": {Bucket: "b", Region: "eu-central-1", AccessKey: "id", SecretKey: "s3cr3t", SessionToken: "tok"},
	} {
		got, err := testenv.NewStore(t, cfg, store.Deps{}).Access(t.Context())
		if err != nil || got.AccessKey != "id" || string(got.SecretKey) != "s3cr3t" || string(got.SessionToken) != "tok" || got.Bucket != "b" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]store.Config{
		"s3.eu-central-1.amazonaws.com": {Region: "eu-central-1"},
		"h:9000":                        {Endpoint: "http://h:9000/"},
		"minio":                         {Endpoint: "https://minio"},
	} {
		if got := cfg.Host(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
