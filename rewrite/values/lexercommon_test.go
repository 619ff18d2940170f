package values

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// commonPieces are what cells near the common forms are made of.
var commonPieces = []string{
	"0", "1", "9", "00", "12345678", "123456789", "1234567890123456", "12345678901234567", ".", "-", "+", "e", "E5", "_",
	"'", "''", "a", "'x'", "'a\\b'", "\\", " ", "\n", "true", "TRUE", "False", "NULL", "null", "nul", "truE", "falsey", "default",
	"::int", "$1", ",", ")", "(", "\x00", "\x80", "\xff", "/", ":", "é", "--", "\x14RUE", "\x01",
}

// TestCommon: what is read the short way is read so the long way, too.
func TestCommon(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	taken := map[Kind]int{}
	check := func(cell string) {
		sql := []byte(cell + ",(" + strings.Repeat("x", rnd.IntN(2*far)))
		for _, opts := range []Options{standard, {}} {
			l := New(sql, 0, opts)
			var short, long Cell
			end := l.common(0, &short)
			if end == 0 {
				continue
			}
			seen := l.SawEnd()
			next, more, err := l.cell(0, &long)
			if err != nil || next != end+1 || more != (sql[end] == ',') || short.Kind != long.Kind || !bytes.Equal(short.Text, long.Text) || long.Cast != nil || (short.Text == nil) != (long.Text == nil) || seen {
				t.Fatalf("%q: short %d %+v, long %d %+v %v", sql, end, short, next, long, err)
			}
			taken[short.Kind]++
		}
	}
	for _, test := range accepted {
		check(test.cell)
	}
	for _, test := range refused {
		check(test.cell)
	}
	for range 200_000 {
		var cell strings.Builder
		for range 1 + rnd.IntN(4) {
			cell.WriteString(commonPieces[rnd.IntN(len(commonPieces))])
		}
		check(cell.String())
	}
	for _, k := range []Kind{Null, String, Integer, Decimal, True, False} {
		if taken[k] < 20 {
			t.Errorf("of kind %d only %d were taken", k, taken[k])
		}
	}
}
