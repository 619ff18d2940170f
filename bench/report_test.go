package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// sample has one of everything that a report can show.
func sample() *Report {
	load := Result{Name: "copy-text-staged", Group: "COPY", Unit: "s", Better: lower, PeakRSS: 64 << 20,
		Notes: []string{"a | bar", "two\nlines"}}
	load.add("direct", []float64{2, 2.5, 3})
	load.add("proxied", []float64{1.5, 2, 2.2})
	load.compare("proxied", "direct")
	relay := Result{Name: "pgbench-simple-8", Group: "Relay", Unit: "tps", Better: higher}
	relay.add("direct", []float64{50000})
	relay.add("proxied", []float64{30000})
	relay.compare("proxied", "pgbouncer")
	relay.compare("proxied", "direct")
	same := Result{Name: "<copy> & more", Group: "COPY", Unit: "s", Better: lower}
	same.add("direct", []float64{0.100})
	same.add("proxied", []float64{0.102})
	same.compare("proxied", "direct")
	slow := Result{Name: "slow", Group: "COPY", Unit: "s", Better: lower}
	slow.add("direct", []float64{1})
	slow.add("proxied", []float64{50})
	slow.compare("proxied", "direct")
	return &Report{
		Date:     time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
		Machine:  Machine{CPU: "Some CPU", Cores: 2, MemoryMiB: 8192, OS: "linux/amd64", Go: "go1.26", Postgres: "15.18", Commit: "abc1234+"},
		Settings: map[string]string{"rows": "2000000", "fsync": "off"},
		Results:  append([]Result{load, relay, same, slow}, curves()...),
		Skipped:  []Outcome{{"memory-plain", "no proxy"}},
		Failed:   []Outcome{{"copy-csv-staged", "line one\nline two"}},
	}
}

// curves are two, of which one was interrupted before its second point.
func curves() []Result {
	var all []Result
	for _, p := range []Point{{"one transaction", "rows | INSERT", 2}, {"autocommit", "rows | INSERT", 2}, {"one transaction", "rows | INSERT", 50}} {
		r := Result{Name: fmt.Sprintf("crossover-%d-%c", p.At, p.Curve[0]), Group: "INSERT by rows", Unit: "s", Better: lower, Point: &p}
		r.add("direct", []float64{4})
		r.add("proxied", []float64{10 / float64(p.At)})
		r.compare("proxied", "direct")
		if p.At == 50 {
			r.Notes = []string{"all went one way"}
		}
		all = append(all, r)
	}
	return all
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(io.Writer) error{
		"report.md": sample().writeMarkdown, "report.svg": sample().writeSVG,
	} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s differs (run with -update to accept):\n%s", name, got.String())
		}
	}
}

func TestCompareLeavesOutWhatWasNotMeasured(t *testing.T) {
	t.Parallel()
	relay := sample().Results[1]
	want := []Ratio{{"proxied", "direct", 0.6}}
	if !reflect.DeepEqual(relay.Ratios, want) {
		t.Errorf("got %v, want %v", relay.Ratios, want)
	}
}

func TestTableRowsHaveAllTheirCells(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := sample().writeMarkdown(&out); err != nil {
		t.Fatal(err)
	}
	want := 0
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "|") {
			want = 0
			continue
		}
		bars := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if want == 0 {
			want = bars // the head of the table
		}
		if bars != want || bars < 6 {
			t.Errorf("%d bars in %q, want as many as in the head: %d", bars, line, want)
		}
	}
}

func TestJSONReadsBack(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := sample().writeJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want := sample(); !reflect.DeepEqual(&got, want) {
		t.Errorf("got %+v, want %+v", &got, want)
	}
}

func TestSVGIsWellFormed(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*Report{"sample": sample(), "empty": {}} {
		var out bytes.Buffer
		if err := r.writeSVG(&out); err != nil {
			t.Fatal(err)
		}
		for dec := xml.NewDecoder(&out); ; {
			_, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

func TestColours(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ratio float64
		good  better
		want  string
	}{
		{0.5, lower, colourGood}, {2, lower, colourBad}, {1.04, lower, colourSame},
		{0.5, higher, colourBad}, {2, higher, colourGood}, {0.96, higher, colourSame},
	} {
		if got := colourOf(c.ratio, c.good); got != c.want {
			t.Errorf("%v, %s is better: got %s, want %s", c.ratio, c.good, got, c.want)
		}
	}
}

func TestChartScaleIsBounded(t *testing.T) {
	t.Parallel()
	for ratio, want := range map[float64]float64{0.2: 1.5, 2: 2, 90: 4} {
		if got := chartScale([]Result{{Ratios: []Ratio{{Value: ratio}}}, {}}); got != want {
			t.Errorf("scale for %v: got %v, want %v", ratio, got, want)
		}
	}
}

// failingWriter fails at once, as a full disk does.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteErrorsAreReturned(t *testing.T) {
	t.Parallel()
	r := sample()
	for name, write := range map[string]func(io.Writer) error{"json": r.writeJSON, "markdown": r.writeMarkdown, "svg": r.writeSVG} {
		if err := write(failingWriter{}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: got %v, want the writer's error", name, err)
		}
	}
}
