package proxy

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// keeping has rows put into S3 also where nobody reads them there.
func keeping(c *config.Config) { c.Sweep.Keep = config.KeepAlways }

// TestUnread: without a ledger a COPY is relayed, a large INSERT is streamed, and what
// has to be a load is one without files, unless they are asked for.
func TestUnread(t *testing.T) {
	t.Parallel()
	b := newPlainBed(t, testenv.Postgres(t), Options{}, func(c *config.Config) {
		c.Engine, c.ServiceDSN, c.Stage.MinBytes, c.Insert.StageBytes = "plain", "", 0, 0
	})
	must(t, b.direct(), createT)
	b.unread()
	upsert := b.proxied()
	if o := copyIn(upsert, "COPY t FROM STDIN (ON_CONFLICT update)", bytes.NewReader(textRows(5000))); o.tag != "COPY 5000" {
		t.Error(o)
	}
	must(t, upsert, "TRUNCATE t; SET pgbulk.max_error_records = 1")
	if o := copyIn(upsert, copyText, bytes.NewReader(append(textRows(5000), "bad\n"...))); o.tag != "COPY 5000" {
		t.Error(o)
	}
	b.wantMetric(2, "pgbulk_loads_total", "result", "ok")
	b.wantMetric(0, "pgbulk_bytes_total", "leg", "store")
	b.sameIn(copyText, textRows(5000), "SET pgbulk.mode = force", "")
	b.wantMetric(float64(len(textRows(5000))), "pgbulk_bytes_total", "leg", "store")
	b.wantSwept()
}

// TestUnreadGreenplum: it is the same there, where there is never a ledger.
func TestUnreadGreenplum(t *testing.T) {
	t.Parallel()
	b := newPlainBed(t, testenv.Greenplum(t), Options{}, func(c *config.Config) {
		c.Engine, c.ServiceDSN, c.Stage.MinBytes, c.Insert.StageBytes = "greenplum", "", 0, 0
	})
	must(t, b.direct(), createT)
	b.unread()
	b.wantMetric(0, "pgbulk_loads_total")
	b.wantMetric(0, "pgbulk_bytes_total", "leg", "store")
}

// unread loads table t by COPYs and by an INSERT.
func (b *bed) unread() {
	b.t.Helper()
	b.same(copyText, textRows(5000))
	b.sameIn(copyText, append(textRows(5000), "bad\n"...), "BEGIN", "ROLLBACK")
	b.sameIn(copyText, textRows(5000), "BEGIN; SAVEPOINT a", "ROLLBACK TO a; COMMIT")
	b.wantMetric(3, "pgbulk_statements_total", "kind", "copy", "decision", "pass", "reason", "no_store")
	c := b.proxied()
	must(b.t, c, "TRUNCATE t")
	values := generate(1000, func(i int) string { return fmt.Sprintf(", (%d, 'b')", i) })
	must(b.t, c, "INSERT INTO t VALUES (-1, 'a')"+string(values))
	b.wantMetric(1, "pgbulk_statements_total", "kind", "insert", "decision", "stream")
	if got := must(b.t, c, "SELECT count(*) FROM t"); got != "1001" {
		b.t.Errorf("%s rows", got)
	}
}
