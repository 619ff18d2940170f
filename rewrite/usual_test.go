package rewrite

import "testing"

func TestStillUsual(t *testing.T) {
	t.Parallel()
	cells := func(values ...string) (row [][]byte) {
		for _, v := range values {
			row = append(row, []byte(v))
		}
		return row
	}
	for _, tc := range []struct {
		row  [][]byte
		want bool
	}{
		{cells("f", "", "", "", "", "", ""), true},
		{make([][]byte, 7), false},
		{append(cells("f"), make([][]byte, 6)...), true},
		{cells("f", "auto", "loaded", "error", "0", "", "transaction"), true},
		{cells("t", "", "", "", "", "", ""), false},
		{cells("f", "", "", "", "", ""), false},
		{cells("f", "off", "", "", "", "", ""), false},
		{cells("f", "force", "", "", "", "", ""), false},
		{cells("f", "", "staged", "", "", "", ""), false},
		{cells("f", "", "", "nothing", "", "", ""), false},
		{cells("f", "", "", "", "1", "", ""), false},
		{cells("f", "", "", "", "", "x", ""), false},
		{cells("f", "", "", "", "", "", "x"), false},
		{nil, false},
	} {
		if got := StillUsual(tc.row); got != tc.want {
			t.Errorf("%q: %t", tc.row, got)
		}
	}
}
