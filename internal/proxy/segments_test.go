package proxy

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// newSegmentsBed starts a proxy whose loads the segments of a Greenplum cluster
// read from S3, in small files. The cluster has to reach this host as 127.0.0.1.
func newSegmentsBed(t *testing.T, o Options) *bed {
	t.Helper()
	return newPlainBed(t, testenv.Greenplum(t), o, func(c *config.Config) {
		byS3(c)
		c.Stage.FileBytes = 64 << 10
	})
}

// byS3 has the segments read what they can from S3.
func byS3(c *config.Config) {
	c.Engine, c.ServiceDSN, c.Stage.MinBytes = "greenplum", "", 0
	c.Greenplum.Reader, c.Greenplum.Listen = config.ReaderS3, "127.0.0.1:0"
}

// sum of a table's rows, whatever their order, on every version.
const sum = `SELECT count(*)::text || ' ' || coalesce(sum(hashtext(t::text)::numeric), 0) FROM t`

// sameRows runs a COPY directly and through the proxy, and demands the same.
func (b *bed) sameRows(sql, data string) outcome {
	b.t.Helper()
	var out [2]outcome
	var rows [2]string
	for i, c := range []*pgconn.PgConn{b.direct(), b.proxied()} {
		must(b.t, c, "TRUNCATE t")
		out[i] = copyIn(c, sql, strings.NewReader(data))
		rows[i] = must(b.t, c, sum)
		hangUp(c)
	}
	if out[0].tag != out[1].tag || code(out[0]) != code(out[1]) || rows[0] != rows[1] {
		b.t.Errorf("%s\ndirect:  %s, rows %s\nproxied: %s, rows %s", sql, out[0], rows[0], out[1], rows[1])
	}
	return out[1]
}

func code(o outcome) string {
	if o.err == nil {
		return ""
	}
	return o.err.Code
}

// pairs are n rows of two columns.
func pairs(n int, sep, end string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d%ssome text of row %d%s", i, sep, i, end)
	}
	return b.String()
}

// TestSegmentsLoad loads several groups of files in each form.
func TestSegmentsLoad(t *testing.T) {
	b := newSegmentsBed(t, Options{})
	must(t, b.direct(), "CREATE TABLE t (a int, b text)")
	for i, c := range []struct{ sql, data string }{
		{"COPY t FROM STDIN", pairs(20000, "\t", "\n")},
		{"COPY t FROM STDIN", pairs(20000, "\t", "\r\n")},
		{"COPY t FROM STDIN", "1\tx"},
		{"COPY t (b, a) FROM STDIN (DELIMITER '|', NULL 'x')", strings.Repeat("text|7\nx|x\n", 15000)},
		{"COPY t FROM STDIN CSV", pairs(20000, ",", "\n")},
		{"COPY t FROM STDIN CSV HEADER", "a,b\n" + pairs(20000, ",", "\n")},
		{"COPY t FROM STDIN ENCODING 'iso-8859-1'", strings.Repeat("1\tcaf\xe9\n", 20000)},
	} {
		if o := b.sameRows(c.sql, c.data); o.err != nil || o.lost != nil {
			t.Errorf("%s: %s", c.sql, o)
		}
		b.wantMetric(float64(i+1), "pgbulk_loads_total", "engine", "greenplum", "result", "ok")
	}
	for _, data := range []string{pairs(20000, "\t", "\n") + "x\ty\n", pairs(5000, "\t", "\n") + "1\n" + pairs(5000, "\t", "\n")} {
		if o := b.sameRows("COPY t FROM STDIN", data); o.err == nil {
			t.Errorf("bad data is taken: %s", o)
		}
	}
	b.wantSwept()
}

// lossy changes what is put; nil keeps nothing.
type lossy struct {
	store.Full
	change func(key string, data []byte) []byte
}

