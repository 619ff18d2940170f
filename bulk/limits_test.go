package bulk

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

var (
	etl = Owner{"etl", "shop"}
	app = Owner{"app", "shop"}
	ops = Owner{"ops", "logs"}
)

// TestQuotaLimits: each of the three limits holds, and what was given back can be
// taken again.
func TestQuotaLimits(t *testing.T) {
	t.Parallel()
	q := newQuota(Limit{All: 4, Role: 2, Database: 3})
	for _, step := range []struct {
		who  Owner
		want bool
	}{{etl, true}, {etl, true}, {etl, false}, {app, true}, {app, false}, {ops, true}, {ops, false}} {
		if got := q.try(step.who, 1); got != step.want {
			t.Errorf("%v: %v", step.who, got)
		}
	}
	if used, _, refused := q.state(); used != 4 || refused != 3 {
		t.Errorf("%d in use, %d refused", used, refused)
	}
	q.release(etl, 1)
	if !q.try(app, 1) {
		t.Error("what was given back is gone")
	}
	q.force(etl, 5)
	for who, n := range map[Owner]int64{etl: 6, app: 2, ops: 1} {
		q.release(who, n)
	}
	if used, _, _ := q.state(); used != 0 || len(q.roles)+len(q.databases) != 0 {
		t.Errorf("%d in use, of %v and %v", used, q.roles, q.databases)
	}
}

// TestQuotaWaits: who waits is served in order, but is not held up by one whose
// own limit is reached; and a wait ends with its context.
func TestQuotaWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(Limit{All: 2, Role: 1})
		got := make(chan Owner, 4)
		wait := func(ctx context.Context, who Owner) {
			go func() {
				if err := q.acquire(ctx, who); err == nil {
					got <- who
				}
			}()
			synctest.Wait()
		}
		wait(t.Context(), etl)
		wait(t.Context(), etl) // waits for the role's
		wait(t.Context(), app)
		wait(t.Context(), ops) // waits for everybody's
		ctx, cancel := context.WithCancelCause(t.Context())
		left := make(chan error, 1)
		go func() { left <- q.acquire(ctx, ops) }()
		synctest.Wait()
		if len(got) != 2 || <-got != etl || <-got != app {
			t.Fatal("the first two were not served")
		}
		if _, waiting, _ := q.state(); waiting != 3 {
			t.Errorf("%d wait", waiting)
		}
		reason := errors.New("gone")
		cancel(reason)
		if err := <-left; !errors.Is(err, reason) {
			t.Error(err)
		}
		q.release(app, 1) // etl is the first that waits, and may not yet
		synctest.Wait()
		if len(got) != 1 || <-got != ops {
			t.Error("a role at its limit has held up another")
		}
		q.release(etl, 1)
		synctest.Wait()
		if len(got) != 1 || <-got != etl {
			t.Error("who waited was not served")
		}
		if used, waiting, _ := q.state(); used != 2 || waiting != 0 {
			t.Errorf("%d in use, %d wait", used, waiting)
		}
	})
}

// TestMemoryOfRole: files of a role that has its part go to disk, others' do not.
func TestMemoryOfRole(t *testing.T) {
	t.Parallel()
	mem := NewMemory(8*slabSize, true, t.TempDir())
	mem.shares.limit = Limit{Role: 2 * slabSize}
	data := pattern(3 * slabSize)
	for who, spooled := range map[Owner]bool{etl: true, app: true, {}: true} {
		h := newHeld(mem.of(who), 1)
		if err := h.Append(data); err != nil {
			t.Fatal(err)
		}
		if (h.disk != nil) != spooled {
			t.Errorf("%v: spooled is %v", who, h.disk != nil)
		}
		other := newHeld(mem.of(ops), 1)
		if err := other.Append(data[:2*slabSize]); err != nil || other.disk != nil {
			t.Errorf("another role was spooled: %v", err)
		}
		readAround(t, h, data)
		other.release()
		h.release()
	}
	if used, _, _ := mem.shares.state(); mem.left != 8*slabSize || used != 0 {
		t.Errorf("%d bytes are left, %d in use", mem.left, used)
	}
}

// TestOverdraw: what can't be spooled goes beyond the budget by half, and files
// wait on disk until it is back.
func TestOverdraw(t *testing.T) {
	t.Parallel()
	mem := NewMemory(4*slabSize, true, t.TempDir())
	if !mem.Overdraw(6*slabSize) || mem.Overdraw(1) || mem.Reserve(1) || mem.take() != nil {
		t.Error("the overdraft is not half of the budget")
	}
	mem.Return(6 * slabSize)
	if s := mem.take(); s == nil {
		t.Error("nothing is left")
	}
}

// TestFileBytes: files get smaller where many loads share the memory, but not too
// small.
func TestFileBytes(t *testing.T) {
	t.Parallel()
	l := &Loader{cfg: Config{FileBytes: 64 << 20}, mem: NewMemory(256<<20, true, ""), running: newQuota(Limit{})}
	for _, test := range []struct{ loads, mib int64 }{{0, 64}, {1, 64}, {2, 32}, {5, 12}, {50, 8}} {
		l.running.used = test.loads
		if got := l.fileBytes() >> 20; got != test.mib {
			t.Errorf("%d loads: files of %d MiB, want %d", test.loads, got, test.mib)
		}
	}
}
