package killmatrix

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

// Modes of pgbulk.ack.
const (
	loaded = "loaded"
	staged = "staged"
)

// bed is a server, S3 and proxies of its own, with relays between them.
type bed struct {
	t       testing.TB
	ack     string
	kind    kind
	pg      *testenv.PG
	db      string
	prefix  string
	trigger *trigger
	gate    *gate
	store   *store.Bucket
	s3      *s3.Client // for what the store does not list
	bucket  string
	proxies []*process
	doors   []*relay // to each of them, for the clients
	loads   atomic.Int64
	clients int
	most    int64
	rows    int
	counted map[string]bool // loads of the ledger that earlier rounds accounted for
	killed  bool            // a proxy was, in this round
}

// leaseTimeout is short: a round waits for it.
const leaseTimeout = 2 * time.Second

// options of a bed.
type options struct {
	ack     string
	kind    *kind // nil: PostgreSQL
	shared  bool  // the server is not crashed
	proxies int
	clients int
	most    int64    // transactions of each client in a round; 0: no limit
	rows    int      // the fewest of a COPY
	parts   bool     // for gate
	env     []string // settings of the proxies
}

func newBed(t testing.TB, o options) *bed {
	t.Helper()
	server := testenv.S3(t)
	tr := &trigger{}
	b := &bed{
		t: t, ack: o.ack, trigger: tr, gate: &gate{trigger: tr, parts: o.parts}, prefix: server.Prefix(t), store: server.Store(t), s3: s3Client(server), bucket: server.Bucket,
		counted: make(map[string]bool), clients: cmp.Or(o.clients, clients), most: o.most, rows: cmp.Or(o.rows, 150),
	}
	if o.kind == nil {
		o.kind = ownServer(o.shared)
	}
	b.kind = *o.kind
	b.pg = b.kind.server(t)
	b.db = b.pg.NewDatabase(t)
	b.kind.prepare(b)
	url := strings.Replace(server.URL(b.prefix), server.Endpoint, storetest.Interpose(t, server.Endpoint, b.gate.handle), 1)
	upstream := newRelay(t, tr, b.pg.Addr, proxyPoint, serverPoint)
	env := append([]string{
		"PGBULK_LISTEN=127.0.0.1:0", "PGBULK_UPSTREAM=" + upstream.addr, "PGBULK_UPSTREAM_TLS_MODE=disable", "PGBULK_STORE=" + url,
		"PGBULK_STAGE_MIN_BYTES=0", "PGBULK_STAGE_FILE_BYTES=64KiB",
		"PGBULK_INSERT_MIN_ROWS=2", "PGBULK_INSERT_MIN_ROWS_ALONE=2", "PGBULK_INSERT_STAGE_BYTES=0",
		"PGBULK_SWEEP_GRACE=0s", "PGBULK_SWEEP_INTERVAL=1s", "PGBULK_BREAKER_COOLDOWN=1s",
	}, server.Env()...)
	env = append(append(env, b.kind.env(b, upstream.addr)...), o.env...)
	for range cmp.Or(o.proxies, 1) {
		door := newRelay(t, tr, "127.0.0.1:1", clientPoint, replyPoint)
		b.doors = append(b.doors, door)
		b.proxies = append(b.proxies, newProcess(t, env...))
	}
	for i := range b.proxies {
		b.restart(i)
	}
	return b
}

func s3Client(server *testenv.S3Server) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &server.Endpoint, Region: server.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
}

// restart starts a proxy that isn't running.
func (b *bed) restart(i int) {
	b.t.Helper()
	addr, err := b.proxies[i].start()
	if err != nil {
		b.t.Fatal(err)
	}
	b.doors[i].target.Store(addr)
}

// program names the sessions of the tests themselves.
const program = "killmatrix"

