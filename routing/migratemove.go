package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

// moveBatch moves some groups of one direction: all of those whose locks are to
// be had at once together, then the rest.
func (m *migration) moveBatch(ctx context.Context, batch []Move) error {
	for len(batch) > 0 {
		taken, err := m.lockGroups(ctx, batch)
		if err != nil {
			return err
		}
		err = m.moveLocked(ctx, taken)
		if unlockErr := m.unlockGroups(ctx, taken); unlockErr != nil {
			return errors.Join(err, unlockErr)
		}
		if err != nil {
			return err
		}
		batch = slices.DeleteFunc(slices.Clone(batch), func(g Move) bool { return slices.Contains(taken, g) })
	}
	return nil
}

// lockGroups waits for the first group's lock, and takes of the others' what
// nobody holds: to wait for a second one with the first in hand could be part of
// a deadlock. It returns the groups that are locked.
func (m *migration) lockGroups(ctx context.Context, batch []Move) ([]Move, error) {
	if batch[0].Null {
		return batch, nil // a load puts rows without a group into the main table, whatever happens
	}
	err := m.patiently(ctx, "loads of group "+batch[0].Group, 0, func() error {
		return m.exec(ctx, m.lockFirst(batch[0].Group))
	})
	if err != nil || len(batch) == 1 {
		return batch[:1], err
	}
	rows, err := m.conn.Query(ctx, m.lockMore(groupsOf(batch[1:])))
	if err != nil {
		return nil, err
	}
	more, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	taken := batch[:1:1]
	for _, g := range batch[1:] {
		if slices.Contains(more, g.Group) {
			taken = append(taken, g)
		}
	}
	return taken, nil
}

// unlockGroups also comes after an interrupt.
func (m *migration) unlockGroups(ctx context.Context, taken []Move) error {
	if m.conn.IsClosed() {
		return nil // the server has unlocked them
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if err := m.rollback(ctx); err != nil {
		return err
	}
	return m.exec(ctx, m.unlock(groupsOf(taken)))
}

// moveLocked moves groups whose locks it has. Where a group's rows can't be where
// they are to go, it is noted, and the others of the batch are moved one by one.
func (m *migration) moveLocked(ctx context.Context, moves []Move) error {
	var n int64
	err := m.patiently(ctx, "changes in "+m.table, attemptsAtMove, func() (err error) {
		n, err = m.moveOnce(ctx, moves)
		return err
	})
	if err == nil {
		m.result.Groups, m.result.Rows = m.result.Groups+int64(len(moves)), m.result.Rows+n
		m.notify("")
		return nil
	}
	if ctx.Err() != nil || m.conn.IsClosed() || !isOfRows(err) {
		return fmt.Errorf("move %s: %w", nameMoves(moves), err)
	}
	if len(moves) == 1 {
		m.result.Failed = append(m.result.Failed, MoveError{moves[0], err})
		return nil
	}
	for i := range moves {
		if err := m.moveLocked(ctx, moves[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// isOfRows: the error comes from the rows of the batch, so that other groups may
// still be moved: constraints, data that can't be converted, triggers, rows that
// others keep changing.
func isOfRows(err error) bool {
	if own := pgerr.As(err); own != nil {
		return own.Code() == duplicateKeys
	}
	code := codeOf(err)
	return isContention(err) || len(code) == 5 && slices.Contains([]string{"22", "23", "P0"}, code[:2])
}

func nameMoves(moves []Move) string {
	if moves[0].Null {
		return "rows without a group"
	}
	if len(moves) == 1 {
		return fmt.Sprintf("group %q", moves[0].Group)
	}
	return fmt.Sprintf("%d groups from %q", len(moves), moves[0].Group)
}

// moveOnce is one transaction, and returns how many rows it moved. After an error
// it is still open.
func (m *migration) moveOnce(ctx context.Context, moves []Move) (int64, error) {
	if err := m.exec(ctx, m.begin()); err != nil {
		return 0, err
	}
	if err := m.refuseDuplicates(ctx, moves); err != nil {
		return 0, err
	}
	insert, remove := m.move(moves)
	results, err := m.conn.PgConn().Exec(ctx, insert+";\n"+remove).ReadAll()
	if err != nil {
		return 0, err
	}
	n := results[0].CommandTag.RowsAffected()
	if deleted := results[1].CommandTag.RowsAffected(); deleted != n {
		return 0, pgerr.New(pgerr.InternalError, "%d rows of %s were inserted and %d deleted", n, nameMoves(moves), deleted).
			With('H', "A trigger or a rule changes what is written.")
	}
	return n, m.exec(ctx, m.finish(moves))
}

// duplicateKeys is the SQLSTATE of unique_violation.
const duplicateKeys = "23505"

// shownKeys is how many duplicates an error names.
const shownKeys = 5

// refuseDuplicates fails where rows of groups that are in both tables have the
// same key there. Nobody but the user can say which row is right.
func (m *migration) refuseDuplicates(ctx context.Context, moves []Move) error {
	if !slices.ContainsFunc(moves, func(g Move) bool { return g.Rows > 0 && g.Already > 0 }) {
		return nil // the unique indexes themselves have the last word
	}
	for _, key := range m.keys {
		rows, err := m.conn.Query(ctx, m.duplicates(key, moves))
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(found) > 0 {
			more := ""
			if len(found) > shownKeys {
				found, more = found[:shownKeys], " and more"
			}
			return pgerr.New(duplicateKeys, "rows of %s are in both %s and %s with the same key: %s%s",
				nameMoves(moves), m.main.name, m.aux.name, strings.Join(found, ", "), more).
				With('H', "Nothing was changed. Delete the rows that are wrong, and run it again.")
		}
	}
	return nil
}
