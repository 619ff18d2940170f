package proxy

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// TestRoutedReadsOld: a change that was prepared before its table was routed is
// refused until it is prepared again; other statements of that time go on, and a
// Parse of a name that is taken takes nothing from the change of that name.
func TestRoutedReadsOld(t *testing.T) {
	t.Parallel()
	b := knownBed(t, time.Second, func(c *config.Config) { c.Routing.Reads = true })
	direct, c := b.direct(), b.proxied()
	must(t, direct, "CREATE TABLE u (LIKE t)")
	ctx := t.Context()
	prepare := func(name, sql string) error { _, err := c.Prepare(ctx, name, sql, nil); return err }
	run := func(name string) (string, string) {
		res := c.ExecPrepared(ctx, name, nil, nil, nil).Read()
		var e *pgconn.PgError
		if errors.As(res.Err, &e) {
			return "", e.Code
		}
		return res.CommandTag.String(), ""
	}
	for name, sql := range map[string]string{"d": "DELETE FROM t WHERE id = 1", "u": "UPDATE u SET id = 1", "s": "SELECT 1", "i": "INSERT INTO u VALUES (1)"} {
		if err := prepare(name, sql); err != nil {
			t.Fatal(err)
		}
	}
	// Else nobody waits for the proxy.
	for must(t, direct, "SELECT count(*) FROM pgbulk.proxy WHERE routing_seen IS NOT NULL") != "1" {
	}
	must(t, direct, knownPair+"; INSERT INTO t VALUES (1, 'a'); INSERT INTO t_relyt_massive_group VALUES (1, 'b')")
	if err := awaitSeen(ctx, b.pg.Connect(t, b.db, "postgres"), "t"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for name, want := range map[string][2]string{"d": {"", "0A000"}, "s": {"SELECT 1", ""}, "i": {"INSERT 0 1", ""}} {
			if tag, code := run(name); tag != want[0] || code != want[1] {
				t.Errorf("%s: %s %s, want %s", name, tag, code, want)
			}
		}
	}
	if tag, code := run("u"); tag != "UPDATE 2" {
		t.Errorf("update of another table: %s %s", tag, code)
	}
	if err := prepare("new", "DELETE FROM t WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"SELECT 2", "DELETE FROM t", "DELETE FROM u"} {
		var e *pgconn.PgError
		if err := prepare("new", sql); !errors.As(err, &e) || e.Code != "42P05" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if tag, code := run("new"); tag != "DELETE 2" {
		t.Errorf("%s %s", tag, code)
	}
	must(t, c, "DEALLOCATE new")
	if err := prepare("new", "SELECT 3"); err != nil {
		t.Fatal(err)
	}
	if tag, code := run("new"); tag != "SELECT 1" {
		t.Errorf("%s %s", tag, code)
	}
}
