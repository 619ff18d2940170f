package wire

import (
	"encoding/binary"
	"errors"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// A Bind of an INSERT that may be into a routed table is not relayed before it is
// known which table its rows go to:
//
//	gather   it, and the Binds of the same statement that are there behind it,
//	         each with its Describe and Execute
//	rest     the session is brought to rest inside a transaction block: the
//	         client's, or one of ours up to its Sync
//	open     the table is locked and inspected, and its routes are entered
//	ask      the server computes, from the client's own parameters, which rows are
//	         the auxiliary table's
//	go on    the client's messages go to its own statement, or to one like it for
//	         the auxiliary table; rows of both are cut into statements of their own
//	         (routedexec.go)
type routedBinds struct {
	s     *session
	name  []byte // of the statement
	st    *preparedInsert
	units []routedUnit
	size  int // of the messages, which stand at the front of the buffer
	t     *insertTask
	cells []string // of the routing column
	// tooLong: the Bind is too long to be held; it is not among the units.
	tooLong bool
	// queried: a query of ours has dropped the unnamed statement.
	queried bool
	// prepares: the statement is a PREPARE, whose INSERT may run when there are routes.
	prepares bool
	// executes: it is an EXECUTE.
	executes bool
	// reply is what the client gets before an error.
	reply []byte
}

// routedUnit is a Bind with what belongs to it. Places are those in the client's
// buffer.
type routedUnit struct {
	bind, describe, execute, end int // describe and execute are where they begin, or where the next one does
	portal                       []byte
	aux                          []bool // of each row, whether it is the auxiliary table's
}

// routedText is what is known of the statement's text.
type routedText struct {
	opts   rewrite.InsertOptions
	values *rewrite.RoutedValues
	reason rewrite.Reason
	types  []uint32
}

// maxRoutedRun bounds the Binds that are looked at together.
const maxRoutedRun = 1000

// onRoutedBind handles such a Bind at the front of the buffer.
func (s *session) onRoutedBind() error {
	r := &routedBinds{s: s}
	err := r.gather()
	if err != nil && !errors.Is(err, errTooLong) {
		return err
	}
	tooLong := err != nil
	block, err := s.restInBlock()
	switch {
	case errors.Is(err, errSkipping):
		if s.commitSync {
			err = s.sendHidden("ROLLBACK") // the block that has failed is ours
		} else {
			err = nil
		}
		return errors.Join(err, s.discardToSync())
	case err != nil:
		return err
	case block == blockFailed:
		return r.relay(rewrite.ReasonFailedTransaction)
	}
	r.t, r.tooLong = &insertTask{s: s, inBlock: block != blockNone}, tooLong
	s.mu.Lock()
	lost, known := s.queue.lost, s.known.Set() != nil
	s.mu.Unlock()
	switch {
	case lost && !known:
		return r.relay(rewrite.ReasonInPipeline)
	case lost:
		return r.give()
	case block == blockUnknown:
		return r.refuse(rewrite.ReasonInPipeline)
	}
	e, err := r.run()
	if e != nil && err == nil {
		return r.fail(e)
	}
	return err
}

// gather finds the messages. It waits for what follows a Bind: no client can wait
// for the answer to a Bind alone without sending more.
func (r *routedBinds) gather() error {
	s := r.s
	for len(r.units) < maxRoutedRun {
		if len(r.units) > 0 && !r.nextIsOurs() {
			break
		}
		if r.units == nil {
			if err := r.findName(); err != nil {
				return err
			}
		}
		if err := s.need(r.size, s.srv.cfg.InsertMaxBytes); err != nil {
			return err
		}
		f, _ := frameAt(s.cr.Buffered()[r.size:])
		portal, _, _ := frame.CString(f.body())
		u := routedUnit{bind: r.size, portal: append([]byte(nil), portal...)}
		r.size += len(f.raw())
		u.describe = r.size
		var err error
		if err = r.gatherOne('D', func(body []byte) bool { return isPortal(body, string(u.portal)) }); err != nil {
			return err
		}
		u.execute = r.size
		err = r.gatherOne('E', func(body []byte) bool { n, _, ok := frame.CString(body); return ok && string(n) == string(u.portal) })
		if err != nil {
			return err
		}
		u.end = r.size
		r.units = append(r.units, u)
		if u.end == u.execute {
			break
		}
	}
	return nil
}

// findName reads the statement's name in the first Bind, however long that is.
func (r *routedBinds) findName() error {
	for want := frame.HeaderLen; ; want++ {
		if err := r.s.cr.Need(want); err != nil {
			return err
		}
		p := r.s.cr.Buffered()
		if name, ok := bindStatement(p[frame.HeaderLen:]); ok {
			r.name = append([]byte(nil), name...)
			return nil
		}
		want = max(want, len(p))
	}
}

// gatherOne takes the next message if it is of that type and kind.
func (r *routedBinds) gatherOne(typ byte, is func(body []byte) bool) error {
	err := r.s.need(r.size, maxHeldFrames)
	if errors.Is(err, errTooLong) || errors.Is(err, frame.ErrLength) {
		return nil // it is something else
	}
	if err != nil {
		return err
	}
	if f, _ := frameAt(r.s.cr.Buffered()[r.size:]); f.typ == typ && is(f.body()) {
		r.size += len(f.raw())
	}
	return nil
}

// nextIsOurs says whether another Bind of the statement is there already.
func (r *routedBinds) nextIsOurs() bool {
	f, whole := frameAt(r.s.cr.Buffered()[r.size:])
	if !whole || f.typ != 'B' || !f.whole() {
		return false
	}
	name, ok := bindStatement(f.body())
	return ok && string(name) == string(r.name)
}

// need waits until a whole frame stands at a place of the client's buffer.
func (s *session) need(at, limit int) error {
	if err := s.cr.Need(at + frame.HeaderLen); err != nil {
		return err
	}
	_, n, err := frame.Head(s.cr.Buffered()[at:])
	switch {
	case err != nil:
		return err
	case n > limit:
		return errTooLong
	}
	return s.cr.Need(at + frame.HeaderLen + n)
}

// run does all of it. e is the client's error.
func (r *routedBinds) run() (e *pgerr.Error, err error) {
	if e, err = r.find(); e != nil || err != nil {
		return e, err
	}
	if r.st == nil {
		return nil, r.relay(rewrite.ReasonNotInsert)
	}
	if e, err = r.open(); e != nil || err != nil {
		return e, err
	}
	switch {
	case r.t.routes != nil:
	case r.t.insp == nil:
		return nil, r.relay(rewrite.ReasonInspectFailed)
	case r.t.insp.Routing == nil:
		if err := r.t.opening().undo(); err != nil {
			return nil, err
		}
		return nil, r.relay(rewrite.ReasonSmall)
	default: // of a transaction that only reads: the server says so
		return nil, r.relay(rewrite.ReasonReadOnly)
	}
	switch {
	case r.prepares:
		return r.refusal(rewrite.ReasonRoutedText), nil
	case r.t.routes.Idle():
		return nil, r.relay(rewrite.ReasonRouted)
	case r.executes:
		return r.refusal(rewrite.ReasonRoutedText).With('H', hintExecute), nil
	case r.tooLong:
		return r.refusal(rewrite.ReasonTooLong), nil
	}
	return r.route()
}

// find looks the statement up, and the types of its parameters.
func (r *routedBinds) find() (*pgerr.Error, error) {
	s := r.s
	s.mu.Lock()
	c := s.statements.byName[string(r.name)]
	lost := s.statements.lostInsert && len(r.name) == 0
	s.mu.Unlock()
	switch {
	case lost:
		return r.refusal(rewrite.ReasonTooLong), nil
	case len(r.name) > 0 && (c == nil || c.unsure):
		if err := r.askText(); err != nil || r.st == nil {
			return nil, err
		}
	case c == nil:
		return nil, nil
	default:
		r.st = c.insert
	}
	s.mu.Lock()
	opts, _ := s.insertOptions()
	s.mu.Unlock()
	o := rewrite.InsertOptions{MaxBytes: s.srv.cfg.MaxStatement, Values: opts}
	if x := r.st.text; x == nil || x.opts != o {
		r.st.text = &routedText{opts: o}
		r.st.text.values, r.st.text.reason = rewrite.ParseRoutedValues(r.st.sql, o)
	}
	return r.describeTypes()
}

// askText asks the server for the text of a statement that was forgotten.
func (r *routedBinds) askText() error {
	in := r.s.inject()
	results, err := in.Exec(r.s.ctx, rewrite.PreparedSQL(string(r.name)))
	in.release()
	if e := pgerr.As(err); e != nil && !e.IsFatal() {
		return nil // no such name in this encoding: the server says so
	}
	if err != nil {
		return err
	}
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statements.forget(r.name)
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 2 {
		return nil
	}
	c := &prepared{confirmed: true}
	sql, bySQL := results[0].Rows[0][0], string(results[0].Rows[0][1]) == "t"
	switch {
	case bySQL && rewrite.Prepares(sql): // among others, perhaps
		c.insert = &preparedInsert{sql: rewrite.ExecuteText(string(r.name)), executes: true, unread: true}
	case bySQL:
	case rewrite.Prefilter(sql) == rewrite.KindInsert || s.wrapsInsert(sql, true):
		c.insert = &preparedInsert{sql: append([]byte(nil), sql...), executes: rewrite.Executes(sql, false), unread: true}
	}
	s.statements.add(string(r.name), c)
	r.st = c.insert
	return nil
}

// describeTypes asks for the types of the parameters, once a statement.
func (r *routedBinds) describeTypes() (*pgerr.Error, error) {
	if r.st.text.types != nil {
		return nil, nil
	}
	in := r.s.inject()
	defer in.release()
	out := frame.Append(nil, 'D', append(append([]byte{'S'}, r.name...), 0))
	e, err := in.extended(frame.Append(out, 'S', nil), func(f captured) {
		if f.typ != 't' || len(f.body) < 2 {
			return
		}
		types := make([]uint32, 0, 8)
		for p := f.body[2:]; len(p) >= 4; p = p[4:] {
			types = append(types, binary.BigEndian.Uint32(p))
		}
		r.st.text.types = types
	})
	return e, err
}

// extended sends messages of the extended protocol that end with a Sync, and
// calls f with the answers. It returns the server's error.
func (in *injector) extended(out []byte, f func(captured)) (failed *pgerr.Error, err error) {
	if err := in.s.writeServer(out); err != nil {
		return nil, err
	}
	for {
		c, err := in.next(in.s.ctx)
		if err != nil {
			return nil, err
		}
		switch c.typ {
		case 'E':
			if failed == nil {
				failed = pgerr.Parse(c.body)
			}
		case 'Z':
			in.ready(c.body)
			return failed, nil
		default:
			f(c)
		}
	}
}
