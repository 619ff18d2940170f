package gpfdist

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
)

// pull reads with so many segments at once and returns their errors.
func pull(t *testing.T, s *Server, path string, segments int, each func(segment int, g got)) []error {
	t.Helper()
	errs := make([]error, segments)
	var wg sync.WaitGroup
	for i := range segments {
		p := dial(t, s, ask{path: path, segment: i, of: segments}.text())
		wg.Go(func() { errs[i] = p.drain(func(g got) { each(i, g) }) })
	}
	wg.Wait()
	return errs
}

func TestSegmentsShareTheRows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		segments int
		rows     int64
	}{{1, 0}, {1, 1}, {2, 100}, {4, 12_345}, {16, 777}} {
		s := newServer(t, Config{})
		st, path := newStream(t, s)
		fed := make(chan error, 1)
		go func() { fed <- feed(t.Context(), st, c.rows) }()
		var tb table
		for i, err := range pull(t, s, path, c.segments, func(_ int, g got) {
			if g.name != "COPY t" {
				t.Errorf("a block is of %q", g.name)
			}
			tb.add(g)
		}) {
			if err != nil {
				t.Errorf("segment %d of %d: %v", i, c.segments, err)
			}
		}
		if err := <-fed; err != nil {
			t.Error(err)
		}
		tb.check(t, c.rows)
		if got := st.Stats(); got.Rows != c.rows || got.Segments != c.segments || got.Retries != 0 {
			t.Errorf("stats are %+v", got)
		}
	}
}

// TestSlowSegment: one that reads nothing keeps what it was given, and the
// other reads all the rest.
func TestSlowSegment(t *testing.T) {
	t.Parallel()
	const rows = 20_000
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	slow := dial(t, s, ask{path: path, segment: 0, of: 2}.text())
	if err := slow.open(); err != nil {
		t.Fatal(err)
	}
	if err := st.Add(t.Context(), block(1, 100)); err != nil { // the slow one's, there is no other
		t.Fatal(err)
	}
	if err := st.Add(t.Context(), large(101)); err != nil {
		t.Fatal(err)
	}
	fast := dial(t, s, ask{path: path, segment: 1, of: 2}.text())
	var tb table
	read := make(chan error, 1)
	go func() { read <- fast.drain(tb.add) }()
	for line := int64(102); line <= 101+rows; line += 100 {
		if err := st.Add(t.Context(), block(line, 100)); err != nil {
			t.Fatal(err)
		}
	}
	st.Finish()
	if err := <-read; err != nil {
		t.Error(err)
	}
	if len(tb.lines) != rows {
		t.Errorf("the fast segment has %d rows", len(tb.lines))
	}
	for {
		g, err := slow.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		tb.add(g)
	}
	tb.check(t, 101+rows)
}

// TestBackPressure: nobody reads, so Add waits; the context or a failure ends it.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	added := make(chan error)
	go func() { added <- st.Add(ctx, block(1, 1)) }()
	stop := errors.New("stop")
	cancel(stop)
	if err := <-added; !errors.Is(err, stop) {
		t.Errorf("Add without a segment: %v", err)
	}
	// A segment that never reads: the sockets fill up, and Add waits again.
	p := dial(t, s, ask{path: path, segment: 0, of: 1}.text())
	if err := st.Add(t.Context(), large(1)); err != nil {
		t.Fatal(err)
	}
	go func() { added <- st.Add(t.Context(), block(2, 1)) }()
	st.Fail(stop)
	if err := <-added; !errors.Is(err, stop) {
		t.Errorf("Add behind a failure: %v", err)
	}
	st.Close() // does not wait for a segment that never reads
	if err := p.drain(func(got) {}); err == nil {
		t.Error("a stream that failed ended well")
	}
}

// TestSegmentDies: it was given rows, so nobody can say what has arrived.
func TestSegmentDies(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	dying := dial(t, s, ask{path: path, segment: 0, of: 2}.text())
	if err := st.Add(t.Context(), block(1, 100)); err != nil {
		t.Fatal(err)
	}
	if err := dying.open(); err != nil {
		t.Fatal(err)
	}
	if _, err := dying.next(); err != nil {
		t.Fatal(err)
	}
	other := dial(t, s, ask{path: path, segment: 1, of: 2}.text())
	if err := other.open(); err != nil {
		t.Fatal(err)
	}
	if err := dying.conn.Close(); err != nil {
		t.Fatal(err)
	}
	var said errEnd
	_, err := other.next()
	if !errors.As(err, &said) || !strings.Contains(string(said), "segment 0 left in the middle") {
		t.Errorf("the other segment reads %v", err)
	}
	if err := st.Add(t.Context(), block(101, 100)); err == nil || !strings.Contains(err.Error(), "left in the middle") {
		t.Errorf("Add: %v", err)
	}
	if err := dial(t, s, ask{path: path, segment: 2, of: 3}.text()).open(); err == nil || !strings.HasPrefix(err.Error(), "500") {
		t.Errorf("a later segment: %v", err)
	}
}

