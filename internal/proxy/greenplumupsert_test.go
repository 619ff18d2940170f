package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// upsertTwin is a COPY with extensions that does the same on Greenplum as on
// PostgreSQL, where it is done by ON CONFLICT.
type upsertTwin struct {
	name, set, sql, data string
	// status is what the client gets to see: the tag, or the SQLSTATE.
	status string
}

const twinRows = "INSERT INTO t SELECT i, 'old ' || i, i FROM generate_series(1, 10) i"

// upsertTwins are for a table t (id int, note text, n int DEFAULT 7) with key id and
// the rows of twinRows.
func upsertTwins() []upsertTwin {
	many := string(generate(4000, func(i int) string {
		return fmt.Sprintf("%d\tnote %d, long enough to fill some files of a load\n", i+1, i+1)
	}))
	again := many + "3999\tonce more\n3\tonce more\n"
	return []upsertTwin{
		{name: "update", sql: "COPY t (id, note) FROM STDIN (ON_CONFLICT update)", data: many, status: "COPY 4000"},
		{name: "nothing", sql: "COPY t (id, note) FROM STDIN (ON_CONFLICT nothing)", data: many, status: "COPY 3990"},
		{name: "by setting", set: "SET pgbulk.on_conflict = 'update'", sql: "COPY t (id, note) FROM STDIN", data: many, status: "COPY 4000"},
		{name: "no rows", sql: "COPY t FROM STDIN (MODE upsert)", status: "COPY 0"},
		{name: "twice", sql: "COPY t (id, note) FROM STDIN (MODE upsert)", data: again, status: "21000"},
		{name: "twice, both new", sql: "COPY t (note, id) FROM STDIN (MODE upsert)", data: "a\t50\nb\t50\n", status: "21000"},
		{name: "twice, nothing", sql: "COPY t (id, note) FROM STDIN (ON_CONFLICT nothing)", data: again + "9999\ta\n9999\tb\n", status: "COPY 3991"},
		{name: "last wins", sql: "COPY t (id, note) FROM STDIN (MODE upsert, LAST_WINS)", data: again, status: "COPY 4000"},
		{name: "last of nothing", sql: "COPY t (id, note) FROM STDIN (ON_CONFLICT nothing, LAST_WINS)", data: again, status: "COPY 3990"},
		{name: "compat", sql: "COPY t (id, note) FROM STDIN (COMPAT relyt)", data: again + "\\N\tx\n", status: "COPY 4000"},
		{name: "nulls", sql: "COPY t FROM STDIN (FORMAT csv, MODE upsert)", data: "1,,\n2,\"\",5\n11,null,\n", status: "COPY 3"},
		{name: "bad value", sql: "COPY t FROM STDIN (MODE upsert)", data: "1\ta\t2\nx\tb\t2\n", status: "22P02"},
		{name: "no such key", sql: "COPY t FROM STDIN (MODE upsert, CONFLICT_TARGET (n))", data: "1\ta\t2\n", status: "42P10"},
		{name: "named key", sql: "COPY t FROM STDIN (MODE upsert, CONFLICT_TARGET id)", data: "1\ta\t2\n", status: "COPY 1"},
		{name: "overwrite", sql: "COPY t FROM STDIN (MODE overwrite)", data: "1\ta\t2\n", status: "COPY 1"},
		{name: "overwrite with nothing", sql: "COPY t FROM STDIN (MODE overwrite, ON_CONFLICT nothing)", data: "1\ta\t2\n1\tb\t3\n", status: "COPY 1"},
		{name: "merge", sql: "COPY t (id, op, note) FROM STDIN (MODE merge, OPERATION_COLUMN op)",
			data: "1\tu\tONE\n2\tDelete\t\\N\n20\tI\tnew\n21\tI\tx\n21\tD\t\\N\n3\td\ty\n3\tU\tTHREE\n99\tD\t\\N\n", status: "COPY 4"},
		{name: "merge without an operation", sql: "COPY t (id, op, note) FROM STDIN (MODE merge, OPERATION_COLUMN op)", data: "1\tq\tONE\n", status: "22023"},
	}
}

// heapTwins are those that need a key which the server keeps.
func heapTwins() []upsertTwin {
	return []upsertTwin{
		{name: "null key", sql: "COPY t FROM STDIN (MODE upsert)", data: "1\ta\t2\n\\N\tb\t2\n", status: "23502"},
		{name: "check", sql: "COPY t FROM STDIN (MODE upsert)", data: "1\tforbidden\t2\n", status: "23514"},
		{name: "check of a new one", sql: "COPY t FROM STDIN (ON_CONFLICT nothing)", data: "50\tforbidden\t2\n", status: "23514"},
	}
}

