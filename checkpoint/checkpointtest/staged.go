package checkpointtest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// proxy registers a proxy of its own.
func (c Config) proxy(t testing.TB) string {
	t.Helper()
	owner := "proxy-" + uuid.NewString()
	if err := c.Ledger.Register(t.Context(), checkpoint.Proxy{Owner: owner, Host: "café\x00", PID: 7}, time.Hour); err != nil {
		t.Fatal(err)
	}
	return owner
}

// load begins a load of owner's.
func (c Config) load(t testing.TB, owner string, ack checkpoint.Ack) checkpoint.Fence {
	t.Helper()
	f := checkpoint.Fence{ProcessID: uuid.NewString(), Owner: owner}
	err := c.Ledger.Begin(t.Context(), checkpoint.Load{ProcessID: f.ProcessID, Database: "db", Role: "nobody", Schema: "public", Table: "t",
		Owner: owner, Started: time.Now(), Ack: ack, Label: "l"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// staged begins a load of owner's and commits that it is staged, with two files.
func (c Config) staged(t testing.TB, owner string, relid uint32) checkpoint.Fence {
	t.Helper()
	f := c.load(t, owner, checkpoint.AckStaged)
	if err := c.Stage(t.Context(), f, relid); err != nil {
		t.Fatal(err)
	}
	return f
}

func (c Config) orphan(t testing.TB, f checkpoint.Fence) *checkpoint.Orphan {
	t.Helper()
	all, err := c.Ledger.Orphans(t.Context(), 100000)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if o.ProcessID == f.ProcessID {
			return &o
		}
	}
	return nil
}

// leases: a load is an orphan as long as its owner has no lease.
func leases(t *testing.T, c Config) {
	ctx := t.Context()
	if err := c.Ledger.Renew(ctx, "nobody", time.Hour); !errors.Is(err, checkpoint.ErrNoLease) {
		t.Errorf("renewed what was never registered: %v", err)
	}
	a, b := c.proxy(t), c.proxy(t)
	f := c.load(t, a, checkpoint.AckLoaded)
	if o := c.orphan(t, f); o != nil {
		t.Errorf("an orphan while its owner lives: %+v", o)
	}
	if _, err := c.Ledger.Take(ctx, checkpoint.Orphan{Fence: f}, b); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("took a load that is no orphan: %v", err)
	}
	if err := c.Ledger.Renew(ctx, a, -time.Second); err != nil {
		t.Fatal(err)
	}
	o := c.orphan(t, f)
	if o == nil || o.Fence != f || o.Ack != checkpoint.AckLoaded {
		t.Fatalf("the orphan is %+v", o)
	}
	if err := c.Ledger.Renew(ctx, a, time.Hour); err != nil || c.orphan(t, f) != nil {
		t.Errorf("a lease that passed can't be renewed: %v", err)
	}
	for range 2 {
		if err := c.Ledger.Release(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Ledger.Take(ctx, *o, "nobody"); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("took a load without a lease: %v", err)
	}
	taken, err := c.Ledger.Take(ctx, *o, b)
	if err != nil || taken != (checkpoint.Fence{ProcessID: f.ProcessID, Owner: b, Epoch: 1}) {
		t.Fatalf("took %+v, %v", taken, err)
	}
	if _, err := c.Ledger.Take(ctx, *o, c.proxy(t)); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("took a load twice: %v", err)
	}
	outcome := checkpoint.Outcome{ProcessID: f.ProcessID, Status: checkpoint.Completed, Message: "the proxy was lost", Fence: &f}
	if status, err := c.Ledger.Settle(ctx, outcome); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("the old owner settled it as %s, %v", status, err)
	}
	outcome.Fence = &taken
	c.wantStatus(t, outcome, checkpoint.Cancelled)
	if c.orphan(t, f) != nil {
		t.Error("a settled load is an orphan")
	}
}

