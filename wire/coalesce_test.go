package wire

import "testing"

// TestCoalescingWants: when a run may begin. Letters are INSERTs of that shape, a
// dot is another statement; capitals are where a run is tried.
func TestCoalescingWants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, frames string
		prepare      func(c *coalescing)
	}{
		{"unknown", "aaaA", func(*coalescing) {}},
		{"unknown, in between", "aaa.aaa.", func(*coalescing) {}},
		{"unknown, several shapes", "abcdaabbab", func(*coalescing) {}},
		{"off", "aaaaaa", func(c *coalescing) { c.learn(false) }},
		{"on", "aA", func(c *coalescing) { c.learn(true) }},
		{"seen", "aA", func(c *coalescing) { c.learn(false); c.look([]byte("SET pgbulk.coalesce = transaction")) }},
		{"several shapes", "ababa.ab.", func(c *coalescing) { c.learn(true) }},
		{"tired of one", "aabB", func(c *coalescing) { c.learn(true); c.tire([]byte("a")) }},
		{"tired of all", "aabb", func(c *coalescing) { c.learn(true); c.tire(nil) }},
		{"short runs", "aaa", func(c *coalescing) { c.learn(true); c.ended(1); c.ended(4); c.ended(2) }},
		{"not so short runs", "aA", func(c *coalescing) { c.learn(true); c.ended(1); c.ended(4); c.ended(5); c.ended(1) }},
	} {
		var s coalescing
		c.prepare(&s)
		for i, f := range []byte(c.frames) {
			s.isInsert = false
			want := f >= 'A' && f <= 'Z'
			if f != '.' && !s.considered(true) {
				text := []byte{f | 0x20}
				if got := s.wants(text); got != want {
					t.Errorf("%s: %s, at %d: %v", c.name, c.frames, i, got)
				}
				s.insert(text)
			}
			s.relayed('Q', false)
		}
	}
}

// TestCoalescingRests: longer each time, but not for ever.
func TestCoalescingRests(t *testing.T) {
	t.Parallel()
	var s coalescing
	s.learn(true)
	for want := restMin; want < 4*restMax; want *= 2 {
		for range shortRuns {
			s.ended(1)
		}
		if s.rest != min(want, restMax) {
			t.Errorf("rest %d, want %d", s.rest, want)
		}
		n := 0
		for !s.wants([]byte("a")) && n < 2*restMax {
			s.insert([]byte("a"))
			n++
		}
		if n != min(want, restMax) {
			t.Errorf("%d INSERTs pass, want %d", n, want)
		}
	}
	s.ended(shortRun)
	s.tire(nil)
	if s.rest != restMin {
		t.Errorf("behind a long run the rest is %d", s.rest)
	}
}
