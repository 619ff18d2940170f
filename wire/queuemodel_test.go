package wire

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// modelMsg is a message on its way to the model of a server.
type modelMsg struct {
	e    entry // 0 for CopyData and Flush
	typ  byte
	copy int // how many COPY FROM STDIN a Query or Execute runs
}

// modelReply is a message on its way back, and whether the client may see it.
type modelReply struct {
	typ  byte
	hide bool
}

// backend is a model of how PostgreSQL answers; see PostgresMain and
// CopyGetData in its source. What the queue believes is held against it.
type backend struct {
	choose func(n int) int
	inbox  []modelMsg
	outbox []modelReply

	skipping bool
	copying  *modelMsg // in copy-in mode for this message
	left     int       // COPYs of it that follow
}

// owesNothing: what is still to be read gives no answer outside of a COPY.
func (b *backend) owesNothing() bool {
	for _, m := range b.inbox {
		if kind := m.e & entKind; kind != 0 && kind != entCopyEnd {
			return false
		}
	}
	return len(b.outbox) == 0 && !b.skipping && b.copying == nil
}

func (b *backend) say(m modelMsg, types string) {
	for _, c := range []byte(types) {
		hide := m.e&hideReplies != 0 && c != 'E' && c != 'Z' || m.e&hideReady != 0 && c == 'Z' || m.e&hideCopyIn != 0 && c == 'G'
		b.outbox = append(b.outbox, modelReply{c, hide})
	}
}

// step takes one message.
func (b *backend) step() {
	m := b.inbox[0]
	b.inbox = b.inbox[1:]
	kind := m.e & entKind
	switch {
	case b.copying != nil:
		b.copyStep(m)
	case b.skipping && kind != entSync, kind == 0, kind == entCopyEnd:
	case kind == entSync:
		b.skipping = false
		b.say(m, []string{"Z", "Z", "Z", "EZ"}[b.choose(4)])
	case b.choose(6) == 0:
		b.fail(m)
	case m.copy > 0:
		b.copying, b.left = &m, m.copy-1
		b.say(m, "G")
	case kind == entQuery:
		b.say(m, []string{"CZ", "NCZ", "CCZ", "IZ"}[b.choose(4)])
	default:
		b.say(m, b.extended(m, kind))
	}
}

func (b *backend) extended(m modelMsg, kind entry) string {
	visible := m.e&hideReplies == 0
	switch kind {
	case entParse:
		return "1"
	case entBind:
		return "2"
	case entClose:
		return "3"
	case entDescribe:
		if visible && b.choose(2) == 0 {
			return "tT"
		}
		return []string{"T", "n"}[b.choose(2)]
	}
	if visible && b.choose(2) == 0 {
		return []string{"DDC", "DDs", "HddcC"}[b.choose(3)]
	}
	return []string{"C", "NC", "I", "s"}[b.choose(4)]
}

// fail answers with an error.
func (b *backend) fail(m modelMsg) {
	b.copying = nil
	b.say(m, "E")
	if m.e&entKind == entQuery {
		b.say(m, "Z")
	} else {
		b.skipping = true
	}
}

func (b *backend) copyStep(m modelMsg) {
	owner := *b.copying
	switch {
	case m.typ == 'f', m.typ == 'd' && b.choose(8) == 0, m.typ == 'c' && b.choose(8) == 0:
		b.fail(owner)
	case m.typ != 'c':
	case b.left > 0:
		b.left--
		b.say(owner, "CG")
	default:
		b.copying = nil
		b.say(owner, "C")
		if owner.e&entKind == entQuery {
			b.say(owner, "Z")
		}
	}
}

// frontend is a client that does what the protocol allows, and pipelines. It
// looks at replies only to leave a COPY that has failed.
type frontend struct {
	choose func(n int) int
	// syncs: it sends Sync while it copies, as tokio-postgres does.
	syncs  bool
	copies int // COPYs that it has still to end
	// overCopy says that it has read everything, and that no COPY goes on.
	overCopy func() bool
}

