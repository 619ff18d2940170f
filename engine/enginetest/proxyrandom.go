package enginetest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/engine"
)

// randomBlocks is how many blocks of statements are tried; blockSteps how long one is.
const (
	randomBlocks = 6
	blockSteps   = 40
)

// randomBlock is a transaction block of loads that succeed and fail between
// savepoints, after each of which the client goes back.
func randomBlock(seed uint64, caps engine.Caps) proxyCase {
	r := rand.New(rand.NewPCG(seed, 1))
	steps := []step{sql("BEGIN"), sql("SAVEPOINT s0")}
	open, next := 1, 1 // savepoints; keys
	for len(steps) < blockSteps {
		good := true
		switch r.IntN(8) {
		case 0, 1:
			steps = append(steps, sql(fmt.Sprintf("SAVEPOINT s%d", open)))
			open++
		case 2:
			if caps.Sharded {
				continue // there a savepoint that was released takes the older ones with it
			}
			open = max(1, open-1)
			steps = append(steps, sql(fmt.Sprintf("RELEASE s%d", open))) // fails where there is none
		case 3, 4:
			steps = append(steps, step{"COPY t FROM STDIN", rowsOf(next, 500)})
		case 5:
			steps = append(steps, insertOf(next, next+599))
		case 6:
			steps, good = append(steps, in("COPY t FROM STDIN", fmt.Sprintf("%d\tx\n%d\ty\n%d\tz\n", next, next+1, next))), false
		case 7:
			steps, good = append(steps, insertOf(next, next-1000*r.IntN(2))), false
		}
		next += 1000
		if r.IntN(4) == 0 {
			steps, good = append(steps, sql("SELECT 1/0")), false
		}
		if !good || r.IntN(4) == 0 {
			open = 1 + r.IntN(open)
			steps = append(steps, sql("SELECT 1"), sql(fmt.Sprintf("ROLLBACK TO s%d", open-1)))
		}
	}
	return proxyCase{steps: append(steps, sql("COMMIT"))}
}

// insertOf is an INSERT of 600 rows, of which the last has any key.
func insertOf(from, last int) step {
	var b strings.Builder
	for i := range 599 {
		fmt.Fprintf(&b, "(%d, 'x'), ", from+i)
	}
	return sql("INSERT INTO t VALUES " + b.String() + fmt.Sprintf("(%d, 'y')", last))
}
