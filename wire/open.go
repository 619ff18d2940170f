package wire

import (
	"errors"
	"strings"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// opening is what comes before every statement that is taken over: it locks the
// table as the statement would, and inspects it, in one round trip.
type opening struct {
	s             *session
	schema, table string
	inspect       string // the SQL
	inBlock       bool   // the client is inside a transaction block of its own
	alone         bool   // the statement lets nobody else write into the table
	freeze        bool   // it fails behind a savepoint that stays
	// failed is the server's error where run has found nothing because of it.
	failed *pgerr.Error
}

// run returns what was found, or nil where the statement is to be relayed:
// where there is no such table, for example, the server says so best. The
// session is then as it was, but for an undo that goes out with the next write.
// An error of type *pgerr.Error is one that the client's statement must fail
// with.
func (o *opening) run() (*rewrite.Inspection, error) {
	in := o.s.inject()
	row, sharding, err := o.read(in)
	if err != nil || row == "" {
		in.release()
		return nil, err
	}
	insp, err := rewrite.ParseInspection(row)
	var rerr error
	if err == nil {
		insp.Spread = o.s.spread
		err = insp.AddSharding(sharding)
	}
	if err == nil {
		rerr = o.s.inspectRouting(in, insp)
	}
	in.release() // before an undo, whose replies are the queue's to hide
	if e := pgerr.As(rerr); e != nil && !e.IsFatal() && !o.inBlock {
		return nil, errors.Join(o.undo(), e)
	}
	if rerr != nil {
		return nil, rerr // a block of the client's has failed by it
	}
	if err != nil {
		o.s.log.Warn("inspection is unreadable, relaying", "error", err)
		return nil, o.undo()
	}
	return insp, nil
}

// inspectRouting asks for the rest about a table that has a routing table. Where
// the answer cannot be read, the inspection's Routing still has a Problem.
func (s *session) inspectRouting(in *injector, insp *rewrite.Inspection) error {
	if insp.Routing == nil {
		return nil
	}
	if look := insp.LooksSQL(); look != "" {
		results, err := in.Exec(s.ctx, look)
		if err != nil {
			return err
		}
		if len(results) == 1 && len(results[0].Rows) == 0 {
			return insp.AddRouting("", s.srv.cfg.RoutingColumn)
		}
	}
	results, err := in.Exec(s.ctx, insp.RoutingSQL())
	if err != nil {
		return err
	}
	row := ""
	if len(results) == 1 && len(results[0].Rows) == 1 && len(results[0].Rows[0]) == 1 {
		row = string(results[0].Rows[0][0])
	}
	if err := insp.AddRouting(row, s.srv.cfg.RoutingColumn); err != nil {
		s.log.Warn("the routing of a table is unreadable", "table", insp.Table, "error", err)
	}
	if s.srv.cfg.OnRouted != nil && insp.Routing != nil && insp.Routing.Problem == "" {
		s.srv.cfg.OnRouted(insp.Database, insp.Schema, insp.Table)
	}
	return nil
}

// read returns the inspection's row, or "" where there is none, and that of
// ShardingSQL.
func (o *opening) read(in *injector) (row, sharding string, err error) {
	d, inspect := o.s.dialect(), o.inspect
	lock := d.LockSQL(o.schema, o.table)
	if err := o.s.findSpread(in); err != nil {
		return "", "", err
	}
	if o.s.spread {
		lock = rewrite.ShardedLockSQL(o.schema, o.table)
		inspect += "; " + rewrite.ShardingSQL(o.schema, o.table)
	}
	if o.alone {
		lock = bulk.LockAlone(o.schema, o.table)
	}
	after := o.s.leave("")
	if o.freeze {
		after = ""
	}
	results, err := in.Exec(o.s.ctx, bulk.Open(o.s.declaring(d)+lock, inspect, o.inBlock, after))
	o.s.declared = err == nil
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		e = e.With('P', "") // a position in our text
		mine := isWaitError(e)
		if mine && o.inBlock {
			return "", "", e // the client's block has failed, as it would natively
		}
		if _, uerr := in.Exec(o.s.ctx, bulk.UndoFailedOpen(o.inBlock, o.s.leave(""))); uerr != nil {
			if u := pgerr.As(uerr); o.inBlock && u != nil && !u.IsFatal() {
				return "", "", e // the savepoint itself has failed, and the client's block with it
			}
			return "", "", uerr
		}
		if mine {
			return "", "", e
		}
		o.failed = e
		o.s.log.Debug("inspection failed, relaying", "sqlstate", e.Code(), "error", e.Get('M'))
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	for _, r := range results {
		if len(r.Rows) == 1 && len(r.Rows[0]) == 1 && !strings.HasPrefix(r.Tag, "EXPLAIN") {
			if row != "" {
				sharding = string(r.Rows[0][0])
				break
			}
			row = string(r.Rows[0][0])
		}
	}
	if row != "" {
		return row, sharding, nil
	}
	if sql := bulk.UndoOpen(o.inBlock); sql != "" {
		_, err = in.Exec(o.s.ctx, sql)
	}
	return "", "", err
}

// findSpread finds out whether the database has Citus, where the engine is for that.
// It asks again until it has: one that is told of by name need not be there.
func (s *session) findSpread(in *injector) error {
	if s.spread || !s.srv.loader.Sharded(s.ctx, s.database) {
		return nil
	}
	results, err := in.Exec(s.ctx, rewrite.SpreadSQL)
	s.spread = err == nil && len(results) == 1 && len(results[0].Rows) == 1
	return err
}

// leave is what ends a savepoint of ours in the client's block.
func (s *session) leave(sql string) string {
	if s.spread {
		sql += bulk.Stay
	}
	return sql
}

// dialect is how the session's server is asked.
func (s *session) dialect() rewrite.Dialect {
	s.mu.Lock()
	defer s.mu.Unlock()
	return rewrite.DialectOf(s.params["server_version"])
}

// declaring is what stands in front of a statement that reads our settings, once
// in a session. Behind a pooler the server's session may be another one by now:
// then the statement fails, and the next one declares again.
func (s *session) declaring(d rewrite.Dialect) string {
	if sql := d.DeclareSQL(); sql != "" && !s.declared {
		return sql + "; "
	}
	return ""
}

// undo ends what was begun, without waiting: what is written next to the server
// comes behind it.
func (o *opening) undo() error { return o.s.sendHidden(bulk.UndoOpen(o.inBlock)) }

// sendHidden sends a statement of ours whose replies nobody sees; "" is none.
func (s *session) sendHidden(sql string) error {
	if sql == "" {
		return nil
	}
	s.mu.Lock()
	s.queue.push(entQuery | hideReplies | hideReady)
	s.mu.Unlock()
	return s.writeServer(frame.AppendString(nil, 'Q', sql))
}

// isWaitError says that an error came from waiting for the lock, where the
// client's own statement would have waited and failed: a cancel or timeout
// (57014), lock_timeout (55P03), a deadlock (40P01).
func isWaitError(e *pgerr.Error) bool {
	switch e.Code() {
	case pgerr.QueryCanceled, "55P03", "40P01":
		return true
	}
	return false
}
