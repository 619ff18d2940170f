package bulk

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/transcode"
)

// Owner is whose a load is: the role that the client has logged in as, and its
// database.
type Owner struct{ Role, Database string }

// Limit is how much there may be of something at a time: over all sessions, of
// each role, and in each database. 0 is no limit.
type Limit struct{ All, Role, Database int64 }

// Limits bound what loads take. Bytes in memory and uploads have further limits
// over all sessions, of Memory and of the store.
type Limits struct {
	// Loads is how many run at a time. One that would be too many is not begun,
	// unless only a load can do what it is to do. It does not wait: it holds
	// locks in the server that those which run may wait for.
	Loads Limit
	// Memory is how many bytes of files are kept in memory; All is not used.
	Memory Limit
	// Uploads is how many files go up at a time; All is not used.
	Uploads Limit
	// Workers is how many goroutines work on the bytes of loads at a time. All has
	// the number of processors by default.
	Workers Limit
}

// The resources of Limits, in metrics.
const (
	limitLoads   = "loads"
	limitMemory  = "memory"
	limitUploads = "uploads"
	limitWorkers = "workers"
)

// quota counts what is in use of one resource. Who waits is served in order, but
// one that its own role or database holds up holds up no other.
type quota struct {
	limit Limit

	mu        sync.Mutex
	used      int64
	roles     map[string]int64
	databases map[string]int64
	waiting   []*waiter
	refused   int64
}

type waiter struct {
	who   Owner
	ready chan struct{}
}

func newQuota(l Limit) *quota {
	return &quota{limit: l, roles: make(map[string]int64), databases: make(map[string]int64)}
}

// fits says whether n more are within the limits. It holds q.mu.
func (q *quota) fits(who Owner, n int64) bool {
	within := func(used, limit int64) bool { return limit == 0 || used+n <= limit }
	return within(q.used, q.limit.All) && within(q.roles[who.Role], q.limit.Role) && within(q.databases[who.Database], q.limit.Database)
}

// add counts n more, or fewer. It holds q.mu.
func (q *quota) add(who Owner, n int64) {
	q.used += n
	for _, at := range []struct {
		used map[string]int64
		name string
	}{{q.roles, who.Role}, {q.databases, who.Database}} {
		if at.used[at.name] += n; at.used[at.name] == 0 {
			delete(at.used, at.name) // names come and go
		}
	}
}

// try takes n, without waiting, where they are within the limits.
func (q *quota) try(who Owner, n int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.fits(who, n) {
		q.refused++
		return false
	}
	q.add(who, n)
	return true
}

// refuse counts what something else has refused.
func (q *quota) refuse() {
	q.mu.Lock()
	q.refused++
	q.mu.Unlock()
}

// force takes n whatever the limits are.
func (q *quota) force(who Owner, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(who, n)
}

// acquire takes one, and waits for it if it must.
func (q *quota) acquire(ctx context.Context, who Owner) error {
	q.mu.Lock()
	if q.fits(who, 1) {
		q.add(who, 1)
		q.mu.Unlock()
		return nil
	}
	w := &waiter{who, make(chan struct{})}
	q.waiting = append(q.waiting, w)
	q.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if at := slices.Index(q.waiting, w); at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
	} else {
		q.drop(who, 1) // it was given meanwhile
	}
	return context.Cause(ctx)
}

// release gives n back.
func (q *quota) release(who Owner, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(who, n)
}

// drop is release with q.mu held.
func (q *quota) drop(who Owner, n int64) {
	q.add(who, -n)
	q.waiting = slices.DeleteFunc(q.waiting, func(w *waiter) bool {
		if !q.fits(w.who, 1) {
			return false
		}
		q.add(w.who, 1)
		close(w.ready)
		return true
	})
}

// state is what the metrics show.
func (q *quota) state() (used, waiting, refused int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used, int64(len(q.waiting)), q.refused
}

// ErrLimited says that as many loads run as may.
var ErrLimited = errors.New("as many loads run as limits allow")

// enter counts a load among those that run.
func (l *Loader) enter(s *Spec) error {
	switch {
	case !s.Relayable:
		l.running.force(s.Owner, 1)
	case !l.running.try(s.Owner, 1):
		return ErrLimited
	}
	return nil
}

// HasRoom says whether another load may begin just now.
func (l *Loader) HasRoom(who Owner) bool {
	l.running.mu.Lock()
	defer l.running.mu.Unlock()
	return l.running.fits(who, 1)
}

// Sizes of files when many loads share the memory. filesHeld is how many of one load
// are in memory at a time, or nearly so; below leastFile what each file costs the
// server and the store counts more than its rows.
const (
	filesHeld = 4
	leastFile = 8 << 20
)

// fileBytes is the size of files, so that those of all loads have room in memory
// as far as they can.
func (l *Loader) fileBytes() int64 {
	used, _, _ := l.running.state()
	return min(l.cfg.FileBytes, max(l.mem.size/(filesHeld*max(used, 1)), leastFile))
}

// turn does a piece of work on the load's bytes, no more than a fraction of a
// millisecond of it, when it is its turn. What waits for anything is not to be done
// in it. Without turns the goroutines of loads, each of which can be busy for
// as long as it is let, keep those from the processors that relay single rows.
func (ld *Load) turn(work func()) error {
	if err := ld.l.workers.acquire(ld.ctx, ld.spec.Owner); err != nil {
		return err
	}
	defer ld.l.workers.release(ld.spec.Owner, 1)
	work()
	return nil
}

// turningLimits are those of transcoding, with turns.
func (ld *Load) turningLimits() transcode.Limits {
	l := ld.l.turning
	l.Slots = &turns{l.Slots, ld}
	return l
}

// turns are the slots of transcoding with a turn for each.
type turns struct {
	transcode.Slots
	ld *Load
}

// Acquire implements transcode.Slots.
func (t *turns) Acquire(ctx context.Context, n int64) error {
	if err := t.Slots.Acquire(ctx, n); err != nil {
		return err
	}
	err := t.ld.l.workers.acquire(ctx, t.ld.spec.Owner)
	if err != nil {
		t.Slots.Release(n)
	}
	return err
}

// Release implements transcode.Slots.
func (t *turns) Release(n int64) {
	t.ld.l.workers.release(t.ld.spec.Owner, 1)
	t.Slots.Release(n)
}