func (f *frontend) next() modelMsg {
	if f.copies > 0 && f.overCopy() && f.choose(2) == 0 {
		f.copies = 0
	}
	if f.copies > 0 {
		return f.data()
	}
	hidden := []entry{0, 0, 0, hideReplies, hideReady, hideReplies | hideReady}[f.choose(6)]
	switch f.choose(12) {
	case 0, 1:
		return modelMsg{e: entQuery | hidden, typ: 'Q'}
	case 2:
		f.copies = 1 + f.choose(2)
		return modelMsg{e: entQuery | hideCopyIn*entry(f.choose(2)), typ: 'Q', copy: f.copies}
	case 3:
		f.copies = 1
		return modelMsg{e: entExecute | hideCopyIn*entry(f.choose(2)), typ: 'E', copy: 1}
	case 4, 5:
		return modelMsg{e: entExecute | hidden&hideReplies, typ: 'E'}
	case 6:
		return modelMsg{e: entParse | hidden&hideReplies, typ: 'P'}
	case 7:
		return modelMsg{e: entBind | hidden&hideReplies, typ: 'B'}
	case 8:
		return modelMsg{e: entDescribe | hidden&hideReplies, typ: 'D'}
	case 9:
		return []modelMsg{{e: entClose, typ: 'C'}, {typ: 'H'}, {typ: 'd'}, {e: entCopyEnd, typ: 'c'}}[f.choose(4)]
	}
	return modelMsg{e: entSync | hidden&hideReady, typ: 'S'}
}

func (f *frontend) data() modelMsg {
	switch f.choose(6) {
	case 0, 1:
		return modelMsg{typ: 'd'}
	case 2:
		if f.syncs {
			return modelMsg{e: entSync, typ: 'S'}
		}
		return modelMsg{typ: 'H'}
	case 3:
		f.copies--
		return modelMsg{e: entCopyEnd, typ: 'f'}
	}
	f.copies--
	return modelMsg{e: entCopyEnd, typ: 'c'}
}

// talkModel is one conversation, in which client, server and proxy come to
// their turns in any order.
type talkModel struct {
	b   *backend
	f   *frontend
	q   replyQueue
	log []byte
}

func (c *talkModel) deliver() error {
	r := c.b.outbox[0]
	c.b.outbox = c.b.outbox[1:]
	c.log = append(c.log, '<', r.typ)
	if hide := c.q.reply(r.typ); hide != r.hide && !c.q.lost {
		return fmt.Errorf("%s: hide is %v", c.log, hide)
	}
	return nil
}

func (c *talkModel) send(m modelMsg) {
	if m.e != 0 {
		c.q.push(m.e)
	}
	c.b.inbox = append(c.b.inbox, m)
	c.log = append(c.log, ' ', m.typ)
}

func (c *talkModel) check() error {
	switch {
	case c.q.idle() && !c.b.owesNothing():
		return fmt.Errorf("%s: idle, but the server owes %v for %v", c.log, c.b.outbox, c.b.inbox)
	case c.q.lost && !c.f.syncs:
		return fmt.Errorf("%s: lost", c.log)
	case !c.q.idle() && !c.q.lost && c.b.owesNothing():
		return fmt.Errorf("%s: the server owes nothing, the queue has %d entries", c.log, c.q.size)
	}
	return nil
}

// turn lets one of the three do something.
func (c *talkModel) turn(choose func(n int) int) error {
	switch choice := choose(4); {
	case choice == 0 && len(c.b.inbox) > 0:
		c.b.step()
	case choice == 1 && len(c.b.outbox) > 0:
		if err := c.deliver(); err != nil {
			return err
		}
	case choice == 2 && choose(8) == 0:
		if c.q.reply([]byte{'A', 'S'}[choose(2)]) {
			return fmt.Errorf("%s: a message of no statement is hidden", c.log)
		}
	default:
		c.send(c.f.next())
	}
	return c.check()
}

// end lets everybody finish.
func (c *talkModel) end() error {
	for c.f.copies > 0 {
		c.send(c.f.data())
	}
	c.send(modelMsg{e: entSync, typ: 'S'})
	for len(c.b.inbox)+len(c.b.outbox) > 0 {
		if len(c.b.inbox) > 0 {
			c.b.step()
		} else if err := c.deliver(); err != nil {
			return err
		}
	}
	return c.check()
}

func converse(choose func(n int) int, steps int) error {
	b := &backend{choose: choose}
	over := func() bool { return len(b.inbox)+len(b.outbox) == 0 && b.copying == nil }
	c := &talkModel{b: b, f: &frontend{choose: choose, syncs: choose(4) == 0, overCopy: over}}
	for range steps {
		if err := c.turn(choose); err != nil {
			return err
		}
	}
	return c.end()
}

func conversation(t *rapid.T) {
	choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }
	if err := converse(choose, 10+choose(60)); err != nil {
		t.Fatal(err)
	}
}

func TestQueueConversations(t *testing.T) {
	t.Parallel()
	rapid.Check(t, conversation)
}

func FuzzQueue(f *testing.F) { f.Fuzz(rapid.MakeFuzz(conversation)) }
