package wire

import (
	"bytes"

	"github.com/pgbulkproxy/pgbulkproxy/wire/frame"
)

// pipeline is what the client has sent since its last Sync. Inside a transaction
// block that nothing of it may have ended, a Sync of ours changes nothing: portals
// and statements outlive it. Outside a block it would commit.
type pipeline struct {
	// block: after what has come the server is in a block of the client's, or in a
	// failed one.
	block bool
	ran   bool // something was executed
	// insert and begin say what the unnamed portal runs: an INSERT, or a BEGIN.
	insert, begin bool
}

// bound notes a Bind; st is nil where the portal has a name, or the statement is
// not known.
func (p *pipeline) bound(st *prepared) {
	p.insert = st != nil && st.insert != nil
	p.begin = st != nil && st.begin
}

// runs notes an Execute.
func (p *pipeline) runs(unnamed bool) {
	switch {
	case unnamed && p.insert: // it can't end a block
	case unnamed && p.begin && (p.block || !p.ran):
		p.block = true
	default:
		p.block = false
	}
	p.ran = true
}

// pushExtended notes an extended message that goes to the server. It holds s.mu.
func (s *session) pushExtended(e entry, executes bool) {
	s.pushPipelined(e)
	if executes {
		s.executed, s.pipe.block = true, false // it may be a COMMIT
	}
}

// pushPipelined is pushExtended for who notes what the message executes.
func (s *session) pushPipelined(e entry) {
	if !s.unsynced {
		s.pipe = pipeline{block: s.queue.idle() && s.status == 'T'}
	}
	s.unsynced = true
	s.queue.push(e)
}

// inBlock says whether the next message is one in a block of the client's, as far
// as the server has answered. It holds s.mu.
func (s *session) inBlock() bool {
	if s.unsynced {
		return s.pipe.block
	}
	return s.status == 'T'
}

// isBegin says whether a statement, of which the text is at the front of p and ends
// with a zero byte, can't be another than BEGIN.
func isBegin(p []byte) bool {
	const word = "BEGIN"
	return len(p) > len(word) && bytes.EqualFold(p[:len(word)], []byte(word)) &&
		bytes.IndexByte([]byte(" ;\t\r\n\x00"), p[len(word)]) >= 0
}

// cutAt ends a run in front of what is no part of it: another statement's Bind, with
// or without its Parse, which takes the unnamed portal away. The client can't have
// an answer to these before its Sync, so they may wait for the run. In a block
// only: else all of the pipeline is one transaction. p begins with the frame f.
func (b *batch) cutAt(f *clientFrame, p []byte) lookedAhead {
	if b.expect != 'B' || b.binds == 0 || !b.block {
		return batchRelay
	}
	typ, body := f.typ, f.body()
	if typ == 'P' {
		next := p[len(f.raw()):]
		if len(next) <= frame.HeaderLen {
			return batchUndecided
		}
		typ, body = next[0], next[frame.HeaderLen:]
	}
	if typ != 'B' || len(body) == 0 || body[0] != 0 {
		return batchRelay
	}
	b.cut, b.expect = true, 0
	return batchTake
}
