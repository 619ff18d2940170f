package frame

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestHead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []byte
		n    int
		fail bool
	}{
		{[]byte{'Q', 0, 0, 0, 4}, 0, false},
		{[]byte{'Q', 0, 0, 1, 4}, 256, false},
		{[]byte{'Q', 0, 0, 0, 3}, 0, true},
		{[]byte{'Q', 0, 0, 0, 0}, 0, true},
		{[]byte{'Q', 0xff, 0xff, 0xff, 0xff}, 0, true},
		{[]byte{'Q', 0x40, 0, 0, 2}, MaxBody, false},
		{[]byte{'Q', 0x40, 0, 0, 3}, 0, true},
	} {
		typ, n, err := Head(c.in)
		if typ != 'Q' || n != c.n || (err != nil) != c.fail {
			t.Errorf("%v: %c %d %v", c.in, typ, n, err)
		}
	}
}

// FuzzReader feeds frames in single bytes, halves and whole, and demands that
// the walk sees the same ones.
func FuzzReader(f *testing.F) {
	f.Add(Append(AppendString(nil, 'Q', "select 1"), 'd', bytes.Repeat([]byte{7}, 9000)))
	f.Add([]byte{'Q', 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := walk(bytes.NewReader(in))
		for _, src := range []io.Reader{
			iotest.OneByteReader(bytes.NewReader(in)),
			iotest.HalfReader(bytes.NewReader(in)),
			iotest.DataErrReader(bytes.NewReader(in)),
		} {
			if got := walk(src); !bytes.Equal(got, whole) {
				t.Fatalf("%q, want %q", got, whole)
			}
		}
	})
}

// walk reads frames up to 64 KiB and returns what it saw, as bytes.
func walk(src io.Reader) []byte {
	r := NewReader(src, nil)
	var seen []byte
	for {
		if err := r.Need(HeaderLen); err != nil {
			return append(seen, err.Error()...)
		}
		typ, n, err := Head(r.Buffered())
		if err != nil || n > 64<<10 {
			return append(seen, '!', typ)
		}
		if err := r.Need(HeaderLen + n); err != nil {
			return append(seen, err.Error()...)
		}
		seen = append(seen, r.Buffered()[:HeaderLen+n]...)
		r.Discard(HeaderLen + n)
	}
}

func TestReaderGrowsUnderLoadOnly(t *testing.T) {
	t.Parallel()
	r := NewReader(bytes.NewReader(make([]byte, 4<<20)), []byte("ab"))
	if string(r.Buffered()) != "ab" || len(r.buf) != minBuffer {
		t.Fatal("initial bytes")
	}
	for {
		r.Discard(len(r.Buffered()))
		if err := r.Fill(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if len(r.buf) != maxBuffer {
		t.Fatalf("buffer is %d bytes", len(r.buf))
	}
}

// TestGrow: what is appended stays, in few buffers, and a long one comes again.
func TestGrow(t *testing.T) {
	t.Parallel()
	var p Pool
	var b, want []byte
	moved := 0
	for i := range 1000 {
		piece := bytes.Repeat([]byte{byte(i)}, 1000)
		was := cap(b)
		if b = p.Grow(b, len(piece)); cap(b) != was {
			moved++
		}
		b, want = append(b, piece...), append(want, piece...)
	}
	if !bytes.Equal(b, want) {
		t.Error("other bytes")
	}
	if moved != 3 { // 64 KiB, 512 KiB, 1 MiB
		t.Errorf("%d buffers", moved)
	}
	if free := p.Grow(b, 0); &free[0] != &b[0] {
		t.Error("another buffer without need")
	}
	var none *Pool
	none.Give(none.Grow(nil, 1<<20))
}

// TestRest: a Reader that rests lets another one have its buffer, and reads on.
func TestRest(t *testing.T) {
	t.Parallel()
	var p Pool
	a, b := NewReader(bytes.NewReader([]byte("abc")), nil), NewReader(bytes.NewReader([]byte("xyz")), nil)
	a.SetPool(&p)
	b.SetPool(&p)
	read := func(r *Reader, want string) {
		t.Helper()
		if err := r.Need(len(want)); err != nil || string(r.Buffered()) != want {
			t.Fatalf("%q %v, want %q", r.Buffered(), err, want)
		}
	}
	read(a, "abc")
	a.Rest() // it is not empty
	read(a, "abc")
	a.Discard(3)
	if a.Rest(); a.buf != nil {
		t.Error("it has kept its buffer")
	}
	read(b, "xyz")
	if err := a.Fill(); !errors.Is(err, io.EOF) || len(a.Buffered()) != 0 {
		t.Errorf("%q %v", a.Buffered(), err)
	}
	read(b, "xyz")
	NewReader(nil, nil).Rest()
}
