package routing

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestPlanMoves(t *testing.T) {
	t.Parallel()
	groups := []groupState{
		{id: "small", main: 2},
		{id: "large", main: 10},
		{id: "huge", main: 11},
		{id: "routed", aux: 3, routed: true, toAux: true},
		{id: "routed large", aux: 10, routed: true, toAux: true},
		{id: "left behind", main: 2, aux: 8, routed: true, toAux: true},
		{id: "copied ahead", main: 1, aux: 2},
		{id: "copied ahead, large", main: 4, aux: 6},
		{id: "empty", routed: true, toAux: true},
		{id: "named main", main: 3, routed: true},
		{id: "named main, large", main: 12, routed: true},
		{null: true, main: 100, aux: 1},
	}
	for name, c := range map[string]struct {
		o    MigrateOptions
		want []string
	}{
		"to aux": {MigrateOptions{Threshold: 10}, []string{
			"named main, large>12", "huge>11", "large>10", "copied ahead, large>4", "left behind>2", "copied ahead<2", "NULL<1",
		}},
		"one more": {MigrateOptions{Threshold: 11}, []string{
			"named main, large>12", "huge>11", "left behind>2", "copied ahead, large<6", "copied ahead<2", "NULL<1",
		}},
		"back": {MigrateOptions{Back: true}, []string{
			"routed large<10", "left behind<8", "copied ahead, large<6", "routed<3", "copied ahead<2", "NULL<1", "empty<0",
		}},
		"back below": {MigrateOptions{Back: true, Threshold: 10}, []string{
			"left behind>2", "copied ahead, large<6", "routed<3", "copied ahead<2", "NULL<1", "empty<0",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := planMoves(groups, c.o)
			var got []string
			var rows int64
			for _, m := range p.Moves {
				got = append(got, showMove(m))
				rows += m.Rows
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if rows != p.Rows {
				t.Errorf("the plan says %d rows, the moves %d", p.Rows, rows)
			}
		})
	}
}

// showMove is a move as group>rows to the auxiliary table, group<rows back.
func showMove(m Move) string {
	if m.Null {
		m.Group = "NULL"
	}
	return fmt.Sprintf("%s%c%d", m.Group, map[bool]rune{true: '>', false: '<'}[m.ToAux], m.Rows)
}

func TestBatches(t *testing.T) {
	t.Parallel()
	moves := []Move{
		{Group: "a", ToAux: true, Rows: 50}, {Group: "b", ToAux: true, Rows: 6}, {Group: "c", ToAux: true, Rows: 4}, {Group: "d", ToAux: true, Rows: 1},
		{Group: "e", Rows: 1}, {Null: true, Rows: 1}, {Group: "f"},
	}
	var got []string
	for _, batch := range batches(moves, batchLimit{small: 10}) {
		var ids []string
		for _, m := range batch {
			ids = append(ids, showMove(m))
		}
		got = append(got, strings.Join(ids, " "))
	}
	if want := "a>50|b>6 c>4|d>1|e<1|NULL<1|f<0"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", strings.Join(got, "|"), want)
	}
	giants := []Move{{Rows: 50}, {Rows: 40}, {Rows: 30}, {Rows: 9}, {Rows: 1}, {Rows: 1}}
	var sizes []int
	for _, batch := range batches(giants, batchLimit{small: 10, giant: 90, share: 10}) {
		sizes = append(sizes, len(batch))
	}
	if !slices.Equal(sizes, []int{2, 1, 2, 1}) {
		t.Errorf("batches of %v groups", sizes)
	}
	many := make([]Move, maxBatchGroups+1)
	if n := len(batches(many, batchLimit{small: 10})); n != 2 {
		t.Errorf("%d groups are %d batches", len(many), n)
	}
}

func TestIsCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typ, text string
		want      bool
	}{
		{"int4", "7", true},
		{"int4", "-7", true},
		{"int4", "07", false},
		{"int4", "+7", false},
		{"int4", "", false},
		{"int4", "a", false},
		{"int4", "2147483648", false},
		{"int8", "2147483648", true},
		{"int2", "32768", false},
		{"uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", true},
		{"uuid", "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", false},
		{"uuid", "x", false},
	} {
		if isCanonical(c.typ, c.text) != c.want {
			t.Errorf("%s %q: %v", c.typ, c.text, !c.want)
		}
	}
}
