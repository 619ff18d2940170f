package proxy

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/config"
)

// TestPulledClientDies: a client that dies while segments wait for its data leaves
// no row and no stream.
func TestPulledClientDies(t *testing.T) {
	t.Parallel()
	b := newPullBed(t, func(c *config.Config) { c.Stage.FileBytes = 64 << 10 })
	c := b.proxied()
	must(t, c, "CREATE TABLE t (a int, b text) DISTRIBUTED BY (a)")
	dying, never := b.proxied(), make(chan struct{})
	defer close(never)
	go copyIn(dying, "COPY t FROM STDIN", io.MultiReader(strings.NewReader(pullData(1, 30_000)), after(never)))
	eventually(t, time.Minute, func() string {
		if b.metric(t, "pgbulk_gpfdist_streams") != 1 {
			return "nothing is pulled"
		}
		return ""
	})
	_ = dying.Conn().Close()
	eventually(t, time.Minute, func() string {
		if b.metric(t, "pgbulk_gpfdist_streams") != 0 {
			return "a stream is left"
		}
		return ""
	})
	if got := must(t, c, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows", got)
	}
}
