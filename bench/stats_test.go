package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSummarise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		values []float64
		want   Summary
	}{
		{"none", nil, Summary{}},
		{"one", []float64{3}, Summary{3, 3, 3}},
		{"odd, unsorted", []float64{9, 1, 2}, Summary{2, 1, 9}},
		{"even", []float64{4, 1, 2, 3}, Summary{2.5, 1, 4}},
	} {
		if got := summarise(c.values); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	hundred := make([]float64, 101)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for q, want := range map[float64]float64{0: 0, 0.5: 50, 0.99: 99, 0.995: 99.5, 1: 100, -1: 0, 2: 100} {
		if got := quantile(hundred, q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	if hundred[0] != 100 {
		t.Error("quantile changed its argument")
	}
	if got := quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("quantile of nothing: got %v, want NaN", got)
	}
}

func TestQuantileLiesBetweenItsNeighbours(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 50).Draw(t, "values")
		a, b := rapid.Float64Range(0, 1).Draw(t, "a"), rapid.Float64Range(0, 1).Draw(t, "b")
		low, high := quantile(values, min(a, b)), quantile(values, max(a, b))
		const rounding = 1e-6
		if low > high+rounding || low < slices.Min(values)-rounding || high > slices.Max(values)+rounding {
			t.Fatalf("quantiles %v and %v of %v", low, high, values)
		}
	})
}

func TestRatioOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name              string
		subject, baseline []float64
		want              float64
	}{
		{"medians, not means", []float64{1, 2, 90}, []float64{4, 4, 4}, 0.5},
		{"no subject", nil, []float64{1}, 0},
		{"no baseline", []float64{1}, nil, 0},
		{"zero baseline", []float64{1}, []float64{0}, 0},
	} {
		if got := ratioOf(c.subject, c.baseline); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestOrders demands what cancels a steady drift: over each pair of rounds all
// ways have the same mean position.
func TestOrders(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ways, rounds := rapid.IntRange(1, 5).Draw(t, "ways"), rapid.IntRange(0, 9).Draw(t, "rounds")
		all := orders(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), ways, rounds)
		if len(all) != rounds {
			t.Fatalf("%d rounds, want %d", len(all), rounds)
		}
		for r, order := range all {
			for w := range ways {
				at := slices.Index(order, w)
				if at < 0 || len(order) != ways {
					t.Fatalf("round %d runs %v, not each of %d ways once", r, order, ways)
				}
				if r%2 == 1 && at+slices.Index(all[r-1], w) != ways-1 {
					t.Fatalf("rounds %v and %v favour way %d", all[r-1], order, w)
				}
			}
		}
	})
}
