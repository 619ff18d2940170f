package wire

import (
	"context"
	"errors"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// tryStage loads the rows as a COPY's would be, through files in S3. The load
// routes them itself. For it the block is the client's, whosever it is: we commit.
func (r *routedInsert) tryStage() (failed *pgerr.Error, err error) {
	t := r.t
	s := t.s
	insp, route := *t.insp, *t.insp.Routing
	route.Found = t.routes
	insp.Columns, insp.Routing = insp.Columns[:t.stmt.Targets()], &route
	stmt := t.stmt.Copy(&insp)
	d := s.srv.loader.Decide(s.ctx, stmt, &insp, true)
	if d.Way != rewrite.Stage || d.Ext.Ours() { // the settings are those of COPY
		return nil, values.Pass(d.Reason)
	}
	load, err := s.srv.loader.Begin(s.ctx, bulk.Spec{
		Statement: stmt, Inspection: &insp, Decision: d, Started: t.began, InBlock: true, Session: s.id, Owner: s.owner(),
	}, r.in)
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	s.setLoad(load)
	defer s.clearLoad()
	rows, err := t.fill(load)
	s.keepUnsettled(load) // whatever comes now, its end is to be looked up
	switch e := pgerr.As(err); {
	case s.ctx.Err() != nil || errors.Is(err, bulk.ErrSessionLost):
		return nil, errors.Join(context.Cause(s.ctx), err)
	case e != nil:
		return e, nil
	case err != nil:
		return nil, err
	}
	r.replies = append(r.replies, pieceReply{count: rows})
	return nil, nil
}
