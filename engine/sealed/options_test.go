package sealed

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

func TestTableOptions(t *testing.T) {
	t.Parallel()
	full := rewrite.CopyStatement{Format: rewrite.FormatCSV, Delimiter: ';', Quote: '\'', Escape: '\\', Null: "n", Header: true, HeaderLines: 1,
		Encoding: "LATIN1", OnError: "stop", LogVerbosity: "verbose"}
	for _, c := range []struct {
		stmt  rewrite.CopyStatement
		first bool
		want  string
	}{
		{rewrite.CopyStatement{Format: rewrite.FormatText, Delimiter: '\t', Null: `\N`}, true, `map[delimiter:	 format:text null:\N]`},
		{rewrite.CopyStatement{Format: rewrite.FormatBinary}, true, `map[format:binary]`},
		{full, true, `map[delimiter:; encoding:LATIN1 escape:\ format:csv header:true null:n quote:']`},
		{full, false, `map[delimiter:; encoding:LATIN1 escape:\ format:csv null:n quote:']`},
		{rewrite.CopyStatement{Format: rewrite.FormatCSV, HeaderMatch: true}, true, `map[format:csv header:match null:]`},
	} {
		got, err := tableOptions(&c.stmt, c.first)
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("got %v, %v, want %s", got, err, c.want)
		}
	}
}

func TestImportWithoutID(t *testing.T) {
	t.Parallel()
	if _, err := ImportSQL(engine.Session{Database: "db"}, engine.File{}, make([]byte, KeySize), time.Now()); err == nil {
		t.Error("an import without id is taken")
	}
}
