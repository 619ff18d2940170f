package bulk

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgbulkproxy/pgbulkproxy/bulk/rows"
)

// TestLineCounter: lines are those of COPY's CONTEXT, which the scanner of rows counts
// as the server does.
func TestLineCounter(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		"a\tb\nc\td\n", "a,b\n\"c\nd\",e\nf,\"\n\n\"\n", "\"a\nb\",c\n\"d\ne\",f\n", "\"a\r\nb\",c\r\n\"d\r\ne\",f\r\ng,h\r\n", "a,\"b\nc\"",
	} {
		format := "text"
		if strings.Contains(data, ",") {
			format = "csv"
		}
		o := rows.Options{Format: format}
		scan, err := rows.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := scan.Scan([]byte(data)); err != nil {
			t.Fatal(err)
		}
		want, err := scan.End()
		if err != nil {
			t.Fatal(err)
		}
		c := lineCounter{csv: format == "csv"}
		column := rows.Column{Options: o, Delimiter: map[string]byte{"text": '\t', "csv": ','}[format]}
		var all []byte
		err = column.Rows([]byte(data), nil, func(_, row []byte) error { c.add(row); all = slices.Concat(all, row); return nil })
		if err != nil || c.lines != want.Lines || string(all) != data {
			t.Errorf("%q: %d lines of %q, %v, want %d", data, c.lines, all, err, want.Lines)
		}
	}
}
