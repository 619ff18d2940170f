package bulk

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// timeoutSQL is what makes the server say that a statement timed out.
const timeoutSQL = "SET LOCAL statement_timeout = 1; SELECT pg_catalog.pg_sleep(3600)"

// reached waits until the session's log has a line that contains text.
func (b *bed) reached(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if strings.Contains(b.sess.history(), text) {
			return
		}
		wait := time.NewTimer(time.Millisecond)
		<-wait.C
	}
	t.Fatalf("%q was not reached:\n%s", text, b.sess.history())
}

// interrupted waits for the load to say that it has failed.
func (b *bed) interrupted(t *testing.T, code string) {
	t.Helper()
	select {
	case e := <-b.failed:
		if e.Code() != code {
			t.Errorf("the load was interrupted by %v", e)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("the load goes on:\n%s", b.sess.history())
	}
}

// fails ends a load with the error that it has, and checks that.
func (b *bed) fails(t *testing.T, ld *Load, err error, code string) {
	t.Helper()
	if err := ld.Fail(t.Context(), err); pgerr.As(err) == nil || pgerr.As(err).Code() != code {
		t.Errorf("the load ended with %v", err)
	}
	b.end(t)
}

// feedUntil writes lines until the load fails.
func feedUntil(t *testing.T, ld *Load) error {
	t.Helper()
	for range 1000 {
		if err := ld.writeLines(2); err != nil {
			return err
		}
	}
	t.Fatal("the load takes everything")
	return nil
}

// TestCancelWhileLoading: the file under way is undone, and the server meets the
// cancel in the client's own COPY, at the next data.
func TestCancelWhileLoading(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.sess.rules = []rule{{match: "OPEN 1", wait: true, at: 2, err: errUser}}
	ld := b.begin(t)
	if err := ld.writeLines(2); err != nil {
		t.Fatal(err)
	}
	b.reached(t, "OPEN 1")
	ld.Cancel()
	err := feedUntil(t, ld)
	b.interrupted(t, pgerr.QueryCanceled)
	b.fails(t, ld, err, pgerr.QueryCanceled)
	b.want(t, first, "cancel", back, native, "cancel", "ROLLBACK")
}

// TestCancelWhileWaiting: no statement runs, and the client sends nothing.
func TestCancelWhileWaiting(t *testing.T) {
	t.Parallel()
	for _, inBlock := range []bool{false, true} {
		b := newBed(t)
		b.spec.InBlock = inBlock
		ld := b.begin(t)
		if err := ld.writeLines(3); err != nil {
			t.Fatal(err)
		}
		b.reached(t, "OPEN 1")
		ld.Cancel()
		b.reached(t, "COPY:")
		err := feedUntil(t, ld)
		b.interrupted(t, pgerr.QueryCanceled)
		b.fails(t, ld, err, pgerr.QueryCanceled)
		want := []string{first, "RELEASE", continuation, "cancel", "ROLLBACK"}
		if inBlock {
			want = want[:4]
		}
		b.want(t, want...)
	}
}

// TestCancelDuringCopy goes to the server.
func TestCancelDuringCopy(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.spec.Decision.Method = rewrite.MethodCopy
	ld := b.begin(t)
	b.reached(t, native)
	for !ld.busy.Load() {
		<-time.After(time.Millisecond)
	}
	ld.Cancel()
	err := feedUntil(t, ld)
	b.fails(t, ld, err, pgerr.QueryCanceled)
	if got := b.sess.history(); !strings.HasPrefix(got, native+"\ncancel") || !strings.HasSuffix(got, "ROLLBACK") {
		t.Errorf("history:\n%s", got)
	}
}

// TestTimeoutWhileLoading: the transaction has to be usable again before the
// server can be made to say that the statement timed out.
func TestTimeoutWhileLoading(t *testing.T) {
	t.Parallel()
	for _, inBlock := range []bool{false, true} {
		b := newBed(t)
		b.spec.InBlock = inBlock
		b.spec.Inspection.StatementTimeout = 50 * time.Millisecond
		b.sess.rules = []rule{
			{match: "OPEN 1", wait: true, at: 2, err: errUser},
			{match: "statement_timeout", at: 1, err: pgerr.New("57014", "canceling statement due to statement timeout")},
		}
		ld := b.begin(t)
		if err := ld.writeLines(2); err != nil {
			t.Fatal(err)
		}
		b.interrupted(t, pgerr.QueryCanceled)
		b.fails(t, ld, ld.failure(), pgerr.QueryCanceled)
		want := []string{first, "cancel", back, timeoutSQL, "ROLLBACK"}
		if inBlock {
			want = want[:4]
		}
		b.want(t, want...)
	}
}

func TestTimeoutWhileWaiting(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.spec.Inspection.StatementTimeout = 20 * time.Millisecond
	b.sess.rules = []rule{{match: "statement_timeout", at: 1, err: pgerr.New("57014", "canceling statement due to statement timeout")}}
	ld := b.begin(t)
	b.interrupted(t, pgerr.QueryCanceled)
	b.fails(t, ld, ld.failure(), pgerr.QueryCanceled)
	b.want(t, timeoutSQL, "ROLLBACK")
}

// TestFail: an error of the session's own ends the load; in a block that fails
// the block, though the server has seen no error.
func TestFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		inBlock bool
		method  rewrite.Method
		want    []string
	}{
		{false, rewrite.MethodExternal, []string{first, "ROLLBACK"}},
		{true, rewrite.MethodExternal, []string{first, "BACK_failed"}},
		{false, rewrite.MethodCopy, []string{native, "end f: " + string(lines(2)), "ROLLBACK"}},
		{true, rewrite.MethodCopy, []string{native, "end f: " + string(lines(2)), "BACK_failed"}},
	} {
		b := newBed(t)
		b.spec.InBlock, b.spec.Decision.Method = c.inBlock, c.method
		ld := b.begin(t)
		if err := ld.writeLines(2); err != nil {
			t.Fatal(err)
		}
		if c.method == rewrite.MethodCopy {
			b.fed(t, ld)
		} else {
			b.reached(t, "OPEN 1")
		}
		b.fails(t, ld, pgerr.New("53200", "out of memory"), "53200")
		// Whether a cancel goes out, too, depends on who is first.
		b.sess.log = slices.DeleteFunc(b.sess.log, func(l string) bool { return l == "cancel" })
		b.want(t, c.want...)
	}
}

