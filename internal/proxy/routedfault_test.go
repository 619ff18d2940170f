package proxy

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// faultWay is a load of rows (1, 'a', 'x') and (2, 'b', 'y') into a pair of tables, of
// which group b is the auxiliary table's; with %s for the main one.
type faultWay struct {
	name string
	sql  string
	send func(sql string) []byte
}

// faultBed is how a proxy is set up, and the ways that loads go there.
type faultBed struct {
	name   string
	change func(*config.Config)
	ways   []faultWay
}

func faultBeds() []faultBed {
	const (
		copied   = "COPY %s (id, group_id, note) FROM STDIN"
		inserted = "INSERT INTO %s VALUES (1, 'a', 'x'), (2, 'b', 'y')"
		selected = "INSERT INTO %s SELECT v.* FROM (VALUES (1, 'a', 'x'), (2, 'b', 'y')) v"
		bound    = "INSERT INTO %s VALUES ($1, 'a', 'x'), (2, $2, 'y')"
		single   = "INSERT INTO %s VALUES ($1, $2, 'x')"
	)
	simple := func(sql string) []byte { return frame.AppendString(nil, 'Q', sql) }
	copies := func(sql string) []byte {
		return frame.Append(append(simple(sql), copyData([]byte("1\ta\tx\n2\tb\ty\n"))...), 'c', nil)
	}
	binds := func(args ...[]string) func(sql string) []byte {
		return func(sql string) []byte {
			out := frame.Append(nil, 'P', []byte("\x00"+sql+"\x00\x00\x00"))
			for _, a := range args {
				body := binary.BigEndian.AppendUint16([]byte("\x00\x00\x00\x00"), uint16(len(a)))
				for _, v := range a {
					body = append(binary.BigEndian.AppendUint32(body, uint32(len(v))), v...)
				}
				out = frame.Append(frame.Append(out, 'B', append(body, 0, 0)), 'E', make([]byte, 5))
			}
			return frame.Append(out, 'S', nil)
		}
	}
	return []faultBed{
		{"staged", func(c *config.Config) { c.Insert.StageBytes = 0 }, []faultWay{
			{"copy", copied, copies}, {"insert", inserted, simple},
		}},
		{"held", func(c *config.Config) { c.Stage.MinBytes = 4 * mib }, []faultWay{
			{"copy", copied, copies}, {"rows", inserted, simple}, {"arrays", inserted + " RETURNING id", simple}, {"batch", single, binds([]string{"1", "a"}, []string{"2", "b"})},
		}},
		{"small", func(c *config.Config) {
			c.Insert.MinRows, c.Insert.MinRowsAlone, c.Insert.MinRowsBind, c.Insert.MinRowsBatch = 50, 50, 50, 50
		}, []faultWay{
			{"text", inserted, simple}, {"select", selected, simple}, {"several", "INSERT INTO %[1]s VALUES (1, 'a', 'x'); INSERT INTO %[1]s VALUES (2, 'b', 'y')", simple},
			{"bind", bound, binds([]string{"1", "b"})}, {"bound select", selected, binds(nil)}, {"binds", single, binds([]string{"1", "a"}, []string{"2", "b"})},
		}},
	}
}

// faultWaits are what another session holds, for which such a load waits.
var faultWaits = []struct{ name, sql string }{
	{"main table", "LOCK TABLE %[1]s IN SHARE MODE"},
	{"aux table", "LOCK TABLE %[1]s_relyt_massive_group IN SHARE MODE"},
	{"key", "INSERT INTO %[1]s_relyt_massive_group VALUES (2, 'b', 'held')"},
	{"group", "SELECT pg_catalog.pg_advisory_xact_lock(%[2]s)"},
}

// faultCase is a load that waits, and what comes between.
type faultCase struct {
	*bed
	t      *testing.T
	table  string
	way    faultWay
	block  bool
	holder *pgconn.PgConn
	r      *rawConn
}

