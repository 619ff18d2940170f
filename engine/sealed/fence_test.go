package sealed_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/engine/sealed"
)

const other = "proxy-2"

func (d *depot) register(owner string) {
	d.t.Helper()
	if err := d.ledger.Register(d.t.Context(), checkpoint.Proxy{Owner: owner, Host: "h", PID: 2}, time.Hour); err != nil {
		d.t.Fatal(err)
	}
}

// orphan finds a load among the orphans.
func (d *depot) orphan(l sealed.Staged) (checkpoint.Orphan, bool) {
	d.t.Helper()
	all, err := d.ledger.Orphans(d.t.Context(), 1000)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, o := range all {
		if o.ProcessID == l.ProcessID {
			return o, true
		}
	}
	return checkpoint.Orphan{}, false
}

// orphaned ends the first owner's lease and returns its load, an orphan now.
func (d *depot) orphaned(l sealed.Staged) checkpoint.Orphan {
	d.t.Helper()
	if err := d.ledger.Release(d.t.Context(), owner); err != nil {
		d.t.Fatal(err)
	}
	o, found := d.orphan(l)
	if !found || o.Fence != first(l) || o.Ack != checkpoint.AckStaged {
		d.t.Fatalf("the orphan is %+v, %v", o, found)
	}
	return o
}

// held makes imports into own.t wait at their end, as long as the returned
// session holds its advisory lock.
func (d *depot) held() *pgx.Conn {
	d.t.Helper()
	d.trap("PERFORM pg_advisory_xact_lock_shared(1)")
	conn := d.pg.Connect(d.t, d.db, "postgres")
	mustExec(d.t, conn, "SELECT pg_advisory_lock(1)")
	return conn
}

// awaitWaiter returns when n sessions wait for a lock of that type.
func (d *depot) awaitWaiter(kind string, n int) {
	d.t.Helper()
	for d.value("SELECT (count(*) >= "+fmt.Sprint(n)+")::text FROM pg_locks WHERE NOT granted AND locktype = '"+kind+"' AND pid IN "+
		"(SELECT pid FROM pg_stat_activity WHERE datname = '"+d.db+"')") != "true" {
		if d.t.Context().Err() != nil {
			d.t.Fatal("nobody waits")
		}
	}
}

// TestFencePausedOwner: a proxy that lost its lease, and its load, comes back.
func TestFencePausedOwner(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	l := d.stage(d.own, "t", "1\tx\n")
	conn := d.pg.Connect(t, d.db, d.service)
	paused := d.importSQL(conn, l, first(l)) // made, not sent
	o := d.orphaned(l)
	if _, err := d.ledger.Take(t.Context(), o, other); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("taken without a lease: %v", err)
	}
	d.register(other)
	f, err := d.ledger.Take(t.Context(), o, other)
	if err != nil || f != (checkpoint.Fence{ProcessID: l.ProcessID, Owner: other, Epoch: 1}) {
		t.Fatalf("took %+v, %v", f, err)
	}
	if status, err := d.ledger.Settle(t.Context(), checkpoint.Outcome{ProcessID: l.ProcessID, Status: checkpoint.Completed, Fence: &f}); err != nil || status != checkpoint.Running {
		t.Fatalf("settled as %s, %v", status, err)
	}
	if err := exec(t, conn, paused); code(err) != checkpoint.FenceCode {
		t.Errorf("the old owner's import: %v", err)
	}
	_, _ = d.ledger.Fail(t.Context(), first(l), checkpoint.Failure{Message: "m", Retry: -1})
	if err := d.ledger.Attempt(t.Context(), first(l)); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("the old owner's attempt: %v", err)
	}
	d.register(owner)
	if _, err := d.ledger.Take(t.Context(), o, owner); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("taken from a proxy that lives: %v", err)
	}
	sql := d.importSQL(conn, l, f)
	mustExec(t, conn, sql)
	d.want("SELECT count(*)::text FROM own.t", "1")
	d.wantStatus(l, "COMPLETED", "IMPORTED")
}

