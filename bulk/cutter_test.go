package bulk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
)

// newCutter returns a cutter for a format, whose files are cut at every row
// boundary beyond limit.
func newCutter(t testing.TB, format string, limit int64, mem *Memory) *cutter {
	t.Helper()
	scan, err := rows.New(rows.Options{Format: format, CSVMarker: true})
	if err != nil {
		t.Fatal(err)
	}
	return &cutter{scan: scan, binary: format == "binary", mem: mem, limit: func() int64 { return limit }}
}

// cutAll feeds data in chunks of the sizes that next says.
func cutAll(c *cutter, data []byte, ok bool, next func(left int) int) ([]*file, error) {
	var files []*file
	for len(data) > 0 {
		n := next(len(data))
		for p := data[:n]; len(p) > 0; {
			k, cut, err := c.take(p)
			if err != nil {
				return files, err
			}
			if cut != nil {
				files = append(files, cut)
			}
			p = p[k:]
		}
		data = data[n:]
	}
	if last := c.finish(ok); last != nil {
		files = append(files, last)
	}
	return files, nil
}

func content(t testing.TB, f *file) []byte {
	t.Helper()
	p := make([]byte, f.held.Size())
	if _, err := f.held.ReadAt(p, 0); err != nil && len(p) > 0 {
		t.Fatal(err)
	}
	return p
}

// payload is the client's data of a file.
func payload(t testing.TB, f *file) []byte {
	p := content(t, f)
	return p[f.head : len(p)-f.tail]
}

// tuple is one binary tuple with one field.
func tuple(field string) string {
	b := binary.BigEndian.AppendUint32([]byte{0, 1}, uint32(len(field)))
	return string(b) + field
}

// genData makes data of which it is known where rows end: want is what of it
// belongs to the rows, ends are the offsets in want just behind each row, and
// lines the physical lines up to there.
type genData struct {
	data, want  []byte
	ends, lines []int
	header      []byte
}

func (g *genData) row(s string, lines int) {
	g.want = append(g.want, s...)
	g.ends = append(g.ends, len(g.want))
	before := 0
	if len(g.lines) > 0 {
		before = g.lines[len(g.lines)-1]
	}
	g.lines = append(g.lines, before+lines)
}

func draw(t *rapid.T, format string) *genData {
	g := &genData{}
	n := rapid.IntRange(0, 30).Draw(t, "rows")
	long := rapid.IntRange(0, 3).Draw(t, "long") * 40
	eol := rapid.SampledFrom([]string{"\n", "\r\n", "\r"}).Draw(t, "eol")
	for range n {
		text := strings.Repeat("x", rapid.IntRange(0, 5+long).Draw(t, "len"))
		switch {
		case format == "binary":
			g.row(tuple(text), 1)
		case format == "csv" && rapid.Bool().Draw(t, "quoted"):
			lines := 2
			if len(g.ends) == 0 && eol == "\n" {
				lines = 1 // before its first line end COPY counts only \r in quotes
			}
			g.row(`"`+text+eol+`""",`+text+eol, lines)
		default:
			g.row("y"+text+eol, 1)
		}
	}
	end := rapid.SampledFrom([]string{"", "marker", "open"}).Draw(t, "end")
	g.data = append(g.data, g.want...)
	if format == "binary" {
		ext := rapid.IntRange(0, 5).Draw(t, "extension")
		g.header = append([]byte(binaryHeader[:len(binaryHeader)-1]), byte(ext))
		g.header = append(g.header, bytes.Repeat([]byte{7}, ext)...)
		g.data = append(append([]byte(nil), g.header...), g.data...)
		if end == "marker" {
			g.data = append(g.data, binaryTrailer...)
		}
		return g
	}
	switch {
	case end == "marker":
		g.data = append(g.data, `\.`+eol+"ignored"...)
	case end == "open":
		g.row("last", 1)
		g.data = append(g.data, "last"...)
	}
	return g
}

// TestCutter: whatever the chunks, the files hold the client's rows, each cut
// at a row boundary, with the position where it begins.
func TestCutter(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "csv", "binary"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) { checkCutter(t, rt, format) })
		})
	}
}

