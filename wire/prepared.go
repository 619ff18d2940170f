package wire

import (
	"bytes"
	"encoding/binary"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
	"github.com/pgbulkproxy/pgbulkproxy/rewrite/values"
	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// preparedStatements remembers which prepared statements of the session are
// COPY … FROM STDIN or INSERT. It forgets rather than be wrong: a statement that
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
}

// prepared is one statement: a COPY or an INSERT.
type prepared struct {
	copy   *rewrite.CopyStatement
	insert *preparedInsert
	// passes is why a COPY is relayed by its text alone; then both are nil.
	passes rewrite.Reason
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
	// short: the last run of it had too few rows.
	short bool

	parsed bool
	opts   values.Options // it was parsed with
	stmt   *rewrite.InsertStatement
	reason rewrite.Reason
	// inOrder: the rows are $1, $2 and so on. Then binaryRows, for the columns of
	// insp, makes rows in binary, unless textOnly says that a value had no form.
	inOrder, textOnly bool
	insp              *rewrite.Inspection
	binaryRows        *values.BinaryRows
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
	if len(p.byName) < maxPrepared && p.size+s.size() <= maxPreparedSize {
		p.byName[name] = s
		p.size += s.size()
	}
}

func (s *prepared) size() int {
	if s.insert == nil {
		return 0
	}
	return len(s.insert.sql)
}

// find returns the statement of a name, or nil.
func (p *preparedStatements) find(name []byte) *prepared { return p.byName[string(name)] }

// parsing notes a Parse message that goes to the server: whatever had its name
// is gone. Of one that is not whole, only the begin is given.
func (p *preparedStatements) parsing(name, raw []byte, whole bool) {
	p.forget(name)
	if len(name) > 0 {
		return
	}
	p.unnamedConfirmed = false
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

// forget drops a name that is closed.
func (p *preparedStatements) forget(name []byte) {
	if c := p.byName[string(name)]; c != nil {
		p.drop(string(name), c)
	}
	if len(name) == 0 {
		p.unnamed, p.lost = p.unnamed[:0], false
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
	for name, c := range p.byName {
		if !c.confirmed {
			p.drop(name, c)
		}
	}
}

func (p *preparedStatements) drop(name string, c *prepared) {
	p.size -= c.size()
	delete(p.byName, name)
}

// completed looks at a command tag: DEALLOCATE and DISCARD ALL drop prepared
// statements on the server.
func (p *preparedStatements) completed(tag []byte) {
	if bytes.HasPrefix(tag, []byte("DEALLOCATE")) || bytes.HasPrefix(tag, []byte("DISCARD")) {
		clear(p.byName)
		p.size = 0
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
