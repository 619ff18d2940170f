package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
)

const (
	// migrateClass is "pgbm": with the main table's oid, the lock that keeps two
	// migrations of one table apart. It belongs to the session.
	migrateClass = 0x7067626d
	// waitLockTimeout bounds one wait for a lock that loads hold. Loads that want
	// it meanwhile queue behind the migration: so it waits a second at a time.
	waitLockTimeout = time.Second
	// moveLockTimeout bounds waits where the migration holds the locks of groups:
	// for rows that a program without the proxy is changing. It is far below the
	// server's deadlock_timeout, so that nobody else is taken for a deadlock's
	// victim because of it.
	moveLockTimeout = 100 * time.Millisecond
	// markedAtOnce bounds the groups that are announced at a time: each load into
	// the table is sent all of them.
	markedAtOnce = 1000
	// pollEvery is how often another migration is asked after.
	pollEvery = 250 * time.Millisecond
	// attemptsAtMove is how often a batch is tried whose rows others are changing.
	attemptsAtMove = 10
	// cleanupTimeout bounds what is done after an interrupt.
	cleanupTimeout = 10 * time.Second
)

// MigrateProgress is how far a migration is.
type MigrateProgress struct {
	// Waiting says what for, or is empty.
	Waiting string
	// Groups and Rows are those moved, of the plan's.
	Groups, Rows int64
	Plan         *MigratePlan
}

// MigrateResult is what a migration has done.
type MigrateResult struct {
	Plan   *MigratePlan
	Groups int64 // moved
	Rows   int64 // moved
	Failed []MoveError
}

// MoveError is why a group stays where it is. Nothing of it was changed.
type MoveError struct {
	Move Move
	Err  error
}

// Error implements error.
func (e MoveError) Error() string {
	if e.Move.Null {
		return "rows without a group: " + e.Err.Error()
	}
	return fmt.Sprintf("group %q: %v", e.Move.Group, e.Err)
}

// Unwrap gives the reason.
func (e MoveError) Unwrap() error { return e.Err }

// migration is one run for one pair, on a session of its own.
type migration struct {
	migrationSQL
	conn   *pgx.Conn
	table  string // for people
	bare   string // without its schema, unquoted
	lacks  bool   // what a migration needs is not installed
	opts   MigrateOptions
	result MigrateResult
}

// MigrateConfig prepares a connection's configuration for Migrate: a context that
// ends cancels the statement, and the session stays to clean up.
func MigrateConfig(cfg *pgx.ConnConfig) {
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	cfg.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cleanupTimeout}
	}
}

// CheckMigration says why Migrate could not move anything of a table, if so. It
// reads only the catalog; installed says whether schema pgbulk has what is needed.
func CheckMigration(ctx context.Context, conn *pgx.Conn, t MigrateTarget, o MigrateOptions) (installed bool, err error) {
	m, err := newMigration(ctx, conn, t, o)
	if err != nil {
		return false, err
	}
	return !m.lacks, nil
}

// PlanMigration returns what Migrate would do now. It only reads.
func PlanMigration(ctx context.Context, conn *pgx.Conn, t MigrateTarget, o MigrateOptions) (*MigratePlan, error) {
	m, err := newMigration(ctx, conn, t, o)
	if err != nil {
		return nil, err
	}
	return m.plan(ctx)
}

// Migrate moves the groups of a pair whose rows or routes are not where they are
// to be. Each group's rows and its route change in one transaction. When it is
// ended at any point, a later one goes on.
//
// It needs a session of its own (no pooler that shares it), made with
// MigrateConfig. Groups that can't be moved are in the result, and the others are
// moved; an error means that it could not go on.
func Migrate(ctx context.Context, conn *pgx.Conn, t MigrateTarget, o MigrateOptions) (*MigrateResult, error) {
	m, err := newMigration(ctx, conn, t, o)
	if err != nil {
		return nil, err
	}
	if m.lacks {
		return nil, pgerr.New(pgerr.PrerequisiteState, "schema pgbulk has nothing for migrations").With('H', "Run pgbulkproxy install.")
	}
	if err := m.exec(ctx, sessionSQL); err != nil {
		return nil, fmt.Errorf("prepare the session: %w", err)
	}
	if err := m.lockOut(ctx); err != nil {
		return nil, err
	}
	err = m.run(ctx)
	return &m.result, errors.Join(err, m.cleanUp(ctx))
}