// TestSegmentDiesInABlock: the same where the write itself fails.
func TestSegmentDiesInABlock(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	dying := dial(t, s, ask{path: path, segment: 0, of: 1}.text())
	if err := st.Add(t.Context(), large(1)); err != nil {
		t.Fatal(err)
	}
	if err := dying.open(); err != nil {
		t.Fatal(err)
	}
	if err := dying.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := st.Add(t.Context(), block(2, 1)); err == nil || !strings.Contains(err.Error(), "left in the middle") {
		t.Errorf("Add: %v", err)
	}
}

// TestSegmentComesAgain: with nothing in hand it may; with rows, or beside its
// first connection, it may not.
func TestSegmentComesAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	request := ask{path: path, segment: 0, of: 2}.text()
	first := dial(t, s, request)
	if err := first.open(); err != nil {
		t.Fatal(err)
	}
	if err := dial(t, s, request).open(); err == nil || !strings.HasPrefix(err.Error(), "409") {
		t.Errorf("beside itself: %v", err)
	}
	_ = first.conn.Close()
	var again *peer
	for again == nil { // until the server has seen the end of the first
		p := dial(t, s, request)
		switch err := p.open(); {
		case err == nil:
			again = p
		case !strings.HasPrefix(err.Error(), "409"):
			t.Fatal(err)
		}
	}
	if got := st.Stats(); got.Retries != 1 || got.Segments != 1 {
		t.Errorf("stats are %+v", got)
	}
	fed := make(chan error, 1)
	go func() { fed <- feed(t.Context(), st, 1000) }()
	var tb table
	for {
		g, err := again.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		tb.add(g)
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	tb.check(t, 1000)
	if err := dial(t, s, request).open(); err == nil || !strings.HasPrefix(err.Error(), "409") {
		t.Errorf("with rows: %v", err)
	}
	var none table
	if err := dial(t, s, ask{path: path, segment: 1, of: 2}.text()).drain(none.add); err != nil || len(none.lines) > 0 {
		t.Errorf("one that comes late reads %d rows, %v", len(none.lines), err)
	}
}

// TestAnotherScan: rows are pulled once.
func TestAnotherScan(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	_, path := newStream(t, s)
	if err := dial(t, s, ask{path: path, scan: "1", segment: 0, of: 2}.text()).open(); err != nil {
		t.Fatal(err)
	}
	err := dial(t, s, ask{path: path, scan: "2", segment: 1, of: 2}.text()).open()
	if err == nil || err.Error() != "409 these rows are another scan's" {
		t.Errorf("another scan: %v", err)
	}
}

// TestClose: it ends what is connected, and the token.
func TestClose(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	p := dial(t, s, ask{path: path, segment: 0, of: 1}.text())
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	st.Close()
	var said errEnd
	if _, err := p.next(); !errors.As(err, &said) || string(said) != "the load has ended" {
		t.Errorf("behind Close: %v", err)
	}
	if err := dial(t, s, ask{path: path, segment: 0, of: 1}.text()).open(); err == nil || err.Error() != "404 no such stream" {
		t.Errorf("a new request: %v", err)
	}
	if err := st.Add(t.Context(), block(1, 1)); err == nil {
		t.Error("Add behind Close is no error")
	}
	st.Close()
}

// TestManyStreams: each gets its own rows.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	const streams, segments, rows = 20, 3, 2000
	s := newServer(t, Config{})
	var wg sync.WaitGroup
	for range streams {
		st, path := newStream(t, s)
		wg.Go(func() {
			if err := feed(t.Context(), st, rows); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			var tb table
			for _, err := range pull(t, s, path, segments, func(_ int, g got) { tb.add(g) }) {
				if err != nil {
					t.Error(err)
				}
			}
			tb.check(t, rows)
			st.Close()
		})
	}
	wg.Wait()
	if n := len(s.streams); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
}

// TestBadBlocks: a block without rows would be the end for its segment.
func TestBadBlocks(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{})
	st, path := newStream(t, s)
	for _, size := range []int64{0, -1, maxBlock + 1} {
		if err := st.Add(t.Context(), Block{Data: strings.NewReader(""), Size: size}); err == nil {
			t.Errorf("a block of %d bytes is no error", size)
		}
	}
	p := dial(t, s, ask{path: path, segment: 0, of: 1}.text())
	short := Block{Data: strings.NewReader("1\n"), Size: 200, Rows: 1, Line: 1}
	if err := st.Add(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	if err := p.drain(func(got) {}); err == nil {
		t.Error("half a block ended well")
	}
}
