package wire

import (
	"bytes"
	"errors"

	"github.com/pgbulkproxy/pgbulkproxy/internal/pgerr"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// With pgbulk.coalesce = transaction, INSERTs of one shape that follow each other
// in a transaction block are a run: each is answered at once, and their rows go to
// the server as one COPY before the next message that is none of them; those of a
// long run as several, each while the next one is gathered.
//
//	hope     may the setting be on? The server doesn't report it
//	begin    the second INSERT in a row opens the table; the inspection says
//	         whether the setting is on (this file)
//	join     encoded, kept and answered, on the event loop (coalescejoin.go)
//	flush    one COPY; if that fails, the client's own messages, whose error
//	         answers the message that had to wait (coalesceflush.go)

// hope is what a session knows of the setting.
type hope byte

const (
	// hopeUnknown: nobody has looked. An inspection does after probeAfter INSERTs
	// in a row, since a role or database may have it set.
	hopeUnknown hope = iota
	// hopeOn: its name was seen, or an inspection found it on.
	hopeOn
	// hopeOff: an inspection found it off.
	hopeOff
)

// probeAfter is what an application sends that has many rows to insert: the one
// inspection it costs a session is then a small part of all.
const probeAfter = 3

// A run that ends with fewer than shortRun INSERTs costs two round trips more than
// it saves. After shortRuns such in a row some INSERTs are relayed without a try:
// restMin at first, then twice as many each time.
const (
	shortRun  = 5
	shortRuns = 3
	restMin   = 100
	restMax   = 100_000
)

// coalescing is what a session remembers from one run to the next. Like a run it
// belongs to whoever reads the client.
type coalescing struct {
	hope hope
	// inserts is how many INSERTs that begin with prev were relayed, or taken, with
	// nothing between them.
	inserts int
	prev    []byte
	// isInsert: the frame at hand is one.
	isInsert bool
	// usual: the INSERT at hand, or at the front of the buffer, is counted and goes
	// as without the setting.
	usual bool
	short int // short runs in a row
	// rest is how many INSERTs that begin with tired are still relayed without a
	// try, and last what it was last.
	rest, last int
	tired      []byte
}

// learn notes what an inspection has found.
func (c *coalescing) learn(on bool) {
	if c.hope = hopeOff; on {
		c.hope = hopeOn
	}
}

// look looks for the setting's name in a statement.
func (c *coalescing) look(sql []byte) {
	if rewrite.MentionsCoalesce(sql) {
		c.mentioned()
	}
}

// mentioned notes that the client wrote the setting's name.
func (c *coalescing) mentioned() {
	c.hope, c.short, c.rest, c.last = hopeOn, 0, 0, 0
}

// considered says whether the INSERT at hand was counted before, when less of what
// follows had come; front says that it stands at the front of the buffer.
func (c *coalescing) considered(front bool) bool {
	c.isInsert = true
	return c.usual && front
}

// wants says whether a run may begin with an INSERT of this text.
func (c *coalescing) wants(text []byte) bool {
	if c.hope == hopeOff || c.resting(text) {
		return false
	}
	before := 1
	if c.hope == hopeUnknown {
		before = probeAfter
	}
	return c.inserts >= before && bytes.HasPrefix(text, c.prev)
}

func (c *coalescing) resting(text []byte) bool { return c.rest > 0 && bytes.HasPrefix(text, c.tired) }

// insert notes an INSERT in whose place no run begins; head is how those of its
// kind begin.
func (c *coalescing) insert(head []byte) {
	if c.usual = true; c.resting(head) {
		c.rest--
	}
	if !bytes.Equal(c.prev, head) {
		c.inserts, c.prev = 0, append(c.prev[:0], head...)
	}
	c.inserts++
}

// relayed notes that the frame at hand goes to the server.
func (c *coalescing) relayed(typ byte, parse bool) {
	c.usual = false
	switch {
	case c.isInsert || parse:
	case typ == 'D' || typ == 'E' || typ == 'S' || typ == 'H' || typ == 'C':
	default:
		c.inserts = 0
	}
}

// tire lets some INSERTs that begin like that pass: a run of them brings nothing.
func (c *coalescing) tire(head []byte) {
	c.last = min(max(restMin, 2*c.last), restMax)
	c.rest, c.short, c.tired = c.last, 0, append(c.tired[:0], head...)
}

// ended notes how many INSERTs a run had.
func (c *coalescing) ended(n int) {
	switch {
	case n >= shortRun:
		c.short, c.last = 0, 0
	case c.short < shortRuns-1:
		c.short++
	default:
		c.tire(nil)
	}
}

// coalesceQuery looks at a Query that begins with INSERT. It holds s.mu.
func (s *session) coalesceQuery(f clientFrame, text []byte) bool {
	c := &s.coal
	if c.hope == hopeOff || s.status != 'T' {
		return false
	}
	n := rewrite.InsertHead(text)
	if n == 0 || n > maxShape || c.considered(f.at == 0) {
		return false
	}
	if f.size <= maxJoined && c.wants(text) {
		return true
	}
	c.insert(text[:n])
	return false
}

// coalesceBind is coalesceQuery for a Bind of an INSERT: batchTake where a run may
// begin with it. It holds s.mu.
func (s *session) coalesceBind(f clientFrame, name []byte, st *preparedInsert) lookedAhead {
	c := &s.coal
	if c.hope == hopeOff || s.status != 'T' || st.parsed && st.stmt == nil || c.considered(f.at == 0) {
		return batchRelay
	}
	// Behind a Bind or Execute of the same pipeline no statement of ours may come.
	if f.at >= s.plain && !(s.unsynced && s.executed) && c.wants(st.sql) {
		if u := unitAt(f.ahead, name); u.state != batchRelay {
			return u.state
		}
	}
	c.insert(st.sql[:min(len(st.sql), maxShape)])
	return batchRelay
}

// onCoalesce begins a run with the INSERT at the front of the buffer. If it can't,
// the INSERT goes as without the setting.
func (s *session) onCoalesce() error {
	s.coal.usual = true
	r := &run{s: s}
	var err error
	if s.cr.Buffered()[0] == 'Q' {
		err = r.fromQuery()
	} else {
		err = r.fromBind()
	}
	if err == nil && r.stmt != nil {
		err = s.beginRun(r)
	}
	var no notCoalesced
	if !errors.As(err, &no) {
		return err
	}
	s.log.Debug("not coalesced", "stmt", rewrite.KindInsert, "reason", rewrite.Reason(no))
	if s.coal.hope != hopeOff {
		s.coal.tire(s.coal.prev)
	}
	if r.opened && r.batch != nil {
		return s.restoreUnnamed()
	}
	return nil
}

// notCoalesced is the reason why no run begins.
type notCoalesced rewrite.Reason

// Error is the reason itself.
func (n notCoalesced) Error() string { return string(n) }

// fromQuery reads the statement of a Query.
func (r *run) fromQuery() error {
	s := r.s
	_, body, _, err := s.peekFrame(maxJoined)
	if err != nil {
		return err
	}
	sql, rest, ok := frame.CString(body)
	if !ok || len(rest) > 0 {
		return notCoalesced(rewrite.ReasonParseError)
	}
	if s.unsynced {
		return notCoalesced(rewrite.ReasonInPipeline)
	}
	s.mu.Lock()
	r.opts, ok = s.insertOptions()
	s.mu.Unlock()
	if !ok {
		return notCoalesced(rewrite.ReasonClientEncoding)
	}
	stmt, reason := s.parseInsert(sql, r.opts)
	if reason != rewrite.ReasonNone {
		return notCoalesced(reason)
	}
	if !s.shape.HasHead(sql) || stmt.Source != nil {
		return notCoalesced(rewrite.ReasonInsertSelect)
	}
	r.shape, r.lexer = s.shape, stmt.Lexer(r.opts)
	if ok, err := s.waitIdle(); err != nil {
		return err
	} else if !ok {
		return notCoalesced(rewrite.ReasonInPipeline)
	}
	return r.take(stmt)
}

// fromBind reads the statement of a Bind.
func (r *run) fromBind() error {
	s := r.s
	_, body, _, err := s.peekFrame(maxJoined)
	if err != nil {
		return err
	}
	name, _ := bindStatement(body)
	s.mu.Lock()
	st, ok, lost := s.statements.find(name), false, s.statements.lost
	r.opts, ok = s.insertOptions()
	s.mu.Unlock()
	switch {
	case st == nil || st.insert == nil:
		return notCoalesced(rewrite.ReasonInPipeline)
	case !ok:
		return notCoalesced(rewrite.ReasonClientEncoding)
	case lost:
		return notCoalesced(rewrite.ReasonTooLong)
	}
	stmt, reason := st.insert.statement(s.srv.cfg.MaxStatement, r.opts)
	if reason != rewrite.ReasonNone {
		return notCoalesced(reason)
	}
	r.batch = &batch{st: st.insert, name: bytes.Clone(name), r: &s.resolver, binds: 1}
	switch ok, err := s.syncAhead(); {
	case errors.Is(err, errSkipping):
		return s.discardToSync() // r.stmt is nil
	case err != nil:
		return err
	case !ok:
		return notCoalesced(rewrite.ReasonInPipeline)
	}
	return r.take(stmt)
}

// take judges the statement by its text alone. The session is at rest.
func (r *run) take(stmt *rewrite.InsertStatement) error {
	switch {
	case r.s.txStatus() != 'T':
		return notCoalesced(rewrite.ReasonFailedTransaction)
	case !r.opts.UTF8 && !stmt.ASCII():
		return notCoalesced(rewrite.ReasonNameEncoding)
	case stmt.Conflict != rewrite.ConflictError:
		return notCoalesced(rewrite.ReasonBatchConflict) // the tag is not known
	case stmt.Returning != "":
		return notCoalesced(rewrite.ReasonBatchReturning)
	}
	r.stmt = stmt
	return nil
}

// beginRun opens the table, and takes the INSERT at the front of the buffer if the
// setting is on.
func (s *session) beginRun(r *run) error {
	t := &insertTask{s: s, stmt: r.stmt, batch: r.batch, inBlock: true, several: true}
	d, err := t.decide()
	r.opened = t.opened
	if e := pgerr.As(err); e != nil && s.ctx.Err() == nil {
		return s.failAtFront(e)
	}
	if err != nil {
		return err
	}
	if t.insp != nil {
		s.coal.learn(t.insp.Coalesces())
	}
	switch {
	case t.insp == nil || d.Way != rewrite.Stream || d.Method != rewrite.MethodRows:
		return notCoalesced(d.Reason)
	case !t.insp.Coalesces():
		return notCoalesced(rewrite.ReasonSmall)
	}
	r.insp, r.idle = t.insp, t.insp.IdleInTransactionTimeout
	r.encoder = values.NewEncoder(t.insp.Types[:r.stmt.Targets()])
	r.sql = s.savepoint() + r.stmt.GuardSQL(r.insp) + "; " + r.stmt.RowsSQL(r.insp) + s.leave(afterInsert)
	r.begin()
	pending := s.takePending()
	n, _ := r.join(s.cr.Buffered())
	if n == 0 {
		s.mu.Lock()
		s.pending = append(pending, s.pending...)
		s.mu.Unlock()
		r.drop()
		return notCoalesced(rewrite.ReasonConstant)
	}
	s.cr.Discard(n)
	s.inserts, s.coal.usual = r, false
	return s.writeClient(append(pending, r.replies...))
}
