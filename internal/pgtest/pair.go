package pgtest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Pairs compares tables that have an auxiliary one on the proxied side with the
// same tables alone. The name of an auxiliary table, and of whatever belongs to it,
// is the main one's with Suffix in it.
type Pairs struct {
	Suffix string
	// Make makes pairs of the tables that a case's setup has made. It is called for
	// the proxied side only.
	Make func(ctx context.Context, conn *pgx.Conn) error
}

// makePairs is called behind the setup of a case.
func (s *side) makePairs(ctx context.Context) error {
	if s.pairs == nil || !s.proxied {
		return nil
	}
	if err := s.pairs.Make(ctx, s.admin); err != nil {
		return fmt.Errorf("make pairs: %w", err)
	}
	return nil
}

// rowsOf is what stands behind FROM for all rows of a table.
func (s *side) rowsOf(ctx context.Context, name string) (string, error) {
	if s.pairs == nil || !s.proxied {
		return "ONLY " + name, nil
	}
	aux := name + s.pairs.Suffix
	if quoted, ok := strings.CutSuffix(name, `"`); ok {
		aux = quoted + s.pairs.Suffix + `"`
	}
	var exists bool
	if err := s.admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_class c, pg_namespace n WHERE n.oid = c.relnamespace AND format('%I.%I', n.nspname, c.relname) = $1 AND c.relname LIKE '%' || $2)", aux, s.pairs.Suffix).Scan(&exists); err != nil {
		return "", err
	}
	if !exists {
		return "ONLY " + name, nil
	}
	return "(SELECT * FROM ONLY " + name + " UNION ALL SELECT * FROM ONLY " + aux + ")", nil
}

// comparable drops from a transcript what need not be the same: what SELECTs
// return, which see the main table alone, and the objects of the auxiliary ones.
func (p *Pairs) comparable(lines []string) []string {
	reading := false
	return slices.DeleteFunc(lines, func(line string) bool {
		if strings.HasPrefix(line, "-- ") {
			word, rest, _ := strings.Cut(strings.TrimPrefix(line, "-- "), " ")
			reading = word == "query" && strings.HasPrefix(strings.ToLower(rest), "select ")
			return false
		}
		return reading
	})
}
