package rewrite

import "testing"

var prefilterCases = []struct {
	sql  string
	want Kind
}{
	{"COPY t FROM STDIN", KindCopy},
	{"copy\tt", KindCopy},
	{"CoPy(select 1) to stdout", KindCopy},
	{`COPY"t"`, KindCopy},
	{"copy/**/t", KindCopy},
	{"copy--\nt", KindCopy},
	{" \t\n\r\f\vCOPY t", KindCopy},
	{";;( COPY", KindCopy},
	{"/* a /* b */ c */COPY t", KindCopy},
	{"/*/*/**/*/*/COPY t", KindCopy},
	{"/***/COPY t", KindCopy},
	{"/**//**/-- x\rCOPY t", KindCopy},
	{"-- COPY\nINSERT INTO t", KindInsert},
	{"insert into t", KindInsert},
	{"((insert", KindInsert},
	{"WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", KindInsert},
	{"SELECT 1", KindNone},
	{"", KindNone},
	{" ", KindNone},
	{"-", KindNone},
	{"/", KindNone},
	{"--", KindNone},
	{"/* COPY", KindNone},
	{"/* /* */ COPY", KindNone},
	{"- COPY", KindNone},
	{"/ COPY", KindNone},
	{"COPYX", KindNone},
	{"COPY_t", KindNone},
	{"COPY1", KindNone},
	{"COPY$", KindNone},
	{"copyé", KindNone},
	{"inserted", KindNone},
	{"without", KindNone},
	{`"COPY" t`, KindNone},
	{"SELECT 1; COPY t FROM STDIN", KindNone},
	{"\xef\xbb\xbfCOPY t", KindNone},
	{"C\x0fPY t", KindNone},
	{"\x43\x4f\x10\x59", KindNone},
}

func TestPrefilter(t *testing.T) {
	t.Parallel()
	for _, tc := range prefilterCases {
		if got := Prefilter([]byte(tc.sql)); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.sql, got, tc.want)
		}
	}
}

// TestPrefilterHead: an answer that is called decided never changes as more
// bytes come, and the whole text always has one.
func TestPrefilterHead(t *testing.T) {
	t.Parallel()
	for _, tc := range prefilterCases {
		checkHeads(t, tc.sql)
	}
	if kind, decided := PrefilterHead([]byte("COPY "), false); kind != KindCopy || !decided {
		t.Error(kind, decided)
	}
	for _, head := range []string{"", " ", "-", "--", "/* COPY", "COPY", "INSER", "/", "(("} {
		if _, decided := PrefilterHead([]byte(head), false); decided {
			t.Errorf("%q is decided", head)
		}
	}
}

func checkHeads(t *testing.T, sql string) {
	want, decided := PrefilterHead([]byte(sql), true)
	if !decided {
		t.Errorf("%q: the whole is not decided", sql)
	}
	for n := range len(sql) + 1 {
		got, decided := PrefilterHead([]byte(sql[:n]), false)
		if decided && got != want || !decided && got != KindNone {
			t.Errorf("%q: %q at %d, %q in the end", sql, got, n, want)
		}
	}
}

func TestPrefilterAllocates(t *testing.T) {
	sql := []byte("/* driver */ -- x\n  COPY t FROM STDIN")
	if n := testing.AllocsPerRun(100, func() { Prefilter(sql) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPrefilter(b *testing.B) {
	sql := []byte("/* driver */ SELECT 1")
	for b.Loop() {
		Prefilter(sql)
	}
}