// wantHeads demands owner's heads, in order.
func (c Config) wantHeads(t testing.TB, owner string, want ...checkpoint.Fence) []checkpoint.Staged {
	t.Helper()
	got, err := c.Ledger.Heads(t.Context(), owner)
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	for i, f := range want {
		if got[i].Fence != f {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	return got
}

func (c Config) wantFail(t testing.TB, f checkpoint.Fence, retry time.Duration, want checkpoint.Status) {
	t.Helper()
	status, err := c.Ledger.Fail(t.Context(), f, checkpoint.Failure{Message: "no", SQLState: "57014", Retry: retry})
	if err != nil || status != want {
		t.Errorf("failed: %s, %v, want %s", status, err, want)
	}
}

// queue: the loads of a table one after the other, whoever they belong to.
func queue(t *testing.T, c Config) {
	ctx, a, b := t.Context(), c.proxy(t), c.proxy(t)
	first, second, third, elsewhere := c.staged(t, a, 1), c.staged(t, b, 1), c.staged(t, a, 1), c.staged(t, a, 2)
	got, f := c.wantHeads(t, a, first, elsewhere)[0], file(first.ProcessID, 2)
	c.wantHeads(t, b)
	f.Created = time.Time{}
	if len(got.Files) != 2 || got.Files[1] != f || got.Attempts != 0 || got.Wait != 0 ||
		got.Role != "nobody" || got.Database != "db" || got.Schema != "public" || got.Table != "t" {
		t.Errorf("got %+v", got)
	}
	for range 2 {
		if err := c.Ledger.Attempt(ctx, first); err != nil {
			t.Fatal(err)
		}
	}
	c.wantFail(t, first, time.Minute, checkpoint.Running)
	got = c.wantHeads(t, a, first, elsewhere)[0]
	if got.Attempts != 2 || got.Wait < 50*time.Second || got.Wait > time.Minute {
		t.Errorf("after an attempt: %+v", got)
	}
	c.wantFail(t, first, -1, checkpoint.Failed)
	c.wantHeads(t, a, elsewhere)
	c.wantHeads(t, b, second)
	if err := c.Ledger.Attempt(ctx, first); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("an attempt of a load that failed: %v", err)
	}
	// Once more, before those behind it.
	c.manual(t, "retry", first, checkpoint.Running)
	if got = c.wantHeads(t, a, first, elsewhere)[0]; got.Attempts != 0 || got.Wait != 0 {
		t.Errorf("after a retry: %+v", got)
	}
	c.wantHeads(t, b)
	if err := c.Finish(ctx, first); err != nil {
		t.Fatal(err)
	}
	c.wantFail(t, first, time.Minute, checkpoint.Completed) // the commit was not heard of
	c.wantHeads(t, b, second)
	c.manual(t, "cancel", second, checkpoint.Cancelled)
	c.wantHeads(t, b)
	c.wantHeads(t, a, third, elsewhere)
}

// decided: what a person can do about a load depends on its state.
func decided(t *testing.T, c Config) {
	a := c.proxy(t)
	in, gone := c.staged(t, a, 6), c.staged(t, a, 7)
	if err := c.Finish(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c.manual(t, "cancel", gone, checkpoint.Cancelled)
	}
	c.manual(t, "retry", gone, checkpoint.Cancelled)
	c.manual(t, "retry", in, checkpoint.Completed)
	c.manual(t, "cancel", in, checkpoint.Completed)
	if _, err := c.Ledger.Fail(t.Context(), gone, checkpoint.Failure{}); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("failed after it was cancelled: %v", err)
	}
	c.manual(t, "cancel", c.load(t, a, checkpoint.AckLoaded), checkpoint.Running)
	c.manual(t, "retry", c.load(t, a, checkpoint.AckStaged), checkpoint.Running)
}

