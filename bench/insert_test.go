package main

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParameters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rows, columns int
		want          string
	}{{1, 1, "($1)"}, {1, 3, "($1,$2,$3)"}, {3, 2, "($1,$2),($3,$4),($5,$6)"}} {
		if got := parameters(c.rows, c.columns); got != c.want {
			t.Errorf("%d rows of %d: got %s, want %s", c.rows, c.columns, got, c.want)
		}
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	const metrics = `# TYPE pgbulk_statements_total counter
pgbulk_statements_total{decision="pass",kind="insert",reason="small"} 40
pgbulk_statements_total{decision="pass",kind="insert",reason="extended"} 0
pgbulk_statements_total{decision="stage",kind="copy",reason=""} 1e+06
pgbulk_sessions 3
`
	if got, want := decisions(metrics), "warm-up and rounds: insert pass 40 (small), copy stage 1e+06"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := decisions("pgbulk_sessions 3\n"); !strings.Contains(got, "no bulk statement") {
		t.Errorf("nothing counted: got %q", got)
	}
}

func TestParseSeconds(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]time.Duration{"seconds = 1.5\n": 1500 * time.Millisecond, "hello\nseconds = 2.5E-4\n": 250 * time.Microsecond} {
		if got, err := parseSeconds(out); got != want || err != nil {
			t.Errorf("%q: got %v, %v, want %v", out, got, err, want)
		}
	}
	for _, bad := range []string{"", "seconds = e", "in 3 seconds = 4"} {
		if got, err := parseSeconds(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

// TestMissingPrograms: what is not there is a reason to skip, with its name.
func TestMissingPrograms(t *testing.T) {
	t.Parallel()
	l := &lab{opts: options{Python: "/no/python", Pgjdbc: "/no/jar"}, tmp: t.TempDir()}
	for name, prepare := range map[string]func(context.Context, *lab) ([]string, error){
		"psycopg 3: fork/exec /no/python": preparePython, "without ": prepareJava(""),
	} {
		var skip skipError
		if _, err := prepare(t.Context(), l); !errors.As(err, &skip) || !strings.Contains(skip.Error(), name) {
			t.Errorf("got %v, want it to be left out: %q", err, name)
		}
	}
	if got := lastLine("exit status 1\nTraceback\nno module"); got != "no module" {
		t.Errorf("last line %q", got)
	}
}

// TestDelay sends through the relay what an echo server sends back.
func TestDelay(t *testing.T) {
	t.Parallel()
	const delay = 20 * time.Millisecond
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			// What the client sees is what counts.
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}()
	relay, err := startDelay(echo.Addr().String(), delay)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", relay.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := slices.Repeat([]byte("0123456789"), 1<<20)
	start := time.Now()
	go func() {
		if _, err := conn.Write(sent); err != nil {
			t.Errorf("write: %v", err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !slices.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back, or others: %v", len(got), len(sent), err)
	}
	if took := time.Since(start); took < 2*delay {
		t.Errorf("a round trip took %v, want at least %v", took, 2*delay)
	}
	relay.stop()
}

// TestDelayStops: an open connection does not outlive the relay.
func TestDelayStops(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	relay, err := startDelay(server.Addr().String(), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", relay.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := server.Accept(); err != nil {
		t.Fatal(err)
	}
	relay.stop()
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the connection gives bytes that nobody sent")
	}
}
