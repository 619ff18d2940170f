package rewrite

import (
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
