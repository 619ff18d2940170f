package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// gathered is what a whole stream comes to: the data, and where and why it
// stopped.
type gathered struct {
	data  []byte
	at    int
	other bool
	bad   error
}

func (g gathered) String() string { return fmt.Sprintf("%q, %d, %v, %v", g.data, g.at, g.other, g.bad) }

// gatherAll feeds a stream in pieces through a buffer, as receive does.
func gatherAll(stream []byte, next func(left int) int) gathered {
	var g gathered
	var buf []byte
	skip := 0
	for at := 0; ; {
		data, used, other, bad := gather(buf, &skip)
		g.data = append(g.data, data...)
		g.at += used
		buf = append([]byte(nil), buf[used:]...)
		if other || bad != nil {
			g.other, g.bad = other, bad
			return g
		}
		if at == len(stream) {
			return g
		}
		n := next(len(stream) - at)
		buf = append(buf, stream[at:at+n]...)
		at += n
	}
}

// referGather is the plain way to the same.
func referGather(stream []byte) gathered {
	var g gathered
	for len(stream)-g.at >= frame.HeaderLen {
		typ, n, err := frame.Head(stream[g.at:])
		if typ != 'd' {
			g.other = true
			return g
		}
		if err != nil {
			g.bad = err
			return g
		}
		g.at += frame.HeaderLen
		n = min(n, len(stream)-g.at)
		g.data = append(g.data, stream[g.at:g.at+n]...)
		g.at += n
	}
	return g
}

func checkGather(t *testing.T, stream []byte, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	most := []int{1, 2, 7, 1 << 20}[seed%4]
	got := gatherAll(stream, func(left int) int { return min(left, 1+r.IntN(most)) })
	if want := referGather(stream); got.String() != want.String() {
		t.Errorf("%q, seed %d: %s, not %s", stream, seed, got, want)
	}
}

var gatherSeeds = [][]byte{
	nil, frames("d"), frames("dabc"), frames("dabc", "d", "dx", "c"), frames("da", "S", "db"), frames("d"+string(make([]byte, 300)), "fno$"),
	append(frames("dabc"), 'd', 0, 0, 0, 3, 'x'), append(frames("dabc"), 'd', 0x40, 0, 0, 3), frames("dabc")[:6], []byte("d\x00\x00"), []byte("Q"),
}

func FuzzGather(f *testing.F) {
	for i, s := range gatherSeeds {
		f.Add(s, uint64(i))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) { checkGather(t, stream, seed) })
}

func TestGatherAtEverySplit(t *testing.T) {
	t.Parallel()
	for _, s := range gatherSeeds {
		want := referGather(s).String()
		for i := 1; i < len(s); i++ {
			first := true
			got := gatherAll(s, func(left int) int {
				if first {
					first = false
					return i
				}
				return left
			})
			if got.String() != want {
				t.Errorf("%q, split at %d: %s, not %s", s, i, got, want)
			}
		}
	}
}

func TestPreparedStatements(t *testing.T) {
	t.Parallel()
	stmt := &prepared{copy: &rewrite.CopyStatement{Table: "t"}}
	parse := []byte("parse")
	var p preparedStatements
	p.forget(nil)
	p.dropUnconfirmed()
	p.completed([]byte("DISCARD ALL"))
	p.parsing(nil, parse, true)
	p.add("", stmt)
	p.parsing([]byte("a"), []byte("other"), true)
	p.add("a", stmt)
	parse[0] = 'X'
	if got := p.reparse(); string(got) != "parse" {
		t.Errorf("the Parse is %q", got)
	}
	if p.find([]byte("a")) != stmt || p.find([]byte("b")) != nil || p.count() != 2 {
		t.Error("names are mixed up")
	}
	p.confirm()
	p.add("b", &prepared{copy: stmt.copy})
	p.dropUnconfirmed()
	if p.find([]byte("a")) == nil || p.find([]byte("b")) != nil || p.reparse() == nil {
		t.Error("what failed is not what is forgotten")
	}
	p.parsing(nil, parse, true)
	p.dropUnconfirmed()
	if p.reparse() != nil {
		t.Error("an unnamed statement that failed is remembered")
	}
	p.parsing(nil, parse, false)
	if p.reparse() != nil || !p.lost {
		t.Error("a part of a Parse is taken for all of it")
	}
	p.forget([]byte("a"))
	p.completed([]byte("SELECT 1"))
	if p.find([]byte("a")) != nil {
		t.Error("a closed statement is remembered")
	}
	for i := range maxPrepared + 10 {
		p.add(fmt.Sprint(i), stmt)
	}
	if p.count() != maxPrepared {
		t.Errorf("%d statements", p.count())
	}
	p.completed([]byte("DISCARD ALL"))
	if p.count() != 0 {
		t.Error("DISCARD ALL leaves statements")
	}
}