// faults are what happens to it. Each demands what the client hears.
var faults = []struct {
	name, before string
	test         func(c *faultCase)
}{
	{"cancel", "SELECT", func(c *faultCase) {
		c.waits()
		cancelRaw(c.t, c.r)
		c.fails("57014", "canceling statement due to user request")
	}},
	{"statement timeout", "SET statement_timeout = '400ms'", func(c *faultCase) { c.fails("57014", "canceling statement due to statement timeout") }},
	{"lock timeout", "SET lock_timeout = '100ms'", func(c *faultCase) { c.fails("55P03", "canceling statement due to lock timeout") }},
	{"server lost", "SELECT", func(c *faultCase) {
		c.waits()
		must(c.t, c.holder, fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d)", c.r.pid))
		if _, e, err := c.r.until(isReady); err == nil || e == nil || e.Code != "57P01" || e.Severity != "FATAL" {
			c.t.Errorf("%+v, %v", e, err)
		}
		must(c.t, c.holder, "ROLLBACK")
		c.wantRows("0 0")
	}},
	{"client lost", "SELECT", func(c *faultCase) {
		c.waits()
		c.r.reset()
		must(c.t, c.holder, "ROLLBACK")
		eventually(c.t, patience, func() string {
			return must(c.t, c.holder, fmt.Sprintf("SELECT CASE WHEN count(*) = 0 THEN '' ELSE 'its session is still there' END FROM pg_catalog.pg_stat_activity WHERE pid = %d", c.r.pid))
		})
		// Outside a block it may be through with it, as natively; half of it is not.
		if got := c.rows(); got != "0 0" && (c.block || got != "1 1") {
			c.t.Errorf("rows %s", got)
		}
	}},
}

func (c *faultCase) waits() { c.t.Helper(); c.wantWaiting(c.r.pid) }

func (c *faultCase) rows() string {
	c.t.Helper()
	return must(c.t, c.holder, fmt.Sprintf("SELECT (SELECT count(*) FROM %[1]s) || ' ' || (SELECT count(*) FROM %[1]s_relyt_massive_group)", c.table))
}

func (c *faultCase) wantRows(want string) {
	c.t.Helper()
	eventually(c.t, patience, func() string {
		return must(c.t, c.holder, fmt.Sprintf(`SELECT coalesce(string_agg(format('%%s holds %%s', pid, mode), ', '), '') FROM pg_catalog.pg_locks
			WHERE pid <> pg_backend_pid() AND relation IN ('%[1]s'::regclass, '%[1]s_relyt_massive_group'::regclass)`, c.table))
	})
	if got := c.rows(); got != want {
		c.t.Errorf("rows %s, want %s", got, want)
	}
}

// fails demands an error of the load; then the same session does it again.
func (c *faultCase) fails(code, message string) {
	c.t.Helper()
	status, e := c.r.answers()
	want := byte('I')
	if c.block {
		want = 'E'
	}
	if e == nil || e.Code != code || e.Message != message || e.Severity != "ERROR" || status != want {
		c.t.Errorf("%+v, status %c", e, status)
	}
	must(c.t, c.holder, "ROLLBACK")
	undo := "RESET statement_timeout; RESET lock_timeout"
	if c.block {
		undo = "ROLLBACK TO s; " + undo
	}
	c.r.query(undo)
	c.answers(undo)
	const mine = `SELECT 1 / (count(*) = 0)::int FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()`
	c.r.query(mine)
	c.answers(mine)
	c.r.send(c.way.send(fmt.Sprintf(c.way.sql, c.table)))
	c.answers("again")
	if c.block {
		c.r.query("COMMIT")
		c.answers("COMMIT")
	}
	c.wantRows("1 1")
}

func (c *faultCase) answers(what string) {
	c.t.Helper()
	if _, e := c.r.answers(); e != nil {
		c.t.Errorf("%s: %+v", what, e)
	}
}

