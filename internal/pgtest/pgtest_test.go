package pgtest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts of the oracle to testdata/wire/golden")

const scripts = "../../testdata/wire"

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testenv.Main(m))
}

func direct(t *testing.T) Target {
	t.Helper()
	server := testenv.Postgres(t)
	return Target{
		Name:        "direct",
		DSN:         func(database string) string { return server.TCPDSN(database, "postgres") },
		NewDatabase: server.NewDatabase,
	}
}

// Every script must give the same twice on the server itself: what differs
// there would accuse the proxy of nothing it did.
func TestScriptsAreDeterministic(t *testing.T) {
	t.Parallel()
	target := direct(t)
	again := target
	again.Name = "direct again"
	options := Options{}
	if *rewrite {
		options.Golden = filepath.Join(scripts, "golden")
	}
	RunDir(t, scripts, target, again, options)
}

// The same over the extended protocol; a few scripts show that the translation
// of copy steps is right.
func TestScriptsAreDeterministicExtended(t *testing.T) {
	t.Parallel()
	target := direct(t)
	again := target
	again.Name = "direct again"
	for _, name := range []string{"text", "header", "errors"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Diff(t, filepath.Join(scripts, "copy", name+".txt"), target, again, Options{Extended: true})
		})
	}
}

// relayed is a target behind a relay that alters what the server says.
func relayed(t *testing.T, alter func(Message) []Message) Target {
	t.Helper()
	target := direct(t)
	port := startRelay(t, testenv.Postgres(t).Addr, alter)
	dsn := target.DSN
	target.Name = "broken relay"
	target.DSN = func(database string) string { return dsn(database) + " port=" + port }
	return target
}

const brokenScript = `
case only
setup
	CREATE TABLE t (a int, b text);
copy COPY t FROM STDIN
	CopyGenerate 10 "{i}\tname{i}\n"
	CopyData "x\tbad\n"
copy COPY t FROM STDIN
	CopyGenerate 10 "{i}\tname{i}\n"
query SELECT * FROM t ORDER BY a
`

func TestBrokenRelayIsCaught(t *testing.T) {
	t.Parallel()
	replace := func(kind byte, from, to string) func(Message) []Message {
		return func(m Message) []Message {
			if m.Type == kind {
				m.Body = []byte(strings.Replace(string(m.Body), from, to, 1))
			}
			return []Message{m}
		}
	}
	drop := func(kind byte) func(Message) []Message {
		return func(m Message) []Message {
			if m.Type == kind {
				return nil
			}
			return []Message{m}
		}
	}
	for name, alter := range map[string]func(Message) []Message{
		"tag":             replace('C', "COPY 10", "COPY 11"),
		"value":           replace('D', "name7", "name8"),
		"status":          replace('Z', "I", "T"),
		"context line":    replace('E', "line 11", "line 12"),
		"error field":     replace('E', "22P02", "22P03"),
		"column name":     replace('T', "b\x00", "c\x00"),
		"copy format":     replace('G', "\x00\x02", "\x00\x02"[:0]),
		"lost":            drop('G'),
		"doubled":         func(m Message) []Message { return []Message{m, m}[:1+b2i(m.Type == 'Z')] },
		"surplus message": func(m Message) []Message { return append([]Message{m}, extra(m)...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if report := runBroken(t, alter); report == "" {
				t.Error("the difference was not noticed")
			}
		})
	}
	t.Run("honest", func(t *testing.T) {
		t.Parallel()
		if report := runBroken(t, func(m Message) []Message { return []Message{m} }); report != "" {
			t.Error(report)
		}
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// extra is a notice after every CommandComplete.
func extra(m Message) []Message {
	if m.Type != 'C' {
		return nil
	}
	return []Message{{Type: 'N', Body: []byte("SNOTICE\x00\x00")}}
}

// remembered is shared: a relay is mostly compared with what the server said in
// another database than its own.
var remembered Memory

func runBroken(t *testing.T, alter func(Message) []Message) string {
	t.Helper()
	script, err := Parse("broken.txt", brokenScript)
	if err != nil {
		t.Fatal(err)
	}
	target, c := direct(t), script.Cases[0]
	run := func(through Target) []string {
		side := newSide(t, target, through, Options{Timeout: 2 * time.Second})
		if err := side.reset(t.Context(), c.options.setup); err != nil {
			t.Fatal(err)
		}
		lines, err := side.run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	want := remembered.recall(script, c, false, func() []string { return run(target) })
	return compare(want, run(relayed(t, afterStartup(alter))), "direct", "broken relay")
}

// afterStartup leaves the messages up to the first ReadyForQuery alone, since
// a session that does not start is no test of the comparison.
func afterStartup(alter func(Message) []Message) func(Message) []Message {
	started := false
	return func(m Message) []Message {
		if !started {
			started = m.Type == 'Z'
			return []Message{m}
		}
		return alter(m)
	}
}

// A state that differs is caught even if all replies are equal.
func TestStateIsCompared(t *testing.T) {
	t.Parallel()
	script, err := Parse("state.txt", "case only\nquery SELECT 1\n")
	if err != nil {
		t.Fatal(err)
	}
	target := direct(t)
	transcripts := make([][]string, 0, 2)
	for _, setup := range []string{"CREATE TABLE t AS SELECT 1 AS a", "CREATE TABLE t AS SELECT 2 AS a"} {
		side := newSide(t, target, target, Options{Timeout: defaultTimeout})
		if err := side.reset(t.Context(), setup); err != nil {
			t.Fatal(err)
		}
		lines, err := side.run(t.Context(), script.Cases[0])
		if err != nil {
			t.Fatal(err)
		}
		transcripts = append(transcripts, lines)
	}
	if compare(transcripts[0], transcripts[1], "1", "2") == "" {
		t.Error("different rows were not noticed")
	}
}

func TestClientsAreDeterministic(t *testing.T) {
	t.Parallel()
	target := direct(t)
	again := target
	again.Name = "direct again"
	DiffClients(t, target, again, Options{})
}

func TestPsqlIsDeterministic(t *testing.T) {
	t.Parallel()
	target := direct(t)
	again := target
	again.Name = "direct again"
	DiffPsql(t, "psql", "../../testdata/psql", target, again, Options{})
}
