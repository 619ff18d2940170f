package store

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

// limited lets a number of Puts run at a time, so that connections and buffers
// stay bounded however many sessions load. Reads and deletes are not held up:
// they end what holds the space.
type limited struct {
	Full
	puts *semaphore.Weighted
}

func limit(inner Full, puts int) *limited {
	return &limited{Full: inner, puts: semaphore.NewWeighted(int64(puts))}
}

func (l *limited) Put(ctx context.Context, key string, c Content) error {
	if err := l.puts.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("put %s: wait for a place: %w", l.URL(key), context.Cause(ctx))
	}
	defer l.puts.Release(1)
	return l.Full.Put(ctx, key, c)
}
