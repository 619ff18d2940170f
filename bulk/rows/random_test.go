package rows

import (
	"math/rand/v2"
	"testing"
)

// options makes scanner options of a few numbers, for tests that try many.
func lineOptions(format string, n uint64) Options {
	o := Options{Format: format, HeaderLines: int(n % 3)}
	if o.HeaderLines == 2 {
		o.HeaderLines = 0
	}
	if format == "csv" {
		n /= 3
		o.CSVMarker = n%2 == 0
		n /= 2
		o.Quote = []byte{0, '"', '\'', '\\', '.', 0xfe}[n%6]
		n /= 6
		o.Escape = []byte{0, 0, '\\', '"', '.', '\'', 'x'}[n%7]
	}
	return o
}

// randomLines strings together some of the pieces. Only some, for with all of
// them nearly all data would be irregular at an early place.
func randomLines(r *rand.Rand, all []string, n int) []byte {
	pieces := make([]string, 2+r.IntN(4))
	for i := range pieces {
		pieces[i] = all[r.IntN(len(all))]
	}
	var data []byte
	for range n {
		data = append(data, pieces[r.IntN(len(pieces))]...)
	}
	return data
}

const long = "the quick brown fox jumps over the lazy dog and over the fence too, "

// alphabets: each gives other surroundings; most keep to one line end, since
// mixed ones end a scan early.
var alphabets = [][]string{
	{"a", "\n", "\\", ".", "\r", "\""},
	{"a", "bc", long, "\n", "\\\\", "\\N", "\\\n", "\\.", "\"", "\"a\nb\"", "'", "\\\r"},
	{"a", "bc", long, "\n", "\\N", "\\\n", "\"a\nb\"", "\"\"", "\"\r\n\"", "'x\\'y'"},
	{"a", "bc", long, "\r\n", "\\N", "\\\r\\\n", "\"a\nb\"", "\"\"", "\"\r\n\"", "'x\\'y'"},
	{"a", "\r\n", "\\t", "\"\r\n\"", "\\.\r\n"},
	{"a", "\r", "\\t", "\"\r\n\"", "\\\\", long, "\\\n"},
	{"a", "\n", "\n\\.", "\n\\.x", "\"", "\"\"", "\\\"", ".\n"},
	{"\"a\",", "\"b\"\n", "\"c \"\" d\"", "\"\n\"", "\"\\\"\"", "\"\\\\\"", "\"\\\n\""},
	{"\\\\", "\\", "a", "\n", long},
	{"'a',", "'b'\n", "'x'", "'xx'", "x", "'x'"},
	{"\xfe", "\xff\x01", "\x8a\x0a", "\xdc", "\n", "\x0b", "\x8d", "\xa2"},
}

func TestRandomLines(t *testing.T) {
	t.Parallel()
	rounds := 4000
	if testing.Short() {
		rounds = 400
	}
	for i, pieces := range alphabets {
		for _, format := range []string{"text", "csv"} {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			regular := 0
			for range rounds {
				o := lineOptions(format, r.Uint64())
				data := randomLines(r, pieces, 1+r.IntN(120))
				compareAll(t, o, data, r.Uint64())
				if !refer(o, data).irregular {
					regular++
				}
			}
			t.Logf("%s, alphabet %d: %d of %d regular", format, i, regular, rounds)
		}
	}
}

// randomBinary makes a file that is whole, cut, or damaged in one byte.
func randomBinary(r *rand.Rand) []byte {
	data := []byte(signature + "\x00\x00\x00\x00\x00\x00\x00")
	ext := r.IntN(2) * r.IntN(80)
	data = append(data, byte(ext))
	data = append(data, make([]byte, ext)...)
	columns := r.IntN(4)
	for range r.IntN(30) {
		data = append(data, 0, byte(columns))
		for range columns {
			switch n := r.IntN(4); n {
			case 0:
				data = append(data, 0xff, 0xff, 0xff, 0xff)
			default:
				n = r.IntN(1 << (2 * n))
				data = append(data, 0, 0, 0, byte(n))
				data = append(data, make([]byte, n)...)
			}
		}
	}
	if r.IntN(2) == 0 {
		data = append(data, 0xff, 0xff)
	}
	switch r.IntN(6) {
	case 0:
		data = data[:r.IntN(len(data))]
	case 1:
		data[r.IntN(len(data))] ^= 1 << r.IntN(8)
	case 2:
		data = append(data, byte(r.IntN(256)))
	}
	return data
}

func TestRandomBinary(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 7))
	regular := 0
	for range 20000 {
		o := Options{Format: "binary", Columns: r.IntN(3)}
		data := randomBinary(r)
		compareAll(t, o, data, r.Uint64())
		if !refer(o, data).irregular {
			regular++
		}
	}
	t.Logf("%d of 20000 regular", regular)
}
