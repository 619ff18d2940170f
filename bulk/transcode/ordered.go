package transcode

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// MaxGrowth is how many bytes at most become of one: an array of one short
// number, alone on its line.
const MaxGrowth = 10

// Limits bound what Ordered takes.
type Limits struct {
	// Workers is how many goroutines turn chunks at once; 1 where it is less.
	Workers int
	// Memory is how many bytes chunks and their rows may have together. A chunk
	// counts with the most that may become of it; one that is too long for that
	// goes alone.
	Memory int64
	// Slots, unless nil, are shared with others: a worker holds one while it turns a
	// chunk.
	Slots Slots
}

// Slots are taken and given back one by one.
type Slots interface {
	Acquire(ctx context.Context, n int64) error
	Release(n int64)
}

// Block is a chunk and its rows.
type Block struct {
	Chunk, Data []byte
	Rows        int
}

// job is a block on its way. Its fields belong to a worker until done is closed.
type job struct {
	Block
	err    error
	weight int64
	done   chan struct{}
}

// Ordered turns chunks of whole rows on several goroutines, and emits them in
// order until next says io.EOF. A chunk has to stay as it is until its block was
// emitted, a block is good until emit returns. The error of either ends it, as
// does a value that doesn't go: a *Fallback with the row counted from the first
// chunk's. Blocks that were emitted by then are rows before it.
//
// Besides the caller, who emits, there are one goroutine that calls next, and the
// workers. They end when the data does, or when the context does, which is ended
// for them on an error; next has to heed it. Ordered waits for all of them.
func Ordered(ctx context.Context, t *Transcoder, limits Limits, next func(context.Context) ([]byte, error), emit func(context.Context, Block) error) error {
	o := ordered{
		memory: semaphore.NewWeighted(max(limits.Memory, 1)),
		slots:  limits.Slots,
		limit:  max(limits.Memory, 1),
		work:   make(chan *job),
		// So many may be ready before the one that is to be emitted next.
		order: make(chan *job, 2*max(limits.Workers, 1)),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.read(ctx, next) })
	for range max(limits.Workers, 1) {
		mine := t.Clone()
		g.Go(func() error { return o.turn(ctx, mine) })
	}
	g.Go(func() error { return o.emit(ctx, emit) })
	return g.Wait()
}

// ordered is what the goroutines of one call share.
type ordered struct {
	memory *semaphore.Weighted
	slots  Slots
	limit  int64
	work   chan *job
	order  chan *job
	spare  sync.Pool // of *[]byte, for rows
}

// read gives chunks to the workers, and to emit in order.
func (o *ordered) read(ctx context.Context, next func(context.Context) ([]byte, error)) error {
	defer close(o.work)
	defer close(o.order)
	for {
		chunk, err := next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		j := &job{Block: Block{Chunk: chunk}, weight: min(o.limit, (1+MaxGrowth)*int64(len(chunk))), done: make(chan struct{})}
		if err := o.memory.Acquire(ctx, j.weight); err != nil {
			return err
		}
		for _, to := range []chan *job{o.order, o.work} {
			select {
			case to <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// turn is a worker.
func (o *ordered) turn(ctx context.Context, t *Transcoder) error {
	for j := range o.work {
		if o.slots != nil {
			if err := o.slots.Acquire(ctx, 1); err != nil {
				return err
			}
		}
		var dst []byte
		if p, ok := o.spare.Get().(*[]byte); ok {
			dst = (*p)[:0]
		}
		j.Data, j.Rows, j.err = t.Append(dst, j.Chunk)
		if o.slots != nil {
			o.slots.Release(1)
		}
		close(j.done)
	}
	return nil
}

func (o *ordered) emit(ctx context.Context, emit func(context.Context, Block) error) error {
	rows := 0
	for j := range o.order {
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		var fallback *Fallback
		if errors.As(j.err, &fallback) {
			return &Fallback{Row: rows + fallback.Row, Column: fallback.Column}
		}
		if j.err != nil {
			return j.err
		}
		if err := emit(ctx, j.Block); err != nil {
			return err
		}
		rows += j.Rows
		o.spare.Put(&j.Data)
		o.memory.Release(j.weight)
	}
	return nil
}
