package wire

import (
	"bytes"
	"context"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// reading is what a session keeps for statements that read or change routed
// tables. Its zero value is that of a session that leaves them alone.
type reading struct {
	// known names the tables that may be routed; nil leaves all of them alone.
	known *rewrite.Known
	// changes are prepared UPDATEs and DELETEs of routed tables, by the client's
	// names, and portals those that are bound. The client pump's own.
	changes map[string]*preparedChange
	portals map[string]*preparedChange
	// first is the version of the names by which the session's first text was judged;
	// asked, by which the server was asked for the text of a statement.
	first uint64
	asked map[string]uint64

	// The rest is guarded by session.mu.

	// rewritten: the server owes answers that are not as the client is to see them.
	rewritten bool
	// mapped are the texts that were sent in place of the client's statement whose
	// errors may come yet.
	mapped []*rewrite.Edited
	// added is how many rows the first half of an UPDATE or DELETE has changed.
	added int64
}

// readFrame stops with act at a statement that may read or change a routed table,
// for which its whole text is needed. It holds s.mu.
func (s *session) readFrame(f clientFrame, act action, sql []byte) (stop action, relay bool) {
	if s.reads.known == nil {
		return actFill, true
	}
	set := s.judge()
	s.reads.judgedBy(set)
	switch {
	case set.None() || f.size > s.srv.cfg.MaxStatement:
		return actFill, true
	case !f.whole():
		return actFill, false
	case set.Reads(sql):
		return act, false
	}
	return actFill, true
}

// onReads handles what readFrame and its like have stopped at.
func (s *session) onReads(act action) error {
	switch act {
	case actReadParse:
		return s.onReadParse()
	case actChangeBind:
		return s.onChangeBind()
	case actChangeExecute:
		return s.onChangeExecute()
	}
	return s.onRead()
}

// looksInsertRead is readFrame for a whole statement that begins with INSERT or
// WITH, and brings no rows of its own that are worth the while. It holds s.mu.
func (s *session) looksInsertRead(sql []byte) bool {
	if s.reads.known == nil {
		return false
	}
	set := s.judge()
	s.reads.judgedBy(set)
	return len(sql) <= s.srv.cfg.MaxStatement && set.InsertReads(sql)
}

// looksCopyRead is readFrame for a COPY that was parsed, and found to be TO.
func (s *session) looksCopyRead(sql []byte, reason rewrite.Reason) bool {
	if s.reads.known == nil || reason != rewrite.ReasonCopyTo && reason != rewrite.ReasonCopyQuery {
		return false
	}
	return s.reads.known.Set().Reads(sql)
}

// onRead handles a simple Query that may read or change a routed table.
func (s *session) onRead() error {
	_, body, _, err := s.peekFrame(s.srv.cfg.MaxStatement)
	if err != nil {
		return err
	}
	sql, rest, ok := frame.CString(body)
	if !ok || len(rest) > 0 {
		return s.passRead(rewrite.ReasonParseError)
	}
	t := &readTask{s: s}
	if reason := t.parse(sql); reason != rewrite.ReasonNone {
		return s.passRead(reason)
	}
	if s.unsynced {
		return s.passRead(rewrite.ReasonInPipeline)
	}
	if ok, err := s.waitIdle(); err != nil {
		return err
	} else if !ok {
		return s.passRead(rewrite.ReasonInPipeline)
	}
	if s.txStatus() == 'E' {
		return s.passRead(rewrite.ReasonFailedTransaction)
	}
	reason, err := t.decide()
	if e := pgerr.As(err); e != nil && s.ctx.Err() == nil {
		s.forgetRead('Q', nil)
		s.cr.Discard(frame.HeaderLen + len(body))
		return s.writeClient(readyFrame(append(errorFrame(nil, e), s.takePending()...), s.txStatus()))
	}
	if err != nil {
		return err
	}
	if reason != rewrite.ReasonNone {
		return s.passRead(reason)
	}
	s.forgetRead('Q', nil)
	s.cr.Discard(frame.HeaderLen + len(body))
	if t.plan.Aux.SQL != "" {
		return t.sendChange()
	}
	s.mu.Lock()
	s.queue.push(entQuery)
	s.reads.sent(&t.plan.Main)
	s.mu.Unlock()
	return s.writeServer(frame.AppendString(nil, 'Q', t.plan.Main.SQL))
}

// passRead relays the Query at the front of the buffer, for a reason.
func (s *session) passRead(reason rewrite.Reason) error {
	_, body, _, err := s.peekFrame(s.srv.cfg.MaxStatement)
	if err != nil {
		return err
	}
	sql := trimZero(body)
	kind := rewrite.Prefilter(sql)
	if kind == rewrite.KindInsert && s.mayRoute(sql) {
		return s.onRoutedQuery() // it may insert into a routed table, too
	}
	s.countRead(rewrite.Decision{Way: rewrite.Pass, Reason: reason})
	s.forgetRead('Q', nil)
	if kind == rewrite.KindNone && s.srv.loader != nil {
		return s.onSeveral(sql)
	}
	return s.relayOne(entQuery)
}

// countRead counts a statement, unless it is none that reads or changes a routed
// table.
func (s *session) countRead(d rewrite.Decision) {
	if d.Reason == rewrite.ReasonNotRead || d.Reason == rewrite.ReasonNotRouted {
		return
	}
	s.srv.metrics.count(rewrite.KindRead, d)
	s.log.Debug(string(d.Way), "stmt", rewrite.KindRead, "reason", d.Reason)
}

// forgetRead does what the walk does for a frame that it relays: a Query, or the
// Parse of a name.
func (s *session) forgetRead(typ byte, name []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parsedInsert = false
	s.keepInsert(typ)
	s.lastHead = s.lastHead[:0]
	s.statements.forget(name)
	s.reads.parsedAnew(name)
}

// sent notes texts that go to the server in place of the client's. It holds
// s.mu.
func (r *reading) sent(texts ...*rewrite.Edited) {
	r.rewritten, r.mapped = true, texts
}

// readReply returns what the client gets in place of a message of the server, or
// nil. It holds s.mu, and the queue does not know of the message yet.
func (s *session) readReply(typ byte, body []byte) []byte {
	r, first := &s.reads, s.queue.first()
	switch {
	case typ == 'E' && len(r.mapped) > 0:
		e := pgerr.Parse(body)
		p, err := strconv.Atoi(e.Get('P'))
		m := r.mapped[0]
		r.mapped = nil
		if err == nil {
			return errorFrame(nil, e.With('P', strconv.Itoa(m.Position(p))))
		}
	case typ == 'C' && first&entKind == entAdd:
		r.added = tagCount(cString(body))
		if len(r.mapped) > 1 {
			r.mapped = r.mapped[1:]
		}
	case typ == 'C' && first&entKind == entSum:
		word, _, _ := bytes.Cut(body, []byte(" "))
		return frame.AppendString(nil, 'C', string(word)+" "+strconv.FormatInt(r.added+tagCount(cString(body)), 10))
	case typ == '1' && first&hideReplies == 0, typ == 'Z' && first&hideReady == 0:
		r.mapped = nil
		r.rewritten = typ == '1' || s.queue.size > 1
	}
	return nil
}

func cString(p []byte) string {
	s, _, _ := frame.CString(p)
	return string(s)
}

// readTask is a statement that reads or changes routed tables, on the client
// pump.
type readTask struct {
	s    *session
	stmt *rewrite.ReadStatement
	plan *rewrite.ReadPlan
	// extended: it comes as a Parse, with the types of these parameters.
	extended bool
	params   []uint32
}

// parse judges the text.
func (t *readTask) parse(sql []byte) rewrite.Reason {
	s := t.s
	s.mu.Lock()
	param := func(name string) string { return s.params[name] }
	readable := rewrite.InsertReadable(param)
	o := rewrite.ReadOptions{
		MaxBytes: s.srv.cfg.MaxStatement, May: s.reads.known.Set().Has,
		StandardStrings: param("standard_conforming_strings") == "on",
		UTF8:            param("client_encoding") == "UTF8" && param("server_encoding") == "UTF8",
	}
	s.mu.Unlock()
	if !readable {
		return rewrite.ReasonClientEncoding
	}
	var reason rewrite.Reason
	t.stmt, reason = rewrite.ParseRead(string(sql), o)
	return reason
}

// decide inspects the tables and makes the plan, or says why the statement
// passes. An error of type *pgerr.Error is the client's.
func (t *readTask) decide() (rewrite.Reason, error) {
	s := t.s
	inBlock := s.txStatus() == 'T'
	row, e, err := t.inspect()
	switch {
	case err != nil:
		return "", err
	case e != nil && (inBlock || t.extended || isWaitError(e)):
		return "", e.With('P', "") // the client's transaction has failed
	case e != nil:
		s.log.Debug("inspection failed, relaying", "sqlstate", e.Code(), "error", e.Get('M'))
		return rewrite.ReasonInspectFailed, nil
	}
	insp, err := t.stmt.ParseReadInspection(row, s.srv.cfg.RoutingColumn)
	if err != nil {
		s.log.Warn("inspection is unreadable, relaying", "error", err)
		return rewrite.ReasonInspectFailed, nil
	}
	var reason rewrite.Reason
	t.plan, reason = t.stmt.Plan(insp, rewrite.PlanOptions{Prepared: t.extended, Params: t.params})
	if reason == rewrite.ReasonNone && t.plan.Doubtful {
		reason, err = t.try(inBlock)
	}
	if reason == rewrite.ReasonNone && err == nil {
		s.countRead(rewrite.Decision{Way: rewrite.Stream, Reason: t.plan.Reason})
	}
	return reason, err
}

// inspect asks the server what the names mean.
func (t *readTask) inspect() (row string, e *pgerr.Error, err error) {
	in := t.s.inject()
	defer in.release()
	if t.extended {
		return in.queryFlushed(t.s.ctx, t.stmt.InspectSQL())
	}
	results, err := in.Exec(t.s.ctx, t.stmt.InspectSQL())
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		return "", e, nil
	}
	for _, r := range results {
		if len(r.Rows) == 1 && len(r.Rows[0]) == 1 {
			return string(r.Rows[0][0]), nil, err
		}
	}
	return "", nil, err
}

