package rows

import (
	"errors"
	"strings"
	"testing"
)

// lineSeeds are data whose rows depend on details of the rules; they also seed
// the fuzzers, and the server is asked about each.
var lineSeeds = []string{
	"", "\n", "\n\n\n", "a", "a\n", "a\nb", "a\nb\n", "\r\n", "a\r\nb\r\n", "a\rb\r", "a\r", "\r", "\r\r\n", "a\r\n\n",
	"a\nb\r\n", "a\nb\r", "a\r\nb\n", "a\r\nb\r", "a\r\nb\rc\r\n", "a\rb\n", "a\rb\r\n", "\n\r", "\r\na",
	"a\\\nb\nc\n", "a\n\\\n\n", "a\\\\\nb\\\\\\\nc\n", "a\\", "\\", "a\n\\", "a\\\\", "a\nb\\\rc\nd\n", "a\\\r\nb\n", "a\\\r\nb\r\n",
	"a\r\nb\\\r\nc\r\n", "a\r\nb\\\r\\\nc\r\n", "a\r\nb\\\nc\r\n", "a\rb\\\rc\r", "\\N\n\\N\n", "\\\\.\n", "\\\\.", "a\n\\\\.\nb\n",
	"\\.\n", "\\.", "\\.\r", "\\.\r\n", "a\n\\.\n", "a\n\\.\nrest", "a\n\\.", "a\r\n\\.\r\n", "a\r\n\\.\r\nrest", "a\r\n\\.", "a\r\n\\.\r",
	"a\r\n\\.\n", "a\r\n\\.\rb", "a\r\n\\.b\r\n", "a\r\\.\r", "a\r\\.\r\\.", "a\r\\.\n", "a\n\\.\r\n", "a\n\\.\r", "a\n\\.b\n", "a\n\\..\n", "a\n\\.\\.\n",
	"a\nb\\.\n", "a\nb\\.c\n", "a\n \\.\n", "\"a\n\\.\nb\"\nc\n", "a\n\"\\.\n\"\n", "a\n\"\\.\"\n", "a\n\\.\"\n\"\n", "a\n\\\"\n\"\n",
	"\"a\nb\"\nc\n\"d\ne\"\nf\n", "\"a\r\nb\"\r\nc\r\n\"d\r\ne\"\r\nf\r\n", "\"a\rb\"\rc\r\"d\re\"\rf\r", "\"a\nb\r\"\r\n\"c\n\r\"\r\n",
	"a\n\"b\rc\"\nd\n", "a\r\n\"b\nc\"\r\nd\r\n", "\"a\"\"\nb\"\nc\n", "a\"b\nc\"d\n", "\"a\\\"\nb\"\n", "\"a\\\\\"\nb\n", "\"a\\\\\\\"\nb\"\n", "\\\"a\nb\"\n", "\"\\n\\\n\"\nc\n",
	"\"a\nb", "\"a", "\"", "\"\"", "\"\"\"\n", "a\n\"b\n", "'a\nb'\nc\n", "'a\\'b\n'\nc\n", ".a\nb.\n", "a\n.\n", "h\n\"a\nb\"\n", "\"h\nh\"\na\nb\n", "h", "\"h\nh\"",
	"a\x00b\nc\n", "\x8a\n\x8d\n\xdc\n\xdcN\n\xa2\n",
	strings.Repeat("a", 63) + "\nb\n", strings.Repeat("a", 64) + "\nb\n", strings.Repeat("a", 62) + "\r\nb\r\n", strings.Repeat("a", 63) + "\r\nb\r\n",
	"a\n" + strings.Repeat("b", 61) + "\\\n" + strings.Repeat("c", 63) + "\\\\\nd\n", "a\n" + strings.Repeat("\\", 127) + "\nb\n", "a\n" + strings.Repeat("\\", 128) + "\nb\n",
	"a\n" + strings.Repeat("b", 62) + "\n\\.\nc\n", "a\n" + strings.Repeat("b", 63) + "\n\\.\nc\n", "a\n\"" + strings.Repeat("b\n", 50) + "\"\nc\n",
	"a\r\n" + strings.Repeat("b", 63) + "\r\n" + strings.Repeat("c", 63) + "\rx\n", "a\n" + strings.Repeat("\"b\"\"\n\",c\n", 20),
}

