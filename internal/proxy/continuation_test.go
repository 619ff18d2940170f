package proxy

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/store"
	"github.com/pgbulkproxy/pgbulkproxy/store/storetest"
)

// failFrom makes the store refuse the files from that number on.
func failFrom(number int) Options {
	return Options{WrapStore: func(s store.Full) store.Full {
		return &storetest.Faults{Full: s, Before: func(_ context.Context, op, key string) error {
			file := key[strings.LastIndexByte(key, '/')+1:]
			if op == storetest.Put && file >= fmt.Sprintf("%05d", number) {
				return fmt.Errorf("no room for %s", file)
			}
			return nil
		}}
	}}
}

// continued is one kind of data; row i of it, good or bad.
type continued struct {
	sql  string
	head string
	row  func(i int) string
	bad  func(i int) string
}

func continuations() map[string]continued {
	csvRow := func(eol string) func(int) string {
		return func(i int) string {
			switch i % 3 {
			case 0:
				return fmt.Sprintf("%d,\"note %d%sgoes on, \"\"quoted\"\", over%s%slines\"%s", i, i, eol, eol, eol, eol)
			case 1:
				return fmt.Sprintf("%d,\"\"%s", i, eol)
			}
			return fmt.Sprintf("%d,%s%s", i, strings.Repeat("plain ", 12), eol)
		}
	}
	wrong := func(eol string) func(int) string {
		return func(i int) string { return "x" + fmt.Sprint(i) + ",\"two" + eol + "lines\"" + eol }
	}
	textRow := func(i int) string {
		return fmt.Sprintf("%d\tnote %d goes on\\\nwith an escaped line end and \\\\ more\n", i, i)
	}
	return map[string]continued{
		"text":        {"COPY t FROM STDIN", "", textRow, func(i int) string { return fmt.Sprintf("%d\n", i) }},
		"text value":  {"COPY t FROM STDIN", "", textRow, func(int) string { return "9999999999\tfar\n" }},
		"text check":  {"COPY t FROM STDIN", "", textRow, func(i int) string { return fmt.Sprintf("%d\tforbidden\n", i) }},
		"text key":    {"COPY t FROM STDIN", "", textRow, func(int) string { return "5\tagain\n" }},
		"text bytes":  {"COPY t FROM STDIN", "", textRow, func(i int) string { return fmt.Sprintf("%d\t\xff\xfe\n", i) }},
		"text nul":    {"COPY t FROM STDIN", "", textRow, func(i int) string { return fmt.Sprintf("%d\ta\x00b\n", i) }},
		"text header": {"COPY t FROM STDIN (HEADER)", "id\tnote\n", textRow, func(i int) string { return fmt.Sprintf("%d\ta\tb\n", i) }},
		"text list":   {"COPY t (note, id) FROM STDIN (DELIMITER '|', NULL '-')", "", func(i int) string { return fmt.Sprintf("-|%d\nnote %d|%d\n", 2*i, i, 2*i+1) }, func(int) string { return "a|b\n" }},
		"csv":         {"COPY t FROM STDIN (FORMAT csv, HEADER)", "id,note\n", csvRow("\n"), wrong("\n")},
		"csv crlf":    {"COPY t FROM STDIN (FORMAT csv, HEADER)", "\"i\r\nd\",note\r\n", csvRow("\r\n"), wrong("\r\n")},
		"csv cr":      {"COPY t FROM STDIN CSV", "", csvRow("\r"), wrong("\r")},
		"csv open":    {"COPY t FROM STDIN CSV", "", csvRow("\n"), func(i int) string { return fmt.Sprintf("%d,\"open\n", i) }},
		"csv columns": {"COPY t FROM STDIN CSV", "", csvRow("\n"), func(i int) string { return fmt.Sprintf("%d,\"a\nb\",c\n", i) }},
		"csv eol":     {"COPY t FROM STDIN CSV", "", csvRow("\n"), func(i int) string { return fmt.Sprintf("%d,a\r\n", i) }},
		"csv bytes":   {"COPY t FROM STDIN CSV", "", csvRow("\n"), func(i int) string { return fmt.Sprintf("%d,\"a\n\xe4\"\n", i) }},
	}
}

