package wire

import (
	"errors"
	"slices"
	"time"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// mayRoute says whether a text may be an INSERT into a routed table.
func (s *session) mayRoute(text []byte) bool {
	if s.known == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judge().Insert(trimZero(text))
}

// onRoutedQuery handles a Query with an INSERT in it, of any form and size, which
// may be into a routed table. It relays what is not.
func (s *session) onRoutedQuery() error {
	s.insertAhead = false
	memory := s.srv.loader.Memory()
	if err := s.cr.Need(frame.HeaderLen); err != nil {
		return err
	}
	_, size, err := frame.Head(s.cr.Buffered())
	if err != nil {
		return s.relayRaw()
	}
	reserved := 2 * int64(size)
	if size > s.srv.cfg.InsertMaxBytes {
		return s.unreadRouted(rewrite.ReasonTooLong, size)
	} else if !memory.Reserve(reserved) {
		return s.unreadRouted(rewrite.ReasonMemory, size)
	}
	defer memory.Return(reserved)
	_, body, _, err := s.peekFrame(s.srv.cfg.InsertMaxBytes)
	if err != nil {
		return err
	}
	return s.routeBody(body)
}

// routeBody is onRoutedQuery for a message that was read.
func (s *session) routeBody(body []byte) error {
	sql, rest, ok := frame.CString(body)
	if !ok || len(rest) > 0 {
		return s.passInsert(rewrite.ReasonParseError)
	}
	if t := s.sameInsert(body); t != nil {
		return t.run(frame.HeaderLen + len(body))
	}
	if s.unsynced {
		return s.behindPipeline(sql, rewrite.ReasonInPipeline)
	}
	s.mu.Lock()
	s.statements.forget(nil) // a Query drops the unnamed statement
	s.mu.Unlock()
	if ok, err := s.waitIdle(); err != nil {
		return err
	} else if !ok {
		return s.behindPipeline(sql, rewrite.ReasonInPipeline)
	}
	if s.txStatus() == 'E' {
		return s.routeFailed(sql, frame.HeaderLen+len(body))
	}
	return s.routeText(sql, frame.HeaderLen+len(body))
}

// unreadRouted handles a Query that is not read as a whole: it is relayed, unless the
// table that its begin names is routed.
func (s *session) unreadRouted(reason rewrite.Reason, size int) error {
	if err := s.cr.Need(frame.HeaderLen + min(size, maxHead)); err != nil {
		return err
	}
	head := s.cr.Buffered()[frame.HeaderLen:]
	target, ok := rewrite.HeadTarget(head[:min(len(head), maxHead)])
	idle := false
	if ok && !s.unsynced {
		var err error
		if idle, err = s.waitIdle(); err != nil {
			return err
		}
	}
	if !idle {
		return s.behindPipeline(head, reason)
	}
	if s.txStatus() == 'E' {
		return s.passInsert(reason)
	}
	t := &insertTask{s: s, inBlock: s.txStatus() == 'T', stmt: &rewrite.InsertStatement{Schema: target.Schema, Table: target.Table}}
	block := t.inBlock
	routed, failed, err := t.enterTarget()
	if err != nil {
		return err
	}
	t.inBlock = block
	if failed == nil && (!routed || t.inBlock && t.routes.Idle()) {
		return t.pass(reason, size)
	}
	// The server's part is to fail; ours, to take the message off.
	if !t.inBlock && s.txStatus() != 'I' {
		if err := s.sendHidden("ROLLBACK"); err != nil {
			return err
		}
	}
	return s.refuseRouted(reason)
}

// routeText routes the text of a Query; the session is at rest.
func (s *session) routeText(sql []byte, size int) error {
	s.mu.Lock()
	opts, ok := s.insertOptions()
	s.mu.Unlock()
	t := &insertTask{s: s, inBlock: s.txStatus() == 'T', began: time.Now()}
	if ok {
		stmt, reason := s.parseInsert(sql, opts)
		if reason == rewrite.ReasonNone && (opts.UTF8 || stmt.ASCII()) {
			t.stmt = stmt
			return t.runSmall(size)
		}
	}
	text := rewrite.ParseAny(sql)
	if err := s.addExecuted(text, sql); err != nil {
		if e := pgerr.As(err); e != nil && s.ctx.Err() == nil {
			return t.fail(e.With('P', ""), size)
		}
		return err
	}
	if text.Insert != nil {
		t.stmt = text.Insert.Statement
		return t.runAny(text.Insert, size)
	}
	return t.runText(text, sql, size)
}

// routeFailed handles a text in a transaction that has failed: it may end that, and
// insert behind.
func (s *session) routeFailed(sql []byte, size int) error {
	text := rewrite.ParseAny(sql)
	s.mu.Lock()
	set := s.judge()
	s.mu.Unlock()
	if !text.Ends || !slices.ContainsFunc(text.Targets, func(n rewrite.AnyTarget) bool { return set.Has(n.Table) }) {
		return s.passInsert(rewrite.ReasonFailedTransaction)
	}
	t := &insertTask{s: s, inBlock: true, began: time.Now()}
	if series := text.Series(true, set.Has); series != nil {
		if parts := s.seriesParts(series, sql); parts != nil {
			return t.runSeries(series, parts, sql, size)
		}
	}
	return s.refuseRouted(rewrite.ReasonRoutedText)
}

// addExecuted adds the tables of INSERTs that a text runs by EXECUTE. Whoever
// prepares one into a routed table is refused; these were prepared before, or by a
// Parse, which may be of an EXECUTE, too.
func (s *session) addExecuted(text *rewrite.AnyText, sql []byte) error {
	if text.Unknown && rewrite.Executes(sql, true) {
		text.Executes = []string{rewrite.AnyPrepared}
	}
	seen := make(map[string]bool)
	for i := 0; i < len(text.Executes); i++ {
		if seen[text.Executes[i]] {
			continue
		}
		seen[text.Executes[i]] = true
		in := s.inject()
		results, err := in.Exec(s.ctx, rewrite.ExecutedSQL(text.Executes[i]))
		in.release()
		if err != nil {
			return err
		}
		s.mu.Lock()
		set := s.judge()
		s.mu.Unlock()
		for _, row := range results[0].Rows {
			targets, executes := rewrite.PreparedTargets(row[1], string(row[0]))
			text.Executes = append(text.Executes, executes...)
			for _, target := range targets {
				if set.Has(target.Table) {
					text.Targets, text.Runs = append(text.Targets, target), true
				}
			}
		}
	}
	return nil
}

// runSmall is run for any number of rows.
func (t *insertTask) runSmall(size int) error {
	d, err := t.decide()
	if err == nil && t.insp != nil && !t.routed() && t.stmt.Rows < t.s.enough(t.inBlock) {
		return t.pass(rewrite.ReasonSmall, size)
	}
	return t.runDecided(d, err, size)
}

// enough is how many rows an INSERT needs to be streamed.
func (s *session) enough(again bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enoughRows(again)
}

// inspect opens the table, and enters its routing if it has one. passed says that
// the statement is answered: relayed, or failed by waiting.
func (t *insertTask) inspect(size int) (passed bool, err error) {
	t.s.last = nil
	insp, err := t.opening().run()
	if e := pgerr.As(err); e != nil && t.s.ctx.Err() == nil {
		return true, t.fail(e, size)
	}
	if err != nil {
		return true, err
	}
	if insp == nil {
		return true, t.passUnlocked(size)
	}
	t.insp, t.opened = insp, true
	if insp.Routing != nil {
		return false, t.enter()
	}
	return false, nil
}

// passUnlocked relays the statement, whose table could not be locked, unless it has
// to be refused.
func (t *insertTask) passUnlocked(size int) error {
	refused, err := t.unlocked()
	if err != nil {
		return err
	}
	if refused == nil {
		return t.pass(rewrite.ReasonInspectFailed, size)
	}
	r := &routedInsert{t: t, in: t.s.inject()}
	return r.finish(refused, nil, size)
}

// unlocked is the error for an INSERT into a routed table that could not be locked.
func (t *insertTask) unlocked() (*pgerr.Error, error) {
	insp, err := t.s.routedUnlocked(t.stmt.InspectSQL(t.s.dialect()))
	if insp == nil || err != nil {
		return nil, err
	}
	return insp.Routing.Refuse(insp, rewrite.ReasonColumnPrivileges).ErrorResponse(), nil
}

var errNoInspection = errors.New("the inspection returned no row")

// routedUnlocked inspects a table that could not be locked, and returns what was
// found if it is a routed one and the role may insert all the same: with rights to
// some columns only. Else the server says what is wrong.
func (s *session) routedUnlocked(inspect string) (*rewrite.Inspection, error) {
	if s.txStatus() == 'E' {
		return nil, nil
	}
	in := s.inject()
	defer in.release()
	results, err := in.Exec(s.ctx, inspect)
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, errNoInspection
	}
	insp, err := rewrite.ParseInspection(firstField(results[0].Rows))
	if err != nil || insp.Routing == nil || !insp.ColumnPrivilege {
		return nil, err
	}
	return insp, nil
}

