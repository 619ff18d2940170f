package transcode

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/internal/testenv"
)

// benchSettings are those of a server as it comes.
var benchSettings = Settings{Version: 150000, ClientEncoding: "UTF8", ServerEncoding: "UTF8", TimeZone: "UTC", Abbreviations: "Default", IntervalStyle: "postgres", ArrayNulls: true}

// benchColumns are those of the table that the benchmarks of whole loads use.
var benchColumns = []Column{{Base: oidInt8}, {Base: oidInt4}, {Base: oidText}, {Base: oidFloat8}, {Base: oidTimestamptz}, {Base: oidBool}, {Base: oidText}}

// benchRow makes a row of about 100 bytes of text.
func benchRow(i int) []string {
	return []string{
		fmt.Sprint(i), fmt.Sprint(i * 7919 % 100000), "customer-" + fmt.Sprint(i*31%1000003), fmt.Sprint(float64(i*104729%10000000) / 1000),
		fmt.Sprintf("2024-01-%02d %02d:%02d:%02d.5+00", i%31+1, i%24, i%60, i*7%60), "ft"[i%2 : i%2+1], fmt.Sprintf("%016x%016x", i*0x9e3779b97f4a7c1, i*0x2545f4914f6cdd1),
	}
}

const benchRows = 5000

func benchmark(b *testing.B, cols []Column, f Format, row func(i int) string) {
	b.Helper()
	for i := range cols {
		cols[i].Typmod = -1
	}
	t, err := New(cols, f, benchSettings)
	if err != nil {
		b.Fatal(err)
	}
	var data strings.Builder
	for i := range benchRows {
		data.WriteString(row(i + 1))
	}
	chunk := []byte(data.String())
	dst := make([]byte, 0, 4*len(chunk))
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	report := testenv.CPURate(b, len(chunk))
	for b.Loop() {
		if _, n, err := t.Append(dst, chunk); n != benchRows || err != nil {
			b.Fatal(n, err)
		}
	}
	report()
}

func BenchmarkRows(b *testing.B) {
	text, csv := Format{Null: `\N`}, Format{CSV: true}
	b.Run("text", func(b *testing.B) {
		benchmark(b, benchColumns, text, func(i int) string { return strings.Join(benchRow(i), "\t") + "\n" })
	})
	b.Run("text/escapes", func(b *testing.B) {
		benchmark(b, benchColumns, text, func(i int) string {
			f := benchRow(i)
			f[6] = `line one\nline two\ttab\\ of some length`
			return strings.Join(f, "\t") + "\n"
		})
	})
	b.Run("csv", func(b *testing.B) {
		benchmark(b, benchColumns, csv, func(i int) string { return strings.Join(benchRow(i), ",") + "\n" })
	})
	b.Run("csv/quoted", func(b *testing.B) {
		benchmark(b, benchColumns, csv, func(i int) string { return `"` + strings.Join(benchRow(i), `","`) + "\"\n" })
	})
}

func BenchmarkType(b *testing.B) {
	for _, c := range []struct {
		name  string
		base  uint32
		value func(i int) string
	}{
		{"int4", oidInt4, func(i int) string { return fmt.Sprint(i * 7919) }},
		{"int8", oidInt8, func(i int) string { return fmt.Sprint(1_000_000_000_000 + i) }},
		{"float8", oidFloat8, func(i int) string { return fmt.Sprint(float64(i) * 1.001) }},
		{"float8 of 17 digits", oidFloat8, func(i int) string { return fmt.Sprint(1 / float64(i)) }},
		{"float4", oidFloat4, func(i int) string { return fmt.Sprint(float32(i) * 1.001) }},
		{"numeric", oidNumeric, func(i int) string { return fmt.Sprintf("%d.%02d", i*7919, i%100) }},
		{"bool", oidBool, func(i int) string { return "ft"[i%2 : i%2+1] }},
		{"text", oidText, func(i int) string { return fmt.Sprint("customer-", i) }},
		{"bytea", oidBytea, func(i int) string { return fmt.Sprintf(`\\x%032x`, i) }},
		{"uuid", oidUUID, func(i int) string { return fmt.Sprintf("a0eebc99-9c0b-4ef8-bb6d-%012x", i) }},
		{"date", oidDate, func(i int) string { return fmt.Sprintf("2024-%02d-%02d", i%12+1, i%28+1) }},
		{"timestamptz", oidTimestamptz, func(i int) string { return benchRow(i)[4] }},
		{"time", oidTime, func(i int) string { return fmt.Sprintf("%02d:%02d:59.123456", i%24, i%60) }},
		{"interval", oidInterval, func(i int) string { return fmt.Sprintf("%d days 01:02:%02d", i, i%60) }},
		{"inet", oidInet, func(i int) string { return fmt.Sprintf("10.1.%d.%d", i%256, i%251) }},
		{"jsonb", oidJSONB, func(i int) string { return fmt.Sprintf(`{"id": %d, "name": "customer"}`, i) }},
		{"int4[]", 1007, func(i int) string { return fmt.Sprintf("{%d,%d,%d}", i, i+1, i*2) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			benchmark(b, []Column{{Base: c.base}}, Format{Null: `\N`}, func(i int) string { return c.value(i) + "\n" })
		})
	}
}
