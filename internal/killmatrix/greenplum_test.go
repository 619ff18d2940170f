package killmatrix

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// greenplum is a cluster that is given, whose loads go one of the ways that there are
// (greenplum.reader). Others use it too: it is not crashed.
func greenplum(reader string) *kind {
	return &kind{
		server: testenv.Greenplum,
		prepare: func(b *bed) {
			// Where rows are numbered as they come they go by COPY.
			b.must(`CREATE TABLE t (load bigint, n int, pad text) DISTRIBUTED BY (n);
				CREATE TABLE u (load bigint, n int, pad text, i bigserial) DISTRIBUTED BY (n)`)
		},
		env: func(b *bed, _ string) []string {
			listen := freeAddress(b.t)
			// Without a ledger a COPY is relayed, unless its rows are to be in S3.
			env := []string{"PGBULK_ENGINE=greenplum", "PGBULK_SWEEP_KEEP=always", "PGBULK_GREENPLUM_READER=" + reader}
			switch reader {
			case "s3":
				env = append(env, "PGBULK_GREENPLUM_LISTEN="+listen)
			case "gpfdist":
				env = append(env, "PGBULK_GREENPLUM_GPFDIST_LISTEN="+listen, "PGBULK_GREENPLUM_GPFDIST_ADVERTISE="+newTunnel(b.t, b.trigger, listen))
			}
			return env
		},
		left:    `SELECT count(*) FROM pg_catalog.pg_class WHERE relname LIKE 'pgbulk\_%'`,
		endPart: endSegment,
		// A statement whose segment is gone, and its session.
		ends: []string{"58M01", "57P01"},
	}
}

// freeAddress is where a proxy may listen, again when it is started again.
func freeAddress(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// endSegment ends the backends of one client on a segment.
func endSegment(b *bed) {
	// What runs on the segments is told by a scan that they all do.
	rows, err := b.sql(fmt.Sprintf("SELECT sess_id, content FROM pg_catalog.pg_stat_activity, pg_catalog.gp_segment_configuration WHERE pid = %d AND content >= 0 ORDER BY random() LIMIT 1", b.backend(where{})))
	if err == nil && len(rows) > 0 {
		_, err = b.sql(fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(pid) FROM (SELECT gp_execution_segment() AS segment, pid, sess_id FROM gp_dist_random('pg_stat_activity')) x WHERE sess_id = %s AND segment = %s", rows[0][0], rows[0][1]))
	}
	if err != nil {
		b.t.Errorf("end the backends of a segment: %v", err)
	}
}

// newTunnel passes on what the segments ask the proxy for, until the test ends, and
// returns its address. Each connection has two goroutines.
func newTunnel(t testing.TB, tr *trigger, target string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { tunnel(tr, c, target) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait() // the proxies have ended
	})
	return ln.Addr().String()
}

func tunnel(tr *trigger, from net.Conn, target string) {
	defer from.Close()
	to, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer to.Close()
	if !tr.pass(atExternal, where{}) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer to.Close() // the segment has left
		_, _ = io.Copy(to, from)
	})
	defer wg.Wait()
	defer from.Close()
	if _, err := io.CopyN(from, to, someBytes); err != nil || !tr.pass(inInsert, where{}) {
		return
	}
	_, _ = io.Copy(from, to) // whichever side ends, the other hears it
}

// TestGreenplum: whatever ends at whatever point, no row is lost or doubled, and the
// server has nothing left, with each of the ways in which rows go.
func TestGreenplum(t *testing.T) {
	for i, reader := range []string{"copy", "s3", "gpfdist"} {
		t.Run(reader, func(t *testing.T) {
			b := newBed(t, options{ack: loaded, kind: greenplum(reader)})
			for _, c := range plan(i, greenplumPoints(reader), []action{killProxy, endBackend, stopStore, endPart}) {
				b.round(c.point, c.action, c.round)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// greenplumPoints are those that a load comes by; there is no ledger.
func greenplumPoints(reader string) []point {
	some := []point{atReceiving, atUpload, beforeFinish, afterFinish, beforeCommit, afterCommit, atReply, beforeSweep, afterSweep}
	if reader != "copy" {
		some = append(some, beforeExternal, atExternal, inInsert)
	}
	return some
}
