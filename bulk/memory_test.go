package bulk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
)

// pattern returns n bytes of which no two places look the same.
func pattern(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// TestHeld keeps content wholly in memory, half of it, or all on disk.
func TestHeld(t *testing.T) {
	t.Parallel()
	data := pattern(4*slabSize + 1234)
	for slabs := range int64(7) {
		dir := t.TempDir()
		mem := NewMemory(slabs*slabSize+slabSize/2, true, dir)
		h := newHeld(mem, 2)
		for at, n := 0, 1; at < len(data); n = n*3 + 1 {
			end := min(at+n, len(data))
			if err := h.Append(data[at:end]); err != nil {
				t.Fatal(err)
			}
			at = end
		}
		if onDisk := h.disk != nil; onDisk != (slabs < 5) {
			t.Errorf("%d slabs: on disk is %v", slabs, onDisk)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("the spool file can be seen: %v", left)
		}
		readAround(t, h, data)
		eachAround(t, h, data)
		h.release()
		if h.segs == nil {
			t.Error("freed while an owner is left")
		}
		h.release()
		if mem.left != slabs*slabSize+slabSize/2 {
			t.Errorf("%d slabs: %d bytes are left", slabs, mem.left)
		}
	}
}

// offsets are places around the bounds of slabs.
func offsets(size int64) []int64 {
	var out []int64
	for at := int64(0); at <= size; at += slabSize {
		for _, d := range []int64{-1, 0, 1} {
			if at+d >= 0 && at+d <= size {
				out = append(out, at+d)
			}
		}
	}
	return append(out, size-1, size)
}

func readAround(t *testing.T, h *held, data []byte) {
	t.Helper()
	for _, from := range offsets(h.Size()) {
		for _, to := range offsets(h.Size()) {
			if to < from {
				continue
			}
			p := make([]byte, to-from)
			if n, err := h.ReadAt(p, from); n != len(p) || err != nil || !bytes.Equal(p, data[from:to]) {
				t.Fatalf("%d to %d: %d bytes, %v", from, to, n, err)
			}
		}
		p := make([]byte, len(data)+1)
		if n, err := h.ReadAt(p, from); n != len(data)-int(from) || !errors.Is(err, io.EOF) || !bytes.Equal(p[:n], data[from:]) {
			t.Fatalf("beyond the end from %d: %d bytes, %v", from, n, err)
		}
	}
	if n, err := h.ReadAt(make([]byte, 1), h.Size()+slabSize*9); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("far behind the end: %d bytes, %v", n, err)
	}
}

func eachAround(t *testing.T, h *held, data []byte) {
	t.Helper()
	for _, from := range offsets(h.Size()) {
		for _, to := range offsets(h.Size()) {
			var got []byte
			err := h.each(from, to, func(p []byte) error { got = append(got, p...); return nil })
			if want := data[min(from, to):to]; err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d to %d: %d bytes, %v", from, to, len(got), err)
			}
		}
	}
	stop := errors.New("stop")
	if err := h.each(0, h.Size(), func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("the callback's error became %v", err)
	}
}

func TestHeldTruncate(t *testing.T) {
	t.Parallel()
	for _, spool := range []bool{false, true} {
		mem := NewMemory(4*slabSize, spool, t.TempDir())
		if spool {
			mem.left = slabSize
		}
		data := pattern(slabSize + 2)
		h := newHeld(mem, 1)
		if err := h.Append(data); err != nil {
			t.Fatal(err)
		}
		for _, keep := range []int64{slabSize + 1, slabSize, slabSize - 1} {
			h.Truncate(keep)
			if err := h.Append([]byte("ab")); err != nil {
				t.Fatal(err)
			}
			p := make([]byte, keep+2)
			if _, err := h.ReadAt(p, 0); err != nil || string(p[keep:]) != "ab" || !bytes.Equal(p[:keep], data[:keep]) {
				t.Fatalf("cut to %d: %v", keep, err)
			}
			h.Truncate(keep)
		}
		h.Truncate(keepAll)
		if h.Size() != slabSize-1 {
			t.Errorf("truncating made it longer: %d", h.Size())
		}
		h.release()
	}
}

const keepAll = 1 << 40

func TestHeldWithoutMemory(t *testing.T) {
	t.Parallel()
	h := newHeld(NewMemory(slabSize, false, ""), 1)
	if err := h.Append(make([]byte, slabSize)); err != nil {
		t.Fatal(err)
	}
	if err := h.Append([]byte{1}); !errors.Is(err, ErrNoMemory) {
		t.Fatalf("beyond the budget: %v", err)
	}
	if h.Size() != slabSize {
		t.Errorf("%d bytes", h.Size())
	}
}

func TestSpoolThatCannotBeMade(t *testing.T) {
	t.Parallel()
	h := newHeld(NewMemory(0, true, t.TempDir()+"/nothing"), 1)
	if err := h.Append([]byte{1}); err == nil || errors.Is(err, ErrNoMemory) {
		t.Fatalf("spooled into nowhere: %v", err)
	}
	h.release()
}

// TestMemoryIsShared lets many loads take and give at the same time: never more
// than the budget, and all of it back at the end.
func TestMemoryIsShared(t *testing.T) {
	t.Parallel()
	mem := NewMemory(10*slabSize, true, t.TempDir())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			data := pattern(3 * slabSize)
			for range 5 {
				h := newHeld(mem, 2)
				if err := h.Append(data); err != nil {
					t.Error(err)
				}
				var readers sync.WaitGroup
				for range 2 {
					readers.Go(func() {
						defer h.release()
						p := make([]byte, len(data))
						if _, err := h.ReadAt(p, 0); err != nil || !bytes.Equal(p, data) {
							t.Error("other bytes came back:", err)
						}
					})
				}
				readers.Wait()
			}
		})
	}
	wg.Wait()
	if mem.left != 10*slabSize || len(mem.free) > 10 {
		t.Errorf("%d bytes are left, %d slabs made", mem.left, len(mem.free))
	}
}
