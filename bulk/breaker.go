package bulk

import (
	"sync"
	"time"
)

// Breaker stops something that keeps failing from being tried for a while, so
// that nobody pays twice for long: after a number of failures in a row it opens
// for the cool-down, then lets one try through at a time until one succeeds.
type Breaker struct {
	failures int
	cooldown time.Duration
	now      func() time.Time

	mu    sync.Mutex
	count int
	until time.Time
}

// NewBreaker returns a closed breaker. failures below 1 means 1.
func NewBreaker(failures int, cooldown time.Duration) *Breaker {
	return &Breaker{failures: max(failures, 1), cooldown: cooldown, now: time.Now}
}

// Ready says whether Allow would allow a try. It is for who may not make one in
// the end.
func (b *Breaker) Ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count < b.failures || !b.now().Before(b.until)
}

// Allow says whether a try may be made. When the cool-down is over it allows
// one try, and the next only after another cool-down or a success.
func (b *Breaker) Allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count < b.failures {
		return true
	}
	if now := b.now(); !now.Before(b.until) {
		b.until = now.Add(b.cooldown)
		return true
	}
	return false
}

// Failure notes a failed try.
func (b *Breaker) Failure() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	if b.count >= b.failures {
		b.until = b.now().Add(b.cooldown)
	}
}

// Success notes a try that worked.
func (b *Breaker) Success() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count = 0
}
