package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// Sizes of the chart in pixels: names to the left, bars, then the figure.
const (
	chartWidth = 760
	nameWidth  = 250
	barWidth   = 390
	rowHeight  = 22
	barHeight  = 14
	titleSpace = 46
	groupSpace = 28
)

// Colours that stay apart for colour-blind readers and on both backgrounds.
const (
	colourGood = "#1b9e77"
	colourSame = "#8c8c8c"
	colourBad  = "#d95f02"
	colourText = "#777777"
)

// sameWithin is the distance from 1 that is drawn as no difference: two runs of
// the same thing on a shared machine differ by about as much.
const sameWithin = 0.05

// writeSVG draws the first ratio of every result as a bar, with a line at 1.
// Bars longer than the scale are cut and keep their figure.
func (r *Report) writeSVG(w io.Writer) error {
	scale := chartScale(r.Results)
	unit := float64(barWidth) / scale
	var body strings.Builder
	y := titleSpace
	for _, group := range groupsOf(r.Results) {
		text(&body, 8, y+16, "bold", colourText, groupTitle(group, r.Results))
		y += groupSpace
		for i := range r.Results {
			res := &r.Results[i]
			if res.Group != group || len(res.Ratios) == 0 {
				continue
			}
			drawBar(&body, y, unit, scale, res)
			y += rowHeight
		}
	}
	one := nameWidth + unit
	fmt.Fprintf(&body, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-dasharray="3 3"/>`+"\n",
		one, titleSpace, one, y, colourText)
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n%s%s</svg>\n",
		chartWidth, y+12, chartTitle(), body.String())
	return err
}

// groupTitle says which way is good; all results of a group agree on it.
func groupTitle(group string, results []Result) string {
	for _, r := range results {
		if r.Group == group && r.Better == higher {
			return group + ": longer is better"
		}
	}
	return group + ": shorter is better"
}

func chartTitle() string {
	var b strings.Builder
	text(&b, 8, 18, "bold", colourText, "Through pgbulkproxy, as a ratio to the way named on the right")
	x := 8
	for _, key := range []struct{ colour, label string }{
		{colourGood, "better"}, {colourSame, "within 5 %"}, {colourBad, "worse"},
	} {
		fmt.Fprintf(&b, `<rect x="%d" y="27" width="10" height="10" fill="%s"/>`+"\n", x, key.colour)
		text(&b, x+15, 36, "normal", colourText, key.label)
		x += 90
	}
	return b.String()
}

func drawBar(b *strings.Builder, y int, unit, scale float64, res *Result) {
	ratio := res.Ratios[0]
	length := min(max(ratio.Value, 0), scale) * unit
	text(b, 16, y+12, "normal", colourText, res.Name)
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="%s"><title>%s</title></rect>`+"\n",
		nameWidth, y, length, barHeight, colourOf(ratio.Value, res.Better),
		escape(fmt.Sprintf("%s: %s / %s = %.3f, %s is better", res.Name, ratio.Subject, ratio.Baseline, ratio.Value, res.Better)))
	text(b, nameWidth+int(length)+6, y+12, "normal", colourText, fmt.Sprintf("%.2f × %s", ratio.Value, ratio.Baseline))
}

func text(b *strings.Builder, x, y int, weight, colour, s string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="%s" fill="%s">%s</text>`+"\n", x, y, weight, colour, escape(s))
}

func colourOf(ratio float64, good better) string {
	switch {
	case math.Abs(ratio-1) <= sameWithin:
		return colourSame
	case (ratio < 1) == (good == lower):
		return colourGood
	default:
		return colourBad
	}
}

// chartScale is the ratio at the right end: at least 1.5, so that the line at 1
// stands inside, and at most 4, so that one outlier does not flatten the rest.
func chartScale(results []Result) float64 {
	scale := 1.5
	for _, r := range results {
		if len(r.Ratios) > 0 {
			scale = max(scale, r.Ratios[0].Value)
		}
	}
	return min(scale, 4)
}

func escape(s string) string {
	var b strings.Builder
	// A strings.Builder never returns an error, so neither does EscapeText.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
