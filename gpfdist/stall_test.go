package gpfdist

import (
	"errors"
	"io"
	"runtime"
	"testing"
	"time"
)

// TestStalled: where no segment takes rows, who adds them hears of it, whether the
// segments have not come, or don't read, or one of them does not.
func TestStalled(t *testing.T) {
	t.Parallel()
	for name, segments := range map[string]int{"none came": 0, "the only one": 1, "one of two": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, Config{Patience: 100 * time.Millisecond})
			st, path := newStream(t, s)
			for i := range segments {
				p := dial(t, s, ask{path: path, segment: i, of: 2}.text())
				if err := p.open(); err != nil {
					t.Fatal(err)
				}
				if i == 1 {
					go func() { _, _ = io.Copy(io.Discard, p.conn) }()
				}
			}
			var err error
			for line := int64(1); err == nil; line++ {
				if err = st.Add(t.Context(), large(line)); line > 1000 {
					t.Fatal("nobody stalls")
				}
			}
			if !errors.Is(err, ErrStalled) || !errors.Is(st.Err(), ErrStalled) {
				t.Errorf("Add: %v", err)
			}
		})
	}
}

// TestIdleClient: that no rows come for long is nobody's fault, and the segments are
// still served.
func TestIdleClient(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{Patience: 50 * time.Millisecond})
	st, path := newStream(t, s)
	var tb table
	read := make(chan error, 1)
	p := dial(t, s, ask{path: path, segment: 0, of: 1}.text())
	go func() { read <- p.drain(tb.add) }()
	for line := int64(1); line <= 301; line += 100 {
		if err := st.Add(t.Context(), block(line, 100)); err != nil {
			t.Fatal(err)
		}
		for st.Left() > -20*time.Millisecond {
			runtime.Gosched()
		}
	}
	st.Finish()
	if err := <-read; err != nil {
		t.Error(err)
	}
	tb.check(t, 400)
}