// TestFenceHoldsOffTakers: while the old owner's import is under way nobody takes
// the load, cancels it or says how it ended; all that waits for the commit.
func TestFenceHoldsOffTakers(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	lock := d.held()
	d.register(other)
	l := d.stage(d.own, "t", "1\tx\n")
	conn := d.pg.Connect(t, d.db, d.service)
	sql := d.importSQL(conn, l, first(l))
	var g errgroup.Group
	g.Go(func() error { return exec(t, conn, sql) })
	d.awaitWaiter("advisory", 1)
	o := d.orphaned(l)
	if f, err := d.ledger.Take(t.Context(), o, other); !errors.Is(err, checkpoint.ErrFenced) {
		t.Errorf("took %+v, %v in the middle of its import", f, err)
	}
	statuses := [2]checkpoint.Status{}
	g.Go(func() (err error) {
		statuses[0], err = d.ledger.Fail(t.Context(), first(l), checkpoint.Failure{Message: "connection lost", Retry: time.Second})
		return err
	})
	g.Go(func() (err error) {
		statuses[1], err = d.ledger.Cancel(t.Context(), l.ProcessID)
		return err
	})
	d.awaitWaiter("transactionid", 1)
	d.awaitWaiter("tuple", 1) // the second waits behind the first
	mustExec(t, lock, "SELECT pg_advisory_unlock(1)")
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if statuses != [2]checkpoint.Status{checkpoint.Completed, checkpoint.Completed} {
		t.Errorf("the import committed; Fail and Cancel say %v", statuses)
	}
	if _, found := d.orphan(l); found {
		t.Error("a load that is in is an orphan")
	}
	d.want("SELECT count(*)::text FROM own.t", "1")
	d.wantStatus(l, "COMPLETED", "IMPORTED")
}

// TestFenceAfterBackendDied: the import was cut off before its COMMIT, and the
// taker loads what it has not.
func TestFenceAfterBackendDied(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	lock := d.held()
	d.register(other)
	l := d.stage(d.own, "t", "1\tx\n")
	conn := d.pg.Connect(t, d.db, d.service)
	sql := d.importSQL(conn, l, first(l))
	var g errgroup.Group
	g.Go(func() error {
		if err := exec(t, conn, sql); code(err) != "57P01" {
			return fmt.Errorf("the import ended: %w", err)
		}
		return nil
	})
	d.awaitWaiter("advisory", 1)
	mustExec(t, d.admin, fmt.Sprintf("SELECT pg_terminate_backend(%d)", conn.PgConn().PID()))
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if status, err := d.ledger.Fail(t.Context(), first(l), checkpoint.Failure{Message: "connection lost", Retry: 0}); err != nil || status != checkpoint.Running {
		t.Errorf("Fail says %s, %v", status, err)
	}
	mustExec(t, lock, "SELECT pg_advisory_unlock(1)")
	f, err := d.ledger.Take(t.Context(), d.orphaned(l), other)
	if err != nil {
		t.Fatal(err)
	}
	conn = d.pg.Connect(t, d.db, d.service)
	mustExec(t, conn, d.importSQL(conn, l, f))
	d.want("SELECT count(*)::text FROM own.t", "1")
}

// TestFenceManyTakers: proxies without any lease worth the name fight for loads;
// each load is imported once.
func TestFenceManyTakers(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	const loads, proxies = 12, 4
	byID := map[string]sealed.Staged{}
	for i := range loads {
		l := d.stage(d.own, "t", fmt.Sprintf("%d\tx\n", i))
		byID[l.ProcessID] = l
	}
	if err := d.ledger.Release(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for i := range proxies {
		me := fmt.Sprintf("fighter-%d", i)
		conn := d.pg.Connect(t, d.db, d.service)
		g.Go(func() error { return d.fight(t.Context(), me, conn, byID) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	d.want("SELECT count(*) || ' ' || count(DISTINCT a) FROM own.t", "12 12")
	d.want("SELECT (max(epoch) > 1)::text FROM pgbulk.load", "true")
}

// fight takes all it can, with a lease that ends at once, and then imports it,
// until nothing is under way.
func (d *depot) fight(ctx context.Context, me string, conn *pgx.Conn, byID map[string]sealed.Staged) error {
	for {
		orphans, err := d.ledger.Orphans(ctx, 100)
		if err != nil || len(orphans) == 0 {
			return err
		}
		var mine []checkpoint.Fence
		for _, o := range orphans {
			if err := d.ledger.Register(ctx, checkpoint.Proxy{Owner: me}, 3*time.Millisecond); err != nil {
				return err
			}
			f, err := d.ledger.Take(ctx, o, me)
			if err == nil {
				mine = append(mine, f)
			} else if !errors.Is(err, checkpoint.ErrFenced) {
				return err
			}
		}
		for _, f := range mine {
			err := exec(d.t, conn, d.importSQL(conn, byID[f.ProcessID], f))
			if err != nil && code(err) != checkpoint.FenceCode {
				return err
			}
		}
	}
}