// manual does what a person can do to a load.
func (c Config) manual(t testing.TB, what string, f checkpoint.Fence, want checkpoint.Status) {
	t.Helper()
	do := c.Ledger.Retry
	if what == "cancel" {
		do = c.Ledger.Cancel
	}
	if status, err := do(t.Context(), f.ProcessID); err != nil || status != want {
		t.Errorf("%s: %s, %v, want %s", what, status, err, want)
	}
	if _, err := do(t.Context(), uuid.NewString()); !errors.Is(err, checkpoint.ErrUnknownLoad) {
		t.Errorf("%s of an unknown load: %v", what, err)
	}
}

// settleStaged: the staged row decides, and then the import.
func settleStaged(t *testing.T, c Config) {
	a := c.proxy(t)
	for _, said := range []checkpoint.Status{checkpoint.Completed, checkpoint.Failed, checkpoint.Cancelled} {
		f := c.staged(t, a, 3)
		c.wantStatus(t, checkpoint.Outcome{ProcessID: f.ProcessID, Status: said, Files: 2}, checkpoint.Running)
		if err := c.Finish(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		c.wantStatus(t, checkpoint.Outcome{ProcessID: f.ProcessID, Status: said, Files: 2}, checkpoint.Completed)

		f = c.load(t, a, checkpoint.AckStaged)
		want := said
		if said == checkpoint.Completed {
			want = checkpoint.Cancelled
		}
		c.wantStatus(t, checkpoint.Outcome{ProcessID: f.ProcessID, Status: said}, want)
		if err := c.Stage(t.Context(), f, 3); err == nil {
			t.Error("staged after it was given up")
		}
		c.wantStatus(t, checkpoint.Outcome{ProcessID: f.ProcessID, Status: said}, want)
	}
}

// adopted: the Begin of a staged load was lost, and its proxy, too.
func adopted(t *testing.T, c Config) {
	a, b := c.proxy(t), c.proxy(t)
	f := checkpoint.Fence{ProcessID: uuid.NewString(), Owner: a}
	if err := c.Stage(t.Context(), f, 4); err != nil {
		t.Fatal(err)
	}
	if err := c.Ledger.Release(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	c.orphan(t, f)
	o := c.orphan(t, f)
	if o == nil || o.Fence != f || o.Ack != checkpoint.AckStaged {
		t.Fatalf("the orphan is %+v", o)
	}
	taken, err := c.Ledger.Take(t.Context(), *o, b)
	if err != nil {
		t.Fatal(err)
	}
	if heads, err := c.Ledger.Heads(t.Context(), b); err != nil || len(heads) != 1 || heads[0].Fence != taken || len(heads[0].Files) != 2 {
		t.Errorf("heads %+v, %v", heads, err)
	}
}

// dueStaged: the files of a staged load stay until it is imported or cancelled.
func dueStaged(t *testing.T, c Config) {
	a, future := c.proxy(t), time.Now().Add(time.Hour)
	waits, failed, in, gone := c.staged(t, a, 5), c.staged(t, a, 5), c.staged(t, a, 5), c.staged(t, a, 5)
	if _, err := c.Ledger.Fail(t.Context(), failed, checkpoint.Failure{Message: "no", Retry: -1}); err != nil {
		t.Fatal(err)
	}
	if err := c.Finish(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	c.manual(t, "cancel", gone, checkpoint.Cancelled)
	got := c.keys(t, future, waits.ProcessID, failed.ProcessID, in.ProcessID, gone.ProcessID)
	if len(got) != 2 || len(got[in.ProcessID]) != 2 || len(got[gone.ProcessID]) != 2 {
		t.Errorf("due are %v", got)
	}
	// A file that was never frozen is due, too.
	created := c.load(t, a, checkpoint.AckLoaded)
	if err := c.Ledger.Create(t.Context(), file(created.ProcessID, 1)); err != nil {
		t.Fatal(err)
	}
	c.wantStatus(t, checkpoint.Outcome{ProcessID: created.ProcessID, Status: checkpoint.Failed}, checkpoint.Failed)
	if got := c.keys(t, future, created.ProcessID); len(got[created.ProcessID]) != 1 {
		t.Errorf("due are %v", got)
	}
}
