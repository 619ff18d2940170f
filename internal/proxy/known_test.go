package proxy

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

const knownTable = `CREATE TABLE t (id int, group_id text)`

// knownPair is what a running table becomes routed by.
const knownPair = `CREATE SCHEMA IF NOT EXISTS relyt_sys; CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
	CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL); INSERT INTO relyt_sys.t_relyt_routing VALUES ('b', 't_relyt_massive_group')`

// knownBed is a proxy with sessions that have inserted before the table is routed.
func knownBed(t *testing.T, lease time.Duration, change func(*config.Config)) *bed {
	t.Helper()
	b := newBed(t, Options{}, func(c *config.Config) {
		c.Lease.Timeout = lease
		c.Insert.MinRows, c.Insert.MinRowsAlone, c.Insert.MinRowsBind, c.Insert.MinRowsBatch = 50, 60, 50, 100
		if change != nil {
			change(c)
		}
	})
	must(t, b.direct(), knownTable)
	return b
}

// TestRoutedWhileSessionsRun: whoever waits for the proxies, as a migration does,
// finds every row that comes later where its group is, also from statements that
// were prepared before, and waits for one that is still under way.
func TestRoutedWhileSessionsRun(t *testing.T) {
	t.Parallel()
	b := knownBed(t, time.Second, nil)
	admin, text, prepared, busy := b.pg.Connect(t, b.db, "postgres"), b.proxied(), b.proxied(), b.proxied()
	if _, err := prepared.Prepare(t.Context(), "s", "INSERT INTO t VALUES ($1, $2)", nil); err != nil {
		t.Fatal(err)
	}
	insert := func(id int) {
		t.Helper()
		must(t, text, fmt.Sprintf("INSERT INTO t VALUES (%d, 'b')", id))
		if _, err := prepared.ExecPrepared(t.Context(), "s", [][]byte{[]byte("1"), []byte("b")}, nil, nil).Close(); err != nil {
			t.Fatal(err)
		}
	}
	for must(t, admin.PgConn(), "SELECT count(*) FROM pgbulk.proxy WHERE routing_seen IS NOT NULL") != "1" {
	}
	if err := awaitSeenFor(t.Context(), b.pg.Connect(t, b.db, "postgres"), "nix", time.Second); err == nil {
		t.Fatal("a proxy claims to know a table that is not there")
	}
	insert(1)
	must(t, admin.PgConn(), "BEGIN; LOCK TABLE t")
	done := make(chan error, 1)
	go func() { _, err := busy.Exec(t.Context(), "INSERT INTO t VALUES (2, 'b')").ReadAll(); done <- err }()
	waiting := b.direct()
	for must(t, waiting, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass") != "1" {
	}
	must(t, waiting, "CREATE SCHEMA IF NOT EXISTS relyt_sys; CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL)")
	if err := awaitSeenFor(t.Context(), b.pg.Connect(t, b.db, "postgres"), "t", 2*time.Second); err == nil {
		t.Error("the proxy says to know the table while an INSERT that it judged before is under way")
	}
	must(t, admin.PgConn(), "COMMIT")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	must(t, waiting, "CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL); INSERT INTO relyt_sys.t_relyt_routing VALUES ('b', 't_relyt_massive_group')")
	if err := awaitSeen(t.Context(), b.pg.Connect(t, b.db, "postgres"), "t"); err != nil {
		t.Fatal(err)
	}
	before := must(t, waiting, "SELECT count(*) FROM t")
	insert(3)
	if got := must(t, waiting, "SELECT count(*) FROM t") + " " + must(t, waiting, "SELECT count(*) FROM t_relyt_massive_group"); got != before+" 2" {
		t.Errorf("rows in main and auxiliary table: %s, main had %s", got, before)
	}
}

// TestRoutedNamesTooOld: a proxy that cannot read the names inspects every INSERT,
// into other tables too, which look as they did.
func TestRoutedNamesTooOld(t *testing.T) {
	t.Parallel()
	b := knownBed(t, time.Second, func(c *config.Config) { c.ServiceDSN = "host=127.0.0.1 port=1 user=nobody" })
	must(t, b.direct(), knownPair+"; CREATE TABLE u (id int)")
	c := b.proxied()
	must(t, c, "INSERT INTO t VALUES (1, 'b')")
	must(t, c, "INSERT INTO u VALUES (1)")
	must(t, c, "BEGIN; INSERT INTO u VALUES (2); COMMIT")
	for _, sql := range []string{"INSERT INTO t VALUES ($1, 'b')", "INSERT INTO u VALUES ($1)"} {
		if _, err := c.ExecParams(t.Context(), sql, [][]byte{[]byte("3")}, nil, nil, nil).Close(); err != nil {
			t.Error(err)
		}
	}
	const where = "SELECT concat_ws(' ', (SELECT count(*) FROM t), (SELECT count(*) FROM t_relyt_massive_group), (SELECT count(*) FROM u))"
	if got := must(t, b.direct(), where); got != "0 2 3" {
		t.Errorf("rows in main, auxiliary and other table: %s", got)
	}
}

