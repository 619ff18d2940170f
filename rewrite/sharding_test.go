package rewrite

import (
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// shardedInspection is what ClassifyInsert needs of a table t (a int4, b text).
func shardedInspection(sharding string) *Inspection {
	in := &Inspection{
		Found: true, OID: 20000, Schema: "public", Table: "t", Kind: "r", Persistence: "p", Columns: []string{"a", "b"},
		InsertPrivilege: true, ColumnPrivilege: true,
		Types: []values.Column{{Base: 23, Typmod: -1, Category: "N", Name: "integer", Visible: true, Delimiter: ","}, {Base: 25, Typmod: -1, Category: "S", Name: "text", Visible: true, Delimiter: ","}},
		Session: Session{Version: 150000, ClientEncoding: "UTF8", ServerEncoding: "UTF8", StandardStrings: true,
			ArrayNulls: true, Isolation: "read committed", Role: "r", SessionUser: "r", Database: "d"},
	}
	if err := in.AddSharding(sharding); err != nil {
		panic(err)
	}
	return in
}

func TestClassifySharded(t *testing.T) {
	t.Parallel()
	const hash = `{"method":"h","mode":"parallel","exact":true}`
	for _, c := range []struct {
		sharding, tail string
		way            Way
		reason         Reason
	}{
		{"", "", Stream, ReasonRows},
		{"", " ON CONFLICT DO NOTHING", Stream, ReasonArrays},
		{hash, "", Stream, ReasonRows},
		{hash, " ON CONFLICT DO NOTHING", Pass, ReasonShardedClause},
		{hash, " RETURNING a", Pass, ReasonShardedClause},
		{`{"method":"n","mode":"parallel","exact":true}`, "", Stream, ReasonRows},
		{`{"method":"a","mode":"parallel","exact":true}`, "", Pass, ReasonShardedMethod},
		{`{"method":"h","mode":"parallel","exact":false}`, "", Pass, ReasonShardedText},
	} {
		sql := "INSERT INTO t VALUES (1, 'a'), (2, 'b')" + c.tail
		s, reason := ParseInsert([]byte(sql), InsertOptions{MaxBytes: 1 << 20, Values: values.Options{StandardStrings: true, UTF8: true}})
		if reason != ReasonNone {
			t.Fatal(reason)
		}
		if d := ClassifyInsert(s, shardedInspection(c.sharding), Caps{}); d.Way != c.way || d.Reason != c.reason {
			t.Errorf("%s %s: %s, %s", c.sharding, sql, d.Way, d.Reason)
		}
	}
	if err := new(Inspection).AddSharding("{"); err == nil {
		t.Error("an unreadable row is taken")
	}
}

// TestShardedCopy: the COPY that stands for an INSERT is sequential only where it
// would be parallel, and leaves the mode as it was.
func TestShardedCopy(t *testing.T) {
	t.Parallel()
	s, _ := ParseInsert([]byte("INSERT INTO t VALUES (1, 'a')"), InsertOptions{MaxBytes: 1 << 20, Values: values.Options{StandardStrings: true, UTF8: true}})
	const copied = `COPY "public"."t" ("a", "b") FROM STDIN`
	const set = "SET LOCAL citus.multi_shard_modify_mode TO "
	for sharding, want := range map[string]string{
		"": copied,
		`{"method":"h","mode":"parallel","exact":true}`:   set + "'sequential'; " + copied + "; " + set + "'parallel'",
		`{"method":"h","mode":"sequential","exact":true}`: copied,
		`{"method":"n","mode":"parallel","exact":true}`:   copied,
	} {
		in := shardedInspection(sharding)
		if got := s.RowsSQL(in); got != want {
			t.Errorf("%s: %s", sharding, got)
		}
		if got, want := s.BinarySQL(in), strings.Replace(want, "STDIN", "STDIN (FORMAT binary)", 1); got != want {
			t.Errorf("%s: %s", sharding, got)
		}
		if got := s.Copy(in).SQL; got != copied {
			t.Errorf("%s: %s", sharding, got)
		}
	}
}

// TestShardedTransfer: what ON CONFLICT DO NOTHING has inserted is counted.
func TestShardedTransfer(t *testing.T) {
	t.Parallel()
	in := shardedInspection(`{"method":"h","mode":"parallel","exact":true}`)
	in.Definitions = []string{"int4", "text"}
	c := &CopyStatement{SQL: "COPY t FROM STDIN", Table: "t", Format: FormatText, Delimiter: '\t', Null: `\N`}
	for conflict, counts := range map[Conflict]bool{ConflictNothing: true, ConflictUpdate: false} {
		x := &Extensions{OnConflict: conflict, ConflictTarget: []string{"a"}}
		got := c.Transfer(in, x, "tmp")
		if wrapped := strings.HasPrefix(got.Inserts[0], "WITH pgbulkproxy_done AS (INSERT INTO ") &&
			strings.HasSuffix(got.Inserts[0], ` DO NOTHING RETURNING 1) SELECT pg_catalog.count(*) FROM pgbulkproxy_done`); got.Counts != counts || wrapped != counts {
			t.Errorf("%s: %v, %s", conflict, got.Counts, got.Inserts[0])
		}
	}
}
