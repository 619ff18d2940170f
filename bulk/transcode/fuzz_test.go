package transcode

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// fuzzKinds are one type of each way.
var fuzzKinds = []string{
	"int4", "int8", "oid", "float8", "float4", "numeric", "numeric(10,2)", "bool", "bytea", "uuid", "date", "time", "timestamp", "timestamptz",
	"interval", "inet", "cidr", "macaddr", "int4[]", "text[]", "timestamptz[]", "numeric[]", "name",
}

// FuzzServer gives texts to a type, natively and transcoded.
func FuzzServer(f *testing.F) {
	oracles := make([]*oracle, len(fuzzKinds))
	for i, kind := range fuzzKinds {
		oracles[i] = newOracle(f, kind, "SET TimeZone = 'UTC'")
		for _, c := range slices.Concat(serverCases, timeCases) {
			if c.kind == kind {
				for _, text := range c.list[:min(len(c.list), 3)] { // TestServer has them all
					f.Add(byte(i), text)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, text string) {
		o := oracles[int(kind)%len(oracles)]
		o.single = kind&0x80 != 0
		if _, err := o.judge(t.Context(), []string{text}); err != nil {
			t.Error(err)
		}
	})
}

// FuzzChunks: data means the same wherever it is cut between rows, nothing that
// stands in dst before is touched, and rows don't grow by more than they may.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("1\ta\\tb\t{1,2}\n\\N\t\\N\t{\"\\\\\"\"}\n"), false, byte('\t'))
	f.Add([]byte("1,\"a\nb\",{}\n2,,\r\n"), true, byte(','))
	f.Add([]byte("1|\"a\"\"b\"|\"{1,\"\"2\"\"}\"\r\n3|x|{{1},{2}}\r\n"), true, byte('|'))
	cols := []Column{{Base: oidNumeric, Typmod: -1}, {Base: oidText, Typmod: -1}, {Base: 1231, Typmod: -1}}
	f.Fuzz(func(t *testing.T, data []byte, csv bool, delimiter byte) {
		tr, err := New(cols, Format{CSV: csv, Delimiter: delimiter, Null: `\N`}, benchSettings)
		if err != nil {
			t.Fatal(err)
		}
		out, rows, err := tr.Append([]byte("before"), data)
		var fallback *Fallback
		if err != nil && (!errors.As(err, &fallback) || fallback.Row != rows) {
			t.Fatalf("%d rows: %v", rows, err)
		}
		if !bytes.HasPrefix(out, []byte("before")) || len(out)-6 > MaxGrowth*(len(data)+1) {
			t.Fatalf("%q", out)
		}
		for cut := range data {
			if data[cut] != '\n' {
				continue
			}
			first, n, err1 := tr.Append([]byte("before"), data[:cut+1])
			both, m, err2 := tr.Append(first, data[cut+1:])
			if err == nil && err1 == nil && err2 == nil && n+m == rows && !bytes.Equal(both, out) {
				t.Fatalf("cut at %d: %q, whole %q", cut, both, out)
			}
		}
	})
}
