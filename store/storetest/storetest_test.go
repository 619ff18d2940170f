package storetest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, 1<<20, func(tb testing.TB) store.Full { return storetest.NewMemory(tb) })
}

func TestFaultsWithoutHooks(t *testing.T) {
	t.Parallel()
	storetest.Run(t, 1<<20, func(tb testing.TB) store.Full { return &storetest.Faults{Full: storetest.NewMemory(tb)} })
}

func TestFaults(t *testing.T) {
	t.Parallel()
	before, after := errors.New("before"), errors.New("after")
	memory := storetest.NewMemory(t)
	f := &storetest.Faults{
		Full: memory,
		Before: func(_ context.Context, op, key string) error {
			if key == "before" {
				return before
			}
			return nil
		},
		After: func(_ context.Context, op, key string) error {
			if key == "after" {
				return after
			}
			return nil
		},
	}
	put := func(key string) error { return f.Put(t.Context(), key, strings.NewReader("x")) }
	if err := put("before"); !errors.Is(err, before) {
		t.Error(err)
	}
	if err := put("after"); !errors.Is(err, after) {
		t.Error(err)
	}
	if err := put("x"); err != nil {
		t.Error(err)
	}
	if keys := memory.Keys(); strings.Join(keys, " ") != "after x" {
		t.Errorf("keys %q", keys)
	}
	if _, err := f.Open(t.Context(), "after"); !errors.Is(err, after) {
		t.Error(err)
	}
	if err := f.Delete(t.Context(), "before", "x"); !errors.Is(err, before) {
		t.Error(err)
	}
	var listed error
	for _, err := range f.List(t.Context(), "after") {
		listed = err
	}
	if !errors.Is(listed, after) {
		t.Error(listed)
	}
}
