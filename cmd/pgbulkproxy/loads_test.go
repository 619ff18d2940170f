package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/checkpoint"
)

func TestSpan(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "2h": 2 * time.Hour, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0,
	} {
		var s span
		if err := s.UnmarshalText([]byte(text)); err != nil || time.Duration(s) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(s), err)
		}
	}
	for _, text := range []string{"", "d", "7", "-1d", "-1h", "1d-1h", "1.5d", "99999d", "2 days"} {
		var s span
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%s: %v", text, time.Duration(s))
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 5 << 30: "5.0 GiB", 1 << 60: "1024.0 PiB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// TestListFitsTheTerminal: the error is cut, by characters.
func TestListFitsTheTerminal(t *testing.T) {
	t.Parallel()
	entries := []checkpoint.Entry{{ProcessID: "id", Table: "t", Status: checkpoint.Failed, Error: strings.Repeat("ä", 300)}}
	var out bytes.Buffer
	if err := printTable(&out, 100, entries); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if n := len([]rune(lines[1])); n != 100 || !strings.HasSuffix(lines[1], "ä…") {
		t.Errorf("%d characters: %s", n, lines[1])
	}
	out.Reset()
	if err := printTable(&out, 0, entries); err != nil || !strings.Contains(out.String(), entries[0].Error+"\n") {
		t.Errorf("no terminal: %v, %s", err, out.String())
	}
}

// TestBarsMakeRoom: where not all loads fit, those that are over leave, and no
// goroutine stays behind.
func TestBarsMakeRoom(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := newBarDisplay(&out, 80, 4) // two loads and the sum
	entries := make([]checkpoint.Entry, 5)
	for i := range entries {
		entries[i] = checkpoint.Entry{ProcessID: fmt.Sprint("id", i), Table: "t", Status: checkpoint.Running, FilesTotal: 1, Bytes: 10}
	}
	show := func(want ...string) {
		t.Helper()
		if err := d.show(entries); err != nil {
			t.Fatal(err)
		}
		for _, id := range want {
			if d.bars[id] == nil {
				t.Errorf("%s has no bar", id)
			}
		}
		if len(d.bars) != len(want) {
			t.Errorf("%d bars, want %d", len(d.bars), len(want))
		}
	}
	show("id4", "id3") // the oldest
	entries[4].Status, entries[4].BytesImported = checkpoint.Completed, 10
	show("id3", "id2")
	for i := range entries {
		entries[i].Status = checkpoint.Completed
	}
	show()
	d.close()
	if !strings.Contains(out.String(), "0 of 5 loads left") {
		t.Errorf("%q", out.String())
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	e := checkpoint.Entry{Status: checkpoint.Running, Bytes: 8 << 20, BytesImported: 4 << 20}
	if got := pace(e, 2<<20, 2*time.Second); got != " 1.0 MiB/s ETA 4s" {
		t.Errorf("%q", got)
	}
	if got := pace(e, 0, 2*time.Second); got != "" {
		t.Errorf("%q without knowing the rate", got)
	}
	e.Status = checkpoint.Failed
	if got := pace(e, 2<<20, time.Second); got != " FAILED" {
		t.Errorf("%q", got)
	}
}

// TestBarsFit: on 80 columns there is room for a bar, whatever the names are.
func TestBarsFit(t *testing.T) {
	t.Parallel()
	e := checkpoint.Entry{ProcessID: "01957a3c-7d3e-7c61-9d5e-0f5a3c1b2a4d", Table: strings.Repeat("ä", 60) + ".t", Status: checkpoint.Running,
		FilesImported: 100, FilesTotal: 999, Bytes: 900 << 30, BytesImported: 90 << 30}
	d := &barDisplay{began: time.Now().Add(-time.Hour)}
	if name := d.name(e); len([]rune(name)) != 24 || !strings.HasSuffix(name, "… …3c1b2a4d") {
		t.Errorf("name %q", name)
	}
	if tail := d.tail(e, &loadBar{}); len(tail) > 50 || !strings.HasPrefix(tail, "100/999 90.0 GiB/900.0 GiB 25.6 MiB/s ETA ") {
		t.Errorf("tail %q", tail)
	}
	d.wide = true
	if name, tail := d.name(e), d.tail(e, &loadBar{}); name != e.Table+" "+e.ProcessID || !strings.Contains(tail, "0/0 rows") {
		t.Errorf("name %q, tail %q", name, tail)
	}
}