// runAny runs an INSERT of any form.
func (t *insertTask) runAny(a *rewrite.AnyInsert, size int) error {
	if passed, err := t.inspect(size); passed || err != nil {
		return err
	}
	if !t.routed() {
		return t.pass(rewrite.ReasonInsertSelect, size)
	}
	r := &routedInsert{t: t, in: t.s.inject()}
	failed, err := t.refused, error(nil)
	switch {
	case failed != nil:
	case t.routes.Idle():
		failed, err = r.asIs(a.Statement.SQL)
	default:
		failed, err = r.viaTemp(a)
	}
	return r.finish(failed, err, size)
}

// asIs runs the client's own text in our block, all of whose rows are the main
// table's.
func (r *routedInsert) asIs(sql []byte) (failed *pgerr.Error, err error) {
	r.raw = true
	return r.query(endQuery(append(frame.AppendHead(nil, 'Q', 0), sql...)))
}

// runText runs a text that is more, or less, than one INSERT: as it is, if none of
// the tables that it names has routes.
func (t *insertTask) runText(a *rewrite.AnyText, sql []byte, size int) error {
	t.s.mu.Lock()
	set := t.s.judge()
	t.s.mu.Unlock()
	a.Targets = slices.DeleteFunc(a.Targets, func(n rewrite.AnyTarget) bool { return !set.Has(n.Table) })
	if len(a.Targets) == 0 {
		return t.pass(rewrite.ReasonMultiStatement, size)
	}
	var parts []seriesPart
	series := a.Series(t.inBlock, set.Has)
	if series != nil && (t.s.dialect() == rewrite.Current || !a.BeginsLate(t.inBlock)) {
		parts = t.s.seriesParts(series, sql)
	}
	if parts != nil && !series.Settled {
		return t.runSeries(series, parts, sql, size)
	}
	block, routed := t.inBlock, false
	var failed *pgerr.Error
	var err error
	for _, target := range a.Targets {
		t.stmt = &rewrite.InsertStatement{SQL: sql, Schema: target.Schema, Table: target.Table}
		var found bool
		if found, failed, err = t.enterTarget(); err != nil {
			return err
		}
		routed = routed || found
		if failed != nil || found && (a.Prepares || !t.routes.Idle()) {
			break
		}
	}
	// What is prepared may run when there are routes; and the locks last to the end of
	// the transaction at most.
	asIs := !a.Prepares && !a.Transactions && t.routes != nil && t.routes.Idle()
	if t.inBlock = block; failed == nil && (!routed || t.inBlock && asIs) {
		return t.pass(rewrite.ReasonMultiStatement, size)
	}
	plain := asIs && a.Plain
	if failed == nil && !plain && parts != nil {
		return t.runSeries(series, parts, sql, size)
	}
	r := &routedInsert{t: t, in: t.s.inject()}
	switch {
	case failed != nil:
	case plain:
		r.direct = true
		failed, err = r.asIs(sql)
	default:
		failed, err = r.refuseText(a, sql)
	}
	return r.finish(failed, err, size)
}

