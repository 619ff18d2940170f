package rewrite

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

func TestParseCopyLimits(t *testing.T) {
	t.Parallel()
	sql := "COPY t FROM STDIN WHERE a > 1"
	if _, reason, _ := ParseCopy(sql, len(sql)-1); reason != ReasonTooLong {
		t.Error(reason)
	}
	if c, reason, _ := ParseCopy(sql, len(sql)); c == nil {
		t.Error(reason)
	}
	// A parse of this one would overflow the C stack and end the process.
	deep := sql + strings.Repeat("+a", 400_000)
	if _, reason, _ := ParseCopy(deep, len(deep)); reason != ReasonWhereTooLong {
		t.Error(reason)
	}
	deep = "COPY (SELECT a" + strings.Repeat("+a", 400_000) + ") TO STDOUT"
	if _, reason, _ := ParseCopy(deep, len(deep)); reason != ReasonCopyQuery {
		t.Error(reason)
	}
	for _, bad := range []string{"COPY t\x00 FROM STDIN", "COPY \xe9 FROM STDIN", ""} {
		if c, _, _ := ParseCopy(bad, 100); c != nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	_, _, refusal := ParseCopy("COPY t FROM STDIN (COMPRESSION 'secret')", 100)
	e := refusal.ErrorResponse()
	if e.Code() != pgerr.FeatureNotSupported || e.Get('M') != "pgbulkproxy: COPY option COMPRESSION is not supported yet" {
		t.Error(e)
	}
}

func TestInspectable(t *testing.T) {
	t.Parallel()
	utf8 := map[string]string{"client_encoding": "UTF8", "server_encoding": "UTF8", "standard_conforming_strings": "on"}
	with := func(key, value string) map[string]string {
		m := map[string]string{}
		for k, v := range utf8 {
			m[k] = v
		}
		m[key] = value
		return m
	}
	for _, tc := range []struct {
		sql    string
		params map[string]string
		want   Reason
	}{
		{"COPY größe FROM STDIN", utf8, ReasonNone},
		{"COPY größe FROM STDIN", with("client_encoding", "LATIN1"), ReasonNameEncoding},
		{"COPY größe FROM STDIN", with("server_encoding", "LATIN1"), ReasonNameEncoding},
		{"COPY größe FROM STDIN", nil, ReasonNameEncoding},
		{"COPY t FROM STDIN", nil, ReasonNone},
		{"COPY t FROM STDIN", with("client_encoding", "SJIS"), ReasonClientEncoding},
		{`COPY t FROM STDIN (NULL '\N')`, utf8, ReasonNone},
		{`COPY t FROM STDIN (NULL '\N')`, with("standard_conforming_strings", "off"), ReasonStringSyntax},
	} {
		got := mustParse(t, tc.sql).Inspectable(func(name string) string { return tc.params[name] })
		if got != tc.want {
			t.Errorf("%s %v: %q, want %q", tc.sql, tc.params, got, tc.want)
		}
	}
}

// TestReasonsTable: every constant of reasons.go has its line in the table, and
// is used.
func TestReasonsTable(t *testing.T) {
	t.Parallel()
	listed := map[Reason]bool{ReasonNone: true}
	for _, r := range Reasons() {
		if listed[r.Reason] || r.Meaning == "" || r.Group == "" {
			t.Errorf("%+v", r)
		}
		listed[r.Reason] = true
	}
	n := 0
	for _, name := range []string{"reasons.go", "readreasons.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				return true
			}
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if n++; err != nil || !listed[Reason(value)] {
				t.Errorf("%s is not in the table", spec.Names[0])
			}
			return true
		})
	}
	if n != len(listed) {
		t.Errorf("%d constants, %d lines", n, len(listed))
	}
}

var update = flag.Bool("update", false, "write docs/reasons.md")

func TestReasonsDocument(t *testing.T) {
	t.Parallel()
	const path = "../docs/reasons.md"
	if *update {
		if err := os.WriteFile(path, []byte(ReasonsMarkdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != ReasonsMarkdown() {
		t.Errorf("%s is not what the table says; run: go test ./rewrite -run TestReasonsDocument -update", path)
	}
	for _, r := range Reasons() {
		if !strings.Contains(ReasonsMarkdown(), "| `"+string(r.Reason)+"` |") {
			t.Errorf("%s: group %q has no heading", r.Reason, r.Group)
		}
	}
}

func TestParseInspectionErrors(t *testing.T) {
	t.Parallel()
	for _, row := range []string{"", "zz", "00", "7b7d", "6e756c6c"} {
		if in, err := ParseInspection(row); err == nil {
			t.Errorf("%q: %+v", row, in)
		}
	}
}

// FuzzParseCopy: no panic, and what is accepted comes back from its native text
// with the same fields.
func FuzzParseCopy(f *testing.F) {
	for _, name := range []string{"forms", "legacy", "options"} {
		datadriven.RunTestAny(f, goldenDir+"/"+name, func(_ testing.TB, d *datadriven.TestData) string {
			f.Add(d.Input)
			return d.Expected
		})
	}
	f.Fuzz(func(t *testing.T, sql string) {
		c, reason, refusal := ParseCopy(sql, 2000)
		if (c == nil) == (reason == ReasonNone) || (refusal != nil) != (reason == ReasonUnsupportedOption) {
			t.Fatalf("%q: %v %s %v", sql, c, reason, refusal)
		}
		if c == nil {
			return
		}
		if Prefilter([]byte(sql)) != KindCopy {
			t.Errorf("%q: prefilter does not see it", sql)
		}
		c.InspectSQL(Current)
		in := &Inspection{Schema: c.Schema, Table: c.Table, Columns: c.Columns}
		again, reason, _ := ParseCopy(c.Native(in, false), 10000)
		if again == nil {
			t.Fatalf("%q: %s: %s", sql, c.Native(in, false), reason)
		}
		if describe(again, "", nil) != describe(c, "", nil) {
			t.Errorf("%q:\n%s\n%s", sql, describe(c, "", nil), describe(again, "", nil))
		}
	})
}

func BenchmarkParseCopy(b *testing.B) {
	sql := `COPY public.t (a, b, c) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'x')`
	for b.Loop() {
		mustParse(b, sql)
	}
}
