package rows

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// benchChunk is what most drivers send as one CopyData message.
const benchChunk = 64 << 10

// benchRow makes a row of about 100 bytes: bigint, int, text, float8,
// timestamptz, bool, text.
func benchRow(i int) []string {
	return []string{
		fmt.Sprint(1_000_000_000 + i), fmt.Sprint(i % 1000), "customer name " + fmt.Sprint(i%5000),
		fmt.Sprintf("%.6f", float64(i)/7), "2024-03-01 12:34:56.789012+00", "t", "a comment of some words",
	}
}

func join(fields []string, quote, sep, end string) string {
	return quote + strings.Join(fields, quote+sep+quote) + quote + end
}

// benchVariants: name → format → row.
var benchVariants = []struct {
	name   string
	format Options
	row    func(i int) string
}{
	{"text/plain", Options{Format: "text"}, func(i int) string { return join(benchRow(i), "", "\t", "\n") }},
	{"text/crlf", Options{Format: "text"}, func(i int) string { return join(benchRow(i), "", "\t", "\r\n") }},
	{"text/nulls", Options{Format: "text"}, func(i int) string {
		f := benchRow(i)
		f[1+i%2], f[3], f[6-i%3] = `\N`, `\N`, `\N`
		return join(f, "", "\t", "\n")
	}},
	{"text/escapes", Options{Format: "text"}, func(i int) string {
		f := benchRow(i)
		f[2], f[6] = `C:\\Users\\name\\file`, `line one\nline two\ttab\\`
		return join(f, "", "\t", "\n")
	}},
	{"text/narrow", Options{Format: "text"}, func(i int) string { return fmt.Sprintf("%d\t\\N\n", i%10000) }},
	{"text/backslashes", Options{Format: "text"}, func(int) string { return strings.Repeat(`\\`, 50) + "\n" }},
	{"csv/plain", Options{Format: "csv"}, func(i int) string { return join(benchRow(i), "", ",", "\n") }},
	{"csv/marker", Options{Format: "csv", CSVMarker: true}, func(i int) string { return join(benchRow(i), "", ",", "\n") }},
	{"csv/quoted", Options{Format: "csv"}, func(i int) string { return join(benchRow(i), `"`, ",", "\n") }},
	{"csv/crlf", Options{Format: "csv"}, func(i int) string { return join(benchRow(i), `"`, ",", "\r\n") }},
	{"csv/newlines", Options{Format: "csv", CSVMarker: true}, func(i int) string {
		f := benchRow(i)
		f[2], f[6] = "two\nlines", "and \"\"three\"\"\r\nmore\nlines \\ of it"
		return join(f, `"`, ",", "\n")
	}},
	{"csv/escapes", Options{Format: "csv", Escape: '\\'}, func(i int) string {
		f := benchRow(i)
		f[2], f[6] = `say \"yes\"`, `C:\\dir\\file`
		return join(f, `"`, ",", "\n")
	}},
	{"csv/narrow", Options{Format: "csv"}, func(i int) string { return fmt.Sprintf("\"%d\"\n", i%10000) }},
	{"binary/plain", Options{Format: "binary", Columns: 7}, func(i int) string {
		row := "\x00\x07"
		for k, n := range []int{8, 4, 18, 8, 8, 1, 23} {
			if (i+k)%9 == 0 {
				row += "\xff\xff\xff\xff"
				continue
			}
			row += "\x00\x00\x00" + string(rune(n)) + strings.Repeat("x", n)
		}
		return row
	}},
}

// benchData makes 2 MiB: more than fits the nearest cache, as in life.
func benchData(format string, row func(int) string) (data []byte, rows int64) {
	if format == "binary" {
		data = append(data, signature+"\x00\x00\x00\x00\x00\x00\x00\x00"...)
	}
	for len(data) < 2<<20 {
		data = append(data, row(int(rows))...)
		rows++
	}
	return data, rows
}

func scanChunks(b testing.TB, s Scanner, data []byte, chunk int) {
	for len(data) > 0 {
		n := min(chunk, len(data))
		if _, err := s.Scan(data[:n]); err != nil {
			b.Fatal(err)
		}
		data = data[n:]
	}
}

func BenchmarkScan(b *testing.B) {
	for _, chunk := range []int{benchChunk, 200} {
		for _, v := range benchVariants {
			b.Run(fmt.Sprintf("%s/%d", v.name, chunk), func(b *testing.B) {
				data, rows := benchData(v.format.Format, v.row)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				report := testenv.CPURate(b, len(data))
				for b.Loop() {
					s, err := New(v.format)
					if err != nil {
						b.Fatal(err)
					}
					scanChunks(b, s, data, chunk)
					if at, err := s.End(); err != nil || at.Rows != rows {
						b.Fatal(at, err)
					}
				}
				report()
			})
		}
	}
}
