package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// beside is a client that does the same again and again while something else runs.
type beside struct {
	ep endpoint
	do func(ctx context.Context, conn *pgx.Conn) error
	// n is how often it was done, in the time that the other took.
	n    int64
	took time.Duration
}

func (b *beside) rate() float64 { return float64(b.n) / b.took.Seconds() }

// during goes on as long as work takes. It starts one goroutine and waits for it.
func (b *beside) during(ctx context.Context, work func(context.Context) error) error {
	conn, err := pgx.Connect(ctx, b.ep.dsn())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	stop, failed := make(chan struct{}), make(chan error, 1)
	began := time.Now()
	go func() {
		for {
			select {
			case <-stop:
				failed <- nil
				return
			default:
			}
			if err := b.do(ctx, conn); err != nil {
				failed <- err
				return
			}
			b.n++
		}
	}()
	err = work(ctx)
	b.took = time.Since(began)
	close(stop)
	return errors.Join(err, <-failed)
}
