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

// converse runs one conversation, in which client, server and proxy come to
// their turns in any order.
func converse(choose func(n int) int, steps int) error {
	b := &backend{choose: choose}
	f := &frontend{choose: choose, syncs: choose(4) == 0}
	f.overCopy = func() bool { return len(b.inbox)+len(b.outbox) == 0 && b.copying == nil }
	var q replyQueue
	var log []byte
	deliver := func() error {
		r := b.outbox[0]
		b.outbox = b.outbox[1:]
		log = append(log, '<', r.typ)
		if hide := q.reply(r.typ); hide != r.hide && !q.lost {
			return fmt.Errorf("%s: hide is %v", log, hide)
		}
		return nil
	}
	send := func(m modelMsg) {
		if m.e != 0 {
			q.push(m.e)
		}
		b.inbox = append(b.inbox, m)
		log = append(log, ' ', m.typ)
	}
	check := func() error {
		switch {
		case q.idle() && !b.owesNothing():
			return fmt.Errorf("%s: idle, but the server owes %v for %v", log, b.outbox, b.inbox)
		case q.lost && !f.syncs:
			return fmt.Errorf("%s: lost", log)
		case !q.idle() && !q.lost && b.owesNothing():
			return fmt.Errorf("%s: the server owes nothing, the queue has %d entries", log, q.size)
		}
		return nil
	}
	for range steps {
		switch choice := choose(4); {
		case choice == 0 && len(b.inbox) > 0:
			b.step()
		case choice == 1 && len(b.outbox) > 0:
			if err := deliver(); err != nil {
				return err
			}
		case choice == 2 && choose(8) == 0:
			if q.reply([]byte{'A', 'S'}[choose(2)]) {
				return fmt.Errorf("%s: a message of no statement is hidden", log)
			}
		default:
			send(f.next())
		}
		if err := check(); err != nil {
			return err
		}
	}
	for f.copies > 0 {
		send(f.data())
	}
	send(modelMsg{e: entSync, typ: 'S'})
	for len(b.inbox)+len(b.outbox) > 0 {
		if len(b.inbox) > 0 {
			b.step()
		} else if err := deliver(); err != nil {
			return err
		}
	}
	return check()
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
