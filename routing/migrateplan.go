package routing

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// MigrateOptions say which groups a migration moves.
type MigrateOptions struct {
	// Threshold: groups with at least so many rows, in both tables together,
	// belong into the auxiliary table. Needed unless Back.
	Threshold int64
	// Back moves groups from the auxiliary table to the main one: those with
	// fewer rows than Threshold, or all where it is 0.
	Back bool
	// BatchRows: groups are moved together up to so many rows in one transaction;
	// a group is never cut. 0: 100,000, or a third of the table where no index
	// finds the rows of a group.
	BatchRows int64
	// Patience bounds each wait: for another migration, for loads, for proxies.
	// 0 waits as long as it takes.
	Patience time.Duration
	// Unseen, unless nil, returns the proxies that do not know yet that the table,
	// named without its schema, is routed: small INSERTs pass by them unrouted.
	Unseen func(ctx context.Context, table string) ([]string, error) `json:"-"`
	// Notify, unless nil, hears how far the migration is. It must not block.
	Notify func(MigrateProgress) `json:"-"`
}

// Move is a group whose rows, or whose route, are not where they are to be.
type Move struct {
	// Group is the routing column's value as text; meaningless where Null.
	Group string `json:"group"`
	// Null: the rows without a group, which belong into the main table. Only
	// another program can have put them into the auxiliary table.
	Null bool `json:"null,omitempty"`
	// ToAux: they go to the auxiliary table; else to the main one.
	ToAux bool `json:"to_aux"`
	// Rows is how many are to be moved, and Already how many are there already,
	// when they were counted.
	Rows    int64 `json:"rows"`
	Already int64 `json:"already"`
}

// MigratePlan is what a migration would do now.
type MigratePlan struct {
	Moves []Move `json:"moves"`
	// Rows is the sum of the moves' rows.
	Rows int64 `json:"rows"`
}

// groupState is where the rows of a group are, and what its route says.
type groupState struct {
	id        string
	null      bool
	main, aux int64
	routed    bool // a route is there, to whichever table
	toAux     bool // it names the auxiliary table
}

// planMoves decides for each group where it belongs, and lists those that are
// elsewhere: first those for the auxiliary table, the largest first.
func planMoves(groups []groupState, o MigrateOptions) *MigratePlan {
	p := &MigratePlan{}
	for _, g := range groups {
		m := Move{Group: g.id, Null: g.null, ToAux: belongsToAux(g, o)}
		wrong := false
		if m.ToAux {
			m.Rows, m.Already, wrong = g.main, g.aux, !g.toAux
		} else {
			m.Rows, m.Already, wrong = g.aux, g.main, g.toAux
		}
		if m.Rows > 0 || wrong {
			p.Moves = append(p.Moves, m)
			p.Rows += m.Rows
		}
	}
	slices.SortFunc(p.Moves, func(a, b Move) int {
		if a.ToAux != b.ToAux {
			return map[bool]int{true: -1, false: 1}[a.ToAux]
		}
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Group, b.Group))
	})
	return p
}

// belongsToAux: the route decides, and the threshold changes routes one way, or
// with Back the other way.
func belongsToAux(g groupState, o MigrateOptions) bool {
	large := o.Threshold > 0 && g.main+g.aux >= o.Threshold
	switch {
	case g.null:
		return false
	case o.Back:
		return g.toAux && large
	}
	return g.toAux || large
}

// maxBatchGroups bounds the groups of one transaction: each has a lock of its
// own in the server's shared table of locks.
const maxBatchGroups = 100

// batchLimit says how many rows of several groups may be moved at once: small, or
// giant where each of the groups has at least share rows; share 0 is never.
type batchLimit struct{ small, giant, share int64 }

func (l batchLimit) of(m Move) int64 {
	if l.share > 0 && m.Rows >= l.share {
		return l.giant
	}
	return l.small
}

// batches cuts moves into runs for one transaction each: of one direction, and
// of rows up to limit unless it is one group alone. The largest groups come first.
func batches(moves []Move, limit batchLimit) [][]Move {
	var all [][]Move
	var rows int64
	for _, m := range moves {
		last := len(all) - 1
		if last < 0 || m.Null || all[last][0].Null || all[last][0].ToAux != m.ToAux ||
			rows+m.Rows > limit.of(m) || len(all[last]) >= maxBatchGroups {
			all, rows = append(all, nil), 0
			last++
		}
		all[last] = append(all[last], m)
		rows += m.Rows
	}
	return all
}
