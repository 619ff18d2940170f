package main

import (
	"fmt"
	"slices"
	"strings"
)

// Point says that a result is one of a curve: the figure at one place of an
// axis. A group has either points only, all on one axis, or none.
type Point struct {
	Curve string `json:"curve"`
	Axis  string `json:"axis"`
	At    int    `json:"at"`
}

// writeCurves writes the points of a group as a table with a line for each
// place on the axis and two columns for each curve, and their notes below it.
func writeCurves(b *strings.Builder, points []*Result) {
	var curves []string
	var places []int
	for _, p := range points {
		if !slices.Contains(curves, p.Point.Curve) {
			curves = append(curves, p.Point.Curve)
		}
		if !slices.Contains(places, p.Point.At) {
			places = append(places, p.Point.At)
		}
	}
	fmt.Fprintf(b, "| %s |", cell(points[0].Point.Axis))
	for _, c := range curves {
		fmt.Fprintf(b, " %s | ratio |", cell(c))
	}
	b.WriteString("\n|---|" + strings.Repeat("---|---|", len(curves)) + "\n")
	for _, at := range places {
		fmt.Fprintf(b, "| %d |", at)
		for _, c := range curves {
			i := slices.IndexFunc(points, func(p *Result) bool { return p.Point.Curve == c && p.Point.At == at })
			if i < 0 { // interrupted
				b.WriteString("  |  |")
				continue
			}
			fmt.Fprintf(b, " %s | %s |", cell(points[i].figures()...), cell(points[i].ratios()...))
		}
		b.WriteString("\n")
	}
	for _, p := range points {
		for _, note := range p.Notes {
			fmt.Fprintf(b, "\n%s\n", strings.ReplaceAll(note, "\n", "; "))
		}
	}
}
