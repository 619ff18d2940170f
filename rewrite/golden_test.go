package rewrite

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// goldenDir holds statements with what is made of them. Refresh it with
// -rewrite and read the diff.
const goldenDir = "../testdata/sql/copy"

// TestGolden runs the commands of the golden files:
//
//	parse       statement → its fields that differ from COPY's defaults, or why not
//	inspection  a JSON as InspectSQL makes it, kept for the classify commands
//	classify    statement, then lines that change the JSON → decision and,
//	            where it is to stage, the native text
func TestGolden(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, goldenDir, func(t *testing.T, path string) {
		base := "{}"
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "parse":
				c, reason, refusal := ParseCopy(d.Input, 1<<16)
				return describe(c, reason, refusal) + describeOwn(c) + "\n"
			case "inspection":
				base = d.Input
				return d.Expected
			case "classify":
				return goldenClassify(t, d, base) + "\n"
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

// describe prints a result of ParseCopy.
func describe(c *CopyStatement, reason Reason, refusal *Refusal) string {
	switch {
	case refusal != nil:
		return fmt.Sprintf("refuse %s: %s", reason, refusal)
	case reason != ReasonNone:
		return fmt.Sprintf("pass %s", reason)
	}
	out := []string{string(c.Format), fmt.Sprintf("table=%q", strings.TrimPrefix(c.Schema+"."+c.Table, "."))}
	add := func(on bool, format string, args ...any) {
		if on {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	text, csv := c.Format == FormatText, c.Format == FormatCSV
	add(c.Columns != nil, "columns=%q", c.Columns)
	add(text && c.Delimiter != '\t' || csv && c.Delimiter != ',', "delimiter=%q", c.Delimiter)
	add(text && c.Null != `\N` || csv && c.Null != "", "null=%q", c.Null)
	add(csv && c.Quote != '"', "quote=%q", c.Quote)
	add(csv && c.Escape != '"', "escape=%q", c.Escape)
	add(c.Header, "header=%d", c.HeaderLines)
	add(c.HeaderMatch, "match")
	add(c.Encoding != "", "encoding=%q", c.Encoding)
	add(c.ForceNull != nil, "force_null=%q", c.ForceNull)
	add(c.ForceNotNull != nil, "force_not_null=%q", c.ForceNotNull)
	add(c.ForceNullAll, "force_null=*")
	add(c.ForceNotNullAll, "force_not_null=*")
	add(c.Freeze, "freeze")
	add(c.DefaultSet, "default=%q", c.Default)
	add(c.OnError != "", "on_error=%s", c.OnError)
	add(c.RejectLimit != 0, "reject_limit=%d", c.RejectLimit)
	add(c.LogVerbosity != "", "log_verbosity=%s", c.LogVerbosity)
	add(c.Where, "where=%q", c.WhereSQL)
	return strings.Join(out, " ")
}

// describeOwn prints what a statement asks of pgbulkproxy.
func describeOwn(c *CopyStatement) string {
	if c == nil || !c.Ext.Asked() {
		return ""
	}
	x := c.Ext
	if x.problem != "" {
		return "\nproblem: " + x.problem
	}
	out := []string{"\nasks"}
	for _, a := range x.Asks {
		out = append(out, string(a.Feature))
	}
	add := func(on bool, format string, args ...any) {
		if on {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(x.Mode != "", "mode=%s", x.Mode)
	add(x.OnConflict != "", "conflict=%s", x.OnConflict)
	add(x.ConflictTarget != nil, "target=%q", x.ConflictTarget)
	add(x.LastWins, "last_wins")
	add(x.OperationColumn != "", "operation=%q@%d", x.OperationColumn, x.OperationAt)
	add(x.Label != "", "label=%q", x.Label)
	add(x.IgnoreErrors, "errors=%d", x.MaxErrors)
	add(x.Staged, "staged")
	return strings.Join(out, " ")
}

func goldenClassify(t *testing.T, d *datadriven.TestData, base string) string {
	lines := strings.Split(d.Input, "\n")
	c, reason, refusal := ParseCopy(lines[0], 1<<16)
	if c == nil {
		return describe(c, reason, refusal)
	}
	in, err := parseInspectionJSON(patch(t, base, lines[1:]))
	if err != nil {
		return err.Error()
	}
	caps := Caps{External: d.HasArg("external"), InstallNeeded: true, InBlock: d.HasArg("block"), Unordered: d.HasArg("unordered")}
	caps.Formats = []Format{FormatText, FormatCSV}
	dec := Classify(c, in, caps)
	switch {
	case dec.Refusal != nil:
		return fmt.Sprintf("%s %s: %s %s\n%s", dec.Way, dec.Reason, dec.Refusal.ErrorResponse().Code(), dec.Refusal, dec.Refusal.Native)
	case dec.Way == Stage && dec.Ext.Asked():
		return fmt.Sprintf("%s %s %s\n%s", dec.Way, dec.Method, dec.Reason, strings.Join(c.PlanOf(in, &dec), "\n"))
	case dec.Way == Stage:
		return fmt.Sprintf("%s %s %s\n%s", dec.Way, dec.Method, dec.Reason, c.Native(in, false))
	}
	return fmt.Sprintf("%s %s", dec.Way, dec.Reason)
}

// patch changes a JSON object by lines such as `found.kind = "v"`. Settings go
// by their names.
func patch(t *testing.T, base string, lines []string) []byte {
	var doc map[string]any
	if err := json.Unmarshal([]byte(base), &doc); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		key, text, _ := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		switch object, field, nested := strings.Cut(key, "."); {
		case nested && object == "settings":
			i := slices.Index(strings.Split(inspectSettings, ","), field)
			doc[object].([]any)[i] = value
		case nested:
			doc[object].(map[string]any)[field] = value
		default:
			doc[key] = value
		}
	}
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