func TestDataRow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body, want string
	}{
		{"", "[]"}, {"\x00", "[]"}, {"\x00\x00", "[]"},
		{"\x00\x01\x00\x00\x00\x02ab", `["ab"]`},
		{"\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00", `[NULL ""]`},
		{"\x00\x02\x00\x00\x00\x01a", `["a"]`},
		{"\x00\x02\x00\x00\x00\x01a\x00\x00", `["a"]`},
		{"\x00\x01\x00\x00\x00\x03ab", "[]"},
		{"\x00\x01\x7f\xff\xff\xffab", "[]"},
		{"\x00\x01\x80\x00\x00\x00", "[NULL]"},
		{"\xff\xff\x00\x00\x00\x01a", `["a"]`},
	} {
		got := []string{}
		for _, v := range dataRow([]byte(c.body)) {
			if v == nil {
				got = append(got, "NULL")
			} else {
				got = append(got, fmt.Sprintf("%q", v))
			}
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%q: %v, not %s", c.body, got, c.want)
		}
	}
}

func FuzzDataRow(f *testing.F) {
	f.Add([]byte("\x00\x02\x00\x00\x00\x01a\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		total := 0
		for _, v := range dataRow(body) {
			total += len(v) + 4
		}
		if total > len(body) {
			t.Errorf("%d bytes out of %d", total, len(body))
		}
	})
}

func TestTagCount(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]int64{
		"COPY 5": 5, "INSERT 0 12": 12, "COPY": 0, "": 0, "COPY x": 0, "COPY ": 0, "7": 7, "COPY 99999999999999999999": 0, "COPY 9223372036854775807": 1<<63 - 1,
	} {
		if got := tagCount(tag); got != want {
			t.Errorf("%q: %d, not %d", tag, got, want)
		}
	}
}

func TestBindParts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body, name string
		whole      bool // a plain Bind to the unnamed portal
	}{
		{"\x00s\x00\x00\x00\x00\x00\x00\x00", "s", true},
		{"\x00\x00\x00\x00\x00\x00\x00\x00", "", true},
		{"p\x00s\x00\x00\x00\x00\x00\x00\x00", "s", false},
		{"\x00s\x00\x00\x00\x00\x01\x00\x00", "s", false},
		{"\x00s\x00\x00\x01\x00\x00\x00\x00", "s", false},
		{"\x00s\x00\x00\x00", "s", false},
	} {
		if name, ok := bindStatement([]byte(c.body)); string(name) != c.name || !ok {
			t.Errorf("%q binds %q, %v", c.body, name, ok)
		}
		if name, ok := plainBind([]byte(c.body)); ok != c.whole || ok && name != c.name {
			t.Errorf("%q is plain: %v, of %q", c.body, ok, name)
		}
	}
	if _, ok := bindStatement([]byte("abc")); ok {
		t.Error("a Bind without end")
	}
	if !isExecute([]byte("\x00\x00\x00\x00\x00"), "") || isExecute([]byte("\x00\x00\x00\x00\x01"), "") || isExecute([]byte("\x00\x00"), "") || isExecute([]byte("p\x00\x00\x00\x00\x00"), "") {
		t.Error("isExecute")
	}
	if !isPortal([]byte("P\x00"), "") || isPortal([]byte("S\x00"), "") || isPortal([]byte("Px\x00"), "") || isPortal(nil, "") {
		t.Error("isPortal")
	}
}

// TestWalkServer follows a stream that is cut at every byte: the client sees
// all but the hidden frames, and pending messages stand before the next
// ReadyForQuery that it sees.
func TestWalkServer(t *testing.T) {
	t.Parallel()
	pending := frames("Aabc$", "Sx$y$")
	for _, c := range []struct {
		name         string
		entries      []entry
		server, want []byte
		pending      bool
	}{
		{"relay", []entry{entQuery}, frames("T$$", "D12345", "D", "CSELECT 2$", "ZI"), frames("T$$", "D12345", "D", "CSELECT 2$", "ZI"), false},
		{"pending", []entry{entQuery}, frames("D1", "CX$", "ZI"), append(append(frames("D1", "CX$"), pending...), frames("ZI")...), true},
		{
			"pending waits for a visible end", []entry{entQuery | hideReplies | hideReady, entQuery}, frames("CROLLBACK$", "ZI", "N1", "CX$", "ZI"),
			append(append(frames("N1", "CX$"), pending...), frames("ZI")...), true,
		},
		{
			"async messages of an undo", []entry{entQuery | hideReplies | hideReady, entQuery}, frames("CROLLBACK$", "Aabc$", "Sx$y$", "ZI", "CX$", "ZI"),
			append(append(frames("CX$"), pending...), frames("ZI")...), false,
		},
		{"hidden at both ends", []entry{entSync | hideReady, entQuery, entSync | hideReady}, frames("ZI", "CX$", "ZI", "ZI"), frames("CX$", "ZI"), false},
		{"hidden in the middle", []entry{entParse, entBind | hideReplies, entExecute, entSync}, frames("1", "2", "A0", "CX$", "ZI"), frames("1", "A0", "CX$", "ZI"), false},
		{"async at rest", nil, frames("N1", "A2", "Sa$b$"), frames("N1", "A2", "Sa$b$"), false},
		{"hidden copy-in", []entry{entQuery | hideCopyIn, entCopyEnd}, frames("G$$$", "CCOPY 1$", "ZI"), frames("CCOPY 1$", "ZI"), false},
		{"error of a hidden commit", []entry{entSync | hideReady, entQuery | hideReplies}, frames("ZT", "N1", "EC23503$$", "ZI"), frames("EC23503$$", "ZI"), false},
	} {
		for size := 1; size <= len(c.server); size++ {
			s := &session{params: map[string]string{}}
			if c.pending {
				s.pending = append([]byte(nil), pending...)
			}
			for _, e := range c.entries {
				s.queue.push(e)
			}
			got := walkAll(s, c.server, size)
			if !bytes.Equal(got, c.want) {
				t.Fatalf("%s in pieces of %d: the client sees %q, not %q", c.name, size, got, c.want)
			}
			if !s.atRest() {
				t.Fatalf("%s in pieces of %d: not at rest", c.name, size)
			}
		}
	}
}