func checkCutter(t *testing.T, rt *rapid.T, format string) {
	g := draw(rt, format)
	mem := NewMemory(1<<30, false, "")
	limit := int64(rapid.SampledFrom([]int{1, 30, 100, 1000}).Draw(rt, "limit"))
	most := rapid.SampledFrom([]int{1, 3, 20, 400}).Draw(rt, "most")
	files, err := cutAll(newCutter(t, format, limit, mem), g.data, true, func(left int) int {
		return min(left, rapid.IntRange(1, most).Draw(rt, "chunk"))
	})
	if err != nil {
		rt.Fatal(err)
	}
	if len(files) == 0 {
		rt.Fatal("no file at all")
	}
	var got []byte
	row := 0
	for i, f := range files {
		if f.number != i+1 || f.raw {
			rt.Fatalf("file %d has number %d, raw %v", i+1, f.number, f.raw)
		}
		lines := 0
		if row > 0 {
			lines = g.lines[row-1]
		}
		if want := (rows.Position{Rows: int64(row), Lines: int64(lines)}); f.before != want {
			rt.Fatalf("file %d begins at %+v, not %+v", f.number, f.before, want)
		}
		got = append(got, payload(t, f)...)
		row += int(f.rows)
		if row > 0 && len(got) != g.ends[row-1] || row == 0 && len(got) > 0 {
			rt.Fatalf("file %d ends at byte %d, row %d of %v", f.number, len(got), row, g.ends)
		}
		checkBinary(t, rt, f, g.header)
		f.free()
	}
	if row != len(g.ends) || !bytes.Equal(got, g.want) {
		rt.Fatalf("%d of %d rows, %q for %q", row, len(g.ends), got, g.want)
	}
	if mem.left != 1<<30 {
		rt.Fatalf("%d bytes of the budget are gone", 1<<30-mem.left)
	}
}

// checkBinary: a binary file is one that any server can read by itself.
func checkBinary(t *testing.T, rt *rapid.T, f *file, header []byte) {
	if header == nil {
		return
	}
	p := content(t, f)
	if !bytes.HasPrefix(p, []byte(binaryHeader)) || !bytes.HasSuffix(p, []byte(binaryTrailer)) {
		rt.Fatalf("file %d is no binary file: %q", f.number, p)
	}
	if !bytes.Equal(f.binaryHeader, header) {
		rt.Fatalf("the client's header is %q, not %q", f.binaryHeader, header)
	}
}

// TestCutterIrregular: what only the server can judge comes to it as it came
// from the client: from the first raw file on, and all files before it whole.
func TestCutterIrregular(t *testing.T) {
	t.Parallel()
	row := tuple("abc")
	for _, c := range []struct {
		name, format, data string
		ok                 bool
		want               string // all files' payload, with the client's header
	}{
		{"mixed line ends", "text", "a\nb\r\nc\n", true, "a\nb\r\nc\n"},
		{"marker amid a line", "text", "a\nb\\.\nc\n", true, "a\nb\\.\nc\n"},
		{"open quote", "csv", "a\n\"b\n", true, "a\n\"b\n"},
		{"copy fails", "text", "a\nb\n", false, "a\nb\n"},
		{"copy fails at once", "text", "", false, ""},
		{"half a tuple", "binary", binaryHeader + row + row[:4], true, binaryHeader + row + row[:4]},
		{"half a header", "binary", binaryHeader[:9], true, binaryHeader[:9]},
		{"bad header", "binary", "PGCOPX" + binaryHeader[6:] + row, true, "PGCOPX" + binaryHeader[6:] + row},
		{"flags", "binary", binaryHeader[:11] + "\x00\x01\x00\x00\x00\x00\x00\x00" + row, true, binaryHeader[:11] + "\x00\x01\x00\x00\x00\x00\x00\x00" + row},
		{"bytes behind the trailer", "binary", binaryHeader + row + binaryTrailer + "x", true, binaryHeader + row + binaryTrailer + "x"},
		{"negative count", "binary", binaryHeader + row + "\xff\xfe", true, binaryHeader + row + "\xff\xfe"},
	} {
		for _, limit := range []int64{1, 1 << 20} {
			for size := 1; size <= len(c.data)+1; size++ {
				name := fmt.Sprintf("%s, files of %d, chunks of %d", c.name, limit, size)
				checkIrregular(t, name, newCutter(t, c.format, limit, NewMemory(1<<30, false, "")), c.data, c.want, c.ok, size)
			}
		}
	}
}

