package wire

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// onBatch handles the Bind of an INSERT at the front of the buffer that begins
// a batch.
func (s *session) onBatch() error {
	_, body, _, err := s.peekFrame(s.srv.cfg.InsertMaxBytes)
	if errors.Is(err, errTooLong) {
		return s.passBatch(rewrite.ReasonTooLong, 1)
	}
	if err != nil {
		return err
	}
	name, _ := bindStatement(body)
	s.mu.Lock()
	st, block := s.statements.find(name), s.inBlock()
	s.mu.Unlock()
	if st == nil || st.insert == nil {
		return s.passBatch(rewrite.ReasonInPipeline, 1)
	}
	b := &batch{st: st.insert, name: append([]byte(nil), name...), expect: 'B', block: block}
	reason, err := s.gather(b, b.bindsOf(s.streamBinds()))
	defer func() { s.srv.loader.Memory().Return(b.reserved) }()
	if err != nil {
		return err // the client is gone: without a Sync nothing of it would stay
	}
	if reason == rewrite.ReasonNone {
		reason = s.judgeBatch(b)
	}
	if reason == rewrite.ReasonNone && !b.streams() {
		reason, err = s.gather(b, math.MaxInt)
	}
	if err != nil {
		return err
	}
	if reason != rewrite.ReasonNone {
		return s.passBatch(reason, max(b.size, 1))
	}
	s.lastBatch = st.insert // where this one passes, the next may not
	ok, err := s.syncWhere(!s.executed || s.pipe.block)
	switch {
	case errors.Is(err, errSkipping):
		return s.discardToSync()
	case err != nil:
		return err
	case !ok:
		return s.passBatch(rewrite.ReasonInPipeline, b.size)
	case s.txStatus() == 'E':
		return s.passBatch(rewrite.ReasonFailedTransaction, b.size)
	case b.cut && s.txStatus() != 'T':
		return s.passBatch(rewrite.ReasonInPipeline, b.size)
	}
	b.block = s.txStatus() == 'T' // what it was may have been an older answer
	return s.runBatch(b)
}

// passBatch lets the walk relay the n bytes of a run.
func (s *session) passBatch(reason rewrite.Reason, n int) error {
	s.srv.metrics.pass(rewrite.KindInsert, reason)
	s.log.Debug("pass", "stmt", rewrite.KindInsert, "reason", reason)
	s.plain = n
	return nil
}

// judgeBatch says why a run is not taken, by what stands in it alone.
func (s *session) judgeBatch(b *batch) rewrite.Reason {
	if s.insertRest > 0 {
		s.insertRest--
		return rewrite.ReasonNativeReplay
	}
	s.mu.Lock()
	opts, ok := s.insertOptions()
	lost := s.statements.lost
	s.mu.Unlock()
	if !ok {
		return rewrite.ReasonClientEncoding
	}
	stmt, reason := b.st.statement(s.srv.cfg.MaxStatement, opts)
	switch {
	case reason != rewrite.ReasonNone:
		return reason
	case !opts.UTF8 && !stmt.ASCII():
		return rewrite.ReasonNameEncoding
	case lost:
		return rewrite.ReasonTooLong
	case b.limited && stmt.Returning != "":
		return rewrite.ReasonRowLimit
	case b.expect == 0 && b.binds*stmt.Rows < s.srv.cfg.InsertMinRows:
		return rewrite.ReasonSmall
	case b.binds > 1 && stmt.Conflict != rewrite.ConflictError:
		return rewrite.ReasonBatchConflict
	case b.binds > 1 && stmt.Returning != "":
		return rewrite.ReasonBatchReturning
	}
	return rewrite.ReasonNone
}

// runBatch takes the run over.
func (s *session) runBatch(b *batch) error {
	b.r = &s.resolver
	t := &insertTask{s: s, stmt: b.st.stmt, batch: b, inBlock: s.txStatus() == 'T'}
	if b.expect == 0 {
		return t.run(b.size)
	}
	return t.stream()
}

// bindArgs are the parameters of one Bind message, and what it wants back.
type bindArgs struct {
	formats []byte // two bytes each; none, one for all, or one for each
	values  [][]byte
	results []byte // the result formats, with their count
}

// errBind: the server says what is wrong with it.
var errBind = values.PassParameter

// bindHead reads the body of a Bind up to its parameters, which params begins
// with.
func bindHead(body []byte) (formats, params []byte, count int, err error) {
	_, rest, _ := frame.CString(body)
	_, rest, _ = frame.CString(rest)
	if len(rest) < 2 {
		return nil, nil, 0, errBind
	}
	n := int(binary.BigEndian.Uint16(rest))
	if rest = rest[2:]; len(rest) < 2*n+2 {
		return nil, nil, 0, errBind
	}
	formats, rest = rest[:2*n], rest[2*n:]
	count = int(binary.BigEndian.Uint16(rest))
	if n > 1 && n != count {
		return nil, nil, 0, errBind
	}
	return formats, rest[2:], count, nil
}

// isResults says whether the end of a Bind is a list of result formats.
func isResults(rest []byte) bool {
	return len(rest) >= 2 && len(rest) == 2+2*int(binary.BigEndian.Uint16(rest))
}

// parse reads the body of a Bind.
func (a *bindArgs) parse(body []byte) error {
	formats, rest, count, err := bindHead(body)
	if err != nil {
		return err
	}
	a.formats, a.values = formats, a.values[:0]
	for range count {
		if len(rest) < 4 {
			return errBind
		}
		size := int(int32(binary.BigEndian.Uint32(rest)))
		if rest = rest[4:]; size > len(rest) || size < -1 {
			return errBind
		}
		if size < 0 {
			a.values = append(a.values, nil)
			continue
		}
		a.values, rest = append(a.values, rest[:size:size]), rest[size:]
	}
	if !isResults(rest) {
		return errBind
	}
	a.results = rest
	return nil
}