func (l lossy) Put(ctx context.Context, key string, c store.Content) error {
	data, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	if err != nil {
		return err
	}
	changed := l.change(key, data)
	if changed == nil {
		return nil
	}
	return l.Full.Put(ctx, key, bytes.NewReader(changed))
}

// TestSegmentsLoseRows has the segments lose rows without an error, in every way
// that is known. The count shows each, and the load goes natively: the client gets
// what COPY gives.
func TestSegmentsLoseRows(t *testing.T) {
	last := func(key string) bool { return strings.HasSuffix(key, "/00002.txt") }
	for name, change := range map[string]func(key string, data []byte) []byte{
		"missing prefix": func(string, []byte) []byte { return nil },
		"missing file": func(key string, data []byte) []byte {
			if last(key) {
				return nil
			}
			return data
		},
		"cut at a row": func(key string, data []byte) []byte {
			if last(key) {
				return data[:bytes.IndexByte(data, '\n')+1]
			}
			return data
		},
		"end marker":        func(_ string, data []byte) []byte { return append([]byte("0\tx\n\\.\n"), data...) },
		"gzip cut short":    func(_ string, data []byte) []byte { return halfZipped(data) },
		"a row is doubled":  func(_ string, data []byte) []byte { return append([]byte("0\tx\n"), data...) },
		"nothing in a file": func(string, []byte) []byte { return []byte{} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newSegmentsBed(t, Options{WrapStore: func(s store.Full) store.Full { return lossy{s, change} }})
			must(t, b.direct(), "CREATE TABLE t (a int, b text)")
			if o := b.sameRows("COPY t FROM STDIN", pairs(20000, "\t", "\n")); o.err != nil || o.lost != nil {
				t.Error(o)
			}
			b.wantMetric(1, "pgbulk_fallbacks_total", "reason", "count")
		})
	}
}

// halfZipped is gzip of the data, that ends behind half of its rows.
func halfZipped(data []byte) []byte {
	half := bytes.LastIndexByte(data[:len(data)/2], '\n') + 1
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(data[:half])
	_ = w.Flush() // into memory
	return out.Bytes()
}

// TestSegmentsBackslash: a backslash before the end of a line ends the row for
// Greenplum, for PostgreSQL it does not. Rows are counted in the latter's way.
func TestSegmentsBackslash(t *testing.T) {
	b := newSegmentsBed(t, Options{})
	must(t, b.direct(), "CREATE TABLE t (a int, b text)")
	data := pairs(3000, "\t", "\n")
	b.sameRows("COPY t FROM STDIN", data+"1\tx\\\n2\ty\n"+data)
	b.wantMetric(1, "pgbulk_fallbacks_total")
}

// TestSegmentsFail: where the segments reach neither store nor proxy, loads go
// natively.
func TestSegmentsFail(t *testing.T) {
	b := newPlainBed(t, testenv.Greenplum(t), Options{}, func(c *config.Config) {
		c.Engine, c.ServiceDSN = "greenplum", ""
		c.Greenplum = config.Greenplum{Reader: config.ReaderS3, Listen: "127.0.0.1:0", Advertise: "127.0.0.1:1"}
		c.Stage.MinBytes, c.Stage.FileBytes = 0, 64<<10
	})
	must(t, b.direct(), "CREATE TABLE t (a int, b text)")
	if o := b.sameRows("COPY t FROM STDIN", pairs(5000, "\t", "\n")); o.err != nil {
		t.Error(o)
	}
	b.wantMetric(1, "pgbulk_fallbacks_total", "reason", "engine")
}

// The commands that kill a segment of the cluster and bring it back.
const (
	killCommand   = "PGBULK_TEST_GREENPLUM_KILL"
	reviveCommand = "PGBULK_TEST_GREENPLUM_REVIVE"
)

func runCommand(t testing.TB, variable string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if out, err := osexec.CommandContext(ctx, "/bin/sh", "-c", os.Getenv(variable)).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", variable, err, out)
	}
}
