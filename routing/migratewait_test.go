package routing

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// running is a migration under way.
type running struct {
	b       *pairBed
	waiting chan string // what it waits for, whenever it says so
	done    chan struct{}
	result  *MigrateResult
	err     error
	cancel  context.CancelFunc
}

// start starts a migration in a goroutine, which ends with the test.
func (b *pairBed) start(o MigrateOptions) *running {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	r := &running{b: b, waiting: make(chan string, 1), done: make(chan struct{}), cancel: cancel}
	o.Notify = func(p MigrateProgress) {
		if p.Waiting != "" {
			select {
			case <-r.waiting: // nobody has read the last one
			default:
			}
			r.waiting <- p.Waiting
		}
	}
	conn := b.migrator()
	go func() {
		defer close(r.done)
		r.result, r.err = Migrate(ctx, conn, pairT, o)
	}()
	b.t.Cleanup(func() { cancel(); <-r.done })
	return r
}

// waits waits until it waits for that.
func (r *running) waits(what string) {
	r.b.t.Helper()
	for {
		select {
		case got := <-r.waiting:
			if got == what {
				return
			}
		case <-r.done:
			r.b.t.Fatalf("it is over, and never waited for %s: %v", what, r.err)
		}
	}
}

// ends waits for its end, which is to be good.
func (r *running) ends() {
	r.b.t.Helper()
	if <-r.done; r.err != nil {
		r.b.t.Fatal(r.err)
	}
	for _, f := range r.result.Failed {
		r.b.t.Error(f)
	}
}

// TestMigrateWaitsForLoads: a load that had begun before has placed its rows by
// the old routes; it ends first.
func TestMigrateWaitsForLoads(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 10, "1")
	l := b.newLoad()
	l.must("BEGIN; SELECT pg_advisory_xact_lock_shared(" + rewrite.TableLock(b.oid()) + ")")
	m := b.start(MigrateOptions{Threshold: 10})
	m.waits("loads into public.t")
	l.must(l.insert("1", "VALUES (1, 'early')"))
	l.must("COMMIT")
	m.ends()
	b.expect("1:0+11", "1")
}

// TestMigrateWaitsForDirectWriters: a transaction that wrote before, without the
// proxy or when it did not know the table, may have put rows anywhere.
func TestMigrateWaitsForDirectWriters(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 10, "1")
	l := b.newLoad()
	l.must("BEGIN; INSERT INTO t (group_id) VALUES (1)")
	m := b.start(MigrateOptions{Threshold: 10})
	m.waits("loads into public.t")
	l.must("COMMIT")
	m.ends()
	b.expect("1:0+11", "1")
}

// TestMigrateAndGroups: while a load of group 1 is under way, group 1 waits for
// it, group 2 does not, and loads of other groups are not held up.
func TestMigrateAndGroups(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 10, "1", "2")
	b.fill("t", 5, "3")
	// The marks of an earlier run, which was killed.
	b.exec("INSERT INTO pgbulk.routing_moving SELECT 't'::regclass, g, true FROM unnest('{1,2}'::text[]) g")
	l := b.newLoad()
	b.exec("BEGIN")
	b.exec("SELECT pg_advisory_xact_lock_shared(hashtextextended('1', " + l.oid + "))")
	m := b.start(MigrateOptions{Threshold: 10, BatchRows: 1})
	m.waits("loads of group 1")
	l.must(l.begin("READ COMMITTED"))
	l.must(l.insert("3", "VALUES (3, 'other')"))
	l.must("COMMIT")
	b.exec("COMMIT")
	m.ends()
	b.expect("1:0+10; 2:0+10; 3:6+0", "1,2")
}

// TestMigrateBatchTakesFreeGroups: one group of a batch is in use; the migration
// holds none while it waits for it.
func TestMigrateBatchTakesFreeGroups(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 12, "1")
	b.fill("t", 11, "2")
	b.fill("t", 10, "3")
	oid := b.ask("SELECT 't'::regclass::oid")
	b.exec("BEGIN")
	b.exec("SELECT pg_advisory_xact_lock_shared(hashtextextended('2', " + oid + "))")
	m := b.start(MigrateOptions{Threshold: 10})
	m.waits("loads of group 2")
	if got := b.ask(where); got != "1:0+12; 2:11+0; 3:0+10" {
		t.Errorf("rows are %q", got)
	}
	// What a load would do that has rows of all three.
	b.exec("SELECT pg_advisory_xact_lock_shared(hashtextextended(g, " + oid + ")) FROM unnest('{1,2,3}'::text[]) g")
	b.exec("COMMIT")
	m.ends()
	b.expect("1:0+12; 2:0+11; 3:0+10", "1,2,3")
}

// TestMigrateSecondWaits: of two migrations of one table, one waits for the other.
func TestMigrateSecondWaits(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 10, "1", "2")
	l := b.newLoad()
	l.must(l.begin("READ COMMITTED"))
	first := b.start(MigrateOptions{Threshold: 10})
	first.waits("loads into public.t")
	second := b.start(MigrateOptions{Back: true})
	second.waits("another migration of public.t")
	l.must("COMMIT")
	first.ends()
	second.ends()
	if first.result.Groups != 2 || second.result.Groups != 2 {
		t.Errorf("moved %d and %d groups", first.result.Groups, second.result.Groups)
	}
	b.expect("1:10+0; 2:10+0", "")
}

