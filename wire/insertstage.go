package wire

import (
	"context"
	"errors"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
)

// stageDecision says whether the rows go through files in S3, as those of a COPY
// do; size is the length of the client's messages. Where it says no, they are
// streamed.
func (t *insertTask) stageDecision(d rewrite.Decision, size int) (*rewrite.CopyStatement, rewrite.Decision) {
	limit := t.s.srv.cfg.InsertStageBytes
	if d.Method != rewrite.MethodRows || limit < 0 || int64(size) < limit {
		return nil, d
	}
	if t.inBlock && t.insp.Sharding != nil {
		return nil, d // no load is sequential
	}
	if !t.s.srv.loader.HasRoom(t.s.owner()) {
		return nil, d
	}
	insp := *t.insp
	insp.Columns = insp.Columns[:t.stmt.Targets()]
	stmt := t.stmt.Copy(&insp)
	staged := t.s.srv.loader.Decide(t.s.ctx, stmt, &insp, t.inBlock)
	if staged.Way != rewrite.Stage || staged.Ext.Ours() { // the settings are those of COPY
		return nil, d
	}
	t.insp = &insp
	return stmt, staged
}

// stage loads the rows as a COPY's would be. As after send, an error of type
// *pgerr.Error is the server's, and the client has seen nothing.
func (t *insertTask) stage(stmt *rewrite.CopyStatement, d rewrite.Decision) error {
	s := t.s
	in := s.inject()
	defer in.release()
	if sql := t.beforeStage(); sql != "" {
		if _, err := in.Exec(s.ctx, sql); err != nil {
			return err
		}
	}
	load, err := s.srv.loader.Begin(s.ctx, bulk.Spec{
		Statement: stmt, Inspection: t.insp, Decision: d, Started: t.began, InBlock: t.inBlock, Session: s.id, Owner: s.owner(),
	}, in)
	if err != nil {
		return err
	}
	s.setLoad(load)
	defer s.clearLoad()
	rows, err := t.fill(load)
	s.keepUnsettled(load) // whatever comes now, its end is to be looked up
	switch {
	case s.ctx.Err() != nil || errors.Is(err, bulk.ErrSessionLost):
		return errors.Join(context.Cause(s.ctx), err)
	case err != nil:
		return err
	}
	if t.inBlock {
		if _, err := in.Exec(s.ctx, s.leave(releaseInsert)); err != nil {
			return err
		}
	}
	t.setTag(rows)
	return t.check()
}

// beforeStage is what goes before the load inside the client's block.
func (t *insertTask) beforeStage() string {
	switch {
	case !t.inBlock:
		return ""
	case t.opened:
		return setInsert
	}
	return setInsert + "; " + t.stmt.GuardSQL(t.insp)
}

// fill gives the load its rows, and ends it.
func (t *insertTask) fill(load *bulk.Load) (int64, error) {
	encoder, err := t.encoder()
	buf := t.s.takeBuffer()
	if err == nil {
		err = t.eachRow(func(cells []values.Cell) (err error) {
			if buf, err = encoder.AppendRow(buf, cells); err != nil || len(buf) < maxCopyData {
				return err
			}
			err = load.Write(buf)
			buf = buf[:0]
			return err
		})
	}
	if err == nil {
		err = load.Write(buf)
	}
	t.s.giveBuffer(buf)
	var pass values.Pass
	switch {
	case err == nil:
		return load.Finish(t.s.ctx, bulk.Frame{Type: 'c'})
	case t.s.ctx.Err() != nil:
		load.Abort()
		return 0, err
	case errors.As(err, &pass):
		err = pgerr.New(pgerr.FeatureNotSupported, "%s", string(pass)) // nobody sees it: the client's own statement runs
	}
	return 0, load.Fail(t.s.ctx, err)
}
