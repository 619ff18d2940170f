package bulk

import (
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// maxReplayGroups bounds the text of a replay.
const maxReplayGroups = 10_000

// nativeError returns what the server would have said to a COPY into one table,
// where it has said err to a load of two. The client's data goes once more, by a
// COPY into each of the tables that leaves out the other's rows, but counts their
// lines: the error on the first line is the client's. Nothing of it stays. Where
// neither fails, err is the answer.
func (ld *Load) nativeError(err error) error {
	e := pgerr.As(err)
	if e == nil || e.IsFatal() || !ld.replays() || !ld.run.savepoint || ld.run.lost || ld.isStopped() || !isReplayed(e) {
		return err
	}
	ld.run.copy = nil
	best := e
	replay := ld.replay
	if !ld.spec.Inspection.CopyWhere() {
		replay = ld.replaySplit
	}
	if ld.spec.Inspection.Routing.Found.ToAux <= maxReplayGroups {
		if found, rerr := replay(e); rerr == nil {
			best = found
		} else if pgerr.As(rerr) == nil {
			return rerr // the session is lost
		}
	}
	if ld.isStopped() || !ld.spec.InBlock {
		return best
	}
	if err := FailTransaction(ld.ctx, ld.sess); err != nil {
		return err
	}
	return best
}

// isReplayed says that the data is to blame.
func isReplayed(e *pgerr.Error) bool {
	switch e.Class() {
	case "22", "23", "44", "P0":
		return true
	}
	return false
}

// replay returns the error of the COPY that fails on the first line, or e.
func (ld *Load) replay(e *pgerr.Error) (*pgerr.Error, error) {
	in := ld.spec.Inspection
	back := "ROLLBACK TO SAVEPOINT pgbulkproxy"
	results, err := ld.exec(back + "; " + in.Routing.GroupsSQL(in, maxReplayGroups))
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, row := range results[len(results)-1].Rows {
		groups = append(groups, string(row[0]))
	}
	best, first := e, int64(-1)
	for i, sql := range ld.spec.Statement.NativeParts(in, groups) {
		err := ld.replayCopy(sql)
		if ld.isStopped() {
			return e, nil
		}
		if err != nil && pgerr.As(err) == nil {
			return nil, err
		}
		// Another error is that of the replay: Citus has no WHERE in COPY.
		if found := pgerr.As(err); found != nil && isReplayed(found) {
			table := [2]string{in.Table, in.Routing.Aux.Table}[i]
			line, ok := errorLine(found, table)
			// On Citus it may be about a row of the other table, without a line.
			if (best == e && first < 0 && in.Sharding == nil) || ok && (first < 0 || line < first) {
				best = found.With('W', renameTable(found.Get('W'), table, in.Table))
				if ok {
					first = line
				}
			}
		}
		if _, err := ld.exec(back); err != nil {
			return nil, err
		}
	}
	return best, nil
}

// replayCopy sends the client's data so far through a COPY.
func (ld *Load) replayCopy(sql string) error {
	ld.busy.Store(true)
	defer ld.busy.Store(false)
	c, err := ld.sess.StartCopy(ld.ctx, sql)
	if err != nil {
		return err
	}
	for i, f := range ld.run.kept {
		if i == 0 && ld.spec.Statement.Format == rewrite.FormatBinary {
			if err := c.Write(f.binaryHeader); err != nil {
				return err
			}
		}
		switch err := ld.eachByte(f, c.Write); {
		case pgerr.As(err) != nil:
			return err
		case err != nil:
			// The store: an end that makes the COPY fail says nothing of the data.
			ld.log.Warn("read staged file for an error's context", "file", f.number, "error", err)
			_, end := c.End(ld.ctx, Frame{Type: 'f', Body: []byte("replay\x00")})
			if pgerr.As(end) == nil {
				return end
			}
			return nil
		}
	}
	_, err = c.End(ld.ctx, CopyDone())
	return err
}
