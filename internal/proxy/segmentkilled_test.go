package proxy

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// TestSegmentKilled loads 50 tables at once, each of the ways, and kills a segment
// when a fifth of them is in: each load is in as a whole or not at all, its client was
// told which, and nothing else is left of it.
func TestSegmentKilled(t *testing.T) {
	if os.Getenv(killCommand) == "" || os.Getenv(reviveCommand) == "" {
		t.Skip(killCommand + " and " + reviveCommand + " are not set: no segment to kill")
	}
	for name, way := range map[string]func(*config.Config){
		"s3": byS3, "gpfdist": byGpfdist,
		"copy": func(c *config.Config) {
			c.Engine, c.ServiceDSN, c.Stage.MinBytes, c.Greenplum.Reader = "greenplum", "", 0, config.MethodCopy
			keeping(c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newPlainBed(t, testenv.Greenplum(t), Options{}, func(c *config.Config) {
				way(c)
				c.Stage.FileBytes = 64 << 10
			})
			b.killSegment(name == "gpfdist")
		})
	}
}

const (
	killedLoads = 50
	killedRows  = 5000
)

func (b *bed) killSegment(pulls bool) {
	t := b.t
	t.Helper()
	var create strings.Builder
	for i := range killedLoads {
		fmt.Fprintf(&create, "CREATE TABLE t%d (a int, b text);", i)
	}
	admin := b.direct()
	must(t, admin, create.String())
	hangUp(admin)
	data := pairs(killedRows, "\t", "\n")
	var out [killedLoads]outcome
	var conns [killedLoads]*pgconn.PgConn
	for i := range conns {
		conns[i] = b.proxied()
	}
	in, killed := make(chan struct{}, killedLoads), make(chan struct{})
	var wg sync.WaitGroup
	for i := range killedLoads {
		// Of most, a part of the data comes before, and a part behind it.
		var r io.Reader = strings.NewReader(data)
		if i >= killedLoads/5 {
			half := strings.IndexByte(data[len(data)/2:], '\n') + len(data)/2
			r = io.MultiReader(strings.NewReader(data[:half]), after(killed), strings.NewReader(data[half:]))
		}
		wg.Go(func() {
			out[i] = copyIn(conns[i], fmt.Sprintf("COPY t%d FROM STDIN", i), r)
			in <- struct{}{}
		})
	}
	for range killedLoads / 5 {
		<-in
	}
	runCommand(t, killCommand)
	close(killed)
	wg.Wait()
	runCommand(t, reviveCommand)
	for _, c := range conns {
		hangUp(c)
	}
	b.wantWhole(out[:])
	again := b.proxied()
	if o := copyIn(again, "COPY t0 FROM STDIN", strings.NewReader(data)); o.err != nil {
		t.Errorf("after the segment is back: %s", o)
	}
	hangUp(again)
	direct := b.direct()
	if left := must(t, direct, `SELECT count(*) FROM pg_catalog.pg_class WHERE relname LIKE 'pgbulk\_%'`); left != "0" {
		t.Errorf("%s external tables are left", left)
	}
	hangUp(direct)
	if pulls {
		b.wantMetric(0, "pgbulk_gpfdist_streams")
	}
	b.wantSwept()
	b.wantNoSegmentSessions()
}

// after is a reader of nothing, that ends when something has happened.
type after <-chan struct{}

// Read implements io.Reader.
func (a after) Read([]byte) (int, error) {
	<-a
	return 0, io.EOF
}

// wantNoSegmentSessions waits until the segments have ended the backends of all other
// sessions of the database.
func (b *bed) wantNoSegmentSessions() {
	b.t.Helper()
	c := b.direct()
	mine := must(b.t, c, "SELECT sess_id FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()")
	eventually(b.t, time.Minute, func() string {
		n := must(b.t, c, "SELECT count(*) FROM gp_dist_random('pg_stat_activity') WHERE datname = pg_catalog.current_database() AND sess_id <> "+mine)
		if n != "0" {
			return n + " backends of segments are left"
		}
		return ""
	})
}

// wantWhole compares what the clients were told with the tables.
func (b *bed) wantWhole(out []outcome) {
	t := b.t
	t.Helper()
	direct := b.direct()
	defer hangUp(direct)
	var good, failed int
	for i, o := range out {
		want := "0"
		if o.err == nil && o.lost == nil {
			want, good = fmt.Sprint(killedRows), good+1
		} else {
			failed++
		}
		if o.lost != nil {
			t.Errorf("load %d: the proxy hung up: %v", i, o.lost)
		}
		if got := must(t, direct, fmt.Sprintf("SELECT count(*) FROM t%d", i)); got != want {
			t.Errorf("load %d answered %s, and has %s rows", i, o, got)
		}
	}
	t.Logf("%d loads are in, %d have failed", good, failed)
	if good < len(out)/5 || failed == 0 {
		t.Error("the segment did not die in the middle")
	}
}
