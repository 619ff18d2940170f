package proxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/transcode"
	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// storedBinary has the server read files of COPY binary.
func storedBinary(c *config.Config) {
	c.Load.Method, c.Load.Transcode = config.MethodExternal, config.TranscodeOn
}

// TestExternalBinary: files are stored as COPY binary where they fit, else as they
// are; either way the rows are the same, and so are errors.
func TestExternalBinary(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, storedBinary)
	must(t, b.direct(), "CREATE TABLE t (id int PRIMARY KEY, d date, note text NOT NULL, n serial, m int GENERATED ALWAYS AS IDENTITY)")
	for _, c := range []struct {
		odd      []int
		bin, txt bool
	}{
		{nil, true, false},
		{[]int{5000}, true, true},
		{[]int{1, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000, 11000}, false, true},
	} {
		before := must(t, b.direct(), "SELECT count(*) FROM pgbulk.load_file")
		o := b.sameIn("COPY t (id, d, note) FROM STDIN", dated(12000, c.odd...), "ALTER SEQUENCE t_n_seq RESTART; ALTER SEQUENCE t_m_seq RESTART", "")
		if o.tag != "COPY 12000" {
			t.Error(o)
		}
		kinds := must(t, b.direct(), "SELECT concat(bool_or(key LIKE '%.bin'), bool_or(key LIKE '%.txt')) FROM (SELECT key FROM pgbulk.load_file ORDER BY created_at OFFSET "+before+") f")
		if want := fmt.Sprint(c.bin, c.txt); kinds != strings.NewReplacer("true", "t", "false", "f", " ", "").Replace(want) {
			t.Errorf("odd rows %v: files are binary and text: %s, want %s", c.odd, kinds, want)
		}
	}
	b.wantMetric(0, "pgbulk_fallbacks_total")
	b.wantMetric(3, "pgbulk_loads_total", "engine", "postgres", "result", "ok")

	must(t, b.direct(), "ALTER TABLE t DROP n, DROP m") // what a file that failed has drawn is gone
	csv := "COPY t (id, d, note) FROM STDIN (FORMAT csv, HEADER, NULL 'nil', FORCE_NOT_NULL (note))"
	for _, c := range []struct{ sql, row, bad string }{
		{"COPY t (id, d, note) FROM STDIN", "%d\t2024-01-02\tnote %d\n", "7000\t2024-02-30\tx\n"},
		{"COPY t (id, d, note) FROM STDIN", "%d\t2024-01-02\tnote %d\n", "3\t2024-02-28\tx\n"},
		{"COPY t (id, d, note) FROM STDIN", "%d\t2024-01-02\tnote %d\n", "7000\t2024-02-28\t\\N\n"},
		{"COPY t (id, d, note) FROM STDIN", "%d\t2024-01-02\tnote %d\n", "7000\t2024-02-28\n"},
		{csv, "%d,nil,\"note\n%d\"\n", "7000,2024-02-28,nil\n"}, // which is no error
		{csv, "%d,nil,\"note\n%d\"\n", "3,2024-02-28,\n"},
	} {
		data := generate(12000, func(i int) string {
			if i == 7000 {
				return c.bad
			}
			return fmt.Sprintf(c.row, i, i)
		})
		if c.sql == csv {
			data = append([]byte("id,d,note\n"), data...)
		}
		for _, block := range [][2]string{{"", ""}, {"BEGIN; SAVEPOINT s", "ROLLBACK TO s; COMMIT"}} {
			if o := b.sameIn(c.sql, data, block[0], block[1]); (o.err == nil) != strings.HasSuffix(c.bad, ",nil\n") {
				t.Errorf("%s: %s", c.bad, o)
			}
		}
	}
	b.wantMemory()
	b.wantSwept()
}

// TestExternalBinaryLosesRows: the count of rows is compared as with files of text.
func TestExternalBinaryLosesRows(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(row []byte) []byte{
		"a row less": func([]byte) []byte { return nil },
		"a row more": func(row []byte) []byte {
			more := bytes.Repeat(row, 2)
			more[6] ^= 0x80 // another number: the first field begins there
			return more
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{WrapStore: func(s store.Full) store.Full {
				return altered{s, func(key string, p []byte) []byte {
					if !strings.HasSuffix(key, "00003.bin") {
						return p
					}
					row, rest := firstTuple(p[len(transcode.Header):])
					return append(append([]byte(transcode.Header), change(row)...), rest...)
				}}
			}}, storedBinary)
			must(t, b.direct(), createT)
			b.same(copyText, textRows(8000))
			b.sameIn(copyText, textRows(8000), "BEGIN; SELECT 1", "COMMIT")
			b.wantMetric(2, "pgbulk_fallbacks_total", "reason", "count")
			b.wantLedger(map[string]int{"COMPLETED": 2})
			b.wantSwept()
		})
	}
}

// firstTuple divides COPY binary without its header behind the first row.
func firstTuple(p []byte) (row, rest []byte) {
	at := 2
	for range binary.BigEndian.Uint16(p) {
		at += 4 + max(int(int32(binary.BigEndian.Uint32(p[at:]))), 0)
	}
	return p[:at], p[at:]
}

// TestExternalKeepsBytes: files that somebody else may read are the client's own.
func TestExternalKeepsBytes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"kept":   func(c *config.Config) { c.Sweep.Keep = config.KeepAlways },
		"staged": func(*config.Config) {},
		"code":   func(*config.Config) {},
		"off":    func(c *config.Config) { c.Load.Transcode = config.TranscodeOff },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, Options{}, func(c *config.Config) { storedBinary(c); change(c) })
			must(t, b.direct(), createT)
			c := b.proxied()
			if name == "code" { // of users, in a default
				must(t, b.direct(), "CREATE FUNCTION seven() RETURNS int LANGUAGE sql AS 'SELECT 7'; ALTER TABLE t ADD n int DEFAULT seven()")
			}
			if name == "staged" {
				must(t, c, "SET pgbulk.ack = staged")
			}
			if o := copyIn(c, "COPY t (id, note) FROM STDIN", bytes.NewReader(textRows(8000))); o.tag != "COPY 8000" {
				t.Error(o)
			}
			must(t, c, "SELECT pgbulk.flush()")
			if n := must(t, b.direct(), "SELECT count(*) FROM t"); n != "8000" {
				t.Errorf("%s rows", n)
			}
			if keys := must(t, b.direct(), "SELECT count(*) > 2 AND bool_and(key LIKE '%.txt') FROM pgbulk.load_file"); keys != "t" {
				t.Error("files are not text")
			}
			b.wantMetric(0, transcodedFiles)
		})
	}
}
