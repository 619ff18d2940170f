package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// better says which direction of a figure is the good one.
type better string

const (
	lower  better = "lower"
	higher better = "higher"
)

// Series holds the values measured one way, in the order they were measured.
type Series struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
	Summary
}

// Ratio is the median of one series over the median of another.
type Ratio struct {
	Subject  string  `json:"subject"`
	Baseline string  `json:"baseline"`
	Value    float64 `json:"value"`
}

// Result is one figure of a scenario: a line of the table.
type Result struct {
	Name   string   `json:"name"`
	Group  string   `json:"group"`
	Unit   string   `json:"unit"`
	Better better   `json:"better"`
	Series []Series `json:"series"`
	// Ratios has the most telling comparison first; the chart shows that one.
	Ratios []Ratio `json:"ratios"`
	// PeakRSS is the largest resident memory of the proxy process in bytes over
	// all measured runs, 0 where it was not taken.
	PeakRSS int64    `json:"proxy_peak_rss_bytes,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	// Point is set where the result is part of a curve.
	Point *Point `json:"point,omitempty"`
}

// add appends the values measured one way.
func (r *Result) add(name string, values []float64) {
	r.Series = append(r.Series, Series{Name: name, Values: values, Summary: summarise(values)})
}

// compare appends a ratio of two series, which must have been added. A name
// that was not measured (a tool that is absent) is left out.
func (r *Result) compare(subject, baseline string) {
	s, b := r.series(subject), r.series(baseline)
	if s == nil || b == nil {
		return
	}
	r.Ratios = append(r.Ratios, Ratio{Subject: subject, Baseline: baseline, Value: ratioOf(s.Values, b.Values)})
}

func (r *Result) series(name string) *Series {
	for i := range r.Series {
		if r.Series[i].Name == name {
			return &r.Series[i]
		}
	}
	return nil
}

// Outcome says that a scenario did not give figures, and why.
type Outcome struct {
	Scenario string `json:"scenario"`
	Reason   string `json:"reason"`
}

// Report is everything one run of the benchmark found out.
type Report struct {
	Date     time.Time         `json:"date"`
	Machine  Machine           `json:"machine"`
	Settings map[string]string `json:"settings"`
	Results  []Result          `json:"results"`
	Skipped  []Outcome         `json:"skipped,omitempty"`
	Failed   []Outcome         `json:"failed,omitempty"`
}

// writeJSON writes every single value, for other programs.
func (r *Report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// writeMarkdown writes one table a group, and what was skipped or failed.
func (r *Report) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmark\n\n%s, %s.\n", r.Date.UTC().Format("2006-01-02 15:04 MST"), r.Machine)
	if len(r.Settings) > 0 {
		fmt.Fprintf(&b, "\n%s.\n", joinSettings(r.Settings))
	}
	b.WriteString("\nFigures are medians (min to max); a ratio is one median over another.\n")
	for _, group := range groupsOf(r.Results) {
		fmt.Fprintf(&b, "\n## %s\n\n", group)
		writeGroup(&b, group, r.Results)
	}
	writeOutcomes(&b, "Skipped", r.Skipped)
	writeOutcomes(&b, "Failed", r.Failed)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeGroup(b *strings.Builder, group string, all []Result) {
	var results []*Result
	for i := range all {
		if all[i].Group == group {
			results = append(results, &all[i])
		}
	}
	if results[0].Point != nil {
		writeCurves(b, results)
		return
	}
	writeTable(b, results)
}

func writeTable(b *strings.Builder, results []*Result) {
	b.WriteString("| scenario | figures | ratio | better | proxy peak memory | notes |\n")
	b.WriteString("|---|---|---|---|---|---|\n")
	for _, res := range results {
		memory := ""
		if res.PeakRSS > 0 {
			memory = fmt.Sprintf("%d MiB", res.PeakRSS>>20)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", cell(res.Name), cell(res.figures()...), cell(res.ratios()...),
			res.Better, memory, cell(res.Notes...))
	}
}

// figures has a line for each series.
func (r *Result) figures() []string {
	lines := make([]string, len(r.Series))
	for i, s := range r.Series {
		lines[i] = fmt.Sprintf("%s %s", s.Name, formatSummary(s.Summary, r.Unit))
	}
	return lines
}

// ratios has a line for each comparison.
func (r *Result) ratios() []string {
	lines := make([]string, len(r.Ratios))
	for i, ratio := range r.Ratios {
		lines[i] = fmt.Sprintf("**%.2f** %s / %s", ratio.Value, ratio.Subject, ratio.Baseline)
	}
	return lines
}

func writeOutcomes(b *strings.Builder, title string, outcomes []Outcome) {
	if len(outcomes) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	for _, o := range outcomes {
		fmt.Fprintf(b, "- %s: %s\n", o.Scenario, strings.ReplaceAll(o.Reason, "\n", "; "))
	}
}

// cell joins lines for a table cell, where a bar or a line end would break it.
func cell(lines ...string) string {
	s := strings.Join(lines, "<br>")
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}

func formatSummary(s Summary, unit string) string {
	if s.Min == s.Max {
		return formatNumber(s.Median) + " " + unit
	}
	return fmt.Sprintf("%s (%s to %s) %s", formatNumber(s.Median), formatNumber(s.Min), formatNumber(s.Max), unit)
}

// formatNumber keeps three figures or whole numbers, whatever the unit.
func formatNumber(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

// groupsOf returns the groups in order of first appearance.
func groupsOf(results []Result) []string {
	var groups []string
	seen := map[string]bool{}
	for _, r := range results {
		if !seen[r.Group] {
			seen[r.Group] = true
			groups = append(groups, r.Group)
		}
	}
	return groups
}