// binary says whether parameter n, counted from 1, is in binary format.
func (a *bindArgs) binary(n int) (is bool, err error) {
	at := 2 * (n - 1)
	switch len(a.formats) {
	case 0:
		return false, nil
	case 2:
		at = 0
	}
	switch binary.BigEndian.Uint16(a.formats[at:]) {
	case 0:
		return false, nil
	case 1:
		return true, nil
	}
	return false, errBind
}

// rows calls f with the constants of each row of the run.
func (b *batch) rows(buffered []byte, opts values.Options, columns []values.Column, f func([]values.Cell) error) error {
	r := b.r
	r.b, r.columns = b, columns
	clear(r.params)
	if len(r.params) != len(columns) {
		r.params = make([]resolved, len(columns))
	}
	err := b.frames(buffered, b.encoded, func(bind clientFrame) error {
		if bind.typ != 'B' {
			return nil
		}
		if err := r.args.parse(bind.body()); err != nil {
			return err
		}
		if len(r.args.values) != b.st.stmt.MaxParam {
			return errBind
		}
		row := throughSource(b.st.stmt, func(cells []values.Cell) error { return r.row(cells, f) })
		if b.st.stmt.Rows == 1 {
			return row(b.st.stmt.FirstRow)
		}
		return eachRow(b.st.stmt.Lexer(opts), row)
	})
	b.results, b.encoded = r.args.results, b.size
	return err
}

// resolver puts parameters in the place of their numbers. A session uses it
// again for its next batch.
type resolver struct {
	b       *batch
	columns []values.Column
	args    bindArgs
	cells   []values.Cell
	scratch []byte
	params  []resolved // of each column, for its last parameter
}

// resolved is what is known of a parameter without a cast.
type resolved struct {
	known  bool
	oid    uint32
	binary bool
	param  values.Parameter
}

// param returns what a column's parameter becomes.
func (r *resolver) param(column int, c *values.Cell, bin bool) (*values.Parameter, error) {
	p, oid := &r.params[column], r.b.st.oid(c.Number)
	if p.known && c.Cast == nil && p.oid == oid && p.binary == bin {
		return &p.param, nil
	}
	param, err := values.NewParam(&r.columns[column], c.Cast, oid, bin)
	if err != nil {
		return nil, err
	}
	*p = resolved{known: c.Cast == nil, oid: oid, binary: bin, param: param}
	return &p.param, nil
}

func (r *resolver) row(cells []values.Cell, f func([]values.Cell) error) error {
	r.cells, r.scratch = append(r.cells[:0], cells...), r.scratch[:0]
	for i := range r.cells {
		c := &r.cells[i]
		if c.Kind != values.Param {
			continue
		}
		bin, err := r.args.binary(c.Number)
		if err != nil {
			return err
		}
		p, err := r.param(i, c, bin)
		if err != nil {
			return err
		}
		if *c, r.scratch, err = p.Cell(r.args.values[c.Number-1], r.scratch); err != nil {
			return err
		}
	}
	return f(r.cells)
}

// appendReplies appends what the client gets for the run, whose messages are
// buffered; kept is what the server said to the statement in its place, and rows
// its RowDescription.
func (b *batch) appendReplies(out, buffered, rows, kept []byte, tag string) []byte {
	if b.binds > 1 {
		tag = "INSERT 0 " + strconv.Itoa(b.st.stmt.Rows)
	}
	end := frame.AppendString(append([]byte(nil), kept...), 'C', tag)
	if b.described == 0 || b.described == b.binds {
		one := append(b.appendBound(nil, b.described > 0, rows), end...)
		out = slices.Grow(out, len(one)*b.binds)
		for range b.binds {
			out = append(out, one...)
		}
		return out
	}
	_ = b.frames(buffered, 0, func(f clientFrame) error {
		switch f.typ {
		case 'B':
			out = b.appendBound(out, false, nil)
		case 'D':
			out = b.appendDescribed(out, rows)
		case 'E':
			out = append(out, end...)
		}
		return nil
	})
	return out
}

// appendBound appends the answers to a Bind and its Describe.
func (b *batch) appendBound(out []byte, described bool, rows []byte) []byte {
	if out = frame.Append(out, '2', nil); described {
		out = b.appendDescribed(out, rows)
	}
	return out
}

func (b *batch) appendDescribed(out, rows []byte) []byte {
	if len(rows) > 0 {
		return append(out, rows...)
	}
	return frame.Append(out, 'n', nil)
}

// firstDescribed says whether a Describe follows the first Bind.
func (b *batch) firstDescribed(buffered []byte) bool {
	bind, _ := frameAt(buffered)
	next, _ := frameAt(buffered[len(bind.raw()):])
	return next.typ == 'D'
}

// resultFormats says whether the client wants something else than text.
func (b *batch) resultFormats() bool {
	for _, c := range b.results[min(2, len(b.results)):] {
		if c != 0 {
			return true
		}
	}
	return false
}

// restoreUnnamed brings the unnamed statement back, which the proxy's own
// queries have dropped. What is written next comes behind it.
func (s *session) restoreUnnamed() error {
	s.mu.Lock()
	parse := s.statements.reparse()
	if parse == nil {
		s.mu.Unlock()
		return nil
	}
	s.queue.push(entParse | hideReplies | hideError)
	s.queue.push(entSync | hideReady)
	s.mu.Unlock()
	return s.writeServer(frame.Append(parse, 'S', nil))
}
