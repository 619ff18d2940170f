package bulk

import (
	"bytes"
	"context"
	"log/slog"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
	"github.com/pgbulkproxy/pgbulkproxy/store"
)

// Sweeper deletes the files of loads that have ended, after a grace period: a
// server that still reads one is not disturbed, and a person can look at them.
type Sweeper struct {
	// Keep leaves the files of loads that succeeded where they are, and puts a
	// manifest beside them; only loads in a ledger can be kept.
	Keep bool
	// Labels is how long the ledgers remember labels; zero is for ever.
	Labels time.Duration
	// Uploads, unless nil, ends the uploads in parts of lost proxies' loads.
	Uploads store.Lister

	store    store.Store
	grace    time.Duration
	interval time.Duration
	ledgers  func() []checkpoint.Ledger
	log      *slog.Logger
	tidied   time.Time // when labels were looked at; Run's own

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

// Ended schedules what is to become of the files of a load that the ledger knows
// to have ended.
func (s *Sweeper) Ended(l checkpoint.Sweeps, ended checkpoint.Swept) {
	keys := ended.Keys
	if s.Keep && ended.Completed {
		keys = nil
	}
	s.Schedule(keys, func(ctx context.Context) error { return s.mark(ctx, l, ended) })
}

// mark does what is left when the files of a load are deleted, or kept.
func (s *Sweeper) mark(ctx context.Context, l checkpoint.Sweeps, ended checkpoint.Swept) error {
	if s.Keep && ended.Completed && len(ended.Keys) > 0 {
		text, err := l.Manifest(ctx, ended.ProcessID)
		if err != nil {
			return err
		}
		if err := s.store.Put(ctx, manifestKey(ended.Keys[0]), bytes.NewReader(text)); err != nil {
			return err
		}
	}
	return l.MarkSwept(ctx, ended.ProcessID)
}

// manifestKey lies beside the load's first file.
func manifestKey(first string) string { return path.Dir(first) + "/manifest.json" }

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
			s.tidy(ctx)
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

// tidyEvery is the time between two looks for old labels.
const tidyEvery = time.Hour

// tidy forgets old labels.
func (s *Sweeper) tidy(ctx context.Context) {
	if time.Since(s.tidied) < tidyEvery {
		return
	}
	s.tidied = time.Now()
	if s.Labels == 0 || s.ledgers == nil {
		return
	}
	for _, l := range s.ledgers() {
		if _, err := l.DropLabels(ctx, time.Now().Add(-s.Labels)); err != nil {
			s.log.Warn("forget old labels", "error", err)
		}
	}
}

// giveUp ends the uploads in parts that a lost proxy was busy with: the load has
// ended, so that none of them is wanted, however young it is.
func (s *Sweeper) giveUp(ctx context.Context, keys []string) error {
	if s.Uploads == nil || len(keys) == 0 {
		return nil
	}
	folders := make(map[string]bool) // two, of a load over midnight
	for _, key := range keys {
		folder := path.Dir(key) + "/"
		if folders[folder] {
			continue
		}
		folders[folder] = true
		// However young they are; and the store's clock may be ahead of ours.
		if _, err := s.Uploads.AbortUploads(ctx, folder, time.Now().Add(24*time.Hour)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sweeper) delete(ctx context.Context, keys []string, swept func(context.Context) error) error {
	if len(keys) > 0 {
		if err := s.store.Delete(ctx, keys...); err != nil {
			return err
		}
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
			keys := ld.Keys
			if s.Keep && ld.Completed {
				keys = nil
			}
			if err := s.giveUp(ctx, ld.Keys); err != nil {
				// Listing them needs a right of its own. What stays, tidy finds.
				s.log.Warn("give up uploads of an old load", "load", ld.ProcessID, "error", err)
			}
			err := s.delete(ctx, keys, func(ctx context.Context) error { return s.mark(ctx, l, ld) })
			if err != nil {
				s.log.Warn("sweep files of an old load", "load", ld.ProcessID, "error", err)
			}
		}
	}
}