// TestMigrateInterrupted: at the end of its context it undoes the group at hand,
// and leaves no marks and no locks.
func TestMigrateInterrupted(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 10, "1")
	b.fill("t", 9, "2")
	writer := b.newLoad()
	oid := writer.oid
	b.exec("BEGIN")
	b.exec("SELECT pg_advisory_xact_lock_shared(hashtextextended('2', " + oid + "))")
	m := b.start(MigrateOptions{Threshold: 9, BatchRows: 1})
	m.waits("loads of group 2")
	m.cancel()
	<-m.done
	if !errors.Is(m.err, context.Canceled) || m.result.Groups != 1 {
		t.Errorf("error %v, %d groups moved", m.err, m.result.Groups)
	}
	b.exec("COMMIT")
	b.expect("1:0+10; 2:9+0", "1")
}

// TestMigrateInterruptedInside: the same in the middle of a group's INSERT.
func TestMigrateInterruptedInside(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, `CREATE FUNCTION slow(bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
		IF $1 = 5 THEN PERFORM pg_notify('inside', ''); PERFORM pg_sleep(60); END IF; RETURN true; END $$;`+
		plainPair+"ALTER TABLE t_relyt_massive_group ADD CHECK (slow(id));")
	b.fill("t", 10, "1")
	m := b.start(MigrateOptions{Threshold: 10})
	for b.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") != "1" {
		select {
		case <-m.done:
			t.Fatal(m.err)
		default:
		}
	}
	m.cancel()
	<-m.done
	if !errors.Is(m.err, context.Canceled) {
		t.Errorf("error %v", m.err)
	}
	b.expect("1:10+0", "")
}

// TestMigrateBusyRows: a program that changes a row of the group directly, and
// commits, only delays it; its change is moved.
func TestMigrateBusyRows(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 10, "1")
	// After the drain: the mark is there, the move not begun.
	oid := b.ask("SELECT 't'::regclass::oid")
	b.exec("BEGIN")
	b.exec("SELECT pg_advisory_xact_lock_shared(hashtextextended('1', " + oid + "))")
	m := b.start(MigrateOptions{Threshold: 10})
	m.waits("loads of group 1")
	l := b.newLoad()
	l.must("BEGIN; UPDATE t SET v = 'changed' WHERE id = 3")
	b.exec("COMMIT")
	m.waits("changes in public.t")
	l.must("COMMIT")
	m.ends()
	b.expect("1:0+10", "1")
	if got := b.ask("SELECT v FROM t_relyt_massive_group WHERE id = 3"); got != "changed" {
		t.Errorf("v is %q", got)
	}
}

// TestMigrateOldSnapshot: a load whose snapshot is older than the move fails.
func TestMigrateOldSnapshot(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 10, "1")
	l := b.newLoad()
	l.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
	b.migrate(MigrateOptions{Threshold: 10})
	if err := l.run("SELECT pgbulk.routing_enter('t'::regclass)"); codeOf(err) != "40001" {
		t.Errorf("error %v", err)
	}
	l.must("ROLLBACK")
	// And one that waited for the group.
	l.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pgbulk.routing_enter('t'::regclass)")
	b.migrate(MigrateOptions{Back: true})
	if err := l.run("SELECT pgbulk.routing_enter('t'::regclass)"); codeOf(err) != "40001" {
		t.Errorf("error %v", err)
	}
}

// TestMigrateAwaitsProxies: small INSERTs pass by a proxy that does not know.
func TestMigrateAwaitsProxies(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 10, "1")
	asked := 0
	r := b.migrate(MigrateOptions{Threshold: 10, Unseen: func(_ context.Context, table string) ([]string, error) {
		if asked++; table != "t" || b.ask(where) != "1:10+0" {
			t.Errorf("asked for %q, rows %s", table, b.ask(where))
		}
		if asked < 3 {
			return []string{"other"}, nil
		}
		return nil, nil
	}})
	if asked != 3 || r.Groups != 1 {
		t.Errorf("asked %d times, moved %d", asked, r.Groups)
	}
}

// TestMigratePatience: who has other things to do gives up a wait.
func TestMigratePatience(t *testing.T) {
	t.Parallel()
	b := newPairBed(t, plainPair)
	b.fill("t", 10, "1")
	l := b.newLoad()
	l.must(l.begin("READ COMMITTED"))
	o := MigrateOptions{Threshold: 10, Patience: time.Millisecond}
	if _, err := Migrate(t.Context(), b.migrator(), pairT, o); codeOf(err) != "55P03" {
		t.Errorf("error %v", err)
	}
	first := b.start(MigrateOptions{Threshold: 10})
	first.waits("loads into public.t")
	if _, err := Migrate(t.Context(), b.migrator(), pairT, o); codeOr(err) != "55P03" {
		t.Errorf("error %v", err)
	}
	l.must("COMMIT")
	first.ends()
	b.expect("1:0+10", "1")
}
