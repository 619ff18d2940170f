package proxy

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// TestToleranceRandom: as TestTolerance, for random data with errors of all
// kinds close together, in files of a few rows.
func TestToleranceRandom(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, func(c *config.Config) { c.Stage.FileBytes = 400 })
	const ddl = `CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 200, 2);
		CREATE TABLE t (id int UNIQUE, k int REFERENCES p, note text CHECK (note <> 'no') NOT NULL)`
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	for i := range rounds {
		tc := randomTolerant(uint64(i), ddl)
		t.Run(tc.name, func(t *testing.T) { tc.check(t, b) })
	}
}

// randomTolerant are rows of a table t (id int UNIQUE, k int, note text), some of
// them bad, where k refers to even numbers alone.
func randomTolerant(seed uint64, ddl string) *tolerant {
	r := rand.New(rand.NewPCG(seed, 1))
	tc := &tolerant{
		name: fmt.Sprint(seed), ddl: ddl, options: "FORMAT csv",
		eol: []string{"", "\r\n", "\r"}[r.IntN(3)], bare: r.IntN(2) == 0,
	}
	if r.IntN(2) == 0 {
		tc.header = "a,\"b\",c"
	}
	share := []int{1, 3, 20}[r.IntN(3)]
	for range r.IntN(150) {
		id, k, note := fmt.Sprint(r.IntN(1000)), fmt.Sprint(2*r.IntN(100)), "\"a "+strings.Repeat("long ", r.IntN(20))+tc.end()+"\""
		if r.IntN(share) == 0 {
			switch r.IntN(5) {
			case 0:
				id = "x"
			case 1:
				k = "1"
			case 2:
				note = "no"
			case 3:
				note = ""
			case 4:
				k = "1,2"
			}
		}
		tc.records = append(tc.records, id+","+k+","+note)
	}
	return tc
}

// TestToleranceStopped: a cancel and a timeout end the load in the server's
// words, also while it searches for bad rows.
func TestToleranceStopped(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	admin := b.direct()
	must(t, admin, `CREATE FUNCTION slow(i int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN IF i > 2 THEN PERFORM pg_sleep(3600); END IF; RETURN true; END';
		CREATE TABLE t (id int CHECK (slow(id)), note text)`)
	const data = "1\ta\nx\tb\n2\tc\n5\td\n"
	for _, block := range []string{"", "BEGIN"} {
		c := b.proxied()
		must(t, c, "SET pgbulk.max_error_records = 10")
		must(t, c, block)
		// The server sleeps in the last row, behind the one that was skipped.
		done := make(chan outcome, 1)
		go func() { done <- copyIn(c, copyText, strings.NewReader(data)) }()
		eventually(t, patience, func() string {
			return must(t, admin, `SELECT CASE WHEN count(*) = 1 THEN '' ELSE 'nobody sleeps' END FROM pg_stat_activity
				WHERE wait_event = 'PgSleep' AND datname = current_database()`)
		})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := c.CancelRequest(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		wantStopped(t, c, <-done, block, "57014 canceling statement due to user request")

		must(t, c, "ROLLBACK; SET statement_timeout = 300; "+block)
		wantStopped(t, c, copyIn(c, copyText, bytes.NewReader([]byte(data))), block, "57014 canceling statement due to statement timeout")
		hangUp(c)
	}
	if got := must(t, admin, "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM pgbulk.reject)"); got != "0" {
		t.Errorf("%s rows are left", got)
	}
}

func wantStopped(t *testing.T, c *pgconn.PgConn, o outcome, block, want string) {
	t.Helper()
	status := byte('I')
	if block != "" {
		status = 'E'
	}
	if o.err == nil || o.err.Code+" "+o.err.Message != want || c.TxStatus() != status {
		t.Errorf("%s, status %c, want %s", o, c.TxStatus(), want)
	}
}