// TestRoutedNamesTooOldPipeline: where nobody knows the names, an INSERT that is too
// long to be looked at and comes where nothing can be asked passes, as all do there.
func TestRoutedNamesTooOldPipeline(t *testing.T) {
	t.Parallel()
	b := knownBed(t, time.Second, func(c *config.Config) {
		c.ServiceDSN, c.Insert.MaxBytes = "host=127.0.0.1 port=1 user=nobody", 64<<10
	})
	must(t, b.direct(), "CREATE TABLE u (note text)")
	r := raw(t, b.proxied())
	out := frame.Append(nil, 'P', []byte("\x00SELECT 1\x00\x00\x00"))
	out = frame.Append(frame.Append(out, 'B', make([]byte, 8)), 'E', make([]byte, 5))
	r.send(frame.AppendString(out, 'Q', "INSERT INTO u VALUES ('"+strings.Repeat("x", 100<<10)+"')"))
	if _, e, err := r.until(isReady); e != nil || err != nil {
		t.Fatal(e, err)
	}
	if got := must(t, b.direct(), "SELECT count(*) FROM u"); got != "1" {
		t.Errorf("%s rows", got)
	}
}

// TestRoutedSmallOff: small INSERTs go to the table that they name.
func TestRoutedSmallOff(t *testing.T) {
	t.Parallel()
	b := knownBed(t, time.Second, func(c *config.Config) { c.Routing.Small = false })
	must(t, b.direct(), knownPair)
	c := b.proxied()
	must(t, c, "INSERT INTO t VALUES (1, 'b')")
	if _, err := c.ExecParams(t.Context(), "INSERT INTO t VALUES ($1, 'b')", [][]byte{[]byte("3")}, nil, nil, nil).Close(); err != nil {
		t.Error(err)
	}
	if got := must(t, b.direct(), "SELECT count(*) FROM t"); got != "2" {
		t.Errorf("%s rows in the main table", got)
	}
}

// BenchmarkRoutedInsert is one prepared INSERT of one row: into a table without
// routes beside a routed one, as a transaction of its own and inside of one.
func BenchmarkRoutedInsert(b *testing.B) {
	bed := newBed(b, Options{}, func(c *config.Config) {
		c.Insert.MinRows, c.Insert.MinRowsAlone, c.Insert.MinRowsBind, c.Insert.MinRowsBatch = 50, 60, 50, 100
		c.Lease.Timeout = time.Second
	})
	must(b, bed.direct(), knownTable+"; CREATE TABLE u (LIKE t)")
	must(b, bed.direct(), knownPair)
	c := bed.proxied()
	if err := awaitSeen(b.Context(), bed.pg.Connect(b, bed.db, "postgres"), "t"); err != nil {
		b.Fatal(err)
	}
	for _, table := range []string{"u", "t"} {
		if _, err := c.Prepare(b.Context(), table, "INSERT INTO "+table+" VALUES ($1, $2)", nil); err != nil {
			b.Fatal(err)
		}
		for _, group := range []string{"a", "b"} {
			for _, block := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/%s/block=%t", table, group, block), func(b *testing.B) {
					if block {
						must(b, c, "BEGIN")
						defer must(b, c, "COMMIT")
					}
					for b.Loop() {
						if _, err := c.ExecPrepared(b.Context(), table, [][]byte{[]byte("1"), []byte(group)}, nil, nil).Close(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// TestRoutedWithoutSessions: a migration does not wait for a proxy that keeps its
// lease for loads, and has no session in the database any more.
func TestRoutedWithoutSessions(t *testing.T) {
	t.Parallel()
	b := knownBed(t, time.Second, nil)
	direct, c := b.direct(), b.proxied()
	if _, err := c.CopyFrom(t.Context(), strings.NewReader("1\ta\n"), "COPY t FROM STDIN"); err != nil {
		t.Fatal(err)
	}
	hangUp(c)
	for must(t, direct, "SELECT count(*) FROM pgbulk.proxy WHERE routing_seen IS NOT NULL") != "1" {
	}
	for must(t, direct, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'") != "0" {
	}
	renewed := must(t, direct, "SELECT lease_until FROM pgbulk.proxy")
	for must(t, direct, "SELECT lease_until > '"+renewed+"'::timestamptz + interval '2 seconds' FROM pgbulk.proxy") != "t" {
	}
	must(t, direct, knownPair)
	if err := awaitSeenFor(t.Context(), b.pg.Connect(t, b.db, "postgres"), "t", patience); err != nil {
		t.Error(err)
	}
}

// TestRoutedBeforeSessions: nor does one wait for a proxy that keeps a lease in a
// database where no session has been yet.
func TestRoutedBeforeSessions(t *testing.T) {
	t.Parallel()
	pg := testenv.Postgres(t)
	db := pg.NewDatabase(t)
	install(t, pg, db)
	r := start(t, pg, Options{}, func(c *config.Config) { c.Lease.Timeout = time.Second })
	r.dbs.Lookup(t.Context(), db, true) // as lease.discover does
	conn := pg.Connect(t, db, "postgres")
	must(t, conn.PgConn(), "CREATE TABLE t (group_id text); "+knownPair)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for leased := false; !leased; {
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pgbulk.proxy)").Scan(&leased); err != nil {
			t.Fatal(err)
		}
	}
	if err := awaitSeenFor(t.Context(), conn, "t", patience); err != nil {
		t.Error(err)
	}
}