// fed waits until the load has put its first file into the COPY.
func (b *bed) fed(t *testing.T, ld *Load) {
	t.Helper()
	b.reached(t, native)
	for deadline := time.Now().Add(10 * time.Second); len(ld.slots) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the file is not taken")
		}
		<-time.After(time.Millisecond)
	}
}

// TestCancelThenFail: the client's cancel is on its way when the session gives
// up; the COPY on the server is ended in good order.
func TestCancelThenFail(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.spec.Decision.Method = rewrite.MethodCopy
	ld := b.begin(t)
	if err := ld.writeLines(2); err != nil {
		t.Fatal(err)
	}
	b.fed(t, ld)
	ld.stopOnce.Do(func() { ld.cause = errCancelled; close(ld.stopped) })
	b.fails(t, ld, pgerr.New("53200", "out of memory"), pgerr.QueryCanceled)
	if got := b.sess.history(); !strings.Contains(got, "end f: ") {
		t.Errorf("history:\n%s", got)
	}
}

// TestAbort ends a load in each state: nothing hangs, nothing is left.
func TestAbort(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, until string
		rule        rule
		lines       int
	}{
		{"at once", "", rule{match: "none"}, 0},
		{"while waiting", "OPEN 1", rule{match: "none"}, 3},
		{"while loading", "OPEN 1", rule{match: "OPEN 1", wait: true, err: errUser}, 8},
		{"in the copy", "COPY:", rule{match: "OPEN 1", err: boom("38000"), at: 1}, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.sess.rules = []rule{c.rule}
			ld := b.begin(t)
			if err := ld.writeLines(c.lines); err != nil {
				t.Fatal(err)
			}
			b.reached(t, c.until)
			ld.Abort()
			b.end(t)
			if strings.Contains(b.sess.history(), "COMMIT") {
				t.Error("committed")
			}
		})
	}
}

// TestBackPressure: a client that is ahead waits, and goes on when the load
// fails or ends.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.cfg.Ahead = 2
	b.sess.rules = []rule{{match: "OPEN 1", wait: true, at: 2, err: errUser}}
	ctx, cancel := context.WithCancelCause(t.Context())
	ld, err := b.Begin(ctx, b.spec, b.sess)
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- ld.writeLines(100) }()
	b.reached(t, "OPEN 1")
	for len(ld.slots) < cap(ld.slots) {
		<-time.After(time.Millisecond)
	}
	gone := errors.New("client is gone")
	cancel(gone)
	if err := <-written; !errors.Is(err, gone) {
		t.Errorf("Write ended with %v", err)
	}
	ld.Abort()
	b.end(t)
}

// TestKeepAlive: while the client sends nothing, the session's idle timeouts
// are met by empty statements.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.spec.Inspection.IdleInTransactionTimeout = 30 * time.Millisecond
	b.spec.Inspection.IdleSessionTimeout = time.Hour
	alive := make(chan struct{}, 100)
	b.sess.onExec = func(sql string) {
		if sql == "" {
			alive <- struct{}{}
		}
	}
	ld := b.begin(t)
	for range 3 {
		select {
		case <-alive:
		case <-time.After(10 * time.Second):
			t.Fatal("no empty statement came")
		}
	}
	if n, err := ld.Finish(t.Context(), CopyDone()); n != 0 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	b.end(t)
}

// TestBracket: where not the COPY of a file has failed but what sets its savepoint,
// there is nothing to go back to: the savepoint is that of the file before, or none.
func TestBracket(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		savepoint, loaded bool
		completed         int
		want              bool
	}{
		{false, false, 0, true},
		{false, false, 1, false},
		{true, true, 0, true},
		{true, true, 1, true},
		{true, true, 2, false},
		{true, false, 0, false},
	} {
		s := &fakeSession{rules: []rule{{match: "COPY:", err: &StartError{Completed: c.completed, Err: errUser}}}}
		ld := &Load{sess: s, ctx: t.Context()}
		ld.run.savepoint, ld.run.loaded = c.savepoint, c.loaded
		_, err := ld.copyBehind("COPY t FROM STDIN", func(Copy) error { return nil })
		if errors.Is(err, errBracket) != c.want || pgerr.As(err) == nil {
			t.Errorf("%s, %d completed: %v", s.history(), c.completed, err)
		}
	}
}