// The savepoint around a try.
const (
	tryBegin = "SAVEPOINT pgbulkproxy_read"
	tryEnd   = "RELEASE SAVEPOINT pgbulkproxy_read"
	tryUndo  = "ROLLBACK TO SAVEPOINT pgbulkproxy_read; " + tryEnd
)

// try has the server parse a statement that it may refuse although it takes the
// client's own. Where that would end the client's transaction it is not tried:
// an error is better than rows that are missing.
func (t *readTask) try(inBlock bool) (rewrite.Reason, error) {
	s := t.s
	if !inBlock && s.executed {
		return rewrite.ReasonNone, nil
	}
	refused, err := t.tryParse(inBlock)
	if err == nil && t.extended {
		err = s.restoreUnnamed()
	}
	if refused != nil && refused.Code() == "42803" {
		return rewrite.ReasonGrouping, err
	}
	return rewrite.ReasonNone, err
}

func (t *readTask) tryParse(inBlock bool) (refused *pgerr.Error, err error) {
	in := t.s.inject()
	defer in.release()
	ctx := t.s.ctx
	if inBlock {
		if err := t.s.findSpread(in); err != nil {
			return nil, err
		}
		if _, err := in.Exec(ctx, tryBegin); err != nil {
			return nil, err
		}
	}
	out := appendParse(nil, "pgbulkproxy_try", t.plan.Main.SQL, t.params)
	out = frame.Append(appendClose(out, 'S', "pgbulkproxy_try"), 'S', nil)
	if refused, err = in.collect(ctx, out, 'Z', 1); err != nil {
		return nil, err
	}
	if inBlock {
		end := tryEnd
		if refused != nil {
			end = tryUndo
		}
		_, err = in.Exec(ctx, t.s.leave(end))
	}
	return refused, err
}

