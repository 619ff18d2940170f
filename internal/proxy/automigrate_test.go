package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// grownPair is a routed table whose group 1 has 900 rows.
const grownPair = `CREATE TABLE t (id bigserial PRIMARY KEY, group_id int, v text);
CREATE TABLE t_relyt_massive_group (LIKE t INCLUDING ALL);
CREATE TABLE relyt_sys.t_relyt_routing (routing_id text PRIMARY KEY, store_table_name text NOT NULL);
INSERT INTO t (group_id) SELECT 1 FROM generate_series(1, 900)`

const grownRows = `SELECT (SELECT count(*) FROM t WHERE group_id = 1) || '+' || (SELECT count(*) FROM t_relyt_massive_group)`

// untilRows asks until the rows are so.
func untilRows(t *testing.T, b *bed, want string) {
	t.Helper()
	c := b.direct()
	for deadline := time.Now().Add(copyLimit); ; {
		got := must(t, c, grownRows)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("rows are %s, want %s", got, want)
		}
	}
}

// TestAutomigrate: a load that pushes a group over the threshold has it moved,
// also where its transaction ends long after the table was first looked at.
func TestAutomigrate(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) {
		c.Routing.AutoThreshold, c.Routing.AutoInterval = 1000, time.Second
	})
	direct, c := b.direct(), b.proxied()
	must(t, direct, grownPair)
	must(t, c, "BEGIN")
	if o := copyIn(c, "COPY t (group_id) FROM STDIN", strings.NewReader(strings.Repeat("1\n", 100)+strings.Repeat("2\n", 50))); o.err != nil || o.lost != nil {
		t.Fatal(o)
	}
	// Two looks that see nothing of it.
	m, key := b.automigrate, autoTable{b.db, "public", "t"}
	for looks, last := 0, (time.Time{}); looks < 2; {
		m.mu.Lock()
		if now := m.resting[key]; !now.IsZero() && now != last {
			looks, last = looks+1, now
		}
		m.mu.Unlock()
		must(t, direct, "SELECT 1") // it takes a while
	}
	must(t, c, "COMMIT")
	untilRows(t, b, "0+1000")
	if got := must(t, c, "SELECT string_agg(routing_id, ',') FROM relyt_sys.t_relyt_routing"); got != "1" {
		t.Errorf("routed is %s", got)
	}
}

// TestAutomigrateOff: by default groups stay.
func TestAutomigrateOff(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	if b.automigrate != nil || b.automigrate.hook() != nil {
		t.Error("it is on")
	}
}
