// Package checkpointtest is the conformance suite of ledgers.
package checkpointtest

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

// Config is what the suite runs against.
type Config struct {
	Ledger checkpoint.Ledger
	// Import commits the import row of a file, as the function in the client's
	// transaction does.
	Import func(ctx context.Context, processID string, file int) error
	// Stage commits the staged row of a load of two files, with the keys and
	// figures of file, into a table.
	Stage func(ctx context.Context, f checkpoint.Fence, relid uint32) error
	// Finish commits the import of a staged load.
	Finish func(ctx context.Context, f checkpoint.Fence) error
}

// Run runs the suite. Other loads may be in the ledger.
func Run(t *testing.T, c Config) {
	for name, run := range map[string]func(*testing.T, Config){
		"settle": settle, "settle again": settleAgain, "unknown load": unknown, "odd texts": oddTexts,
		"due and swept": due, "due in order": dueInOrder, "many at once": many, "ended context": endedContext,
		"leases": leases, "queue": queue, "decided": decided, "settle staged": settleStaged, "adopted": adopted, "due and staged": dueStaged,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); run(t, c) })
	}
}

// begin records a load with so many frozen files, of which some are imported.
func (c Config) begin(t testing.TB, frozen, imported int) string {
	t.Helper()
	id := uuid.NewString()
	if err := c.beginAs(t.Context(), id, frozen, imported); err != nil {
		t.Fatal(err)
	}
	return id
}

func (c Config) beginAs(ctx context.Context, id string, frozen, imported int) error {
	now := time.Now()
	err := c.Ledger.Begin(ctx, checkpoint.Load{ProcessID: id, Database: "db", Role: "nobody", Schema: "public", Table: "t", Owner: "test", Started: now})
	if err != nil {
		return err
	}
	for i := range frozen {
		if err := c.Ledger.Freeze(ctx, file(id, i+1)); err != nil {
			return err
		}
	}
	for i := range imported {
		if err := c.Import(ctx, id, i+1); err != nil {
			return err
		}
	}
	return nil
}

// File is the file that the suite records under a number.
func File(id string, n int) checkpoint.File { return file(id, n) }

func file(id string, n int) checkpoint.File {
	key := fmt.Sprintf("p/%s/%d", id, n)
	return checkpoint.File{ProcessID: id, Number: n, Key: key, URL: "s3://b/" + key, Records: 5, Bytes: 50, CRC32C: 0xFFFFFFFF, Created: time.Now()}
}

func (c Config) wantStatus(t testing.TB, o checkpoint.Outcome, want checkpoint.Status) {
	t.Helper()
	got, err := c.Ledger.Settle(t.Context(), o)
	if err != nil || got != want {
		t.Errorf("%+v: got %s, %v, want %s", o, got, err, want)
	}
}

// settle: the import rows decide.
func settle(t *testing.T, c Config) {
	for _, x := range []struct {
		frozen, imported, files int
		status, want            checkpoint.Status
	}{
		{2, 2, 0, checkpoint.Completed, checkpoint.Completed},
		{2, 2, 2, checkpoint.Completed, checkpoint.Completed},
		{2, 2, 0, checkpoint.Failed, checkpoint.Completed}, // the answer to COMMIT was lost
		{2, 2, 0, checkpoint.Cancelled, checkpoint.Completed},
		{2, 0, 0, checkpoint.Completed, checkpoint.Cancelled},
		{2, 1, 0, checkpoint.Completed, checkpoint.Cancelled},
		{2, 2, 3, checkpoint.Completed, checkpoint.Cancelled}, // the third was neither recorded nor imported
		{1, 2, 2, checkpoint.Completed, checkpoint.Completed}, // a Freeze was lost
		{0, 0, 0, checkpoint.Completed, checkpoint.Cancelled},
		{0, 0, 0, checkpoint.Failed, checkpoint.Failed},
		{2, 1, 0, checkpoint.Failed, checkpoint.Failed},
		{2, 0, 0, checkpoint.Cancelled, checkpoint.Cancelled},
	} {
		id := c.begin(t, x.frozen, x.imported)
		for range 2 {
			c.wantStatus(t, checkpoint.Outcome{ProcessID: id, Status: x.status, Files: x.files, Message: "why"}, x.want)
		}
	}
}

// settleAgain: the first outcome stays, unless the import rows turn up.
func settleAgain(t *testing.T, c Config) {
	id := c.begin(t, 1, 0)
	c.wantStatus(t, checkpoint.Outcome{ProcessID: id, Status: checkpoint.Cancelled}, checkpoint.Cancelled)
	c.wantStatus(t, checkpoint.Outcome{ProcessID: id, Status: checkpoint.Failed, Message: "late"}, checkpoint.Cancelled)
	if err := c.Import(t.Context(), id, 1); err != nil {
		t.Fatal(err)
	}
	c.wantStatus(t, checkpoint.Outcome{ProcessID: id, Status: checkpoint.Failed}, checkpoint.Completed)
	c.wantStatus(t, checkpoint.Outcome{ProcessID: id, Status: checkpoint.Cancelled}, checkpoint.Completed)
	if err := c.beginAs(t.Context(), id, 1, 0); err != nil {
		t.Errorf("the same load again: %v", err)
	}
	c.wantStatus(t, checkpoint.Outcome{ProcessID: id, Status: checkpoint.Failed}, checkpoint.Completed)
}