// sql runs SQL directly, in a session of its own.
func (b *bed) sql(sql string) ([][][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgconn.Connect(ctx, b.pg.DSN(b.db, "postgres")+" application_name="+program)
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	return results[len(results)-1].Rows, nil
}

func (b *bed) must(sql string) [][][]byte {
	b.t.Helper()
	rows, err := b.sql(sql)
	if err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return rows
}

// backend finds the server's process that a point is about, or any that serves
// the proxy.
func (b *bed) backend(w where) uint32 {
	if w.pid != 0 {
		return w.pid
	}
	rows, err := b.sql(fmt.Sprintf(`SELECT pid FROM pg_catalog.pg_stat_activity
		WHERE datname = current_database() AND application_name <> '%s' AND client_port IS NOT NULL
		ORDER BY '%s' <> '' AND query LIKE '%%%[2]s%%' DESC, random() LIMIT 1`, program, w.load))
	if err != nil || len(rows) == 0 {
		return 0
	}
	var pid uint32
	_, _ = fmt.Sscan(string(rows[0][0]), &pid)
	return pid
}

// action is what happens at a point.
type action string

const (
	killProxy  action = "kill proxy"
	endBackend action = "terminate backend"
	// endPart ends one on a segment or worker, where there are any.
	endPart   action = "terminate part's backend"
	crash     action = "kill backend"
	stopStore action = "stop S3"
	// Where there are more proxies, one of them stops for longer than its lease,
	// or is gone while others do its work.
	pause   action = "pause proxy"
	abandon action = "kill proxy for good"
	// restart ends the server in good order and starts it again.
	restart action = "restart server"
)

var actions = []action{killProxy, endBackend, stopStore, crash}

// act returns what the trigger does.
func (b *bed) act(a action, rng *rand.Rand) func(where) bool {
	// What a dead proxy has sent may still arrive, or not.
	deliver := rng.IntN(2) == 0
	victim := rng.IntN(len(b.proxies))
	how := faults[rng.IntN(len(faults))]
	return func(w where) bool {
		switch a {
		case killProxy, abandon:
			b.proxies[victim].kill()
			b.killed = true // repair is behind it
			return deliver
		case pause:
			b.proxies[victim].signal(syscall.SIGSTOP)
		case endBackend:
			if pid := b.backend(w); pid != 0 {
				// The backend may be gone by itself.
				_, _ = b.sql(fmt.Sprintf("SELECT pg_catalog.pg_terminate_backend(%d)", pid))
			}
		case endPart:
			b.kind.endPart(b)
		case crash:
			if pid := b.backend(w); pid != 0 {
				_ = syscall.Kill(int(pid), syscall.SIGKILL)
			}
		case stopStore:
			b.gate.stop(how)
		case restart: // by repair: the server waits for what is held here
		}
		return true
	}
}

// repair ends what an action has done.
func (b *bed) repair(a action, rng *rand.Rand) {
	b.t.Helper()
	switch a {
	case killProxy:
		b.revive()
	case abandon:
		b.redirect()
	case restart:
		b.pg.Restart(b.t)
	case pause:
		<-time.After(leaseTimeout + leaseTimeout/2) // the lease has to pass
		for _, p := range b.proxies {
			p.signal(syscall.SIGCONT)
		}
	case crash:
		b.eventually(func() string {
			_, err := b.sql("SELECT 1")
			if err != nil {
				return err.Error()
			}
			return ""
		})
	case stopStore:
		<-time.After(time.Duration(rng.IntN(1000)) * time.Millisecond) // the length of the outage
		b.gate.heal()
	}
}

// redirect sends the clients of dead proxies to one that lives.
func (b *bed) redirect() {
	var live any
	for i, p := range b.proxies {
		if p.alive() {
			live = b.doors[i].target.Load()
		}
	}
	for i, p := range b.proxies {
		if !p.alive() {
			b.doors[i].target.Store(live)
		}
	}
}

// revive starts the proxies that are dead.
func (b *bed) revive() {
	b.t.Helper()
	for i, p := range b.proxies {
		if !p.alive() {
			b.restart(i)
		}
	}
}

// await polls until ok says "" and returns what it says at the end.
func (b *bed) await(ok func() string) string {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for {
		problem := ok()
		if problem == "" || time.Now().After(deadline) {
			return problem
		}
		<-tick.C
	}
}

// eventually is await for what must be so.
func (b *bed) eventually(ok func() string) {
	b.t.Helper()
	if problem := b.await(ok); problem != "" {
		b.t.Fatalf("after %s: %s", patience, problem)
	}
}