// collect sends messages and reads until so many of a type have come, or an
// error where none of it is a ReadyForQuery.
func (in *injector) collect(ctx context.Context, out []byte, typ byte, n int) (e *pgerr.Error, err error) {
	return in.collectRows(ctx, out, typ, n, nil)
}

func (in *injector) collectRows(ctx context.Context, out []byte, typ byte, n int, row func([]byte)) (e *pgerr.Error, err error) {
	if err := in.s.writeServer(out); err != nil {
		return nil, err
	}
	for n > 0 {
		f, err := in.next(ctx)
		if err != nil {
			return e, err
		}
		switch f.typ {
		case 'E':
			if e = pgerr.Parse(f.body); typ != 'Z' {
				return e, nil
			}
		case 'D':
			if row != nil {
				row(f.body)
			}
		case 'Z':
			in.ready(f.body)
		}
		if f.typ == typ {
			n--
		}
	}
	return e, nil
}

// queryFlushed runs a query of one row in the extended protocol without a Sync:
// it neither ends a transaction nor drops what is prepared. After an error the
// server waits for the client's Sync.
func (in *injector) queryFlushed(ctx context.Context, sql string) (row string, e *pgerr.Error, err error) {
	const name = "pgbulkproxy_inspect"
	out := appendParse(appendClose(nil, 'S', name), name, sql, nil)
	out = appendExecute(appendBind(out, name, name), name)
	out = frame.Append(appendClose(appendClose(out, 'P', name), 'S', name), 'H', nil)
	e, err = in.collectRows(ctx, out, '3', 3, func(body []byte) {
		if cells := dataRow(body); len(cells) == 1 {
			row = string(cells[0])
		}
	})
	return row, e, err
}
