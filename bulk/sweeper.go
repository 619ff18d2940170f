package bulk

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Sweeper deletes the files of loads that have ended, after a grace period: a
// server that still reads one is not disturbed, and a person can look at them.
type Sweeper struct {
	store    store.Store
	grace    time.Duration
	interval time.Duration
	ledgers  func() []checkpoint.Ledger
	log      *slog.Logger

	mu   sync.Mutex
	due  []sweep // in order of time
	wake chan struct{}
}

type sweep struct {
	at    time.Time
	keys  []string
	swept func(context.Context) error
}

// NewSweeper returns a Sweeper. Besides what is scheduled it asks the ledgers,
// every interval, for loads of proxies that ended before they had swept.
// ledgers may be nil.
func NewSweeper(st store.Store, grace, interval time.Duration, ledgers func() []checkpoint.Ledger, log *slog.Logger) *Sweeper {
	return &Sweeper{
		store: st, grace: grace, interval: max(interval, time.Second), ledgers: ledgers, log: log,
		wake: make(chan struct{}, 1),
	}
}

// Schedule deletes keys after the grace period, and calls swept, if it is not
// nil, when that is done. Keys under which nothing exists are fine.
func (s *Sweeper) Schedule(keys []string, swept func(context.Context) error) {
	s.insert(sweep{time.Now().Add(s.grace), keys, swept})
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) {
	orphans := time.NewTicker(s.interval)
	defer orphans.Stop()
	for {
		next := s.sweepDue(ctx, time.Now())
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		case <-orphans.C:
			timer.Stop()
			s.sweepLedgers(ctx)
		}
	}
}

// Flush deletes everything that is scheduled, without waiting for the grace
// period: the proxy ends. Each load is tried once.
func (s *Sweeper) Flush(ctx context.Context) {
	s.mu.Lock()
	due := s.due
	s.due = nil
	s.mu.Unlock()
	for _, d := range due {
		if err := s.delete(ctx, d.keys, d.swept); err != nil {
			s.log.Warn("sweep files at the end", "files", len(d.keys), "error", err)
		}
	}
}

// idle is how long Run waits when nothing is due.
const idle = time.Hour

// sweepDue deletes what is due at now, and returns the time until the next.
func (s *Sweeper) sweepDue(ctx context.Context, now time.Time) time.Duration {
	for {
		s.mu.Lock()
		if len(s.due) == 0 {
			s.mu.Unlock()
			return idle
		}
		first := s.due[0]
		if first.at.After(now) {
			s.mu.Unlock()
			return first.at.Sub(now)
		}
		s.due = s.due[1:]
		s.mu.Unlock()
		if err := s.delete(ctx, first.keys, first.swept); err != nil {
			s.log.Warn("sweep files, trying again later", "files", len(first.keys), "error", err)
			s.insert(sweep{time.Now().Add(max(s.grace, s.interval)), first.keys, first.swept})
			return s.interval
		}
	}
}

// insert puts a sweep in its place in time: a second try may be due later than
// what is scheduled after it.
func (s *Sweeper) insert(one sweep) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := len(s.due)
	for i > 0 && s.due[i-1].at.After(one.at) {
		i--
	}
	s.due = slices.Insert(s.due, i, one)
}

func (s *Sweeper) delete(ctx context.Context, keys []string, swept func(context.Context) error) error {
	if err := s.store.Delete(ctx, keys...); err != nil {
		return err
	}
	if swept == nil {
		return nil
	}
	return swept(ctx)
}

// batch bounds one look at a ledger.
const batch = 100

// sweepLedgers deletes the files of settled loads that nobody has swept.
func (s *Sweeper) sweepLedgers(ctx context.Context) {
	if s.ledgers == nil {
		return
	}
	for _, l := range s.ledgers() {
		loads, err := l.Due(ctx, time.Now().Add(-2*s.grace-s.interval), batch)
		if err != nil {
			s.log.Warn("ask the ledger what to sweep", "error", err)
			continue
		}
		for _, ld := range loads {
			err := s.delete(ctx, ld.Keys, func(ctx context.Context) error { return l.MarkSwept(ctx, ld.ProcessID) })
			if err != nil {
				s.log.Warn("sweep files of an old load", "load", ld.ProcessID, "error", err)
			}
		}
	}
}
