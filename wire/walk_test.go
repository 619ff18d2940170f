package wire

import (
	"fmt"
	"net"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
	"github.com/pgbulkproxy/pgbulkproxy/wire/handshake"
)

// tpcbStatements are a transaction as pgbench sends it.
var tpcbStatements = []string{
	"BEGIN;",
	"UPDATE pgbench_accounts SET abalance = abalance + -2183 WHERE aid = 734612;",
	"SELECT abalance FROM pgbench_accounts WHERE aid = 734612;",
	"UPDATE pgbench_tellers SET tbalance = tbalance + -2183 WHERE tid = 71;",
	"UPDATE pgbench_branches SET bbalance = bbalance + -2183 WHERE bid = 3;",
	"INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (71, 3, 734612, -2183, CURRENT_TIMESTAMP);",
	"END;",
}

// walkTransaction walks over a transaction of small statements, and their answers.
func walkTransaction(t testing.TB, s *session, queries [][]byte) {
	status := byte('T')
	for i, q := range queries {
		if n, act := s.walkClient(q); n != len(q) || act != actFill {
			t.Fatalf("%s: relayed %d bytes, then %v", q, n, act)
		}
		if i == len(queries)-1 {
			status = 'I'
		}
		answer := [...]byte{'C', 0, 0, 0, 13, 'U', 'P', 'D', 'A', 'T', 'E', ' ', '1', 0, 'Z', 0, 0, 0, 5, status}
		s.mu.Lock()
		w := s.walkServer(answer[:])
		s.mu.Unlock()
		if w.seen != len(answer) || len(w.show) != 1 {
			t.Fatalf("of %d bytes %d were seen, in %d parts", len(answer), w.seen, len(w.show))
		}
	}
}

func newWalker(t testing.TB, loader *bulk.Loader) (*session, [][]byte) {
	client, server := net.Pipe()
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	srv := newTestServer(loader)
	if loader != nil {
		srv.cfg.InsertMinRows, srv.cfg.InsertMinRowsAlone, srv.cfg.InsertMinRowsBatch, srv.cfg.InsertMinRowsBind = 50, 500, 100, 500
	}
	s := newSession(srv, 1, &handshake.Established{Client: client, Server: server, TxStatus: 'I', ParameterStatus: map[string]string{
		"standard_conforming_strings": "on", "client_encoding": "UTF8", "server_encoding": "UTF8",
	}})
	var queries [][]byte
	for _, sql := range tpcbStatements {
		queries = append(queries, frame.AppendString(nil, 'Q', sql))
	}
	return s, queries
}

// TestWalkAllocatesNothing: law 7.
func TestWalkAllocatesNothing(t *testing.T) {
	loader := newTestLoader()
	defer loader.Close()
	s, queries := newWalker(t, loader)
	walkTransaction(t, s, queries) // memory that is kept
	if n := testing.AllocsPerRun(100, func() { walkTransaction(t, s, queries) }); n != 0 {
		t.Errorf("%v allocations for a transaction of small statements", n)
	}
}

// BenchmarkWalk is what the proxy does for a transaction of TPC-B besides system
// calls, and for each of its statements, by default and with relay_only.
func BenchmarkWalk(b *testing.B) {
	loader := newTestLoader()
	defer loader.Close()
	for _, c := range []struct {
		name   string
		loader *bulk.Loader
	}{{"default", loader}, {"relay_only", nil}} {
		s, queries := newWalker(b, c.loader)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				walkTransaction(b, s, queries)
			}
		})
		insert := queries[len(queries)-2 : len(queries)-1]
		b.Run(fmt.Sprintf("%s/INSERT", c.name), func(b *testing.B) {
			s.status = 'T'
			for b.Loop() {
				walkTransaction(b, s, insert)
				s.status, s.coal.inserts = 'T', 0 // in a block, behind something else
			}
		})
	}
}
