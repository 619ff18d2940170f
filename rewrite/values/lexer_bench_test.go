package values

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// typicalInsert is 1000 rows of the 7 columns that benchmarks load.
func typicalInsert() (sql string, at int) {
	var b strings.Builder
	b.WriteString("INSERT INTO t (id, n, name, score, at, ok, note) VALUES ")
	at = b.Len()
	for i := range 1000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "(%d,%d,'customer %d',%d.%d,'2024-03-%02d 10:%02d:00+00',%v,'a note of some length about %d')",
			1000000+i, i%977, i, i%500, i%7, i%28+1, i%60, i%2 == 0, i)
	}
	return b.String(), at
}

func BenchmarkRows(b *testing.B) {
	plain, at := typicalInsert()
	for _, bench := range []struct{ name, sql string }{
		{"plain", plain},
		{"spaced", strings.ReplaceAll(strings.ReplaceAll(plain, ",", ", "), "),", "),\n")},
		{"escaped", strings.ReplaceAll(plain, "'a note", "E'a\\tnote")},
		{"doubled", strings.ReplaceAll(plain, "of some", "of ''some''")},
	} {
		sql := []byte(bench.sql)
		start := strings.Index(bench.sql, "VALUES ") + len("VALUES ")
		_ = at
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(sql)))
			b.ReportAllocs()
			l := New(sql, start, Options{StandardStrings: true, UTF8: true})
			var cells []Cell
			report := testenv.CPURate(b, len(sql))
			for b.Loop() {
				l.Reset(sql, start)
				n := 0
				for {
					var err error
					if cells, err = l.Row(cells); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != 1000 {
					b.Fatal(n)
				}
			}
			report()
		})
	}
}