// TestUpsertGreenplum: rows, counts and errors of upserts on Greenplum, which has no
// ON CONFLICT, are those of PostgreSQL, for tables of all kinds.
func TestUpsertGreenplum(t *testing.T) {
	t.Parallel()
	gp := greenplumBed(t)
	pg := newBed(t, Options{}, func(c *config.Config) { c.Engine = "plain" })
	onGP, onPG := gp.direct(), pg.direct()
	const key, columns = "id int PRIMARY KEY", ", note text CHECK (note <> 'forbidden'), n int DEFAULT 7"
	for i, kind := range []struct{ key, kind string }{
		{key, "DISTRIBUTED BY (id)"},
		{key, "DISTRIBUTED REPLICATED"},
		{key, "DISTRIBUTED BY (id) PARTITION BY RANGE (id) (START (0) END (3000) EVERY (1000), DEFAULT PARTITION rest)"},
		{"id int", "WITH (appendonly=true) DISTRIBUTED BY (id)"},
		{"id int", "WITH (appendonly=true, orientation=column) DISTRIBUTED BY (note)"},
	} {
		cases := upsertTwins()
		if kind.key == key {
			cases = append(cases, heapTwins()...)
		}
		for j, c := range cases {
			if kind.key != key {
				if c.name == "no such key" || c.set != "" {
					continue
				}
				c = c.promised()
			}
			block := []string{"", "BEGIN"}[(i+j)%2]
			must(t, onPG, "DROP TABLE IF EXISTS t; CREATE TABLE t ("+key+columns+"); "+twinRows)
			must(t, onGP, "SET client_min_messages = error; DROP TABLE IF EXISTS t; CREATE TABLE t ("+kind.key+columns+") "+kind.kind+"; "+twinRows)
			want, got := c.run(t, pg, block), c.run(t, gp, block)
			name := fmt.Sprintf("%s, %s, %q", kind.kind, c.name, block)
			if got.seen() != want.seen() || got.seen() != c.status {
				t.Errorf("%s: got %s, want %s, %s", name, got, want, c.status)
			}
			if got.err != nil && got.err.Code == "21000" && (got.err.Message != want.err.Message || got.err.Hint != want.err.Hint) {
				t.Errorf("%s: got %s: %s, want %s: %s", name, got.err.Message, got.err.Hint, want.err.Message, want.err.Hint)
			}
			if got, want := must(t, onGP, fingerprint), must(t, onPG, fingerprint); got != want {
				t.Errorf("%s: table has %s, want %s", name, got, want)
			}
		}
	}
	if left := must(t, onGP, "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgbulkproxy%'"); left != "0" {
		t.Errorf("%s relations left behind", left)
	}
}

// promised names the key in the statement: no index of the table does.
func (c upsertTwin) promised() upsertTwin {
	asks := []string{"MODE upsert", "MODE merge", "ON_CONFLICT", "COMPAT"}
	if slices.ContainsFunc(asks, func(a string) bool { return strings.Contains(c.sql, a) }) && !strings.Contains(c.sql, "CONFLICT_TARGET") {
		c.sql = strings.TrimSuffix(c.sql, ")") + ", CONFLICT_TARGET (id))"
	}
	return c
}

func (c upsertTwin) run(t *testing.T, b *bed, block string) outcome {
	t.Helper()
	conn := b.proxied()
	defer hangUp(conn)
	must(t, conn, c.set+";"+block)
	o := copyIn(conn, c.sql, strings.NewReader(c.data))
	want := byte('I')
	if block != "" {
		want = 'T'
		if o.err != nil {
			want = 'E'
		}
	}
	if conn.TxStatus() != want {
		t.Errorf("%s, %q: status %c, want %c", c.name, block, conn.TxStatus(), want)
	}
	must(t, conn, "COMMIT")
	return o
}

// seen is the tag, or the SQLSTATE.
func (o outcome) seen() string {
	if o.err != nil {
		return o.err.Code
	}
	return o.String()
}

// TestUpsertsSideBySideGreenplum: upserts of the same keys wait for each other, none is a
// deadlock, none doubles a row; neither do INSERTs of others beside them.
func TestUpsertsSideBySideGreenplum(t *testing.T) {
	t.Parallel()
	b := greenplumBed(t)
	must(t, b.direct(), "CREATE TABLE t (id int, note text) WITH (appendonly=true) DISTRIBUTED BY (id)")
	data := string(generate(2000, func(i int) string { return fmt.Sprintf("%d\tx\n", i) }))
	const sessions = 8
	done := make(chan outcome)
	var conns []*pgconn.PgConn
	for i := range sessions {
		c := b.proxied()
		conns = append(conns, c)
		sql := "COPY t FROM STDIN (MODE upsert, CONFLICT_TARGET id)"
		if i%2 == 1 {
			must(t, c, "SET pgbulk.on_conflict = 'nothing'")
			sql = "COPY t FROM STDIN (CONFLICT_TARGET id)"
		}
		go func() { done <- copyIn(c, sql, strings.NewReader(data)) }()
	}
	for range sessions {
		if o := <-done; o.err != nil || o.lost != nil {
			t.Error(o)
		}
	}
	for _, c := range conns {
		hangUp(c)
	}
	if got := must(t, b.direct(), "SELECT concat(count(*), ' ', count(DISTINCT id)) FROM t"); got != "2000 2000" {
		t.Errorf("rows and keys: %s", got)
	}
}
