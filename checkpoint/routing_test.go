package checkpoint_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// TestRoutingUnseen: a migration waits for the proxies that live and have not
// said that they know the table, and for no others.
func TestRoutingUnseen(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	long := strings.Repeat("x", 55)
	names := func() []string {
		n, err := f.ledger.RoutedNames(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := names(); len(n) != 0 {
		t.Errorf("routed tables: %v", n)
	}
	if _, err := f.admin.Exec(t.Context(), `CREATE TABLE relyt_sys."T_relyt_routing" (); CREATE TABLE relyt_sys.`+long+`_relyt_routing ()`); err != nil {
		t.Fatal(err)
	}
	seen := names()
	if !slices.Contains(seen, "T") || len(seen) != 2 {
		t.Errorf("routed tables: %v", seen)
	}
	unseen := func(table string, want ...string) { t.Helper(); f.unseen(t, table, want...) }
	for _, owner := range []string{"a", "b", "dead"} {
		if err := f.ledger.Register(t.Context(), checkpoint.Proxy{Owner: owner}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.ledger.Renew(t.Context(), "dead", -time.Second); err != nil {
		t.Fatal(err)
	}
	unseen("T", "a", "b")
	for _, known := range [][]string{nil, {"other"}} {
		if err := f.ledger.SawRouting(t.Context(), "a", known); err != nil {
			t.Fatal(err)
		}
		unseen("T", "a", "b")
	}
	if err := f.ledger.SawRouting(t.Context(), "b", seen); err != nil {
		t.Fatal(err)
	}
	unseen("T", "a")
	unseen(long, "a")
	if err := f.ledger.SawRouting(t.Context(), "a", seen); err != nil {
		t.Fatal(err)
	}
	unseen("T")
	unseen(long)
	unseen("t", "a", "b")
	// A lease that is given anew has forgotten it.
	if err := f.ledger.Release(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := f.ledger.Register(t.Context(), checkpoint.Proxy{Owner: "a"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	unseen("T", "a")
}

// unseen demands who is waited for.
func (f *fixture) unseen(t testing.TB, table string, want ...string) {
	t.Helper()
	proxies, err := checkpoint.RoutingUnseen(t.Context(), f.admin, table)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range proxies {
		got = append(got, p.Owner)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s is waited for by %v, not %v", table, got, want)
	}
}

// TestSawRoutingOlder: an installation without the column is no error, and gets
// it from the next one.
func TestSawRoutingOlder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.ledger.Register(t.Context(), checkpoint.Proxy{Owner: "a"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := f.admin.Exec(t.Context(), "ALTER TABLE pgbulk.proxy DROP COLUMN routing_seen"); err != nil {
		t.Fatal(err)
	}
	if err := f.ledger.SawRouting(t.Context(), "a", []string{"t"}); err != nil {
		t.Fatal(err)
	}
	mustExec(t, f.pg.Connect(t, f.db, "postgres"), "BEGIN; "+checkpoint.InstallSQL(f.service)+"COMMIT")
	if p, err := checkpoint.RoutingUnseen(t.Context(), f.admin, "t"); err != nil || len(p) != 1 {
		t.Fatalf("unseen: %v, %v", p, err)
	}
	if err := f.ledger.SawRouting(t.Context(), "a", []string{"t"}); err != nil {
		t.Fatal(err)
	}
	if p, err := checkpoint.RoutingUnseen(t.Context(), f.admin, "t"); err != nil || len(p) != 0 {
		t.Fatalf("unseen: %v, %v", p, err)
	}
}
