package wire

import (
	"bytes"
	"encoding/binary"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// preparedStatements remembers which prepared statements of the session are
// COPY … FROM STDIN, INSERT or BEGIN. It forgets rather than be wrong: a statement that
// is not here is relayed. It is guarded by session.mu.
type preparedStatements struct {
	byName map[string]*prepared
	size   int // of the texts that are kept
	// unnamed is the Parse message of the unnamed statement, whatever it is: a
	// simple Query drops it, and the proxy's own are simple. It is empty where
	// there is none, and lost says that it was too long to be kept.
	unnamed          []byte
	lost             bool
	unnamedConfirmed bool
	// forgot: there may be INSERTs that are not here; lostInsert: the unnamed one
	// was too long to be kept.
	forgot, lostInsert bool
}

// prepared is one statement: a COPY, an INSERT or a BEGIN, or another one that the
// server was asked for.
type prepared struct {
	copy   *rewrite.CopyStatement
	insert *preparedInsert
	// passes is why a COPY is relayed by its text alone; then both are nil.
	passes rewrite.Reason
	// routed: such a COPY may be into a routed table.
	routed bool
	// unsure: the server may have another one by this name, or none.
	unsure bool
	begin  bool
	// confirmed: a ReadyForQuery came after the Parse, and no error before it.
	confirmed bool
}

// preparedInsert is an INSERT that may be taken over. It is parsed when the
// first Bind makes that worth the while.
type preparedInsert struct {
	sql  []byte
	oids []uint32 // of the parameters, as declared; zero is left to the server
	// many: it has insert.min_rows_bind rows by itself; enough: and as many as one
	// that stands alone must have.
	many, enough bool
	// all: it is taken also if its rows go as text or as arrays.
	all bool
	// several: it has more than one row.
	several bool
	// short is how many runs of it in a row had too few rows; long: one had enough
	// before.
	short int
	long  bool

	// routed says, by the names of version routedBy-1, whether it may be into a
	// routed table.
	routed   bool
	routedBy uint64
	text     *routedText
	// executes: it is an EXECUTE, whose portal locks nothing before it runs.
	executes bool
	// unread: the session's INSERTs can't be read, or are not to be.
	unread bool

	parsed bool
	opts   values.Options // it was parsed with
	stmt   *rewrite.InsertStatement
	reason rewrite.Reason
	// inOrder: the rows are $1, $2 and so on. Then binaryRows, for the columns of
	// insp, makes rows in binary, unless textOnly says that a value had no form.
	inOrder, textOnly bool
	// turner makes rows in binary of what is known as text, unless unturned says
	// that a value had no form.
	turner     *turner
	unturned   bool
	insp       *rewrite.Inspection
	binaryRows *values.BinaryRows
}

// maxPrepared and maxPreparedSize bound how many statements one session is
// remembered for, and maxUnnamed how long an unnamed one may be.
const (
	maxPrepared     = 1024
	maxPreparedSize = 4 << 20
	maxUnnamed      = 1 << 20
)

func (p *preparedStatements) count() int { return len(p.byName) }

func (p *preparedStatements) add(name string, s *prepared) {
	if p.byName == nil {
		p.byName = make(map[string]*prepared)
	}
	if c := p.byName[name]; c != nil {
		p.drop(name, c)
	}
	for old, c := range p.byName {
		if p.hasRoom(s) {
			break
		}
		if c.unsure {
			p.forgot = true
			p.drop(old, c)
		}
	}
	if !p.hasRoom(s) {
		p.forgot = true
		return
	}
	p.byName[name] = s
	p.size += s.size()
}

func (p *preparedStatements) hasRoom(s *prepared) bool {
	return len(p.byName) < maxPrepared && p.size+s.size() <= maxPreparedSize
}

func (s *prepared) size() int {
	if s.insert == nil {
		return 0
	}
	return len(s.insert.sql)
}

// find returns the COPY or INSERT of a name, or nil.
func (p *preparedStatements) find(name []byte) *prepared {
	if c := p.byName[string(name)]; c != nil && !c.unsure && (c.copy != nil || c.passes != rewrite.ReasonNone || c.insert != nil && !c.insert.unread) {
		return c
	}
	return nil
}

// known returns the COPY, INSERT or BEGIN of a name, or nil.
func (p *preparedStatements) known(name []byte) *prepared {
	if c := p.byName[string(name)]; c != nil && c.begin && !c.unsure {
		return c
	}
	return p.find(name)
}

// parsing notes a Parse message that goes to the server: whatever had its name
// is gone. Of one that is not whole, only the begin is given.
func (p *preparedStatements) parsing(name, raw []byte, whole bool) {
	p.forget(name)
	if len(name) > 0 {
		return
	}
	p.unnamedConfirmed, p.lostInsert = false, false
	p.lost = !whole || len(raw) > maxUnnamed
	if p.unnamed = p.unnamed[:0]; !p.lost {
		p.unnamed = append(p.unnamed, raw...)
	}
}

// reparse returns the Parse message of the unnamed statement, nil if there is
// none.
func (p *preparedStatements) reparse() []byte {
	if len(p.unnamed) == 0 {
		return nil
	}
	return append([]byte(nil), p.unnamed...)
}

// missed notes an INSERT that is too long to be kept.
func (p *preparedStatements) missed(name []byte) {
	p.forgot = p.forgot || len(name) > 0
	p.lostInsert = len(name) == 0
}

// forget drops a name that is closed, or parsed anew: the server may have skipped
// that, or may refuse it.
func (p *preparedStatements) forget(name []byte) {
	c := p.byName[string(name)]
	switch {
	case len(name) > 0 && c != nil:
		c.unsure = true
	case len(name) == 0 && c != nil:
		p.drop("", c)
	}
	if len(name) == 0 {
		p.unnamed, p.lost, p.lostInsert = p.unnamed[:0], false, false
	}
}

func (p *preparedStatements) confirm() {
	p.unnamedConfirmed = true
	for _, c := range p.byName {
		c.confirmed = true
	}
}

// dropUnconfirmed follows an error in the extended protocol: a Parse that came
// before it may have failed or been skipped.
func (p *preparedStatements) dropUnconfirmed() {
	if !p.unnamedConfirmed {
		p.unnamed, p.lost = p.unnamed[:0], false
	}
	for _, c := range p.byName {
		c.unsure = c.unsure || !c.confirmed
	}
}

func (p *preparedStatements) drop(name string, c *prepared) {
	p.size -= c.size()
	delete(p.byName, name)
}

// completed looks at a command tag: DEALLOCATE and DISCARD ALL drop prepared
// statements on the server.
func (p *preparedStatements) completed(tag []byte) {
	switch {
	case bytes.HasPrefix(tag, []byte("DEALLOCATE ALL")), bytes.HasPrefix(tag, []byte("DISCARD")):
		clear(p.byName)
		p.size = 0
	case bytes.HasPrefix(tag, []byte("DEALLOCATE")):
		for _, c := range p.byName {
			c.unsure = true
		}
	}
}

// newPreparedInsert reads what stands behind the name of a Parse message. It
// returns nil where that is not as it should be.
func newPreparedInsert(rest []byte) *preparedInsert {
	sql, rest, ok := frame.CString(rest)
	if !ok || len(rest) < 2 {
		return nil
	}
	n := int(binary.BigEndian.Uint16(rest))
	if rest = rest[2:]; len(rest) != 4*n {
		return nil
	}
	i := &preparedInsert{sql: append([]byte(nil), sql...)}
	for ; len(rest) > 0; rest = rest[4:] {
		i.oids = append(i.oids, binary.BigEndian.Uint32(rest))
	}
	return i
}

// statement parses the text, once for the session's settings.
func (i *preparedInsert) statement(maxBytes int, opts values.Options) (*rewrite.InsertStatement, rewrite.Reason) {
	if !i.parsed || i.opts != opts {
		i.parsed, i.opts = true, opts
		i.stmt, i.reason = rewrite.ParseInsert(i.sql, rewrite.InsertOptions{MaxBytes: maxBytes, Values: opts})
		if i.stmt != nil {
			var repeats bool
			if repeats, i.inOrder = i.stmt.Params(opts); repeats {
				i.stmt, i.reason = nil, rewrite.ReasonParameters
			}
		}
	}
	return i.stmt, i.reason
}

// rows is how many rows one Bind brings, 1 where that is not known. It holds s.mu.
func (i *preparedInsert) rows(s *session) int {
	if i.several && !i.parsed {
		if opts, ok := s.insertOptions(); ok {
			_, _ = i.statement(s.srv.cfg.MaxStatement, opts)
		}
	}
	if i.stmt == nil {
		return 1
	}
	return i.stmt.Rows
}

// binary returns what makes rows in binary, nil where only text is known.
func (i *preparedInsert) binary(insp *rewrite.Inspection) *values.BinaryRows {
	if !i.inOrder || i.textOnly {
		return nil
	}
	if i.insp != insp {
		i.insp = insp
		i.binaryRows, _ = values.NewBinaryRows(insp.Types[:i.stmt.Targets()], i.oids)
	}
	return i.binaryRows
}

// oid returns the declared type of parameter n, counted from 1.
func (i *preparedInsert) oid(n int) uint32 {
	if n <= len(i.oids) {
		return i.oids[n-1]
	}
	return 0
}

// dropUnnamed notes that a Query goes to the server, which drops the unnamed
// statement. It holds s.mu.
func (s *session) dropUnnamed() {
	s.statements.forget(nil)
	delete(s.reads.changes, "")
}
