package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Summary is what a report shows of the values measured one way.
type Summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// summarise returns the zero Summary for no values.
func summarise(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	return Summary{Median: quantile(values, 0.5), Min: slices.Min(values), Max: slices.Max(values)}
}

// quantile interpolates between the two nearest values; q is 0 to 1. It leaves
// values as they are and returns NaN for none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := min(max(q, 0), 1) * float64(len(sorted)-1)
	low := int(at)
	if low == len(sorted)-1 {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// ratioOf divides medians: they are hardly moved by one disturbed round, which
// a ratio of means is. It is 0 where either side has nothing to compare.
func ratioOf(subject, baseline []float64) float64 {
	if len(subject) == 0 || len(baseline) == 0 {
		return 0
	}
	base := quantile(baseline, 0.5)
	if base == 0 {
		return 0
	}
	return quantile(subject, 0.5) / base
}

// orders says in which order the ways run in each round. Every second round is
// the reverse of the one before, so that over a pair of rounds each way has the
// same mean position and a steady drift of the machine cancels out; the order
// of a pair is random, so that no way always follows the same other one.
func orders(rng *rand.Rand, ways, rounds int) [][]int {
	all := make([][]int, rounds)
	for r := range all {
		if r%2 == 0 {
			all[r] = rng.Perm(ways)
			continue
		}
		all[r] = slices.Clone(all[r-1])
		slices.Reverse(all[r])
	}
	return all
}
