package proxy

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// TestRoutedBindRefusals: INSERTs by the extended protocol that can't go through a
// temporary table exactly are refused, and put no row anywhere; so is a second
// Execute of one that went.
func TestRoutedBindRefusals(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	must(t, b.direct(), `CREATE TABLE t (id int, group_id text); CREATE TABLE i (group_id int)`)
	if err := makeGroupPairs(t.Context(), b.pg.Connect(t, b.db, "postgres")); err != nil {
		t.Fatal(err)
	}
	r := raw(t, b.proxied())
	for _, test := range []struct {
		sql, code string
		limit     uint32
		executes  int
	}{
		{"INSERT INTO t SELECT $2::int, lower($1) RETURNING id + $2::int", "0A000", 0, 1},
		{"WITH x AS (SELECT $1 || '' AS g, $2::int AS n) INSERT INTO t SELECT n, g FROM x RETURNING (SELECT n FROM x)", "0A000", 0, 1},
		{"WITH x AS (INSERT INTO t VALUES (1, 'b') RETURNING *) INSERT INTO t SELECT $2::int, $1", "0A000", 0, 1},
		{"INSERT INTO t SELECT $2::int, lower($1) FROM generate_series(1, 2) RETURNING id", "0A000", 1, 1},
		{"INSERT INTO t SELECT $2::int, lower($1)", "0A000", 0, 0},
		{"INSERT INTO t SELECT $2::int, lower($1)", "34000", 0, 2},
		{"INSERT INTO t SELECT $2::int, lower($1)", "", 1, 1},
	} {
		r.fe.Send(&pgproto3.Parse{Query: test.sql})
		r.fe.Send(&pgproto3.Bind{DestinationPortal: "p", Parameters: [][]byte{[]byte("B"), []byte("5")}})
		for range test.executes {
			r.fe.Send(&pgproto3.Execute{Portal: "p", MaxRows: test.limit})
		}
		r.fe.Send(&pgproto3.Sync{})
		if err := r.fe.Flush(); err != nil {
			t.Fatal(err)
		}
		_, e, err := r.until(isReady)
		if err != nil {
			t.Fatal(err)
		}
		code := ""
		if e != nil {
			code = e.Code
		}
		if code != test.code {
			t.Errorf("%s: %v, want %s", test.sql, e, test.code)
		}
	}
	if got, err := rowsOf(b.direct(), "SELECT tableoid::regclass, * FROM t UNION ALL SELECT tableoid::regclass, * FROM t_relyt_massive_group"); err != nil || got != "t_relyt_massive_group 5 b" {
		t.Errorf("rows %s, %v", got, err)
	}
}
