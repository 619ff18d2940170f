package wire

import (
	"bytes"

	"github.com/pgbulkproxy/pgbulkproxy/rewrite"
)

// preparedCopies remembers which prepared statements of the session are COPY …
// FROM STDIN. It forgets rather than be wrong: a statement that is not here is
// relayed. It is guarded by session.mu.
type preparedCopies struct {
	byName map[string]*preparedCopy
}

type preparedCopy struct {
	stmt *rewrite.CopyStatement
	// parse is the whole Parse message, kept for the unnamed statement.
	parse []byte
	// confirmed: a ReadyForQuery came after the Parse, and no error before it.
	confirmed bool
}

// maxPrepared bounds how many statements one session is remembered for.
const maxPrepared = 1024

func (p *preparedCopies) count() int { return len(p.byName) }

func (p *preparedCopies) add(name string, stmt *rewrite.CopyStatement, parse []byte) {
	if p.byName == nil {
		p.byName = make(map[string]*preparedCopy)
	}
	if len(p.byName) >= maxPrepared {
		return
	}
	c := &preparedCopy{stmt: stmt}
	if name == "" {
		c.parse = append([]byte(nil), parse...)
	}
	p.byName[name] = c
}

// unnamed returns the Parse message of the unnamed statement, nil for others.
func (p *preparedCopies) unnamed(name string) []byte {
	if c := p.byName[name]; c != nil && name == "" {
		return c.parse
	}
	return nil
}

func (p *preparedCopies) get(name string) *rewrite.CopyStatement {
	if c := p.byName[name]; c != nil {
		return c.stmt
	}
	return nil
}

// forget drops a name that is parsed anew or closed.
func (p *preparedCopies) forget(name []byte) {
	if len(p.byName) > 0 {
		delete(p.byName, string(name))
	}
}

func (p *preparedCopies) confirm() {
	for _, c := range p.byName {
		c.confirmed = true
	}
}

// dropUnconfirmed follows an error in the extended protocol: a Parse that came
// before it may have failed or been skipped.
func (p *preparedCopies) dropUnconfirmed() {
	for name, c := range p.byName {
		if !c.confirmed {
			delete(p.byName, name)
		}
	}
}

// completed looks at a command tag: DEALLOCATE and DISCARD ALL drop prepared
// statements on the server.
func (p *preparedCopies) completed(tag []byte) {
	if bytes.HasPrefix(tag, []byte("DEALLOCATE")) || bytes.HasPrefix(tag, []byte("DISCARD")) {
		clear(p.byName)
	}
}