func checkIrregular(t *testing.T, name string, c *cutter, data, want string, ok bool, size int) {
	t.Helper()
	files, err := cutAll(c, []byte(data), ok, func(left int) int { return min(left, size) })
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	raw := false
	var got []byte
	for _, f := range files {
		if raw && !f.raw {
			t.Errorf("%s: file %d is regular again", name, f.number)
		}
		raw = f.raw
		if len(got) == 0 {
			got = append(got, f.binaryHeader...)
		}
		got = append(got, payload(t, f)...)
		f.free()
	}
	if !raw {
		t.Errorf("%s: no file is raw", name)
	}
	if string(got) != want {
		t.Errorf("%s: the server would get %q, not %q", name, got, want)
	}
	if c.mem.left != 1<<30 {
		t.Errorf("%s: %d bytes of the budget are gone", name, 1<<30-c.mem.left)
	}
}

// TestCutterSizes: files double up to the limit.
func TestCutterSizes(t *testing.T) {
	t.Parallel()
	c := newCutter(t, "text", 8<<20, NewMemory(1<<30, false, ""))
	line := append(bytes.Repeat([]byte{'x'}, 1023), '\n')
	files, err := cutAll(c, bytes.Repeat(line, 30<<10), true, func(left int) int { return min(left, 64<<10) })
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int64
	for _, f := range files {
		sizes = append(sizes, f.held.Size()>>20)
		f.free()
	}
	if fmt.Sprint(sizes) != "[2 4 8 8 8]" {
		t.Errorf("sizes in MiB: %v", sizes)
	}
}

func TestCutterLineEnds(t *testing.T) {
	t.Parallel()
	for _, eol := range []string{"\n", "\r\n", "\r"} {
		files, err := cutAll(newCutter(t, "text", 1, NewMemory(1<<30, false, "")), []byte(strings.Repeat("a"+eol, 3)), true, func(int) int { return 1 })
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files[1:] {
			if f.eol != eol {
				t.Errorf("file %d says that lines end with %q, not %q", f.number, f.eol, eol)
			}
		}
	}
}

// TestCutterOutOfMemory: whenever the budget ends, nothing of it is lost.
func TestCutterOutOfMemory(t *testing.T) {
	t.Parallel()
	data := map[string]string{
		"text":   strings.Repeat(strings.Repeat("x", 1000)+"\n", 3000),
		"binary": binaryHeader + strings.Repeat(tuple(strings.Repeat("x", 1000)), 3000),
	}
	for format, data := range data {
		for slabs := range int64(12) {
			mem := NewMemory(slabs*slabSize, false, "")
			c := newCutter(t, format, 300<<10, mem)
			files, err := cutAll(c, []byte(data), true, func(left int) int { return min(left, 100<<10) })
			if err == nil {
				t.Fatalf("%s: 3 MB fit in %d slabs", format, slabs)
			}
			for _, f := range files {
				f.free()
			}
			c.drop()
			if mem.left != slabs*slabSize {
				t.Errorf("%s, %d slabs: %d bytes of the budget are gone", format, slabs, slabs*slabSize-mem.left)
			}
		}
	}
}

// TestCutterBinaryHeaderWithoutMemory: a file whose header found no memory is
// not gone on with when memory comes back.
func TestCutterBinaryHeaderWithoutMemory(t *testing.T) {
	t.Parallel()
	mem := NewMemory(0, false, "")
	c := newCutter(t, "binary", 1<<20, mem)
	if _, _, err := c.take([]byte(binaryHeader)); err == nil {
		t.Fatal("taken without memory")
	}
	mem.mu.Lock()
	mem.left = 1 << 20
	mem.mu.Unlock()
	if _, _, err := c.take([]byte(tuple("a"))); err == nil {
		t.Fatal("taken without a header")
	}
}
