package wire

import (
	"bytes"

	"github.com/pgbulkproxy/pgbulkproxy/bulk"
	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// block is what the session is at rest in.
type block byte

const (
	blockNone    block = iota // no transaction
	blockClient               // a transaction block of the client's
	blockOurs                 // one of ours, which the client's Sync commits
	blockFailed               // one that has failed
	blockUnknown              // nobody can tell whose
)

// pipelined is what the tags of a pipeline say about its transaction block.
type pipelined byte

const (
	pipelinedNothing pipelined = iota
	pipelinedBegan
	pipelinedEnded
	// pipelinedRolledBack: to a savepoint, or wholly.
	pipelinedRolledBack
)

// noteTag notes the tag of a statement of the client's. It holds s.mu.
func (s *session) noteTag(tag []byte) {
	switch {
	case bytes.HasPrefix(tag, []byte("BEGIN")), bytes.HasPrefix(tag, []byte("START TRANSACTION")):
		s.pipelined = pipelinedBegan
	case bytes.HasPrefix(tag, []byte("COMMIT")), bytes.HasPrefix(tag, []byte("PREPARE TRANSACTION")):
		s.pipelined = pipelinedEnded
	case bytes.HasPrefix(tag, []byte("ROLLBACK")):
		s.pipelined = pipelinedRolledBack
	}
}

// beginInPipeline makes a transaction block of what a pipeline has done so far,
// where there is none: BEGIN takes the implicit transaction over. In a block it
// does nothing.
func beginInPipeline(out []byte) (frames []byte, entries []entry) {
	const name = "pgbulkproxy_begin\x00"
	closing := []byte("S" + name)
	out = frame.Append(out, 'C', closing)
	out = frame.Append(out, 'P', []byte(name+"BEGIN\x00\x00\x00"))
	out = frame.Append(out, 'B', []byte(name+name+"\x00\x00\x00\x00\x00\x00"))
	out = frame.Append(out, 'E', []byte(name+"\x00\x00\x00\x00"))
	out = frame.Append(out, 'C', closing)
	out = frame.Append(out, 'C', []byte("P"+name))
	out = frame.Append(out, 'S', nil)
	return out, []entry{
		entClose | hideReplies | hideError, entParse | hideReplies | hideError, entBind | hideReplies | hideError,
		entExecute | hideReplies | hideError, entClose | hideReplies | hideError, entClose | hideReplies | hideError, entSync | hideReady,
	}
}

// restInBlock brings the session to rest in the middle of a pipeline, too: then
// inside a transaction block, so that nothing of the pipeline is committed by it.
// errSkipping as error says that a message of the pipeline has failed.
func (s *session) restInBlock() (block, error) {
	if !s.unsynced || !s.executed {
		ok, err := s.syncAhead()
		if err != nil {
			return blockFailed, err
		}
		if !ok {
			return blockUnknown, nil
		}
		return s.blockNow(pipelinedNothing), nil
	}
	out, entries := beginInPipeline(nil)
	s.mu.Lock()
	for _, e := range entries {
		s.queue.push(e)
	}
	s.mu.Unlock()
	if err := s.writeServer(out); err != nil {
		return blockFailed, err
	}
	ok, err := s.waitIdle()
	if err != nil || !ok {
		return blockUnknown, err
	}
	s.mu.Lock()
	failed, end, before := s.unsynced && s.extError, s.pipelineEnd, s.statusBefore
	s.mu.Unlock()
	switch {
	case failed:
		return blockFailed, errSkipping
	case end == pipelinedNothing && before == 'I', end == pipelinedEnded:
		s.commitSync = true
	}
	return s.blockNow(end), nil
}

func (s *session) blockNow(end pipelined) block {
	switch status := s.txStatus(); {
	case status == 'E':
		return blockFailed
	case status == 'I':
		return blockNone
	case end == pipelinedRolledBack:
		return blockUnknown
	case s.commitSync:
		return blockOurs
	}
	return blockClient
}

// relay lets the walk relay the messages as they are.
func (r *routedBinds) relay(reason rewrite.Reason) error {
	s := r.s
	s.srv.metrics.pass(rewrite.KindInsert, reason)
	s.log.Debug("pass", "stmt", rewrite.KindInsert, "reason", reason)
	s.last = nil
	s.cleared = max(r.size, 1)
	s.plain = max(s.plain, s.cleared)
	if r.queried && len(r.name) == 0 {
		return s.restoreUnnamed()
	}
	return nil
}

// refusal is the error for a statement that may not go as it is, and can't go
// otherwise.
func (r *routedBinds) refusal(reason rewrite.Reason) *pgerr.Error {
	r.s.srv.metrics.pass(rewrite.KindInsert, reason)
	refusal := &rewrite.Refusal{Feature: "this INSERT, which may be into a routed table,", Because: reason}
	if r.t.insp != nil && r.t.insp.Routing != nil {
		refusal = r.t.insp.Routing.Refuse(r.t.insp, reason)
	}
	return refusal.ErrorResponse().With('H', "Use VALUES with constants or parameters for the routing column, or COPY.")
}

func (r *routedBinds) refuse(reason rewrite.Reason) error { return r.fail(r.refusal(reason)) }

// fail answers with an error, and drops what follows up to the Sync, as the server
// does.
func (r *routedBinds) fail(e *pgerr.Error) error {
	s := r.s
	s.log.Debug("routed INSERT failed", "sqlstate", e.Code(), "error", e.Get('M'))
	s.last = nil
	in := s.inject()
	var err error
	switch status := s.txStatus(); {
	case s.commitSync && status != 'I':
		_, err = in.Exec(s.ctx, "ROLLBACK")
	case status == 'T':
		err = bulk.FailTransaction(s.ctx, in)
	}
	in.release()
	if err != nil {
		return err
	}
	s.commitSync = false
	if s.txStatus() == 'I' && r.queried {
		if err := s.restoreUnnamed(); err != nil {
			return err
		}
	}
	if err := s.writeClient(errorFrame(r.reply, e)); err != nil {
		return err
	}
	return s.discardToSync()
}

// give ends the session: nobody knows where the server stands, and the rows must
// not go to the wrong table.
func (r *routedBinds) give() error {
	e := pgerr.Fatal(pgerr.FeatureNotSupported, "%s", r.refusal(rewrite.ReasonInPipeline).Get('M'))
	r.s.mu.Lock()
	r.s.fatal = errorFrame(nil, e)
	r.s.mu.Unlock()
	return e
}

// open locks and inspects the tables that the statement is into, up to the first
// one that has routes, which is left in the task.
func (r *routedBinds) open() (*pgerr.Error, error) {
	t := r.t
	r.queried = true
	if v := r.st.text.values; v != nil {
		t.stmt = v.Statement
		return r.openOne()
	}
	text := rewrite.ParseAny(r.st.sql)
	r.prepares, r.executes = text.Prepares, r.st.executes
	if text.Insert != nil {
		t.stmt = text.Insert.Statement
		return r.openOne()
	}
	if err := r.s.addExecuted(text, r.st.sql); err != nil {
		if e := pgerr.As(err); e != nil && r.s.ctx.Err() == nil && !e.IsFatal() {
			return e.With('P', ""), nil
		}
		return nil, err
	}
	for _, target := range text.Targets {
		t.stmt = &rewrite.InsertStatement{SQL: r.st.sql, Schema: target.Schema, Table: target.Table}
		if e, err := r.openOne(); e != nil || err != nil || t.routes != nil && !t.routes.Idle() {
			return e, err
		}
		// The next one finds the block of this one.
		t.inBlock = t.inBlock || t.routes != nil
	}
	return nil, nil
}

func (r *routedBinds) openOne() (e *pgerr.Error, err error) {
	t := r.t
	o := t.opening()
	t.insp, err = o.run()
	if e := pgerr.As(err); e != nil && r.s.ctx.Err() == nil && !e.IsFatal() {
		return e.With('P', ""), nil
	}
	if err != nil {
		return nil, err
	}
	if t.insp == nil && o.failed != nil && o.failed.Code() == pgerr.InsufficientPrivilege {
		return r.openUnlocked(o)
	}
	if t.insp == nil || t.insp.Routing == nil {
		return nil, nil
	}
	r.s.commitSync = r.s.commitSync || !t.inBlock // from here on the block is ours
	return r.enter()
}

// openUnlocked looks at a table that the role may insert into, but not lock: if it
// is routed the statement fails.
func (r *routedBinds) openUnlocked(o *opening) (*pgerr.Error, error) {
	insp, err := r.s.routedUnlocked(o.inspect)
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		return e.With('P', ""), nil
	}
	if insp == nil || err != nil {
		return nil, err
	}
	return r.refusal(rewrite.ReasonColumnPrivileges), nil
}

// enter takes the lock of the routed table, and looks at its routes.
func (r *routedBinds) enter() (*pgerr.Error, error) {
	if err := r.t.enter(); err != nil {
		return nil, err
	}
	return r.t.refused, nil
}
