package bulk

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// newTableBed is newBed for a load through a temporary table.
func newTableBed(t *testing.T) *bed {
	b := newBed(t)
	b.spec.Inspection.Definitions = []string{"pg_catalog.text"}
	b.spec.Decision.Method = rewrite.MethodTable
	b.spec.Decision.Ext = rewrite.Extensions{OnConflict: rewrite.ConflictNothing, ConflictTarget: []string{"a"}}
	return b
}

// TestCancelBeforeInsert: a cancel between the COPY and the INSERT, which the
// server does not see, ends the INSERT. So it does where a server passes one on only
// when it has had no other for a while, as Greenplum's coordinator.
func TestCancelBeforeInsert(t *testing.T) {
	t.Parallel()
	for _, quiet := range []time.Duration{0, 150 * time.Millisecond} {
		t.Run(quiet.String(), func(t *testing.T) { t.Parallel(); testCancelBeforeInsert(t, quiet) })
	}
}

func testCancelBeforeInsert(t *testing.T, quiet time.Duration) {
	b := newTableBed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ld, err := b.Begin(ctx, b.spec, b.sess)
	if err != nil {
		t.Fatal(err)
	}
	b.sess.mu.Lock()
	b.sess.rules = []rule{{match: "INSERT INTO", wait: true, quiet: quiet, err: errUser}}
	b.sess.mu.Unlock()
	b.sess.onEnd = func() {
		ld.Cancel()
		<-b.sess.cancels // the COPY is over: the server ignores it
	}
	if err := ld.writeLines(3); err != nil {
		t.Fatal(err)
	}
	if _, err := ld.Finish(t.Context(), CopyDone()); pgerr.As(err) == nil || pgerr.As(err).Code() != pgerr.QueryCanceled {
		t.Errorf("the load ended with %v", err)
	}
	b.end(t)
	if got := b.sess.history(); !strings.HasSuffix(got, "ROLLBACK") {
		t.Errorf("on the session ran\n%s", got)
	}
}

// TestTimeoutOfInsert: the INSERT has what is left of the statement's time, and
// what comes behind it the whole again.
func TestTimeoutOfInsert(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		passed      time.Duration
		least, most int
	}{{time.Hour, 1, 1}, {10 * time.Second, 20_000, 50_000}} {
		b := newTableBed(t)
		b.spec.Inspection.StatementTimeout = time.Minute
		b.spec.Started = time.Now().Add(-tc.passed)
		ld := b.begin(t)
		b.sess.mu.Lock()
		b.sess.rules = []rule{{match: "INSERT INTO", rows: "3"}}
		b.sess.mu.Unlock()
		if err := ld.writeLines(3); err != nil {
			t.Fatal(err)
		}
		if _, err := ld.Finish(t.Context(), CopyDone()); err != nil {
			t.Fatal(err)
		}
		b.end(t)
		_, set, _ := strings.Cut(b.sess.history(), "\nSET LOCAL statement_timeout = ")
		digits, rest, _ := strings.Cut(set, "; ")
		if n := int(parseCount(digits)); n < tc.least || n > tc.most {
			t.Errorf("after %s the INSERT has %s ms", tc.passed, digits)
		}
		if line, _, _ := strings.Cut(rest, "\n"); !strings.HasPrefix(line, "INSERT INTO") || !strings.HasSuffix(line, "; SET LOCAL statement_timeout = 60000") {
			t.Errorf("the INSERT is %s", line)
		}
	}
}