// run has the load wait for what another session holds.
func (c *faultCase) run(waits, fault int) {
	c.holder = c.direct()
	defer hangUp(c.holder)
	oid := must(c.t, c.holder, fmt.Sprintf("SELECT '%s'::regclass::oid::int8", c.table))
	var n uint32
	_, _ = fmt.Sscan(oid, &n)
	if faultWaits[waits].name == "group" {
		must(c.t, c.holder, "INSERT INTO pgbulk.routing_moving (main, group_id, to_aux) VALUES ("+oid+", 'b', true)")
	}
	conn := c.proxied()
	must(c.t, conn, faults[fault].before)
	if c.block {
		must(c.t, conn, "BEGIN; SAVEPOINT s")
	}
	must(c.t, c.holder, "BEGIN; "+fmt.Sprintf(faultWaits[waits].sql, c.table, rewrite.GroupLock(n, "'b'::text")))
	c.r = raw(c.t, conn)
	c.r.send(c.way.send(fmt.Sprintf(c.way.sql, c.table)))
	faults[fault].test(c)
	_ = c.r.Close()
}

// makeFaultPairs makes so many pairs in one transaction.
func (b *bed) makeFaultPairs(n int) {
	b.t.Helper()
	must(b.t, b.direct(), fmt.Sprintf(`DO $$ BEGIN FOR i IN 0 .. %d LOOP EXECUTE replace('
		CREATE TABLE t# (id int, group_id text, note text, PRIMARY KEY (group_id, id)); CREATE TABLE t#_relyt_massive_group (LIKE t# INCLUDING ALL);
		CREATE TABLE relyt_sys.t#_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
		INSERT INTO relyt_sys.t#_relyt_routing VALUES (''b'', ''t#_relyt_massive_group'')', '#', i::text); END LOOP; END $$`, n-1))
	if err := awaitSeen(b.t.Context(), b.pg.Connect(b.t, b.db, "postgres"), "t0"); err != nil {
		b.t.Fatal(err)
	}
}

// leftBehind names what no session that has ended may leave in the database.
const leftBehind = `SELECT concat_ws('; ',
	(SELECT string_agg('table ' || oid::regclass, ', ') FROM pg_catalog.pg_class WHERE relpersistence = 't'),
	(SELECT string_agg(format('%s holds %s %s', pid, locktype, mode), ', ') FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())),
	(SELECT string_agg(format('%s is %s', pid, state), ', ') FROM pg_catalog.pg_stat_activity WHERE datname = current_database() AND state ~ 'in transaction'),
	(SELECT string_agg('type ' || typname, ', ') FROM pg_catalog.pg_type WHERE typname ~ '^pgbulkproxy'))`

// wantNothingLeft demands that, and nothing in S3.
func (b *bed) wantNothingLeft() {
	b.t.Helper()
	c := b.direct()
	defer hangUp(c)
	eventually(b.t, patience, func() string { return must(b.t, c, leftBehind) })
	b.wantSwept()
	eventually(b.t, patience, func() string {
		if n := b.metric(b.t, "pgbulk_sessions"); n != 0 {
			return fmt.Sprint(n, " sessions")
		}
		return ""
	})
}

// TestRoutedFaults: a load of a pair that waits, for either table, a key or a group
// that is being moved, and is cancelled, times out or loses its client or server, is
// undone as that into one table, and leaves nothing behind; the session goes on.
func TestRoutedFaults(t *testing.T) {
	t.Parallel()
	for _, fb := range faultBeds() {
		t.Run(fb.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) { c.Lease.Timeout = time.Second; fb.change(c) })
			b.makeFaultPairs(len(fb.ways) * len(faultWaits) * len(faults))
			t.Run("load", func(t *testing.T) {
				for i := range len(fb.ways) * len(faultWaits) * len(faults) {
					way, waits, fault := i/len(faults)/len(faultWaits), i/len(faults)%len(faultWaits), i%len(faults)
					if (way+waits+fault)%2 == 1 {
						continue // each two of them meet
					}
					t.Run(strings.Join([]string{fb.ways[way].name, faultWaits[waits].name, faults[fault].name}, " "), func(t *testing.T) {
						t.Parallel()
						own := *b
						own.t = t
						c := &faultCase{bed: &own, t: t, table: fmt.Sprint("t", i), way: fb.ways[way], block: (way+waits+fault)%4 == 0}
						c.run(waits, fault)
					})
				}
			})
			b.wantNothingLeft()
		})
	}
}