// enterTarget opens one of the tables of a text. The next one finds the block of
// this one, so the task is in it from here on.
func (t *insertTask) enterTarget() (routed bool, failed *pgerr.Error, err error) {
	insp, err := t.opening().run()
	if e := pgerr.As(err); e != nil && t.s.ctx.Err() == nil {
		return false, e, nil
	}
	if err != nil {
		return false, nil, err
	}
	if insp == nil {
		failed, err = t.unlocked()
		return false, failed, err
	}
	t.insp, t.opened, t.inBlock = insp, true, true
	if insp.Routing == nil || insp.ReadOnly {
		return false, nil, nil
	}
	if err := t.enter(); err != nil {
		return false, nil, err
	}
	return true, t.refused, nil
}

// refuseText is the error for a text that can't be routed: the server's own, where
// that does not know it either.
func (r *routedInsert) refuseText(a *rewrite.AnyText, sql []byte) (failed *pgerr.Error, err error) {
	if a.Unknown {
		if failed, err = r.parseText(sql); failed != nil || err != nil {
			return failed, err
		}
	}
	hint := "Send the INSERT as a statement of its own."
	if len(a.Executes) > 0 {
		hint = hintExecute
	}
	in := r.t.insp
	return in.Routing.Refuse(in, rewrite.ReasonRoutedText).ErrorResponse().With('H', hint), nil
}

const hintExecute = "Send the INSERT itself instead of EXECUTE."

// behindPipeline handles a Query behind messages that are not answered yet, where nothing
// can be asked: it is relayed, unless its table is known to be one that may be
// routed, or it is an EXECUTE and any table is routed.
func (s *session) behindPipeline(text []byte, reason rewrite.Reason) error {
	if s.known != nil && s.known.Set() != nil && s.mayRoute(text) {
		return s.refuseRouted(reason)
	}
	return s.passInsert(reason)
}

// refuseRouted answers a Query that cannot be looked at with an error of the
// server's own, in its place among what is under way.
func (s *session) refuseRouted(reason rewrite.Reason) error {
	s.log.Debug("refused", "stmt", rewrite.KindInsert, "reason", reason)
	if err := s.cr.Need(frame.HeaderLen); err != nil {
		return err
	}
	_, size, err := frame.Head(s.cr.Buffered())
	if err != nil {
		return s.relayRaw()
	}
	s.last = nil
	s.cr.Discard(frame.HeaderLen)
	if err := s.copyBody(size, nil); err != nil {
		return err
	}
	s.mu.Lock()
	s.queue.push(entQuery)
	s.mu.Unlock()
	return s.writeServer(frame.AppendString(nil, 'Q', rewrite.RaiseSQL(pgerr.FeatureNotSupported,
		"pgbulkproxy: this INSERT into a table that may be routed is not supported here ("+string(reason)+")")))
}
