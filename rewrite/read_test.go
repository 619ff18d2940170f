package rewrite

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// readGolden is the inspection of the golden statements: t is routed by an
// integer, u by a text under another name.
func readGolden(s *ReadStatement) *ReadInspection {
	r := &ReadInspection{tables: make([]*readTable, len(s.names))}
	for i, n := range s.names {
		row := readRow{
			OID: 5, Kind: "r", Schema: "s", Table: n.table, Routes: n.table + RoutingSuffix, Open: true, Readable: true,
			Columns:    []routingColumn{{name: "id", oid: 23, base: "N23"}, {name: "group_id", oid: 23, base: "N23", sql: "integer"}},
			AuxOID:     6,
			AuxTable:   n.table + AuxSuffix,
			AuxKind:    "r",
			Installed:  true,
			AuxColumns: []routingColumn{{name: "id", oid: 23, base: "N23"}, {name: "group_id", oid: 23, base: "N23", sql: "integer"}},
		}
		if n.table == "u" {
			row.Columns[1] = routingColumn{name: "routing_id", oid: 25, base: "S25", sql: "text"}
			row.AuxColumns[1] = routingColumn{name: "group_id", oid: 25, base: "S25", sql: "text"}
		}
		r.tables[i] = row.resolve("")
	}
	return r
}

// TestReadGolden runs the command plan: a statement → what is sent in its place.
// Long conditions on routes are shortened.
func TestReadGolden(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "../testdata/sql/read", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			may := func(table string) bool { return table == "t" || table == "u" }
			s, reason := ParseRead(d.Input, ReadOptions{MaxBytes: 1 << 16, May: may, StandardStrings: true, UTF8: true})
			if s == nil {
				return fmt.Sprintf("pass %s\n", reason)
			}
			p, reason := s.Plan(readGolden(s), PlanOptions{Prepared: d.HasArg("prepared")})
			if p == nil {
				return fmt.Sprintf("pass %s\n", reason)
			}
			out := string(p.Reason)
			if p.Doubtful {
				out += " doubtful"
			}
			for _, sql := range append([]string{p.Main.SQL, p.Aux.SQL}, p.Locks...) {
				if sql != "" {
					out += "\n" + shorten(sql)
				}
			}
			return out + "\n"
		})
	})
}

// shorten replaces the conditions on routes.
func shorten(sql string) string {
	for {
		from := strings.Index(sql, " pgbulkproxy_route WHERE ")
		if from < 0 {
			return sql
		}
		to := strings.Index(sql[from:], "::pg_catalog.text[])")
		sql = sql[:from] + " …" + sql[from+to+len("::pg_catalog.text[])"):]
	}
}

// TestEditPositions: what was not edited keeps its place, whatever is edited
// before and behind it.
func TestEditPositions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOfN(rapid.RuneFrom([]rune("aü€")), 0, 4, -1)
		var sql string
		var edits []Edit
		for range rapid.IntRange(1, 5).Draw(t, "edits") {
			sql += word.Draw(t, "kept")
			from := len(sql)
			sql += word.Draw(t, "replaced")
			edits = append(edits, Edit{from, len(sql), word.Draw(t, "by")})
		}
		sql += "!" + word.Draw(t, "kept")
		e := edit(sql, edits)
		at := func(s string) int { return utf8.RuneCountInString(s[:strings.Index(s, "!")]) + 1 }
		if got, want := e.Position(at(e.SQL)), at(sql); got != want {
			t.Fatalf("%q of %q: %d, want %d", e.SQL, sql, got, want)
		}
		if got := e.Position(utf8.RuneCountInString(e.SQL) + 1); got != utf8.RuneCountInString(sql)+1 {
			t.Fatalf("the end of %q is at %d of %q", e.SQL, got, sql)
		}
	})
}
