package proxy

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// TestPulledStopped: where a segment's processes are stopped in the middle, the server
// waits for them whatever it is told. The client does not, and when they go on nothing
// of the load is left.
func TestPulledStopped(t *testing.T) {
	t.Parallel()
	b := newPullBed(t, stallsSoon)
	c, admin := b.proxied(), b.direct()
	must(t, c, "CREATE TABLE t (a int, b text) DISTRIBUTED BY (a)")
	session := must(t, c, "SELECT sess_id FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()")
	r := raw(t, c)
	r.startCopy("COPY t FROM STDIN")
	r.data([]byte(pullData(1, 30_000)))
	var pids []int
	eventually(t, time.Minute, func() string {
		if b.metric(t, "pgbulk_gpfdist_streams") != 1 {
			return "nothing is pulled"
		}
		if pids = b.segmentProcesses(admin, session, 1); len(pids) == 0 {
			return "the session has no process on the segment"
		}
		return ""
	})
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	}
	r.data([]byte(pullData(30_001, 32_000)))
	r.send(frame.Append(nil, 'c', nil))
	if _, e, err := r.until(isReady); err == nil || e == nil || e.Code != "08006" {
		t.Errorf("the load ended with %+v, %v", e, err)
	}
	b.wantMetric(0, "pgbulk_gpfdist_streams")
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	if got := must(t, admin, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows", got)
	}
	hangUp(admin)
	b.wantNoSegmentSessions()
	b.wantSwept()
}

// stallsSoon cuts small files and does not wait for segments for long.
func stallsSoon(c *config.Config) {
	c.Stage.FileBytes, c.Greenplum.GpfdistTimeout = 64<<10, 2*time.Second
}

// segmentProcesses are the backends of a session on a segment. They have to run on this
// machine.
func (b *bed) segmentProcesses(admin *pgconn.PgConn, session string, segment int) (pids []int) {
	b.t.Helper()
	list := must(b.t, admin, fmt.Sprintf(`SELECT coalesce(array_to_string(array_agg(pid), ' '), '') FROM (SELECT gp_execution_segment() AS segment, pid, sess_id
		FROM gp_dist_random('pg_stat_activity')) x WHERE sess_id = %s AND segment = %d`, session, segment))
	for _, text := range strings.Fields(list) {
		title, err := os.ReadFile("/proc/" + text + "/cmdline")
		if err != nil || !strings.Contains(string(title), "con"+session+" seg") {
			b.t.Skip("the segments run on another machine: their processes can't be stopped")
		}
		pid, _ := strconv.Atoi(text)
		pids = append(pids, pid)
	}
	return pids
}

// TestPulledWaits: segments that wait for a key of another session look as if they were
// stopped; the client's own COPY then waits for it as it would have.
func TestPulledWaits(t *testing.T) {
	t.Parallel()
	b := newPullBed(t, stallsSoon)
	c, other := b.proxied(), b.direct()
	must(t, c, "CREATE TABLE t (a int PRIMARY KEY, b text) DISTRIBUTED BY (a)")
	session := must(t, c, "SELECT sess_id FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()")
	must(t, other, "BEGIN; INSERT INTO t VALUES (7, 'before')")
	out := make(chan outcome, 1)
	go func() { out <- copyIn(c, "COPY t FROM STDIN", strings.NewReader(pullData(1, 30_000))) }()
	admin := b.direct()
	eventually(t, time.Minute, func() string {
		return must(t, admin, "SELECT CASE WHEN query ILIKE 'copy t %' THEN '' ELSE query END FROM pg_catalog.pg_stat_activity WHERE sess_id = "+session)
	})
	must(t, other, "ROLLBACK")
	if o := <-out; o.tag != "COPY 30000" {
		t.Errorf("the load ended with %s", o)
	}
	b.wantMetric(1, "pgbulk_fallbacks_total", "reason", "engine")
	if got := must(t, admin, sumOfRows); got != "30000 30000 450015000" {
		t.Errorf("the table has %s", got)
	}
}
