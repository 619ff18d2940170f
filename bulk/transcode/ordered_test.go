package transcode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
)

// chunked cuts lines into chunks of some rows.
func chunked(r *rand.Rand, rows int, line func(i int) string) (chunks [][]byte) {
	for i := 0; i < rows; {
		var b []byte
		for n := 1 + r.IntN(50); n > 0 && i < rows; n-- {
			b = append(b, line(i)...)
			i++
		}
		chunks = append(chunks, b)
	}
	return chunks
}

func newText(t *testing.T, bases ...uint32) *Transcoder {
	t.Helper()
	cols := make([]Column, len(bases))
	for i, base := range bases {
		cols[i] = Column{Base: base, Typmod: -1}
	}
	tr, err := New(cols, Format{Null: `\N`}, benchSettings)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// from gives chunks one after the other.
func from(chunks [][]byte) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		if len(chunks) == 0 {
			return nil, io.EOF
		}
		chunk := chunks[0]
		chunks = chunks[1:]
		return chunk, nil
	}
}

func TestOrdered(t *testing.T) {
	t.Parallel()
	tr := newText(t, oidInt8, oidText, 1009)
	chunks := chunked(rand.New(rand.NewPCG(1, 1)), 20000, func(i int) string { return fmt.Sprintf("%d\ta\\tb\t{\"a\\\\\"b\",%d}\n", i, i) })
	want, _, err := tr.Append(nil, bytes.Join(chunks, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, limits := range []Limits{{}, {Workers: 1, Memory: 1 << 20}, {Workers: 4, Memory: 1 << 20}, {Workers: 9, Memory: 10000}} {
		var got, client []byte
		rows := 0
		err := Ordered(t.Context(), tr, limits, from(chunks), func(_ context.Context, b Block) error {
			got, client, rows = append(got, b.Data...), append(client, b.Chunk...), rows+b.Rows
			return nil
		})
		if err != nil || rows != 20000 || !bytes.Equal(got, want) || !bytes.Equal(client, bytes.Join(chunks, nil)) {
			t.Errorf("%+v: %d rows, %d bytes of %d: %v", limits, rows, len(got), len(want), err)
		}
	}
}

// TestOrderedMemory: what was read and not emitted stays within the limit, though
// nothing is emitted before no more can be read.
func TestOrderedMemory(t *testing.T) {
	t.Parallel()
	tr := newText(t, oidInt8)
	chunk := bytes.Repeat([]byte("1\n"), 500)
	const chunks = 100
	limits := Limits{Workers: 50, Memory: int64(4 * (1 + MaxGrowth) * len(chunk))}
	var given, emitted, most atomic.Int64
	next := func(context.Context) ([]byte, error) {
		if given.Load() == chunks {
			return nil, io.EOF
		}
		n := given.Add(1) - emitted.Load()
		most.Store(max(most.Load(), n))
		return chunk, nil
	}
	err := Ordered(t.Context(), tr, limits, next, func(_ context.Context, b Block) error {
		for given.Load() < min(chunks, emitted.Load()+5) {
			runtime.Gosched()
		}
		if len(b.Data) > MaxGrowth*len(chunk) {
			t.Errorf("%d bytes became %d", len(chunk), len(b.Data))
		}
		emitted.Add(1)
		return nil
	})
	// Four in flight, one that waits for its turn, and one that is just released.
	if err != nil || emitted.Load() != chunks || most.Load() > 6 {
		t.Errorf("%d emitted, up to %d in flight: %v", emitted.Load(), most.Load(), err)
	}
}

func TestOrderedEnds(t *testing.T) {
	t.Parallel()
	tr := newText(t, oidInt8)
	chunks := chunked(rand.New(rand.NewPCG(2, 2)), 5000, func(i int) string {
		if i == 4321 {
			return "x\n"
		}
		return fmt.Sprintf("%d\n", i)
	})
	rows, limits := 0, Limits{Workers: 3, Memory: 1 << 20}
	err := Ordered(t.Context(), tr, limits, from(chunks), func(_ context.Context, b Block) error { rows += b.Rows; return nil })
	var fallback *Fallback
	if !errors.As(err, &fallback) || fallback.Row != 4321 || rows > 4321 {
		t.Errorf("%d rows, then %v", rows, err)
	}
	broken := errors.New("broken")
	err = Ordered(t.Context(), tr, limits, from(chunks), func(context.Context, Block) error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("emit: %v", err)
	}
	err = Ordered(t.Context(), tr, limits, func(context.Context) ([]byte, error) { return nil, broken }, func(context.Context, Block) error { return nil })
	if !errors.Is(err, broken) {
		t.Errorf("next: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := func(ctx context.Context) ([]byte, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := Ordered(ctx, tr, limits, waiting, func(context.Context, Block) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