// LoadsUnderWay says whether transactions write to a table now: what they load is
// not in the counts yet.
func LoadsUnderWay(ctx context.Context, conn *pgx.Conn, t MigrateTarget) (under bool, err error) {
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
AND l.relation = pg_catalog.to_regclass($1)::oid AND l.pid <> pg_catalog.pg_backend_pid())`, t.Table).Scan(&under)
	return under, err
}

// sessionSQL: rows that row security hides must be an error; and a server whose
// client is gone ends its statement soon, so that another migration can begin.
var sessionSQL = fmt.Sprintf(`SET row_security = off; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
SET lock_timeout = '%dms'; SET client_connection_check_interval = '1s'`, waitLockTimeout.Milliseconds())

// lockOut waits until no other migration of this table runs.
func (m *migration) lockOut(ctx context.Context) error {
	return m.until(ctx, func() (string, error) {
		var mine bool
		err := m.conn.QueryRow(ctx, fmt.Sprintf("SELECT pg_catalog.pg_try_advisory_lock(%d, %d)", migrateClass, int32(m.main.oid))).Scan(&mine)
		if mine || err != nil {
			return "", err
		}
		return "another migration of " + m.table, nil
	})
}

// until asks again and again until there is nothing to wait for.
func (m *migration) until(ctx context.Context, ask func() (waiting string, err error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for began := time.Now(); ; {
		waiting, err := ask()
		if waiting == "" || err != nil {
			return err
		}
		if m.impatient(began) {
			return pgerr.New("55P03", "%s does not end", waiting)
		}
		m.notify(waiting)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (m *migration) impatient(began time.Time) bool {
	return m.opts.Patience > 0 && time.Since(began) >= m.opts.Patience
}

// plan counts the groups and decides.
func (m *migration) plan(ctx context.Context) (*MigratePlan, error) {
	threshold := m.opts.Threshold
	if m.opts.Back {
		threshold = 0 // groups that are in the main table alone stay there
	}
	rows, err := m.conn.Query(ctx, m.count(threshold))
	if err != nil {
		return nil, fmt.Errorf("count the groups of %s: %w", m.table, err)
	}
	defer rows.Close()
	var groups []groupState
	for rows.Next() {
		var id, store *string
		var g groupState
		if err := rows.Scan(&id, &g.main, &g.aux, &store); err != nil {
			return nil, fmt.Errorf("count the groups of %s: %w", m.table, err)
		}
		if g.null = id == nil; !g.null {
			g.id = *id
		}
		if store != nil {
			if g.routed, g.toAux = true, slices.Contains(m.auxNames, *store); !g.toAux && !slices.Contains(m.mainNames, *store) {
				return nil, pgerr.New(pgerr.PrerequisiteState, "the route of group %q in %s names %q, which is neither %s nor its auxiliary table", g.id, m.routes, *store, m.table)
			}
		}
		groups = append(groups, g)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count the groups of %s: %w", m.table, err)
	}
	return planMoves(groups, m.opts), nil
}

// run plans and moves, so many groups at a time as may be announced.
func (m *migration) run(ctx context.Context) error {
	plan, err := m.plan(ctx)
	if err != nil {
		return err
	}
	m.result.Plan = plan
	m.notify("")
	limit := m.batchRows
	if m.opts.BatchRows > 0 {
		limit = batchLimit{small: m.opts.BatchRows}
	}
	if len(plan.Moves) > 0 {
		if err := m.awaitProxies(ctx); err != nil {
			return err
		}
	}
	for left := plan.Moves; len(left) > 0; {
		n := min(len(left), markedAtOnce)
		if err := m.announce(ctx, left[:n]); err != nil {
			return fmt.Errorf("announce the groups to move: %w", err)
		}
		for _, batch := range batches(left[:n], limit) {
			if err := m.moveBatch(ctx, batch); err != nil {
				return err
			}
		}
		left = left[n:]
	}
	return nil
}

// awaitProxies waits until every proxy knows that the table is routed.
func (m *migration) awaitProxies(ctx context.Context) error {
	if m.opts.Unseen == nil {
		return nil
	}
	return m.until(ctx, func() (string, error) {
		unseen, err := m.opts.Unseen(ctx, m.bare)
		if err != nil {
			return "", fmt.Errorf("ask which proxies know of %s: %w", m.table, err)
		}
		if len(unseen) == 0 {
			return "", nil
		}
		return "proxy " + strings.Join(unseen, ", ") + " to know that " + m.table + " is routed", nil
	})
}

// announce waits for the loads that have begun, and marks the groups: loads that
// begin from then on wait for each other's groups alone.
func (m *migration) announce(ctx context.Context, moves []Move) error {
	return m.patiently(ctx, "loads into "+m.table, 0, func() error { return m.exec(ctx, m.mark(moves)) })
}

// cleanUp takes away what a later migration would have to: markers and locks. It
// is done after an interrupt, too, where the session still stands.
func (m *migration) cleanUp(ctx context.Context) error {
	if m.conn.IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return errors.Join(m.rollback(ctx), m.exec(ctx, m.unmark("")), m.exec(ctx, "SELECT pg_catalog.pg_advisory_unlock_all()"))
}

// rollback ends the transaction, if there is one.
func (m *migration) rollback(ctx context.Context) error {
	if m.conn.PgConn().TxStatus() == 'I' {
		return nil
	}
	return m.exec(ctx, "ROLLBACK")
}

// patiently calls work until it is not for a lock or another transaction that it
// fails, with pauses that grow; limit times, or for ever where it is 0.
func (m *migration) patiently(ctx context.Context, what string, limit int, work func() error) error {
	pause, began := 20*time.Millisecond, time.Now()
	for n := 1; ; n++ {
		err := work()
		if err == nil || ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if rollbackErr := m.rollback(ctx); rollbackErr != nil {
			return errors.Join(err, rollbackErr)
		}
		if !isContention(err) || n == limit || m.impatient(began) {
			return err
		}
		m.notify(what)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// isContention: a lock was not to be had, or the snapshot is too old, or it was a
// deadlock. Another try may well succeed.
func isContention(err error) bool {
	switch codeOf(err) {
	case "55P03", "40001", "40P01":
		return true
	}
	return false
}

func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// exec runs statements of one simple Query.
func (m *migration) exec(ctx context.Context, sql string) error {
	_, err := m.conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

func (m *migration) notify(waiting string) {
	if m.opts.Notify != nil {
		m.opts.Notify(MigrateProgress{Waiting: waiting, Groups: m.result.Groups, Rows: m.result.Rows, Plan: m.result.Plan})
	}
}