func FuzzText(f *testing.F) {
	for i, s := range lineSeeds {
		f.Add([]byte(s), byte(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, options byte, seed uint64) {
		compareAll(t, lineOptions("text", uint64(options)), data, seed)
	})
}

func FuzzCSV(f *testing.F) {
	for i, s := range lineSeeds {
		f.Add([]byte(s), byte(i%6), uint64(i))
		f.Add([]byte(s), byte(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, options byte, seed uint64) {
		compareAll(t, lineOptions("csv", uint64(options)), data, seed)
	})
}

const binaryHeader = signature + "\x00\x00\x00\x00\x00\x00\x00\x00"

// binarySeeds are whole and broken binary files.
var binarySeeds = []string{
	"", signature, binaryHeader, binaryHeader + "\xff\xff", binaryHeader + "\xff", binaryHeader + "\xff\xffx", binaryHeader + "\xff\xfe",
	binaryHeader + "\x00\x01\xff\xff\xff\xff\xff\xff", binaryHeader + "\x00\x01\x00\x00\x00\x02ab\x00\x01\x00\x00\x00\x00",
	binaryHeader + "\x00\x02\x00\x00\x00\x01a\xff\xff\xff\xff\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03abc\xff\xff",
	binaryHeader + "\x00\x01\xff\xff\xff\xfe", binaryHeader + "\x00\x01\x40\x00\x00\x00", binaryHeader + "\x00\x01\x3f\xff\xff\xffa", binaryHeader + "\x00\x00\x00\x00\x00",
	signature + "\x00\x01\x00\x00\x00\x00\x00\x00", signature + "\x00\x00\x00\x01\x00\x00\x00\x00", signature + "\x80\x00\x00\x00\x00\x00\x00\x00",
	signature + "\x00\x00\x00\x00\x00\x00\x00\x03ext\x00\x01\x00\x00\x00\x01a", signature + "\x00\x00\x00\x00\x00\x00\x00\x03ex", signature + "\x00\x00\x00\x00\xff\xff\xff\xff",
	signature + "\x00\x00\x00\x00\x00\x10\x00\x01", "PGCOPY\n\xff\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
}

func FuzzBinary(f *testing.F) {
	for i, s := range binarySeeds {
		f.Add([]byte(s), byte(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, columns byte, seed uint64) {
		compareAll(t, Options{Format: "binary", Columns: int(columns % 4)}, data, seed)
	})
}

// TestSeedsAtEverySplit cuts each seed in two at every place.
func TestSeedsAtEverySplit(t *testing.T) {
	t.Parallel()
	check := func(o Options, data string) {
		t.Helper()
		for i := range len(data) + 1 {
			first := i
			next := func(left int) int {
				if n := first; n > 0 {
					first = 0
					return n
				}
				return left
			}
			if err := compare(o, []byte(data), next); err != nil {
				t.Fatalf("%+v %q, split at %d: %v", o, data, i, err)
			}
		}
	}
	step := uint64(1)
	if testing.Short() {
		step = 11 // shares no factor with the numbers of choices
	}
	for _, s := range lineSeeds {
		for n := range uint64(3) {
			check(lineOptions("text", n), s)
		}
		for n := uint64(0); n < 3*2*6*7; n += step {
			check(lineOptions("csv", n), s)
		}
	}
	for _, s := range binarySeeds {
		for n := range 3 {
			check(Options{Format: "binary", Columns: n}, s)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{}, {Format: "TEXT"}, {Format: "parquet"}, {Format: "csv", Quote: '\n'}, {Format: "csv", Quote: '\r'},
		{Format: "csv", Escape: '\n'}, {Format: "csv", Escape: '\r'}, {Format: "text", HeaderLines: -1},
		{Format: "csv", HeaderLines: -1}, {Format: "binary", HeaderLines: 1}, {Format: "binary", Columns: -1}, {Format: "binary", Columns: 1 << 15},
	} {
		if s, err := New(o); err == nil || s != nil || errors.Is(err, ErrIrregular) {
			t.Errorf("%+v: %v, %v", o, s, err)
		}
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	for _, v := range benchVariants {
		data, _ := benchData(v.format.Format, v.row)
		s, err := New(v.format)
		if err != nil {
			t.Fatal(err)
		}
		rest := data
		allocs := testing.AllocsPerRun(100, func() {
			n := min(len(rest), 3333)
			if _, err := s.Scan(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations per scan", v.name, allocs)
		}
	}
}