// walkAll gives the server's bytes to the walk in pieces, and returns what the
// client gets.
func walkAll(s *session, server []byte, size int) (shown []byte) {
	var buf []byte
	for len(server) > 0 {
		n := min(size, len(server))
		buf = append(buf, server[:n]...)
		server = server[n:]
		w := s.walkServer(buf)
		for _, part := range w.show {
			shown = append(append(shown, part.before...), buf[part.from:part.to]...)
		}
		buf = append([]byte(nil), buf[w.seen:]...)
	}
	return shown
}

// TestRestWithinAFrame: a part of a notification is no rest.
func TestRestWithinAFrame(t *testing.T) {
	t.Parallel()
	s := &session{params: map[string]string{}}
	p := frames("A0123456789")
	if w := s.walkServer(p[:8]); w.seen != 8 || s.atRest() {
		t.Errorf("%d bytes seen, at rest: %v", w.seen, s.atRest())
	}
	if s.walkServer(p[8:]); !s.atRest() {
		t.Error("not at rest behind the frame")
	}
}

// TestWalkServerAllocates nothing for a relayed message.
func TestWalkServerAllocates(t *testing.T) {
	s := &session{params: map[string]string{}}
	p := frames("T$$", "D12345", "CSELECT 1$", "ZI")
	allocs := testing.AllocsPerRun(1000, func() {
		s.queue.push(entQuery)
		s.walkServer(p)
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestConfirm: a Parse counts as done at a ReadyForQuery behind it, not before.
func TestConfirm(t *testing.T) {
	t.Parallel()
	s := &session{params: map[string]string{}}
	s.queue.push(entSync)
	s.statements.add("a", &prepared{copy: &rewrite.CopyStatement{}})
	s.queue.push(entParse)
	s.queue.push(entSync)
	s.walkServer(frames("ZI"))
	s.walkServer(frames("EC42P05$$"))
	if s.statements.find([]byte("a")) != nil {
		t.Error("a Parse that failed is remembered")
	}
	s.walkServer(frames("ZI"))
	s.statements.add("a", &prepared{copy: &rewrite.CopyStatement{}})
	s.queue.push(entParse)
	s.queue.push(entSync)
	s.walkServer(frames("1", "ZI"))
	s.queue.push(entBind)
	s.walkServer(frames("EC22000$$"))
	if s.statements.find([]byte("a")) == nil {
		t.Error("a Parse that worked is forgotten")
	}
}

func TestIsWaitError(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{"57014": true, "55P03": true, "40P01": true, "42P01": false, "": false} {
		if got := isWaitError(pgerr.New(code, "x")); got != want {
			t.Errorf("%s: %v", code, got)
		}
	}
}

// TestSplits: a run is cut into several COPYs where that is cheap, and exact.
func TestSplits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   rewrite.Inspection
		want bool
	}{
		{rewrite.Inspection{Session: rewrite.Session{Version: 150000}}, true},
		{rewrite.Inspection{Session: rewrite.Session{Version: 150000}, ForeignKeys: true}, false},
		{rewrite.Inspection{Session: rewrite.Session{Version: 120012, Segmented: true}}, false},
		{rewrite.Inspection{Session: rewrite.Session{Version: 150000}, Sharding: &rewrite.Sharding{}}, false},
	} {
		if got := (&insertTask{insp: &c.in}).splits(); got != c.want {
			t.Errorf("%+v: %v", c.in, got)
		}
	}
}
