package rewrite

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func knownOf(names ...string) *Known {
	k := &Known{}
	k.Publish(names)
	k.Believe(time.Now().Add(time.Hour))
	return k
}

func TestKnownInsert(t *testing.T) {
	t.Parallel()
	set := knownOf("t", "Mixed", `qu"oted`, "with space").Set()
	for sql, want := range map[string]bool{
		"insert into t values (1)":                       true,
		"INSERT INTO T(a) VALUES (1)":                    true,
		"/* x */ insert -- y\n into public . t values":   true,
		`insert into "s"."t" values`:                     true,
		`insert into db.s.t values`:                      true,
		`insert into "T" values (1)`:                     false,
		`insert into Mixed values (1)`:                   false,
		`insert into "Mixed" values (1)`:                 true,
		`insert into "qu""oted" values (1)`:              true,
		`insert into "with space"(a) values (1)`:         true,
		"insert into u values ('insert into t')":         false,
		"insert into t.u values (1)":                     false,
		"insert into tt values (1)":                      false,
		`insert into U&"\0074" values (1)`:               true,
		"insert into tä values (1)":                      true,
		"insert into " + strings.Repeat("x", 50) + " v":  true,
		"insert into " + strings.Repeat("x", 49) + " v":  false,
		"insert into t":                                  true,
		"insert into tes":                                true, // more may come
		"insert":                                         true,
		"insert into u values (1); insert into t values": true, // more may come
		"insert into u values (1);insert into T select":  true,
		"insert into u values (';'); insert into tt ...": false,
		"insert into u values ('; insert into t')":       false,
		"with x as (select 1) select * from x":           false,
		"with x as (insert into u select 1) select 1":    true, // its names hold a t
		"with x as (select 1) insert into \"Mixed\" ...": true,
	} {
		if got := set.Insert([]byte(sql)); got != want {
			t.Errorf("%s: %t", sql, got)
		}
	}
	other := knownOf("orders").Set()
	for sql, want := range map[string]bool{
		"with x as (insert into u select 1) select 1":                    false,
		"with x as (INSERT INTO Orders select 1) select 1":               true,
		"with x as (select 1) insert into u&\"ord!0065rs\" uescape '!' ": true,
		"with x as (select 1 from orders) select 1":                      false,
	} {
		if got := other.Insert([]byte(sql)); got != want {
			t.Errorf("%s: %t", sql, got)
		}
	}
}

func TestKnownReads(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", maxRoutedName-1)
	set := knownOf("t", "Mixed", "with space", "_1$", long).Set()
	for sql, want := range map[string]bool{
		"select * from t": true, "SELECT * FROM T;": true, "select*from\"t\"": true, "select * from public.t": true, `select 1 from"public"."t"`: true,
		"select * from a,t": true, "select (select 1 from(t))": true, "update only/**/t set a = 1": true, "delete from -- u\nt": true, "table\tt": true,
		"select 't'": true, "with t as (select 1) select 1": true, "select t.a from u t": true, // more than need be
		`select * from "Mixed"`: true, "select * from mixed": true, `select * from "with space"`: true, `select * from "WITH SPACE"`: true, "select * from _1$": true,
		"select * from " + long: true, "select * from " + long + "n": false, "select * from " + strings.Repeat("x", 100) + " t": true,
		"select * from tt, t1, _t, t_, $t": false, "select * from tä, ät": false, "select * from with, space": false, "": false,
		`select * from U&"\0074"`: true, `select * from U&"!0074" UESCAPE'!'`: true, "select uescapes": false,
	} {
		if got := set.Reads([]byte(sql)); got != want {
			t.Errorf("%s: %t", sql, got)
		}
	}
	if !knownOf(`a"b`).Set().Reads([]byte("select 1")) || knownOf().Set().Reads([]byte("select * from t")) {
		t.Error("names with quotes, or none")
	}
	copies := knownOf("t", `qu"oted`, "with space").Set()
	for sql, want := range map[string]bool{
		"copy t from stdin": true, `copy "qu""oted" from stdin`: true, `copy "with space" from stdin`: true, "copy tt from stdin": false, `copy U&"x" uescape '!' from stdin`: false,
	} {
		if got := copies.Copies([]byte(sql)); got != want {
			t.Errorf("%s: %t", sql, got)
		}
	}
}

func TestKnownAge(t *testing.T) {
	t.Parallel()
	k := &Known{}
	if !k.Set().Insert([]byte("insert into u values (1)")) || k.Set().Version() != 0 {
		t.Error("what was never read is believed")
	}
	k.Believe(time.Now().Add(time.Hour)) // nothing to believe
	k.Publish(nil)
	if !k.Set().Insert([]byte("insert into u values (1)")) {
		t.Error("what was published is believed before the lease says so")
	}
	k.Believe(time.Now().Add(time.Hour))
	if k.Set().Insert([]byte("insert into t values (1)")) || k.Set().Mentions([]byte("; insert into t")) {
		t.Error("with no routed table an INSERT is looked at")
	}
	first := k.Set().Version()
	k.Publish(nil)
	if k.Set().Version() != first {
		t.Error("the same names are another version")
	}
	k.Publish([]string{"t"})
	if k.Set().Version() == first || !k.Set().Insert([]byte("insert into t values (1)")) || k.Set().Insert([]byte("insert into u values (1)")) {
		t.Error("new names are not taken up")
	}
	k.Believe(time.Now().Add(-time.Millisecond))
	if k.Set() != nil || !k.Set().Insert([]byte("insert into u values (1)")) {
		t.Error("old names are believed")
	}
}

func TestHasLaterInsert(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]bool{
		"begin; insert into t values (1); commit":                                              true,
		"select 1; with x as (insert into t values (1)) select 1":                              true,
		"set a = 1; insert into t select 1;":                                                   true,
		"insert into t values (1)":                                                             false,
		"select 'insert into t'; select 1":                                                     false,
		"create function f() returns int language sql as 'insert into t values (1); select 1'": false,
		"do $$ begin insert into t values (1); end $$; select 1":                               false,
		"begin; insert into t":                                                                 false, // no statement
		"select 1; select " + strings.Repeat("(", 300_000):                                     true,  // too deep for the parser
	} {
		if got := HasLaterInsert(sql); got != want {
			t.Errorf("%s: %t", sql, got)
		}
	}
}

// BenchmarkKnown is what an INSERT costs on the relay path where no table is
// routed, and where one is.
func BenchmarkKnown(b *testing.B) {
	sql := []byte("INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, 3, 4, CURRENT_TIMESTAMP)")
	for name, k := range map[string]*Known{"none": knownOf(), "others": knownOf("orders", "items")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if k.Set().Insert(sql) {
					b.Fatal("it is not routed")
				}
			}
		})
	}
}

// BenchmarkKnownReads is what a statement costs that names no routed table.
func BenchmarkKnownReads(b *testing.B) {
	sql := []byte("SELECT h.tid, h.bid, a.abalance, h.delta FROM pgbench_history h JOIN pgbench_accounts a USING (aid) WHERE h.mtime > now() - interval '1 day' AND a.bid = 7 ORDER BY h.mtime DESC LIMIT 10")
	for _, n := range []int{1, 10, 1000} {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("orders_%d", i))
		}
		set := knownOf(names...).Set()
		b.Run(fmt.Sprintf("names=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if set.Reads(sql) {
					b.Fatal("it names none")
				}
			}
		})
	}
}
