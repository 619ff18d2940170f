package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	memory := storetest.NewMemory(t)
	b := testenv.NewStore(t, store.Config{Bucket: "b", Region: "r", AccessKey: "a", SecretKey: "s"}, store.Deps{
		Registerer: registry, Wrap: func(store.Full) store.Full { return memory },
	})
	ctx := t.Context()
	put := func(key string) error { return b.Put(ctx, key, strings.NewReader("x")) }
	if err := put("a"); err != nil {
		t.Fatal(err)
	}
	if err := put("b"); err != nil {
		t.Fatal(err)
	}
	if r, err := b.Open(ctx, "a"); err != nil {
		t.Error(err)
	} else {
		r.Close()
	}
	if _, err := b.Open(ctx, "none"); err == nil {
		t.Error("an absent object was opened")
	}
	if _, err := b.PresignGet(ctx, "a", 0); err == nil {
		t.Error("a URL without a life was signed")
	}
	for range b.List(ctx, "") {
		break
	}
	if _, err := b.AbortUploads(ctx, "", time.Now()); err != nil {
		t.Error(err)
	}
	if err := b.Delete(ctx, "a", "b"); err != nil {
		t.Error(err)
	}
	want := `
# HELP pgbulk_store_requests_total Operations on the object store by kind and result: ok, not_found, canceled or error.
# TYPE pgbulk_store_requests_total counter
pgbulk_store_requests_total{op="abort_uploads",result="ok"} 1
pgbulk_store_requests_total{op="delete",result="ok"} 1
pgbulk_store_requests_total{op="list",result="ok"} 1
pgbulk_store_requests_total{op="open",result="not_found"} 1
pgbulk_store_requests_total{op="open",result="ok"} 1
pgbulk_store_requests_total{op="put",result="ok"} 2
pgbulk_store_requests_total{op="sign",result="error"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "pgbulk_store_requests_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(registry, "pgbulk_store_seconds"); n != 6 {
		t.Errorf("%d histograms", n)
	}
	if _, err := store.New(ctx, store.Config{Bucket: "b", Region: "r"}, store.Deps{Registerer: registry}); err == nil {
		t.Error("the metrics were registered twice")
	}
}