// TestContinuation: files that are loaded already, and a native COPY for the
// rest, are together what one COPY is, errors and their lines too.
func TestContinuation(t *testing.T) {
	t.Parallel()
	b := newBed(t, failFrom(3), nil)
	must(t, b.direct(), createT)
	for name, c := range continuations() {
		t.Run(name, func(t *testing.T) {
			const rows = 4000
			good := append([]byte(c.head), generate(rows, c.row)...)
			if o := b.same(c.sql, good); o.err != nil {
				t.Errorf("good rows give %s", o)
			}
			for _, at := range []int{10, 2 * rows / 3, rows} { // in a file loaded before, one continued with, and the last row
				data := append([]byte(c.head), generate(at, c.row)...)
				data = append(data, c.bad(rows)...)
				data = append(data, generate(rows-at, func(i int) string { return c.row(rows + 1 + i) })...)
				if o := b.same(c.sql, data); o.err == nil {
					t.Errorf("a bad row at %d gives %s", at, o)
				}
				b.sameIn(c.sql, data, "BEGIN; SAVEPOINT s; INSERT INTO t VALUES (-1, 'kept')", "ROLLBACK TO s; INSERT INTO t VALUES (-2); COMMIT")
			}
		})
	}
	if got := b.metric(t, "pgbulk_fallbacks_total", "reason", "store"); got == 0 {
		t.Error("no load has met the fault")
	}
	b.wantSwept()
}

// TestContinuationBinary is TestContinuation for binary data, which the server
// makes.
func TestContinuationBinary(t *testing.T) {
	t.Parallel()
	b := newBed(t, failFrom(3), nil)
	c := b.direct()
	must(t, c, createT)
	const sql = "COPY t FROM STDIN (FORMAT binary)"
	for name, query := range map[string]string{
		"good":      "SELECT i, repeat('note ', 12) FROM generate_series(1, 6000) i",
		"check":     "SELECT i, CASE i WHEN 5000 THEN 'forbidden' ELSE repeat('note ', 12) END FROM generate_series(1, 6000) i",
		"key":       "SELECT i % 5999, repeat('note ', 12) FROM generate_series(0, 6000) i",
		"null":      "SELECT nullif(i, 4000), repeat('note ', 12) FROM generate_series(1, 6000) i",
		"int8":      "SELECT CASE WHEN i < 0 THEN 1 ELSE i END::int8, repeat('note ', 12) FROM generate_series(1, 6000) i",
		"columns":   "SELECT i, 'a'::text, 'b'::text FROM generate_series(1, 6000) i",
		"bad bytes": "SELECT i, CASE i WHEN 5000 THEN '\\xff'::bytea ELSE '\\x6162636465666768696a6b6c6d6e6f70717273747576'::bytea END FROM generate_series(1, 9000) i",
	} {
		t.Run(name, func(t *testing.T) {
			var data bytes.Buffer
			if _, err := c.CopyTo(context.Background(), &data, "COPY ("+query+") TO STDOUT (FORMAT binary)"); err != nil {
				t.Fatal(err)
			}
			o := b.same(sql, data.Bytes())
			if (o.err == nil) != (name == "good") {
				t.Errorf("outcome %s", o)
			}
			if name == "key" {
				// COPY inserts by the thousand, counted from where it begins:
				// of two errors within a thousand rows, either may come first.
				return
			}
			b.sameIn(sql, data.Bytes(), "BEGIN", "ROLLBACK")
			if name != "good" {
				return // of two errors, the one that shows depends on where the server's batches of rows begin
			}
			b.same(sql, data.Bytes()[:data.Len()-2])                     // no trailer
			b.same(sql, data.Bytes()[:data.Len()-9])                     // half a row
			b.same(sql, append(data.Bytes()[:data.Len():data.Len()], 7)) // behind the trailer
		})
	}
	b.wantSwept()
}

// TestDataErrorsAreNoFaults: clients that send bad data do not stop others from
// using external tables.
func TestDataErrorsAreNoFaults(t *testing.T) {
	t.Parallel()
	b := newBed(t, Options{}, nil)
	must(t, b.direct(), createT+"; CREATE INDEX ON t (note)")
	long := make([]byte, 20_000) // more than an index can take, even compressed
	for i := range long {
		long[i] = 'a' + byte(rand.Uint32N(26))
	}
	for _, bad := range []string{"x\ty\n", "5\tagain\n", "-1\tforbidden\n", "-1\n", fmt.Sprintf("-1\t%s\n", long)} {
		for range 4 {
			if o := b.same(copyText, append(textRows(100), bad...)); o.err == nil {
				t.Error(o)
			}
		}
	}
	b.wantMetric(20, "pgbulk_statements_total", "decision", "stage", "reason", "external")
	b.wantSwept()
}
