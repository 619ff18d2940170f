package pgtest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                   "no case",
		"case a\ncase a\n":                   "empty or taken",
		"case a\nsned Sync\n":                "unknown directive",
		"case a\nsend Snyc\n":                "unknown frontend message",
		"case a\nuntil ReadyForQuary\n":      "unknown backend message",
		"query SELECT 1\n":                   "before the first case",
		"case a\nquery\n":                    "needs SQL",
		"version 15\ncase a\n":               "operator",
		"case a\nsend Bind {x}\n":            "read fields",
		"case a\ncopy x\n\tCopyGenerate x\n": "count",
		"case a\ncopy x\n\tCopyHex zz\n":     "invalid byte",
		"case a\nvolatile (\n":               "volatile",
		"case a\ncopy x\n\t\"a\n":            "invalid syntax",
	} {
		if _, err := Parse("x.txt", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestParseInherits(t *testing.T) {
	t.Parallel()
	script, err := Parse("x.txt", "database CREATE ROLE x\nwaive W\nparams a=b\nsetup\n\tone\ncase a\nwaive F\nparams c=d\nsetup\n\ttwo\nexpect stage\nquery SELECT 1\ncase b\nversion >= 16\n")
	if err != nil {
		t.Fatal(err)
	}
	a, b := script.Cases[0], script.Cases[1]
	got := fmt.Sprintf("%q %q %q %v %s | %q %v %q %d", script.Database, a.options.waive, a.Setup, a.options.params, a.Expect,
		b.options.waive, b.options.params, b.options.setup, b.options.minVersion)
	want := `"CREATE ROLE x\n" "WF" "\none\n\ntwo\n" map[a:b c:d] stage | "W" map[a:b] "\none\n" 16`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// payload joins what a data line sends and counts the messages.
func payload(t *testing.T, line string) (string, int) {
	t.Helper()
	parsed, err := parseMessage(line, ".")
	if err != nil {
		t.Fatal(err)
	}
	messages, err := parsed(func(s string) string { return s })
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	for _, message := range messages {
		data.Write(message[5:])
	}
	return data.String(), len(messages)
}

func TestData(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		line, want string
		messages   int
	}{
		{`"a\tb\n"`, "a\tb\n", 1},
		{`CopyData ""`, "", 1},
		{`CopyHex 41 42`, "AB", 1},
		{`CopyRepeat 4 "ab" chunk=3`, "abababab", 3},
		{`CopyGenerate 3 "{i} {i%2} {i+10} {i/2} {pad 2} {1,2}\n" chunk=row`, "1 1 11 0 xx {1,2}\n2 0 12 1 xx {1,2}\n3 1 13 1 xx {1,2}\n", 3},
		{`CopyGenerate 3 "a b" chunk=1`, "a ba ba b", 9},
		{`CopyBinary 1 int2,null,text notrailer chunk=5`, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x02\x00\x01\xff\xff\xff\xff\x00\x00\x00\x05name1", 8},
	} {
		got, messages := payload(t, test.line)
		if got != test.want || messages != test.messages {
			t.Errorf("%s: got %q in %d messages", test.line, got, messages)
		}
	}
}
