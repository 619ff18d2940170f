package killmatrix

import (
	"bytes"
	"sync"
)

// point is a moment in the life of a load, as it is seen from outside.
type point string

// The points, in the order in which a load comes by.
const (
	atReceiving    point = "receiving"              // a CopyData is on its way to the proxy
	atUpload       point = "part upload"            // the middle of an object's bytes, or a part's
	beforeFinish   point = "before finish"          // the bytes that make an object durable are held
	afterFinish    point = "after finish"           // it is durable, the proxy does not know
	beforeLedger   point = "before ledger write"    // an entry is on its way to the server
	afterLedger    point = "after ledger write"     // it is made, the proxy does not know
	beforeExternal point = "before external table"  // the statements that make and read it are held
	atExternal     point = "external table made"    // the server asks for the object
	inInsert       point = "inside insert … select" // the server has read a part of it
	beforeBinary   point = "before copy binary"     // its COPY is held, with the savepoint
	inBinary       point = "inside copy binary"     // rows of it are on their way to the server
	beforeCommit   point = "before commit"
	afterCommit    point = "after commit" // the proxy does not know
	atReply        point = "reply"        // the proxy's answer is on its way to the client
	beforeSweep    point = "before sweep"
	afterSweep     point = "after sweep"
)

var points = []point{
	atReceiving, atUpload, beforeFinish, afterFinish, beforeLedger, afterLedger, beforeExternal, atExternal, inInsert,
	beforeCommit, afterCommit, atReply, beforeSweep, afterSweep,
}

// binaryPoints are those of loads that go as COPY binary.
var binaryPoints = []point{
	atReceiving, atUpload, beforeFinish, afterFinish, beforeLedger, afterLedger, beforeBinary, inBinary,
	beforeCommit, afterCommit, atReply, beforeSweep, afterSweep,
}

// where says more of a point: the server's process, or the load, as far as
// they are known.
type where struct {
	pid  uint32
	load string
}

// trigger acts when a point is reached.
type trigger struct {
	mu    sync.Mutex
	point point
	left  int
	act   func(where) bool
	fired chan struct{}
}

// arm has act called at the n-th occurrence of a point. What act returns says
// whether that which is held there is passed on. The channel is closed behind it.
func (t *trigger) arm(p point, n int, act func(where) bool) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.point, t.left, t.act, t.fired = p, n, act, make(chan struct{})
	return t.fired
}

func (t *trigger) disarm() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.act = nil
}

// pass is called by the relays at each point.
func (t *trigger) pass(p point, w where) bool {
	t.mu.Lock()
	if t.act == nil || t.point != p {
		t.mu.Unlock()
		return true
	}
	if t.left--; t.left > 0 {
		t.mu.Unlock()
		return true
	}
	act, fired := t.act, t.fired
	t.act = nil
	t.mu.Unlock()
	defer close(fired)
	return act(w)
}

// clientPoint and its like name what a frame is.
func clientPoint(_ *link, typ byte, _ []byte) point {
	if typ == 'd' {
		return atReceiving
	}
	return ""
}

func replyPoint(_ *link, typ byte, body []byte) point {
	if typ == 'C' && (bytes.HasPrefix(body, []byte("COPY ")) || bytes.HasPrefix(body, []byte("INSERT ")) || bytes.HasPrefix(body, []byte("COMMIT"))) {
		return atReply
	}
	return ""
}

var ledgerWrites = [][]byte{
	[]byte("INSERT INTO pgbulk.load"), []byte("UPDATE pgbulk.load"), []byte("pgbulk.record_"),
}

func proxyPoint(l *link, typ byte, body []byte) point {
	if typ == 'd' && l.binary.Load() {
		return inBinary
	}
	if typ != 'Q' && typ != 'P' {
		return ""
	}
	l.binary.Store(bytes.HasSuffix(body, []byte("FROM STDIN WITH (FORMAT binary)\x00")))
	if l.binary.Load() {
		return beforeBinary
	}
	for _, w := range ledgerWrites {
		if bytes.Contains(body, w) {
			l.ledger.Store(true)
			if !bytes.Contains(body, []byte("COMMIT\x00")) {
				return beforeLedger
			}
		}
	}
	switch {
	case bytes.Contains(body, []byte("pgbulk.open_file(")), bytes.Contains(body, []byte("pgbulk.import_staged(")), bytes.Contains(body, []byte("CREATE READABLE EXTERNAL TEMP TABLE")):
		return beforeExternal
	case bytes.HasSuffix(body, []byte("COMMIT\x00")):
		return beforeCommit
	}
	return ""
}

func serverPoint(l *link, typ byte, body []byte) point {
	switch typ {
	case 'K':
		l.pid.Store(uint32(body[0])<<24 | uint32(body[1])<<16 | uint32(body[2])<<8 | uint32(body[3]))
	case 'C':
		if bytes.Equal(body, []byte("COMMIT\x00")) {
			return afterCommit
		}
	case 'Z':
		if l.ledger.Swap(false) {
			return afterLedger
		}
	}
	return ""
}