func unknown(t *testing.T, c Config) {
	if _, err := c.Ledger.Settle(t.Context(), checkpoint.Outcome{ProcessID: uuid.NewString(), Status: checkpoint.Failed}); err == nil {
		t.Error("an unknown load is settled")
	}
	for _, status := range []checkpoint.Status{"", checkpoint.Running, "completed"} {
		if _, err := c.Ledger.Settle(t.Context(), checkpoint.Outcome{ProcessID: c.begin(t, 0, 0), Status: status}); err == nil {
			t.Errorf("a load ends as %q", status)
		}
	}
	if err := c.Ledger.MarkSwept(t.Context(), uuid.NewString()); err != nil {
		t.Error(err)
	}
	if err := c.Ledger.MarkSwept(t.Context()); err != nil {
		t.Error(err)
	}
}

// oddTexts: what clients call their things must not stop the bookkeeping.
func oddTexts(t *testing.T, c Config) {
	const odd = "caf\xe9 \x00 '\"\\ é日😀\n"
	id := uuid.NewString()
	if err := c.Ledger.Begin(t.Context(), checkpoint.Load{ProcessID: id, Database: odd, Role: odd, Schema: odd, Table: odd, Owner: odd, Started: time.Now()}); err != nil {
		t.Error(err)
	}
	f := file(id, 1)
	f.Key, f.URL = odd, odd
	if err := c.Ledger.Freeze(t.Context(), f); err != nil {
		t.Error(err)
	}
	c.wantStatus(t, checkpoint.Outcome{ProcessID: id, Status: checkpoint.Failed, Message: odd}, checkpoint.Failed)
}

// keys returns what Due says of these loads.
func (c Config) keys(t testing.TB, before time.Time, ids ...string) map[string][]string {
	t.Helper()
	all, err := c.Ledger.Due(t.Context(), before, 100000)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, s := range all {
		for _, id := range ids {
			if s.ProcessID == id {
				found[id] = append([]string{}, s.Keys...)
			}
		}
	}
	return found
}

func due(t *testing.T, c Config) {
	running, done, failed, empty := c.begin(t, 1, 1), c.begin(t, 2, 2), c.begin(t, 1, 0), c.begin(t, 0, 0)
	ids := []string{running, done, failed, empty}
	future, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	if got := c.keys(t, future, ids...); len(got) != 0 {
		t.Errorf("loads that run are due: %v", got)
	}
	for _, id := range ids[1:] {
		if _, err := c.Ledger.Settle(t.Context(), checkpoint.Outcome{ProcessID: id, Status: checkpoint.Failed}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string][]string{
		done:   {file(done, 1).Key, file(done, 2).Key},
		failed: {file(failed, 1).Key},
		empty:  {},
	}
	if got := c.keys(t, future, ids...); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := c.keys(t, past, ids...); len(got) != 0 {
		t.Errorf("loads that ended later are due: %v", got)
	}
	for range 2 {
		if err := c.Ledger.MarkSwept(t.Context(), running, done, empty); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.keys(t, future, ids...); len(got) != 1 || got[failed] == nil {
		t.Errorf("after the sweep %v are due", got)
	}
	c.wantStatus(t, checkpoint.Outcome{ProcessID: running, Status: checkpoint.Failed}, checkpoint.Completed)
	if got := c.keys(t, future, running); len(got) != 1 {
		t.Error("a load was marked while it ran")
	}
	if err := c.Ledger.MarkSwept(t.Context(), running, failed); err != nil {
		t.Fatal(err)
	}
}

// dueInOrder: oldest first, and no more than asked for.
func dueInOrder(t *testing.T, c Config) {
	var ids []string
	for range 3 {
		id := c.begin(t, 1, 0)
		c.wantStatus(t, checkpoint.Outcome{ProcessID: id, Status: checkpoint.Failed}, checkpoint.Failed)
		ids = append(ids, id)
	}
	all, err := c.Ledger.Due(t.Context(), time.Now().Add(time.Hour), 100000)
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	for _, s := range all {
		if next < len(ids) && s.ProcessID == ids[next] {
			next++
		}
	}
	if next != len(ids) {
		t.Errorf("found %d of the loads in order", next)
	}
	if some, err := c.Ledger.Due(t.Context(), time.Now().Add(time.Hour), 2); err != nil || len(some) != 2 {
		t.Errorf("%d loads, %v, want 2", len(some), err)
	}
}

// many runs 50 whole loads side by side.
func many(t *testing.T, c Config) {
	var g errgroup.Group
	for range 50 {
		g.Go(func() error {
			id := uuid.NewString()
			if err := c.beginAs(t.Context(), id, 3, 3); err != nil {
				return err
			}
			got, err := c.Ledger.Settle(t.Context(), checkpoint.Outcome{ProcessID: id, Status: checkpoint.Completed})
			if err == nil && got != checkpoint.Completed {
				err = fmt.Errorf("load %s is %s", id, got)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func endedContext(t *testing.T, c Config) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	id := c.begin(t, 0, 0)
	_, settleErr := c.Ledger.Settle(ctx, checkpoint.Outcome{ProcessID: id, Status: checkpoint.Failed})
	_, dueErr := c.Ledger.Due(ctx, time.Now(), 1)
	for name, err := range map[string]error{
		"begin":  c.Ledger.Begin(ctx, checkpoint.Load{ProcessID: uuid.NewString()}),
		"freeze": c.Ledger.Freeze(ctx, file(id, 1)), "settle": settleErr, "due": dueErr, "swept": c.Ledger.MarkSwept(ctx, id),
	} {
		if err == nil {
			t.Errorf("%s ignores its context", name)
		}
	}
}
