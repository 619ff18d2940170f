package pgdate

import (
	"testing"
	"time"
)

// TestDays: every day of some thousand years is one more than the one before, and what
// is no day is refused.
func TestDays(t *testing.T) {
	t.Parallel()
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	const perDay = 24 * 60 * 60
	for day := time.Date(FirstYear, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 3000; day = day.AddDate(0, 0, 1) {
		want := (day.Unix() - epoch.Unix()) / perDay
		if got, ok := Days(day.Year(), int(day.Month()), day.Day()); !ok || got != want {
			t.Fatalf("%s: %d %t, want %d", day.Format(time.DateOnly), got, ok, want)
		}
		if next := day.AddDate(0, 0, 1); next.Day() == 1 {
			if _, ok := Days(day.Year(), int(day.Month()), day.Day()+1); ok {
				t.Fatalf("%s has a day behind it in its month", day.Format(time.DateOnly))
			}
		}
	}
	for _, no := range [][3]int{{2000, 0, 1}, {2000, 13, 1}, {2000, 1, 0}, {2000, 1, 32}, {FirstYear - 1, 1, 1}, {2000, -1, 1}} {
		if _, ok := Days(no[0], no[1], no[2]); ok {
			t.Errorf("%v is a day", no)
		}
	}
}
